/* The dataset's folder in an output. */
#include "daemon/output.h"

#include "daemon/hashed_json.h"

#include "config/dataset_options.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* ATOMIC_EXISTS: somebody else was faster. */
static int put_new(const char *path, const struct buffer *text, struct error *err)
{
	cleanup_free char *folder = dir_of(path);
	struct atomic_file f = ATOMIC_FILE_INIT;
	int r;

	if (atomic_file_begin(&f, folder, err) < 0)
		return -1;
	r = fd_write_all(f.fd, text->data, text->size, err);
	if (r == 0)
		r = atomic_file_commit(&f, path, ATOMIC_NO_REPLACE, err);
	atomic_file_abort(&f);
	return r;
}

static int write_dataset(const char *path, const char *name, const struct recipe *recipe,
			 struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *root = json_object();
	bool written;

	json_object_set_new(root, "v", json_integer(1));
	json_object_set_new(root, "name", json_string(name));
	dataset_form_put(&recipe->form, root);
	json_object_set_new(root, "recipe_id", json_string(recipe->id));
	json_object_set_new(root, "recipe", json_loads(recipe->json, 0, NULL));
	written = hashed_json_write(root, &text);
	json_decref(root);
	return written ? put_new(path, &text, err)
		       : error_set(err, ERR_BUG, "%s cannot be written as JSON", path);
}

static int check_dataset(const char *path, const char *root, const char *name,
			 const struct recipe *recipe, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_free char *stored = NULL, *difference = NULL, *other = NULL;
	struct dataset_form form = {.format = NULL};
	const char *id;
	json_t *json;
	bool same, known, intact;

	if (file_read_all(path, 1 << 20, &text, err) < 0)
		return -1;
	json = json_loadb((const char *)text.data, text.size, 0, NULL);
	id = json_string_value(json_object_get(json, "recipe_id"));
	same = id && strcmp(id, recipe->id) == 0;
	known = dataset_form_read(json, &form);
	stored = json_dumps(json_object_get(json, "recipe"),
			    JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
	intact = id && stored && same == (strcmp(stored, recipe->json) == 0);
	json_decref(json);
	if (!intact)
		return error_set(err, ERR_CONFIG,
				 "%s is damaged: its recipe is not that of its id; latentctl "
				 "reindex --out %s makes it again",
				 path, root);
	if (same && !known)
		return error_set(err, ERR_CONFIG,
				 "%s names a format or codec that is not known here", path);
	if (same)
		other = dataset_form_difference(&form, &recipe->form);
	if (other)
		return error_set(err, ERR_CONFIG,
				 "%s/%s has %s: keep to that, or give another --name, because all "
				 "samples of a dataset have the same members",
				 root, name, other);
	if (same)
		return 0;
	difference = recipe_difference(stored, recipe->json);
	return error_set(
	    err, ERR_CONFIG,
	    "%s/%s has another recipe: give another --name, or leave --name out, because "
	    "two latent spaces never share a folder (%s)",
	    root, name, difference);
}

int output_check_dataset(const struct output *o, const char *name, const struct recipe *recipe,
			 bool *there, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s/.latentd/dataset.json", o->root, name);

	if (!dataset_name_valid(name))
		return error_set(err, ERR_CONFIG,
				 "--name %s: expected a folder name of at most 100 bytes, without "
				 "'/', not beginning with a dot",
				 name);
	*there = file_exists(path);
	return *there ? check_dataset(path, o->root, name, recipe, err) : 0;
}

int output_make_dataset(const struct output *o, const char *name, const struct recipe *recipe,
			struct error *err)
{
	cleanup_free char *below = xasprintf("%s/.latentd", name);
	cleanup_free char *folder = xasprintf("%s/%s", o->root, below);
	cleanup_free char *path = xasprintf("%s/dataset.json", folder);
	int r;

	if (dir_make_below(o->root, below, err) < 0)
		return -1;
	/* Other nodes may be making it just now. */
	if (!o->node && atomic_file_sweep(folder, err) < 0)
		return -1;
	r = write_dataset(path, name, recipe, err);
	return r == ATOMIC_EXISTS ? check_dataset(path, o->root, name, recipe, err) : r;
}

static int check_queue(const struct output *o, const char *path, const char *cluster,
		       struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	const char *known;
	json_t *root;
	int r = 0;

	if (file_read_all(path, 1 << 16, &text, err) < 0)
		return -1;
	root = json_loadb((const char *)text.data, text.size, 0, NULL);
	known = json_string_value(json_object_get(root, "queue"));
	if (!known)
		r = error_set(err, ERR_CONFIG, "%s is damaged: remove it", path);
	else if (strcmp(known, cluster) != 0)
		r = error_set(err, ERR_CONFIG,
			      "%s belongs to nodes with another database, whose queue is %s: give "
			      "another output, or remove %s if that database is gone",
			      o->root, known, path);
	json_decref(root);
	return r;
}

int output_bind_queue(const struct output *o, const char *cluster, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/.latentd/queue.json", o->root);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int r;

	if (file_exists(path))
		return check_queue(o, path, cluster, err);
	buffer_appendf(&text, "{\"queue\": \"%s\"}\n", cluster);
	r = put_new(path, &text, err);
	return r == ATOMIC_EXISTS ? check_queue(o, path, cluster, err) : r;
}

int output_change_form(const char *folder, const struct dataset_form *form, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/.latentd/dataset.json", folder);
	cleanup_buffer struct buffer text = BUFFER_INIT, changed = BUFFER_INIT;
	json_t *root;
	bool written;

	if (file_read_all(path, 16 << 20, &text, err) < 0)
		return -1;
	root = hashed_json_holds(&text) ? json_loadb((const char *)text.data, text.size, 0, NULL)
					: NULL;
	if (!root)
		return error_data(err, "dataset", "%s is damaged", path);
	json_object_del(root, "xxh3_128"); /* of the text, made anew */
	dataset_form_put(form, root);
	written = hashed_json_write(root, &changed);
	json_decref(root);
	return written ? atomic_file_write(path, changed.data, changed.size, err)
		       : error_set(err, ERR_BUG, "%s cannot be written as JSON", path);
}

/* "512", "768x512", "512-768-1024"; to be freed. */
static char *sizes_name(const struct recipe *recipe)
{
	const struct bucket_options *first = &recipe->buckets;
	cleanup_buffer struct buffer name = BUFFER_INIT;

	if (first->rule == BUCKET_FIXED)
		return xasprintf("%zux%zu", first->width, first->height);
	buffer_appendf(&name, "%zu", first->resolution);
	for (size_t i = 0; i < recipe->n_more; i++)
		buffer_appendf(&name, "-%zu", recipe->more[i].resolution);
	return xstrdup((const char *)name.data);
}

char *output_default_name(const char *model, const struct recipe *recipe)
{
	cleanup_free char *size = sizes_name(recipe);
	cleanup_buffer struct buffer base = BUFFER_INIT;

	for (const char *p = model; *p && base.size < 60; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9') || *p == '-' || *p == '_';

		buffer_put_u8(&base, plain ? (uint8_t)*p : '_');
	}
	return xasprintf("%s-%s-%.8s", base.data ? (const char *)base.data : "vae", size,
			 recipe->id);
}

/*
 * Every file is read here once and again when it is sealed: what is wrong is known before anything is made, and memory is that
 * of names.
 */
#include "daemon/import.h"

#include "source/sample_key.h"

#include "base/checked.h"
#include "base/file_tree.h"
#include "base/files.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define CAPTION_MAX ((size_t)1 << 20)

struct scan {
	const struct import_options *options;
	struct import_plan *plan;
};

static void note(const struct scan *s, const char *path, const char *why)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *line = xasprintf("%s: %s", text_quote(path, quoted), why);

	s->plan->bad++;
	s->options->note(line);
}

/* -- metadata ------------------------------------------------------------------------------------- */

/* {"holiday/beach.jpg": {"caption": ...}} by the images' stems. */
static int read_metadata(const struct import_options *o, struct import_plan *plan,
			 struct error *err)
{
	json_error_t where;
	json_t *root = json_load_file(o->metadata, JSON_REJECT_DUPLICATES, &where), *entry;
	const char *path;

	if (!json_is_object(root)) {
		json_decref(root);
		return error_set(err, ERR_CONFIG, "%s: not a metadata file of sd-scripts: %s",
				 o->metadata, root ? "it is no object" : where.text);
	}
	plan->captions = json_object();
	json_object_foreach(root, path, entry)
	{
		cleanup_free char *stem = export_stem(path);
		json_t *caption = json_object_get(entry, "caption");
		json_t *about = json_pack("{s:s, s:O?}", "image", path, "caption", caption);

		json_object_set_new(plan->captions, stem, about);
	}
	json_decref(root);
	return 0;
}

/* -- captions ------------------------------------------------------------------------------------- */

int import_caption(const struct import_options *options, const struct import_plan *plan,
		   const struct import_name *name, char **out, struct error *err)
{
	static const char *const extensions[] = {"txt", "caption"};
	const char *known = json_string_value(
	    json_object_get(json_object_get(plan->captions, name->stem), "caption"));

	*out = known ? xstrdup(known) : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(extensions) && !known; i++) {
		cleanup_free char *path =
		    xasprintf("%s/%s.%s", options->folder, name->stem, extensions[i]);
		cleanup_buffer struct buffer text = BUFFER_INIT, clean = BUFFER_INIT;

		if (!file_exists(path))
			continue;
		if (file_read_regular(path, CAPTION_MAX, &text, err) < 0)
			return -1;
		while (text.size > 0 && strchr("\r\n", text.data[text.size - 1]))
			text.size--;
		utf8_append_clean(&clean, text.data, text.size);
		if (clean.size > 0)
			*out = xasprintf("%.*s", (int)clean.size, (char *)clean.data);
		break;
	}
	return 0;
}

/* -- one file ------------------------------------------------------------------------------------- */

/* The image as metadata or the folder have it; otherwise only its stem is known. */
static char *image_of(const struct scan *s, const struct import_name *name)
{
	static const char *const extensions[] = {"jpg", "jpeg", "png", "webp", "JPG", "JPEG",
						 "PNG", "WEBP", "bmp", "avif", "jxl"};
	const char *known = json_string_value(
	    json_object_get(json_object_get(s->plan->captions, name->stem), "image"));

	if (known)
		return xstrdup(known);
	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
		cleanup_free char *image = xasprintf("%s.%s", name->stem, extensions[i]);
		cleanup_free char *full = xasprintf("%s/%s", s->options->folder, image);

		if (file_exists(full))
			return TAKE(image);
	}
	return xasprintf("%s.npz", name->stem);
}

static void add_item(struct scan *s, struct import_name *name, const struct import_file *file)
{
	struct import_plan *plan = s->plan;
	struct import_item *item;

	ARRAY_GROW(plan->items, plan->n, plan->capacity);
	item = &plan->items[plan->n++];
	*item = (struct import_item){.name = *name, .image = image_of(s, name)};
	*name = (struct import_name){.path = NULL};
	sample_key(item->image, item->key);
	item->rank = hash64_of(item->key, strlen(item->key), 0);
	item->bytes = file->latent.bytes + 4096;
	snprintf(item->group, sizeof(item->group), "%zux%zu", file->placement.target_width,
		 file->placement.target_height);
	plan->flipped += file->flipped;
	plan->masks += file->masks;
	plan->others += file->others;
}

/* What a shard would not take, or nobody could read. */
static int check_file(const struct scan *s, const struct import_name *name,
		      const struct import_file *file, struct error *err)
{
	cleanup_ndarray struct ndarray stored = NDARRAY_INIT;
	cleanup_free char *caption = NULL;

	if (export_convert(&file->latent, s->options->dtype, &stored, err) < 0)
		return -1;
	return import_caption(s->options, s->plan, name, &caption, err);
}

/* What is wrong with a file is noted; below zero only where the import cannot go on. */
static int take_file(struct scan *s, const char *path, struct error *err)
{
	struct import_name name = {.path = NULL};
	struct import_file file = {.flipped = 0};
	struct error wrong = ERROR_INIT;

	if (!import_name_parse(path, &name)) {
		s->plan->foreign +=
		    strlen(path) > 4 && strcmp(path + strlen(path) - 4, ".npz") == 0;
		return 0;
	}
	if (s->options->arch && strcmp(s->options->arch, name.arch->name) != 0) {
		s->plan->foreign++;
	} else if (s->plan->arch && s->plan->arch != name.arch) {
		error_set(err, ERR_CONFIG,
			  "there are latents of %s and of %s: say which with --arch",
			  s->plan->arch->name, name.arch->name);
	} else {
		s->plan->arch = name.arch;
		if (import_file_read(s->options->folder, &name, &file, &wrong) < 0 ||
		    check_file(s, &name, &file, &wrong) < 0)
			note(s, path, wrong.message);
		else
			add_item(s, &name, &file);
		import_file_release(&file);
	}
	import_name_release(&name);
	return err->code ? -1 : 0;
}

/* -- all ------------------------------------------------------------------------------------------ */

static int visit(void *arg, const struct file_tree_entry *entry, struct error *err)
{
	struct scan *s = arg;

	switch (entry->kind) {
	case FILE_TREE_FOLDER:
		return entry->name[0] == '.' ? FILE_TREE_SKIP : 0;
	case FILE_TREE_FILE:
		return take_file(s, entry->below, err);
	case FILE_TREE_UNREADABLE:
		note(s, entry->below, strerror(entry->why));
		return 0;
	default:
		return 0;
	}
}

static int by_key(const void *a, const void *b)
{
	const struct import_item *x = a, *y = b;
	int key = strcmp(x->key, y->key);

	return key != 0 ? key : strcmp(x->name.path, y->name.path);
}

static int by_place(const void *a, const void *b)
{
	const struct import_item *x = a, *y = b;
	int group = strcmp(x->group, y->group);

	if (group != 0)
		return group;
	return x->rank != y->rank ? (x->rank < y->rank ? -1 : 1) : strcmp(x->key, y->key);
}

/* An image has one sample: of files for several sizes of it the first name's is taken. */
static void leave_doubles(struct scan *s)
{
	struct import_plan *plan = s->plan;
	size_t n = 0;

	qsort(plan->items, plan->n, sizeof(*plan->items), by_key);
	for (size_t i = 0; i < plan->n; i++) {
		struct import_item *item = &plan->items[i];

		if (n > 0 && strcmp(item->key, plan->items[n - 1].key) == 0) {
			note(s, item->name.path, "its image has another file already");
			import_item_release(item);
		} else {
			plan->items[n++] = *item;
		}
	}
	plan->n = n;
}

int import_scan(const struct import_options *options, struct import_plan *plan, struct error *err)
{
	struct scan s = {options, plan};

	if (options->arch && !import_arch_find(options->arch))
		return error_set(err, ERR_CONFIG, "kohya has no --arch %s that is known here",
				 options->arch);
	if (options->metadata && read_metadata(options, plan, err) < 0)
		return -1;
	if (file_tree_walk(options->folder, visit, &s, err) < 0)
		return -1;
	if (plan->n == 0)
		return error_set(err, ERR_CONFIG, "%s has no STEM_WxH_ARCH.npz%s", options->folder,
				 plan->bad > 0 ? " that can be read" : " of sd-scripts");
	leave_doubles(&s);
	qsort(plan->items, plan->n, sizeof(*plan->items), by_place);
	return 0;
}

void import_item_release(struct import_item *item)
{
	import_name_release(&item->name);
	free(item->image);
}

void import_plan_release(struct import_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		import_item_release(&plan->items[i]);
	free(plan->items);
	json_decref(plan->captions);
	*plan = (struct import_plan){.n = 0};
}

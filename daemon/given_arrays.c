#include "daemon/given_arrays.h"

#include "daemon/attach.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/note.h"
#include "base/text.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LIST_MAX = 1 << 20 };

static char *list_path(const struct given_arrays *g)
{
	return xasprintf("%s/.latentd/given-arrays.json", g->folder);
}

/* {name: path}; the caller has the reference. One that nothing can be made of is empty: the person gives them again. */
static int read_list(const struct given_arrays *g, json_t **out, struct error *err)
{
	cleanup_free char *path = list_path(g);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *list = NULL;

	if (file_exists(path)) {
		if (file_read_all(path, LIST_MAX, &text, err) < 0)
			return -1;
		list = json_loadb((const char *)text.data, text.size, 0, NULL);
	}
	if (!json_is_object(list)) {
		json_decref(list);
		list = json_object();
	}
	*out = list;
	return 0;
}

static int write_list(const struct given_arrays *g, const json_t *list, struct error *err)
{
	cleanup_free char *path = list_path(g);
	char *text;
	int r;

	if (json_object_size(list) == 0)
		return unlink(path) < 0 && errno != ENOENT ? error_sys(err, "remove %s", path) : 0;
	text = json_dumps(list, JSON_INDENT(1));
	if (!text)
		return error_set(err, ERR_CONFIG, "the path of arrays must be UTF-8");
	r = atomic_file_write(path, text, strlen(text), err);
	free(text);
	return r;
}

static int keep(const struct given_arrays *g, const char *name, const char *path, struct error *err)
{
	json_t *list = NULL, *kept = json_string(path);
	int r = read_list(g, &list, err);

	if (r == 0 && !kept)
		r = error_set(err, ERR_CONFIG, "the path of arrays must be UTF-8");
	if (r == 0) {
		json_object_set(list, name, kept);
		r = write_list(g, list, err);
	}
	json_decref(kept);
	json_decref(list);
	return r;
}

int given_arrays_add(const struct given_arrays *g, const char *name, const char *path, bool dry_run,
		     size_t *n, struct foreign_keys *foreign, struct error *err)
{
	struct attachments *arrays = NULL;
	int r = attachments_open(name, path, &arrays, err);

	if (r == 0)
		r = foreign_keys_leave(g->queue, g->dataset, attachments_keys(arrays), foreign,
				       err);
	if (r == 0)
		*n = json_object_size(attachments_keys(arrays));
	attachments_close(arrays);
	return r == 0 && *n > 0 && !dry_run ? keep(g, name, path, err) : r;
}

/* 0, or -1: *why is the file's. */
static int open_arrays(const struct given_arrays *g, const char *name, const char *path,
		       struct attachments **out, struct error *why)
{
	cleanup_foreign_keys struct foreign_keys foreign = FOREIGN_KEYS_INIT;
	struct attachments *arrays = NULL;

	if (attachments_open(name, path, &arrays, why) < 0)
		return -1;
	if (foreign_keys_leave(g->queue, g->dataset, attachments_keys(arrays), &foreign, why) < 0) {
		attachments_close(arrays);
		return -1;
	}
	*out = arrays;
	return 0;
}

/* Whether it is not to be kept any more, or -1: what is wrong is not the file's. */
static int attach_one(const struct given_arrays *g, const struct rewrite_options *o,
		      const char *name, const char *path, struct error *err)
{
	struct attachments *arrays = NULL;
	struct attached done = {.stopped = false};
	struct error why = ERROR_INIT;
	char quoted[TEXT_QUOTE_SIZE];
	int opened = open_arrays(g, name, path, &arrays, &why);
	int r = opened < 0 ? -1 : attach(o, arrays, &done, &why);

	attachments_close(arrays);
	if (r < 0 && opened == 0 && why.code != ERR_CONFIG) {
		*err = why;
		return -1;
	}
	if (r < 0)
		note_tell(o->note, o->arg, "arrays %s of %s are not attached, give them again: %s",
			  name, text_quote(path, quoted), why.message);
	else
		note_tell(o->note, o->arg, "%s attached to %zu samples in %zu shards%s", name,
			  done.samples, done.shards, done.stopped ? ", the others later" : "");
	return r < 0 || !done.stopped;
}

int given_arrays_attach(const struct given_arrays *g, const struct rewrite_options *options,
			struct error *err)
{
	json_t *list = NULL, *rest, *path;
	const char *name;
	void *next;
	int r = read_list(g, &list, err);

	if (r < 0 || json_object_size(list) == 0) {
		json_decref(list);
		return r;
	}
	rest = json_copy(list);
	json_object_foreach_safe(list, next, name, path)
	{
		int done = json_is_string(path) && attachment_name_valid(name)
			       ? attach_one(g, options, name, json_string_value(path), err)
			       : 1;

		if (done < 0) {
			r = -1;
			break;
		}
		if (done)
			json_object_del(rest, name);
	}
	if (r == 0)
		r = write_list(g, rest, err);
	json_decref(rest);
	json_decref(list);
	return r;
}

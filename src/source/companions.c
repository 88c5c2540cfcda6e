#include "source/companions.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"
#include "source/folder_files.h"
#include "source/source_json.h"
#include "source/source_path.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* @path with @ending in the place of its own. To be freed. */
static char *beside(const char *path, const char *ending)
{
	return xasprintf("%.*s%s", (int)source_path_stem(path), path, ending);
}

/* 0: it is not there, or no object. */
static int read_json(int root, enum source_links links, const char *path, json_t **out,
		     struct error *err)
{
	cleanup_free char *json = beside(path, ".json");
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct error failed = ERROR_INIT;
	cleanup_close int fd = folder_open_file(root, links, json, &failed);

	*out = NULL;
	if (fd >= 0 && fd_read_all(fd, SOURCE_CAPTION_MAX, &bytes, &failed) == 0)
		*out = source_json(bytes.data, bytes.size, 0);
	if (!json_is_object(*out)) {
		json_decref(*out);
		*out = NULL;
	}
	if (failed.code == ERR_NONE || strcmp(failed.reason, "gone") == 0 ||
	    strcmp(failed.reason, "too_large") == 0)
		return 0;
	*err = failed;
	return -1;
}

/* -- looking -------------------------------------------------------------------------------------- */

/* The stamp of that one. */
static uint64_t stamp_of(int dir, enum source_links links, const char *name, const char *ending,
			 const struct companion_search *search)
{
	char wanted[NAME_MAX + 16];
	struct stat st;

	snprintf(wanted, sizeof(wanted), "%.*s%s", (int)source_path_stem(name), name, ending);
	if (search->may_be && !search->may_be(search->arg, wanted))
		return 0;
	if (folder_stat(dir, links, wanted, &st) == 0)
		return S_ISLNK(st.st_mode) ? 0 : folder_stamp(&st);
	return errno == ENOENT || errno == ENAMETOOLONG ? 0 : SOURCE_UNSEEN;
}

static bool has_caption(int dir, enum source_links links, const char *name)
{
	struct error ignored = ERROR_INIT;
	json_t *json = NULL;
	bool has;

	read_json(dir, links, name, &json, &ignored);
	has = json_is_string(json_object_get(json, "caption"));
	json_decref(json);
	return has;
}

void companions_look(int dir, enum source_links links, const char *name,
		     const struct companion_search *search, struct source_entry *entry)
{
	entry->caption = stamp_of(dir, links, name, ".txt", search);
	if (entry->caption == 0)
		entry->caption = stamp_of(dir, links, name, ".caption", search);
	entry->meta = stamp_of(dir, links, name, ".json", search);
	if (entry->meta == SOURCE_UNSEEN) {
		entry->meta = 0;
		entry->caption = SOURCE_UNSEEN;
	}
	if (entry->caption == 0 && entry->meta != 0 &&
	    (!search->read_json || has_caption(dir, links, name)))
		entry->caption = entry->meta;
}

/* -- reading -------------------------------------------------------------------------------------- */

/* SOURCE_NO_CAPTION: it is not there. */
static int read_text(int root, enum source_links links, const char *path, const char *ending,
		     struct buffer *out, struct error *err)
{
	cleanup_free char *caption = beside(path, ending);
	struct error failed = ERROR_INIT;
	cleanup_close int fd = folder_open_file(root, links, caption, &failed);
	char quoted[TEXT_QUOTE_SIZE];

	if (fd < 0) {
		if (failed.code == ERR_DATA && strcmp(failed.reason, "gone") == 0)
			return SOURCE_NO_CAPTION;
		*err = failed;
		return -1;
	}
	if (fd_read_all(fd, SOURCE_CAPTION_MAX, out, err) < 0)
		return error_wrap(err, "%s", text_quote(caption, quoted));
	return 0;
}

int companions_caption(int root, enum source_links links, const char *path, struct buffer *out,
		       struct error *err)
{
	int r = read_text(root, links, path, ".txt", out, err);
	json_t *json = NULL;
	const char *caption;

	if (r == SOURCE_NO_CAPTION)
		r = read_text(root, links, path, ".caption", out, err);
	if (r != SOURCE_NO_CAPTION)
		return r;
	if (read_json(root, links, path, &json, err) < 0)
		return -1;
	caption = json_string_value(json_object_get(json, "caption"));
	if (caption)
		buffer_append_string(out, caption);
	json_decref(json);
	return caption ? 0 : SOURCE_NO_CAPTION;
}

static void put_object(json_t *json, struct buffer *out)
{
	char *text = json_dumps(json, JSON_COMPACT);

	if (!text)
		abort();
	buffer_append_string(out, text);
	free(text);
}

void companions_of_json(const struct buffer *bytes, struct buffer *caption, bool *has_caption,
			struct buffer *meta)
{
	json_t *json = source_json(bytes->data, bytes->size, 0);
	const char *text = json_string_value(json_object_get(json, "caption"));

	if (text && caption)
		buffer_append_string(caption, text);
	if (text && has_caption)
		*has_caption = true;
	if (json_is_object(json) && meta)
		put_object(json, meta);
	json_decref(json);
}

int companions_meta(int root, enum source_links links, const char *path, struct buffer *out,
		    struct error *err)
{
	json_t *json = NULL;

	if (read_json(root, links, path, &json, err) < 0)
		return -1;
	if (!json)
		return SOURCE_NO_META;
	put_object(json, out);
	json_decref(json);
	return 0;
}

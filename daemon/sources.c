#include "daemon/sources.h"

#include "base/atomic_file.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"
#include "source/source_path.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* {"path", "inode", "born_ns", "device"} of a folder; born_ns is 0 where the file system does not say. */
static json_t *folder_json(const char *path)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *folder = json_object();
	struct statx st;

	memset(&st, 0, sizeof(st));
	statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &st);
	percent_encode(&text, path, strlen(path));
	json_object_set_new(folder, "path", json_stringn((const char *)text.data, text.size));
	json_object_set_new(folder, "inode", json_integer((json_int_t)st.stx_ino));
	json_object_set_new(
	    folder, "born_ns",
	    json_integer(st.stx_mask & STATX_BTIME
			     ? (json_int_t)st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec
			     : 0));
	json_object_set_new(folder, "device",
			    json_integer((json_int_t)makedev(st.stx_dev_major, st.stx_dev_minor)));
	return folder;
}

static bool same_field(json_t *a, json_t *b, const char *field)
{
	return json_equal(json_object_get(a, field), json_object_get(b, field)) == 1;
}

static bool path_is_there(json_t *folder)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	const char *text = json_string_value(json_object_get(folder, "path"));

	return !text || !percent_decode(&path, text) || file_exists((const char *)path.data);
}

/* Device numbers may change with a reboot; a birth time does not. */
static bool is_moved(json_t *known, json_t *asked)
{
	bool born = json_integer_value(json_object_get(asked, "born_ns")) != 0;
	bool here = json_integer_value(json_object_get(asked, "inode")) != 0;

	return here && same_field(known, asked, "inode") && same_field(known, asked, "born_ns") &&
	       (born || same_field(known, asked, "device")) && !path_is_there(known);
}

/* The number of @asked among the known folders, NULL if it is new. */
static const char *find_number(json_t *known, json_t *asked)
{
	const char *number;
	json_t *value;

	json_object_foreach(known, number, value)
	{
		if (same_field(value, asked, "path"))
			return number;
	}
	json_object_foreach(known, number, value)
	{
		if (is_moved(value, asked))
			return number;
	}
	return NULL;
}

char *sources_real_path(const char *path)
{
	size_t n = strlen(path);

	if (!source_path_is_url(path))
		return realpath(path, NULL);
	while (path[n - 1] == '/')
		n--;
	return xasprintf("%.*s", (int)n, path);
}

static uint32_t next_number(json_t *known)
{
	uint32_t next = 0;
	const char *number;
	json_t *value;

	json_object_foreach(known, number, value)
	{
		uint32_t n = (uint32_t)strtoul(number, NULL, 10);

		if (n >= next)
			next = n + 1;
	}
	return next;
}

static void set_root(json_t *folder, const char *path, const char *root)
{
	cleanup_free char *parent = dir_of(path), *real = realpath(root ? root : parent, NULL);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct stat st;

	if (!real || !source_path_is_manifest(path) || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	percent_encode(&text, real, strlen(real));
	json_object_set_new(folder, "root", json_stringn((const char *)text.data, text.size));
}

static uint32_t number_of(json_t *known, const char *path, const char *root, const uint32_t *given,
			  bool *moved_device)
{
	json_t *asked = folder_json(path), *before;
	const char *found = given ? NULL : find_number(known, asked);
	char number[16];

	if (found)
		snprintf(number, sizeof(number), "%s", found);
	else
		snprintf(number, sizeof(number), "%u", given ? *given : next_number(known));
	before = json_object_get(known, number);
	if (before && !same_field(before, asked, "device"))
		*moved_device = true;
	set_root(asked, path, root);
	json_object_set_new(known, number, asked);
	return (uint32_t)strtoul(number, NULL, 10);
}

static int read_known(const char *file, json_t **out, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *known;

	if (!file_exists(file)) {
		*out = json_object();
		return 0;
	}
	if (file_read_all(file, 1 << 20, &text, err) < 0)
		return -1;
	known = json_loadb((const char *)text.data, text.size, 0, NULL);
	if (!json_is_object(known)) {
		json_decref(known);
		return error_set(err, ERR_CONFIG,
				 "%s is damaged: it says which number each source folder has",
				 file);
	}
	*out = known;
	return 0;
}

int sources_number(const char *state, const char *dataset, char *const *paths, size_t n,
		   struct sources_numbers *out, struct error *err)
{
	cleanup_free char *file = xasprintf("%s/%s.sources.json", state, dataset);
	json_t *known = NULL, *before;
	char *text;
	bool same;
	int r;

	if (read_known(file, &known, err) < 0)
		return -1;
	before = json_deep_copy(known);
	for (size_t i = 0; i < n; i++)
		out->numbers[i] = number_of(known, paths[i], out->root,
					    out->given ? &out->given[i] : NULL, &out->moved_device);
	out->others = json_object_size(known) - n;
	same = json_equal(known, before) == 1;
	json_decref(before);
	if (same) {
		json_decref(known);
		return 0;
	}
	text = json_dumps(known, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(known);
	if (!text)
		return error_set(err, ERR_BUG, "the sources cannot be written as JSON");
	r = atomic_file_write(file, text, strlen(text), err);
	free(text);
	return r;
}

char *sources_lists(const char *state, const char *dataset, uint32_t number)
{
	return xasprintf("%s/%s.archives/%u", state, dataset, number);
}

/* To be freed; NULL: it is damaged. */
static char *decoded(json_t *field)
{
	const char *text = json_string_value(field);
	cleanup_buffer struct buffer path = BUFFER_INIT;

	if (!text || !percent_decode(&path, text) || path.size == 0)
		return NULL;
	return xstrdup((const char *)path.data);
}

void sources_known_read(const char *state, const char *dataset, struct sources_known *out)
{
	cleanup_free char *file = xasprintf("%s/%s.sources.json", state, dataset);
	struct error err = ERROR_INIT;
	const char *number;
	json_t *known = NULL, *folder;

	*out = (struct sources_known){.n = 0};
	if (read_known(file, &known, &err) < 0)
		return;
	out->folders = xcalloc(json_object_size(known) + 1, sizeof(*out->folders));
	json_object_foreach(known, number, folder)
	{
		json_t *path = json_object_get(folder, "path"),
		       *root = json_object_get(folder, "root");
		struct sources_folder known_one = {(uint32_t)strtoul(number, NULL, 10),
						   decoded(root ? root : path), decoded(path)};

		if (known_one.path && known_one.source) {
			out->folders[out->n++] = known_one;
			continue;
		}
		free(known_one.path);
		free(known_one.source);
	}
	json_decref(known);
}

static const struct sources_folder *find_known(const struct sources_known *known, uint32_t number)
{
	for (size_t i = 0; i < known->n; i++) {
		if (known->folders[i].number == number)
			return &known->folders[i];
	}
	return NULL;
}

const char *sources_known_path(const struct sources_known *known, uint32_t number)
{
	const struct sources_folder *folder = find_known(known, number);

	return folder ? folder->path : NULL;
}

const char *sources_known_source(const struct sources_known *known, uint32_t number)
{
	const struct sources_folder *folder = find_known(known, number);

	return folder ? folder->source : NULL;
}

void sources_known_release(struct sources_known *known)
{
	for (size_t i = 0; i < known->n; i++) {
		free(known->folders[i].path);
		free(known->folders[i].source);
	}
	free(known->folders);
	*known = (struct sources_known){.n = 0};
}

enum source_links sources_links(enum followed_symlinks symlinks)
{
	switch (symlinks) {
	case SYMLINKS_NONE:
		return LINKS_NONE;
	case SYMLINKS_ALL:
		return LINKS_ALL;
	default:
		return LINKS_FILES;
	}
}

struct source_choice sources_choice(const struct source_options *o)
{
	return (struct source_choice){.include = {o->include.items, o->include.n},
				      .exclude = {o->exclude.items, o->exclude.n},
				      .hidden = o->hidden == HIDDEN_TAKE,
				      .links = sources_links(o->symlinks)};
}

struct source_manifest_options sources_manifest(const struct source_options *o)
{
	return (struct source_manifest_options){o->root, o->path_column, o->caption_column};
}

struct source_remote_options sources_remote(const struct fetch_options *o)
{
	return (struct source_remote_options){.connections = o->connections,
					      .per_host = o->host_connections,
					      .rate = (double)o->host_rate,
					      .bytes_max = o->file_limit,
					      .recheck_ms = (int64_t)o->recheck,
					      .cache = o->cache,
					      .cache_bytes = o->cache_size,
					      .private_hosts = o->private_hosts};
}

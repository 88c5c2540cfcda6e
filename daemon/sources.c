#include "daemon/sources.h"

#include "base/atomic_file.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* A path as a JSON string: bytes that are not UTF-8 are percent-encoded. */
static json_t *path_json(const char *path)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	percent_encode(&text, path, strlen(path));
	return json_stringn((const char *)text.data, text.size);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static json_t *read_known(const char *file)
{
	struct error ignored = ERROR_INIT;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	json_t *known;

	if (file_read_all(file, 1 << 20, &text, &ignored) < 0)
		return json_object();
	known = json_loadb((const char *)text.data, text.size, 0, NULL);
	if (json_is_object(known))
		return known;
	json_decref(known);
	return json_object();
}

/* The number of the known folder @path, NULL if it is not known. */
static const char *find_number(json_t *known, json_t *path)
{
	const char *number;
	json_t *value;

	json_object_foreach(known, number, value)
	{
		if (json_equal(value, path))
			return number;
	}
	return NULL;
}

static bool asked_for(json_t *path, char *const *paths, size_t n)
{
	bool found = false;

	for (size_t i = 0; i < n && !found; i++) {
		json_t *asked = path_json(paths[i]);

		found = json_equal(path, asked);
		json_decref(asked);
	}
	return found;
}

/* The number of a known folder that @path is the new place of; NULL if there is none. */
static const char *find_moved(json_t *known, const char *path, char *const *paths, size_t n)
{
	const char *number;
	json_t *value;

	json_object_foreach(known, number, value)
	{
		cleanup_buffer struct buffer old = BUFFER_INIT;
		const char *text = json_string_value(value);
		bool only = json_object_size(known) == 1 && n == 1;

		if (!text || !percent_decode(&old, text) || asked_for(value, paths, n))
			continue;
		if (only || (!file_exists((const char *)old.data) &&
			     strcmp(base_name((const char *)old.data), base_name(path)) == 0))
			return number;
	}
	return NULL;
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

static uint32_t number_of(json_t *known, const char *path, char *const *paths, size_t n)
{
	json_t *text = path_json(path);
	const char *found = find_number(known, text);
	char number[16];

	if (!found)
		found = find_moved(known, path, paths, n);
	if (found)
		snprintf(number, sizeof(number), "%s", found);
	else
		snprintf(number, sizeof(number), "%u", next_number(known));
	json_object_set_new(known, number, text);
	return (uint32_t)strtoul(number, NULL, 10);
}

int sources_number(const char *state, const char *dataset, char *const *paths, size_t n,
		   uint32_t *numbers, struct error *err)
{
	cleanup_free char *file = xasprintf("%s/%s.sources.json", state, dataset);
	json_t *known = read_known(file);
	char *text;
	int r;

	for (size_t i = 0; i < n; i++)
		numbers[i] = number_of(known, paths[i], paths, n);
	text = json_dumps(known, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(known);
	if (!text)
		return error_set(err, ERR_BUG, "the sources cannot be written as JSON");
	r = atomic_file_write(file, text, strlen(text), err);
	free(text);
	return r;
}

#include "daemon/caption_list.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define LIST_MAX ((size_t)4 << 30)

char *caption_list_path(const char *folder)
{
	return xasprintf("%s/.latentd/captions.jsonl", folder);
}

char *given_captions_path(const char *folder)
{
	return xasprintf("%s/.latentd/given-captions.jsonl", folder);
}

static bool take_line(const char *line, json_t *list)
{
	json_t *entry = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	const char *key = json_string_value(json_object_get(entry, "key"));
	json_t *caption = json_object_get(entry, "caption");
	bool ok = key && *key && (json_is_string(caption) || json_is_null(caption));

	if (ok)
		json_object_set(list, key, caption);
	json_decref(entry);
	return ok;
}

int caption_list_parse(struct buffer *text, json_t *list, struct error *err)
{
	char *rest, *line;
	size_t number = 0;

	if (text->size == 0)
		return 0;
	if (memchr(text->data, '\0', text->size))
		return error_data(err, "list", "it has NUL bytes");
	rest = (char *)text->data;
	while ((line = strsep(&rest, "\n")) != NULL) {
		number++;
		if (*line && strcmp(line, "\r") != 0 && !take_line(line, list))
			return error_data(err, "list",
					  "line %zu is not {\"key\": TEXT, \"caption\": TEXT or "
					  "null}",
					  number);
	}
	return 0;
}

int caption_list_read(const char *path, json_t *list, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];

	if (!file_exists(path))
		return 0;
	if (file_read_regular(path, LIST_MAX, &text, err) < 0)
		return -1;
	if (caption_list_parse(&text, list, err) < 0)
		return error_wrap(err, "%s", text_quote(path, quoted));
	return 0;
}

int caption_list_write(const char *path, const json_t *list, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	const char *key;
	json_t *caption;

	json_object_foreach((json_t *)list, key, caption)
	    caption_list_line(&text, key, json_string_value(caption));
	if (text.size > 0)
		return atomic_file_write(path, text.data, text.size, err);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_sys(err, "remove %s", path);
	return 0;
}

bool caption_list_find(const json_t *list, const char *key, const char **caption)
{
	const json_t *found = json_object_get(list, key);

	if (found)
		*caption = json_string_value(found);
	return found != NULL;
}

void caption_list_set(json_t *list, const char *key, const char *caption)
{
	json_object_set_new(list, key, caption ? json_string(caption) : json_null());
}

void caption_list_line(struct buffer *out, const char *key, const char *caption)
{
	json_t *line = json_pack("{s:s, s:s?}", "key", key, "caption", caption);
	char *text = json_dumps(line, JSON_COMPACT);

	json_decref(line);
	if (!text)
		memory_is_out();
	buffer_append_string(out, text);
	buffer_put_u8(out, '\n');
	free(text);
}

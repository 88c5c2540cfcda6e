#include "daemon/hashed_json.h"

#include "base/checked.h"
#include "base/hash.h"

#include <jansson.h>
#include <string.h>

static char *tail_of(const void *head, size_t size)
{
	struct hash128 hash = hash128_of(head, size);
	char hex[HASH128_HEX_SIZE];

	hash128_hex(&hash, hex);
	return xasprintf(",\n \"xxh3_128\": \"%s\"\n}\n", hex);
}

bool hashed_json_write(json_t *root, struct buffer *out)
{
	cleanup_free char *text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
	cleanup_free char *tail = NULL;
	size_t head;

	if (!text)
		return false;
	head = strlen(text) - strlen("\n}");
	tail = tail_of(text, head);
	buffer_append(out, text, head);
	buffer_append_string(out, tail);
	return true;
}

bool hashed_json_holds(const struct buffer *text)
{
	cleanup_free char *any = tail_of("", 0);
	size_t size = strlen(any);
	cleanup_free char *tail = NULL;

	if (text->size < size)
		return false;
	tail = tail_of(text->data, text->size - size);
	return memcmp(text->data + text->size - size, tail, size) == 0;
}

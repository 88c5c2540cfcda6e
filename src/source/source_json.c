#include "source/source_json.h"

#include "base/buffer.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

static json_t *load(const void *bytes, size_t size, size_t flags)
{
	json_error_t why;
	json_t *value = json_loadb(bytes, size, flags, &why);

	if (!value && json_error_code(&why) == json_error_numeric_overflow)
		value = json_loadb(bytes, size, flags | JSON_DECODE_INT_AS_REAL, NULL);
	return value;
}

/* The size of what Python writes there for a floating number that is none; 0: it is something else. */
static size_t no_number(const char *s, size_t size)
{
	static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
	size_t found = 0;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i]);

		if (n <= size && memcmp(s, words[i], n) == 0)
			found = n;
	}
	return found;
}

/* Appends @s with null for each of them. False: there is none. */
static bool without_them(const char *s, size_t size, struct buffer *out)
{
	bool text = false, found = false;

	for (size_t i = 0, n; i < size; i += n) {
		n = text ? 0 : no_number(s + i, size - i);
		if (n > 0) {
			buffer_append(out, "null", 4);
			found = true;
			continue;
		}
		n = text && s[i] == '\\' && i + 1 < size ? 2 : 1;
		text = text != (s[i] == '"');
		buffer_append(out, s + i, n);
	}
	return found;
}

json_t *source_json(const void *bytes, size_t size, size_t flags)
{
	cleanup_buffer struct buffer nulls = BUFFER_INIT;
	json_t *value = load(bytes, size, flags);

	if (!value && without_them(bytes, size, &nulls))
		value = load(nulls.data, nulls.size, flags);
	return value;
}

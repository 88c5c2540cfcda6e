/*
 * Names and texts as Python writes them: what reads these files is Python.
 */
#include "daemon/export_format.h"

#include "base/checked.h"
#include "base/text.h"

#include <string.h>

const char *export_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

char *export_stem(const char *path)
{
	const char *name = export_name(path), *dot = strrchr(name, '.');

	/* ".beach" has no extension, for Python. */
	if (!dot || strspn(name, ".") >= (size_t)(dot - name) + 1)
		dot = name + strlen(name);
	return xasprintf("%.*s", (int)(dot - path), path);
}

/* The code point of the UTF-8 sequence of @n bytes at @s. */
static uint32_t code_point(const uint8_t *s, size_t n)
{
	uint32_t c = n == 1 ? s[0] : s[0] & (0xffU >> (n + 1));

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (s[i] & 0x3fU);
	return c;
}

static void put_escaped(struct buffer *out, uint32_t c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *special = c < 0x80 && c > 0 ? strchr(from, (int)c) : NULL;

	if (special)
		buffer_appendf(out, "\\%c", to[special - from]);
	else if (c >= 0x20 && c < 0x7f)
		buffer_put_u8(out, (uint8_t)c);
	else if (c < 0x10000)
		buffer_appendf(out, "\\u%04x", c);
	else
		buffer_appendf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
			       0xdc00 + ((c - 0x10000) & 0x3ff));
}

void export_put_text(struct buffer *out, const char *text)
{
	const uint8_t *s = (const uint8_t *)text;
	size_t left = text ? strlen(text) : 0;

	buffer_put_u8(out, '"');
	while (left > 0) {
		size_t n = utf8_sequence(s, left);

		put_escaped(out, n > 0 ? code_point(s, n) : 0xdc00U + *s);
		n = n > 0 ? n : 1;
		s += n;
		left -= n;
	}
	buffer_put_u8(out, '"');
}

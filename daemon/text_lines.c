#include "daemon/text_lines.h"

#include "base/checked.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void text_clean(struct buffer *out, const char *s)
{
	size_t size = strlen(s);

	while (size > 0) {
		size_t n = utf8_sequence((const uint8_t *)s, size);
		bool control = n == 0 || (uint8_t)*s < 0x20 || *s == 0x7f ||
			       (n == 2 && (uint8_t)s[0] == 0xc2 && (uint8_t)s[1] < 0xa0);

		if (n == 0)
			n = 1;
		if (control)
			buffer_append_string(out, "?");
		else
			buffer_append(out, s, n);
		s += n;
		size -= n;
	}
}

char *text_shell_word(const char *s)
{
	static const char plain[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";
	cleanup_buffer struct buffer word = BUFFER_INIT;

	if (*s && s[strspn(s, plain)] == '\0')
		return xstrdup(s);
	buffer_append_string(&word, "'");
	for (; *s; s++)
		buffer_append(&word, *s == '\'' ? "'\\''" : s, *s == '\'' ? 4 : 1);
	buffer_append_string(&word, "'");
	return xstrdup((const char *)word.data);
}

/* Columns of text: characters, as near as it matters. */
static size_t columns(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((uint8_t)*s & 0xc0) != 0x80;
	return n;
}

void text_line_item(struct text_line *line, const char *fmt, ...)
{
	cleanup_buffer struct buffer item = BUFFER_INIT;
	cleanup_free char *text = NULL;
	va_list args;
	size_t width;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		memory_is_out();
	va_end(args);
	text_clean(&item, text);
	width = item.data ? columns((const char *)item.data) : 0;
	if (width == 0)
		return;
	if (line->column == 0) {
		buffer_appendf(line->out, "  %-*s", TEXT_LABEL_COLUMNS - 2, line->label);
		line->column = TEXT_LABEL_COLUMNS;
	} else if (line->column + 2 + width >= TEXT_COLUMNS) {
		buffer_appendf(line->out, ",\n%*s", TEXT_LABEL_COLUMNS, "");
		line->column = TEXT_LABEL_COLUMNS;
	} else {
		buffer_append_string(line->out, ", ");
		line->column += 2;
	}
	buffer_append(line->out, item.data, item.size);
	line->column += width;
}

void text_line_end(struct text_line *line)
{
	if (line->column > 0)
		buffer_append_string(line->out, "\n");
	line->column = 0;
}

void text_warning(struct buffer *out, const char *text)
{
	text_marked(out, '!', text);
}

void text_marked(struct buffer *out, char mark, const char *text)
{
	cleanup_buffer struct buffer clean = BUFFER_INIT;
	size_t column = TEXT_COLUMNS;
	bool first = true;

	text_clean(&clean, text);
	for (const char *p = clean.data ? (const char *)clean.data : ""; *p;) {
		size_t n = strcspn(p, " ");
		cleanup_free char *word = xmalloc(n + 1);

		memcpy(word, p, n);
		word[n] = '\0';
		if (column + 1 + columns(word) >= TEXT_COLUMNS) {
			if (first)
				buffer_appendf(out, "  %c ", mark);
			else
				buffer_append_string(out, "\n    ");
			column = 4;
		} else {
			buffer_append_string(out, " ");
			column++;
		}
		buffer_append_string(out, word);
		column += columns(word);
		first = false;
		p += n + strspn(p + n, " ");
	}
	if (!first)
		buffer_append_string(out, "\n");
}

/*
 * Text for a terminal: lines of a label and items that stay within the columns, warnings, and what must not go there.
 */
#ifndef LATENTD_DAEMON_TEXT_LINES_H
#define LATENTD_DAEMON_TEXT_LINES_H

#include "base/buffer.h"

#define TEXT_COLUMNS	   80
#define TEXT_LABEL_COLUMNS 13 /* "  last shard " */

/* "  label      item, item, item"; begins with its first item. */
struct text_line {
	struct buffer *out;
	size_t column; /* 0: nothing of it is written yet */
	const char *label;
};

/* Items are separated by commas; one that does not fit goes to the next line. Cleaned. */
void text_line_item(struct text_line *line, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Writes its end, if anything of it is written. */
void text_line_end(struct text_line *line);

/* Appends "  ! words of @text", broken at spaces; nothing where it is empty. Cleaned. */
void text_warning(struct buffer *out, const char *text);
/* The same with another mark. */
void text_marked(struct buffer *out, char mark, const char *text);

/* Appends @s with '?' for control characters, which would steer a terminal, and for what is not UTF-8. */
void text_clean(struct buffer *out, const char *s);
/* @s as a word of a shell's command line. To be freed. */
char *text_shell_word(const char *s);

#endif

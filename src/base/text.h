/*
 * Names and captions are bytes that somebody else chose. What leaves the process is valid UTF-8,
 * and what goes to a terminal has no control bytes.
 */
#ifndef LATENTD_BASE_TEXT_H
#define LATENTD_BASE_TEXT_H

#include "base/buffer.h"

#include <stdbool.h>

#define TEXT_QUOTE_SIZE 320

/*
 * @s in double quotes, with control bytes, quotes, backslashes and bytes that are not UTF-8 as \n, \",
 * \\ or \xNN; cut with ... where it is too long. Returns @out.
 */
const char *text_quote(const char *s, char out[TEXT_QUOTE_SIZE]);

/* Length of the UTF-8 sequence at @s (1 to 4), 0 if it is none (overlong, surrogate, cut off). */
size_t utf8_sequence(const uint8_t *s, size_t size);
bool utf8_valid(const void *s, size_t size);
/* Appends @s with every byte that is not part of valid UTF-8 replaced by U+FFFD. */
void utf8_append_clean(struct buffer *out, const void *s, size_t size);

/*
 * Percent encoding for paths in JSON: bytes that are not valid UTF-8, and '%' itself, become %XX;
 * everything else stays. percent_decode is its inverse; false on a broken escape.
 */
void percent_encode(struct buffer *out, const void *s, size_t size);
bool percent_decode(struct buffer *out, const char *s);

/* NULL is only itself. */
bool text_same(const char *a, const char *b);

/* "1.5 MiB", "823 B"; returns @out. */
const char *text_bytes(uint64_t bytes, char out[24]);

/* "1,234,567"; returns @out. */
const char *text_count(uint64_t n, char out[28]);

/* "20 s", "4 min", "3 h 12 min", "5 days 2 h"; returns @out. */
const char *text_duration(uint64_t seconds, char out[32]);

#endif

#include "source/sample_key.h"

#include "base/buffer.h"
#include "base/hash.h"
#include "base/text.h"
#include "source/source_path.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
	KEY_MAX = SAMPLE_KEY_SIZE - 1,
	TAIL = 9, /* "-xxxxxxxx" */
};

/* The code point of the valid sequence of @n bytes at @s. */
static uint32_t code_point(const uint8_t *s, size_t n)
{
	uint32_t code = n == 1 ? s[0] : s[0] & (0x7fu >> n);

	for (size_t i = 1; i < n; i++)
		code = code << 6 | (s[i] & 0x3fu);
	return code;
}

static bool is_plain(uint32_t code)
{
	switch (code) {
	case '"':
	case '\\':
	case '*':
	case '?':
	case '<':
	case '>':
	case '|':
	case ':':
	case '%':
	case '.':
	case 0x7f:
		return false;
	default:
		return code > ' ' && code < 0x80;
	}
}

/* Whether shard readers, file systems or shells trip over it. */
static bool is_awkward(uint32_t code)
{
	if (code < 0x80)
		return !is_plain(code);
	/* C1 controls; then what is left of Unicode's White_Space */
	return code < 0xa0 || code == 0xa0 || code == 0x1680 ||
	       (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 ||
	       code == 0x202f || code == 0x205f || code == 0x3000;
}

/* So many bytes at @part need no second look. */
static size_t plain_run(const uint8_t *part, size_t size)
{
	size_t n = 0;

	while (n < size && is_plain(part[n]))
		n++;
	return n;
}

static void append_part(struct buffer *out, const uint8_t *part, size_t size)
{
	size_t start = out->size;

	while (size > 0) {
		size_t n = plain_run(part, size);
		bool plain = n > 0;

		if (!plain)
			n = utf8_sequence(part, size);
		if (plain || (n > 0 && !is_awkward(code_point(part, n))))
			buffer_append(out, part, n);
		else
			buffer_put_u8(out, '_');
		n += n == 0;
		part += n;
		size -= n;
	}
	if (out->size - start >= 2 && memcmp(out->data + start, "__", 2) == 0)
		out->data[start + 1] = '-';
}

static void append_clean(struct buffer *out, const char *stem, size_t size)
{
	while (size > 0) {
		const char *slash = memchr(stem, '/', size);
		size_t part = slash ? (size_t)(slash - stem) : size;

		if (part > 0) {
			if (out->size > 0)
				buffer_put_u8(out, '/');
			append_part(out, (const uint8_t *)stem, part);
		}
		part += slash != NULL;
		stem += part;
		size -= part;
	}
	if (out->size == 0)
		buffer_put_u8(out, '_');
}

/* Bytes of the @size at @text that fit into @most without splitting a character. */
static size_t cut(const char *text, size_t size, size_t most)
{
	size_t length = size < most ? size : most;

	while (length < size && ((uint8_t)text[length] & 0xc0) == 0x80)
		length--;
	return length;
}

static unsigned tail_of(const void *name, size_t size)
{
	return (unsigned)(hash64_of(name, size, 0) >> 32);
}

/* @clean, cut, and the tail made of @size bytes at @name. */
static void with_tail(const struct buffer *clean, const void *name, size_t size,
		      char out[SAMPLE_KEY_SIZE])
{
	const char *text = (const char *)clean->data;

	snprintf(out, SAMPLE_KEY_SIZE, "%.*s-%08x", (int)cut(text, clean->size, KEY_MAX - TAIL),
		 text, tail_of(name, size));
}

/* Whether a key ends as those of variants do. A tail of 8 digits is no such end. */
static bool is_variants(const struct buffer *clean)
{
	size_t digits = 0, n = clean->size;

	while (digits < n && clean->data[n - 1 - digits] >= '0' &&
	       clean->data[n - 1 - digits] <= '9')
		digits++;
	n -= digits;
	if (n < 2 || clean->data[n - 2] != '-')
		return false;
	switch (clean->data[n - 1]) {
	case 'f':
		return digits == 0;
	case 'c':
		return digits >= 1 && digits <= 3;
	case 'r':
		return digits >= 1 && digits <= 5;
	default:
		return false;
	}
}

void sample_key(const char *path, char out[SAMPLE_KEY_SIZE])
{
	cleanup_buffer struct buffer clean = BUFFER_INIT;
	size_t stem = source_path_stem(path);

	append_clean(&clean, path, stem);
	if (clean.size > KEY_MAX || is_variants(&clean) || clean.size != stem ||
	    memcmp(clean.data, path, stem) != 0)
		with_tail(&clean, path, stem, out);
	else
		snprintf(out, SAMPLE_KEY_SIZE, "%s", (const char *)clean.data);
}

void sample_key_distinct(const char *path, const char *distinction, char out[SAMPLE_KEY_SIZE])
{
	cleanup_buffer struct buffer clean = BUFFER_INIT;

	append_clean(&clean, path, source_path_stem(path));
	with_tail(&clean, distinction, strlen(distinction), out);
}

void sample_key_variant(const char *image, const char *tail, char out[SAMPLE_KEY_SIZE])
{
	size_t n = strlen(image), own = strlen(tail);

	if (n + own <= KEY_MAX)
		snprintf(out, SAMPLE_KEY_SIZE, "%.*s%.*s", (int)n, image, (int)own, tail);
	else
		snprintf(out, SAMPLE_KEY_SIZE, "%.*s-%08x%s",
			 (int)cut(image, n, KEY_MAX - TAIL - own), image, tail_of(image, n), tail);
}

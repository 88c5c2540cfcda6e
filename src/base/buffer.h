/*
 * Growing bytes, with explicit little-endian put and get: nothing is ever written to a file or a
 * socket as the raw memory of a struct.
 *
 *	cleanup_buffer struct buffer b = BUFFER_INIT;
 *	buffer_put_u32(&b, n);
 *	buffer_append(&b, data, size);
 *
 * Appending aborts when memory is gone; for input-sized data ask buffer_reserve() first.
 * `data` is always followed by one NUL byte that `size` does not count, so text can be read as a
 * string (it may contain further NULs).
 */
#ifndef LATENTD_BASE_BUFFER_H
#define LATENTD_BASE_BUFFER_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct buffer {
	uint8_t *data;
	size_t size;
	size_t capacity;
};

#define BUFFER_INIT                                                                                \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

void buffer_release(struct buffer *b);
/* Empties it and keeps the memory. */
void buffer_reset(struct buffer *b);
/* Room for @extra more bytes. ERR_NOMEM. */
int buffer_reserve(struct buffer *b, size_t extra, struct error *err);

void buffer_append(struct buffer *b, const void *data, size_t size);
void buffer_append_zeros(struct buffer *b, size_t size);
void buffer_append_string(struct buffer *b, const char *s);
void buffer_appendf(struct buffer *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void buffer_put_u8(struct buffer *b, uint8_t v);
void buffer_put_u16(struct buffer *b, uint16_t v);
void buffer_put_u32(struct buffer *b, uint32_t v);
void buffer_put_u64(struct buffer *b, uint64_t v);

static inline uint16_t get_u16le(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get_u32le(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get_u64le(const uint8_t *p)
{
	return (uint64_t)get_u32le(p) | (uint64_t)get_u32le(p + 4) << 32;
}

/* As the image formats of other people have it. */
static inline uint32_t get_u32be(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#define cleanup_buffer cleanup_with(buffer_release)

#endif

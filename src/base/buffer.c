#include "base/buffer.h"

#include "base/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buffer_release(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer)BUFFER_INIT;
}

void buffer_reset(struct buffer *b)
{
	b->size = 0;
	if (b->data)
		b->data[0] = '\0';
}

int buffer_reserve(struct buffer *b, size_t extra, struct error *err)
{
	size_t need, capacity = b->capacity;
	uint8_t *data;

	if (!size_add(b->size, extra, &need) || !size_add(need, 1, &need))
		return error_set(err, ERR_NOMEM, "a buffer of %zu bytes cannot grow by %zu",
				 b->size, extra);
	if (need <= capacity)
		return 0;
	if (capacity < 64)
		capacity = 64;
	while (capacity < need) {
		if (!size_mul(capacity, 2, &capacity))
			capacity = need;
	}
	data = realloc(b->data, capacity);
	if (!data)
		return error_set(err, ERR_NOMEM, "no memory for %zu bytes", capacity);
	data[b->size] = '\0';
	b->data = data;
	b->capacity = capacity;
	return 0;
}

static void reserve_or_abort(struct buffer *b, size_t size)
{
	struct error err = ERROR_INIT;

	if (buffer_reserve(b, size, &err) < 0) {
		fprintf(stderr, "latentd: %s\n", err.message);
		abort();
	}
}

/* Most calls find room, and a struct error costs more than they do. */
static uint8_t *buffer_extend(struct buffer *b, size_t size)
{
	uint8_t *at;

	if (size >= b->capacity - b->size)
		reserve_or_abort(b, size);
	at = b->data + b->size;
	b->size += size;
	b->data[b->size] = '\0';
	return at;
}

void buffer_append(struct buffer *b, const void *data, size_t size)
{
	uint8_t *at = buffer_extend(b, size);

	if (size > 0)
		memcpy(at, data, size);
}

void buffer_append_zeros(struct buffer *b, size_t size)
{
	memset(buffer_extend(b, size), 0, size);
}

void buffer_append_string(struct buffer *b, const char *s)
{
	buffer_append(b, s, strlen(s));
}

void buffer_appendf(struct buffer *b, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		memory_is_out();
	buffer_append(b, text, (size_t)n);
	free(text);
}

void buffer_put_u8(struct buffer *b, uint8_t v)
{
	buffer_append(b, &v, 1);
}

void buffer_put_u16(struct buffer *b, uint16_t v)
{
	uint8_t bytes[2] = {(uint8_t)v, (uint8_t)(v >> 8)};

	buffer_append(b, bytes, sizeof(bytes));
}

void buffer_put_u32(struct buffer *b, uint32_t v)
{
	buffer_put_u16(b, (uint16_t)v);
	buffer_put_u16(b, (uint16_t)(v >> 16));
}

void buffer_put_u64(struct buffer *b, uint64_t v)
{
	buffer_put_u32(b, (uint32_t)v);
	buffer_put_u32(b, (uint32_t)(v >> 32));
}

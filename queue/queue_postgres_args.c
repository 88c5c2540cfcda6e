/*
 * Arguments of statements. Single ones are text: what the database reads is what a person would write. Arrays and rows, of
 * which there are many, are in PostgreSQL's binary format: nothing is printed here and parsed there.
 */
#include "queue/queue_postgres.h"

#include <assert.h>
#include <inttypes.h>

static void put(struct buffer *out, unsigned size, uint64_t value)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> 8 * (size - 1 - i));
	buffer_append(out, bytes, size);
}

void pg_args_release(struct pg_args *a)
{
	buffer_release(&a->data);
}

void pg_args_clear(struct pg_args *a)
{
	buffer_reset(&a->data);
	a->count = 0;
}

static void begin(struct pg_args *a)
{
	assert(a->count < PG_ARGS_MAX);
	a->sizes[a->count] = 0;
	a->at[a->count++] = a->data.size;
}

static void end(struct pg_args *a)
{
	buffer_put_u8(&a->data, 0);
}

void pg_int(struct pg_args *a, int64_t value)
{
	begin(a);
	buffer_appendf(&a->data, "%" PRId64, value);
	end(a);
}

void pg_null(struct pg_args *a)
{
	assert(a->count < PG_ARGS_MAX);
	a->sizes[a->count] = 0;
	a->at[a->count++] = SIZE_MAX;
}

void pg_text(struct pg_args *a, const char *s)
{
	if (!s) {
		pg_null(a);
		return;
	}
	begin(a);
	buffer_append_string(&a->data, s);
	end(a);
}

static void append_hex(struct buffer *out, const void *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = data;
	char pair[2];

	for (size_t i = 0; i < size; i++) {
		pair[0] = digits[bytes[i] >> 4];
		pair[1] = digits[bytes[i] & 15];
		buffer_append(out, pair, sizeof(pair));
	}
}

void pg_bytes(struct pg_args *a, const void *data, size_t size)
{
	begin(a);
	buffer_append_string(&a->data, "\\x");
	append_hex(&a->data, data, size);
	end(a);
}

void pg_hash(struct pg_args *a, const struct hash128 *hash)
{
	begin(a);
	append_hex(&a->data, hash->bytes, sizeof(hash->bytes));
	end(a);
}

/* -- arrays --------------------------------------------------------------------------------------- */

#define NULL_SIZE UINT32_MAX

/* Dimensions, whether there are nulls (the server looks for itself), type, length, first index. */
void pg_array(struct pg_args *a, enum pg_items what)
{
	begin(a);
	put(&a->data, 4, 1);
	put(&a->data, 4, 0);
	put(&a->data, 4, what);
	put(&a->data, 4, 0);
	put(&a->data, 4, 1);
	a->items = 0;
}

static void item(struct pg_args *a, const void *data, size_t size)
{
	a->items++;
	put(&a->data, 4, size);
	buffer_append(&a->data, data, size);
}

void pg_item_int(struct pg_args *a, int64_t value)
{
	a->items++;
	put(&a->data, 4, 8);
	put(&a->data, 8, (uint64_t)value);
}

void pg_item_null(struct pg_args *a)
{
	a->items++;
	put(&a->data, 4, NULL_SIZE);
}

void pg_item_bytes(struct pg_args *a, const void *data, size_t size)
{
	if (data)
		item(a, data, size);
	else
		pg_item_null(a);
}

void pg_item_hash(struct pg_args *a, const struct hash128 *hash)
{
	pg_item_bytes(a, hash ? hash->bytes : NULL, sizeof(hash->bytes));
}

void pg_array_end(struct pg_args *a)
{
	size_t from = a->at[a->count - 1];

	for (unsigned i = 0; i < 4; i++)
		a->data.data[from + 12 + i] = (uint8_t)(a->items >> 8 * (3 - i));
	a->sizes[a->count - 1] = (int)(a->data.size - from);
}

void pg_ints(struct pg_args *a, const int64_t *values, size_t n)
{
	pg_array(a, PG_BIGINT);
	for (size_t i = 0; i < n; i++)
		pg_item_int(a, values[i]);
	pg_array_end(a);
}

/* -- rows of a COPY ------------------------------------------------------------------------------- */

void pg_rows_begin(struct buffer *rows)
{
	static const char signature[11] = "PGCOPY\n\377\r\n";

	buffer_append(rows, signature, sizeof(signature));
	put(rows, 4, 0);
	put(rows, 4, 0);
}

void pg_rows_end(struct buffer *rows)
{
	put(rows, 2, UINT16_MAX);
}

void pg_row(struct buffer *rows, uint16_t columns)
{
	put(rows, 2, columns);
}

void pg_column_int(struct buffer *rows, unsigned size, int64_t value)
{
	put(rows, 4, size);
	put(rows, size, (uint64_t)value);
}

void pg_column_bytes(struct buffer *rows, const void *data, size_t size)
{
	put(rows, 4, size);
	buffer_append(rows, data, size);
}

void pg_column_null(struct buffer *rows)
{
	put(rows, 4, NULL_SIZE);
}

/*
 * Arguments of statements, as text: what the database reads is what a person would write.
 */
#include "queue/queue_postgres.h"

#include <assert.h>
#include <inttypes.h>

void pg_args_release(struct pg_args *a)
{
	buffer_release(&a->text);
}

void pg_args_clear(struct pg_args *a)
{
	buffer_reset(&a->text);
	a->count = 0;
}

static void begin(struct pg_args *a)
{
	assert(a->count < PG_ARGS_MAX);
	a->at[a->count++] = a->text.size;
}

static void end(struct pg_args *a)
{
	buffer_put_u8(&a->text, 0);
}

void pg_int(struct pg_args *a, int64_t value)
{
	begin(a);
	buffer_appendf(&a->text, "%" PRId64, value);
	end(a);
}

void pg_null(struct pg_args *a)
{
	assert(a->count < PG_ARGS_MAX);
	a->at[a->count++] = SIZE_MAX;
}

void pg_text(struct pg_args *a, const char *s)
{
	if (!s) {
		pg_null(a);
		return;
	}
	begin(a);
	buffer_append_string(&a->text, s);
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
	buffer_append_string(&a->text, "\\x");
	append_hex(&a->text, data, size);
	end(a);
}

void pg_hash(struct pg_args *a, const struct hash128 *hash)
{
	begin(a);
	append_hex(&a->text, hash->bytes, sizeof(hash->bytes));
	end(a);
}

/* -- arrays --------------------------------------------------------------------------------------- */

void pg_array(struct pg_args *a)
{
	begin(a);
	buffer_append_string(&a->text, "{");
	a->first = true;
}

static void item(struct pg_args *a)
{
	if (!a->first)
		buffer_append_string(&a->text, ",");
	a->first = false;
}

void pg_item_int(struct pg_args *a, int64_t value)
{
	item(a);
	buffer_appendf(&a->text, "%" PRId64, value);
}

void pg_item_null(struct pg_args *a)
{
	item(a);
	buffer_append_string(&a->text, "NULL");
}

void pg_item_bytes(struct pg_args *a, const void *data, size_t size)
{
	if (!data) {
		pg_item_null(a);
		return;
	}
	item(a);
	buffer_append_string(&a->text, "\"\\\\x");
	append_hex(&a->text, data, size);
	buffer_append_string(&a->text, "\"");
}

void pg_item_hash(struct pg_args *a, const struct hash128 *hash)
{
	if (!hash) {
		pg_item_null(a);
		return;
	}
	item(a);
	append_hex(&a->text, hash->bytes, sizeof(hash->bytes));
}

void pg_array_end(struct pg_args *a)
{
	buffer_append_string(&a->text, "}");
	end(a);
}

void pg_ints(struct pg_args *a, const int64_t *values, size_t n)
{
	pg_array(a);
	for (size_t i = 0; i < n; i++)
		pg_item_int(a, values[i]);
	pg_array_end(a);
}

#include "queue/queue_sqlite_batch.h"

#include <sqlite3.h>
#include <string.h>

struct batch *batch_new(void)
{
	return xcalloc(1, sizeof(struct batch));
}

void batch_clear(struct batch *b)
{
	for (size_t i = 0; i < b->string_count; i++)
		free(b->strings[i]);
	b->string_count = 0;
	b->count = 0;
}

void batch_free(struct batch **b)
{
	batch_clear(*b);
	free((*b)->strings);
	free(*b);
}

char *batch_keep(struct batch *b, char *string)
{
	ARRAY_GROW(b->strings, b->string_count, b->string_capacity);
	return b->strings[b->string_count++] = string;
}

void batch_bytes(struct sqlite3_stmt *stmt, int column, uint8_t *out, size_t size)
{
	size_t have;
	const char *data = db_column(stmt, column, &have);

	memset(out, 0, size);
	if (have == size)
		memcpy(out, data, size);
}

int batch_read(struct sqlite_queue *q, struct sqlite3_stmt *stmt, read_row_fn read, struct batch *b,
	       struct error *err)
{
	int r;

	batch_clear(b);
	while (b->count < BATCH && (r = db_step(q, stmt, err)) != 0) {
		if (r < 0)
			return -1;
		read(stmt, b, &b->rows[b->count]);
		b->count++;
	}
	db_done(stmt);
	return 0;
}

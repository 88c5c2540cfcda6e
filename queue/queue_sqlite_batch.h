/*
 * Private to queue_sqlite*.c: rows are copied out in batches, and no statement is open while callbacks run: a
 * reader that takes its time would otherwise keep every checkpoint from finishing.
 *
 *	cleanup_batch struct batch *b = batch_new();
 *	do {
 *		stmt = ... " > ?1 ORDER BY ... LIMIT 1000" ...
 *		if (batch_read(q, stmt, read_row, b, err) < 0) ...
 *		for (i = 0; i < b->count; i++) ... fn(arg, &b->rows[i].job) ...
 *	} while (b->count == BATCH);
 */
#ifndef LATENTD_QUEUE_QUEUE_SQLITE_BATCH_H
#define LATENTD_QUEUE_QUEUE_SQLITE_BATCH_H

#include "queue/queue_sqlite.h"

#include "base/checked.h"

#define BATCH 1000
/* Ids that one statement walks over where it may find nothing in them. */
#define WINDOW 20000

union row {
	struct queue_dataset dataset;
	struct job_row job;
	struct shard_row shard;
	struct sample_row sample;
	struct retired_row retired;
	struct reason_row reason;
	struct recaption_row recaption;
	struct spent_row spent;
	struct history_row history;
};

/* Rows with the strings they point to. */
struct batch {
	union row rows[BATCH];
	size_t count;
	char **strings;
	size_t string_count, string_capacity;
};

struct batch *batch_new(void);
void batch_free(struct batch **b);
/* Forgets all rows. */
void batch_clear(struct batch *b);
/* @string is freed with the rows. */
char *batch_keep(struct batch *b, char *string);
/* The bytes of a column; zeros if there are not @size. */
void batch_bytes(struct sqlite3_stmt *stmt, int column, uint8_t *out, size_t size);

typedef void (*read_row_fn)(struct sqlite3_stmt *stmt, struct batch *b, union row *row);

/* Steps @stmt for up to BATCH rows, in place of those that were there, and resets it. */
int batch_read(struct sqlite_queue *q, struct sqlite3_stmt *stmt, read_row_fn read, struct batch *b,
	       struct error *err);

#define cleanup_batch cleanup_with(batch_free)

#endif

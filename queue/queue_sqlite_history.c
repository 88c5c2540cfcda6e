/*
 * What charts show: rings of a few hundred rows, each written in place.
 */
#include "queue/queue_sqlite_batch.h"

#include <sqlite3.h>

static int keep(struct sqlite_queue *q, const struct history_row *row, struct error *err)
{
	static const char sql[] =
	    "INSERT OR REPLACE INTO history (series, place, at, ms, images, todo)"
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_KEEP_HISTORY, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, row->series);
	db_bind_int(stmt, 2, row->place);
	db_bind_int(stmt, 3, row->at);
	db_bind_int(stmt, 4, row->ms);
	db_bind_int(stmt, 5, (int64_t)row->images);
	db_bind_int(stmt, 6, (int64_t)row->todo);
	return db_run(q, stmt, err);
}

int queue_sqlite_keep_history(struct queue *base, const struct history_row *rows, size_t n,
			      struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	int r = 0;

	if (db_begin(q, err) < 0)
		return -1;
	for (size_t i = 0; i < n && r == 0; i++)
		r = keep(q, &rows[i], err);
	return db_end(q, r, err);
}

static void read_history(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	(void)b;
	row->history = (struct history_row){.series = (uint32_t)sqlite3_column_int64(stmt, 0),
					    .place = (uint32_t)sqlite3_column_int64(stmt, 1),
					    .at = sqlite3_column_int64(stmt, 2),
					    .ms = sqlite3_column_int64(stmt, 3),
					    .images = (uint64_t)sqlite3_column_int64(stmt, 4),
					    .todo = (uint64_t)sqlite3_column_int64(stmt, 5)};
}

int queue_sqlite_history(struct queue *base, queue_history_fn fn, void *arg, struct error *err)
{
	static const char sql[] =
	    "SELECT series, place, at, ms, images, todo FROM history"
	    " WHERE (series, place) > (?1, ?2) ORDER BY series, place LIMIT 1000";
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_batch struct batch *b = batch_new();
	int64_t series = -1, place = 0;

	do {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_HISTORY, sql, err);

		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, series);
		db_bind_int(stmt, 2, place);
		if (batch_read(q, stmt, read_history, b, err) < 0)
			return -1;
		for (size_t i = 0; i < b->count; i++) {
			if (fn(arg, &b->rows[i].history) != 0)
				return 0;
			series = b->rows[i].history.series;
			place = b->rows[i].history.place;
		}
	} while (b->count == BATCH);
	return 0;
}

/*
 * What was spent on requests, for cost guards.
 */
#include "queue/queue_sqlite_batch.h"

#include <sqlite3.h>

static int add(struct sqlite_queue *q, const char *account, int64_t minute, uint64_t requests,
	       uint64_t bytes, struct error *err)
{
	static const char sql[] =
	    "INSERT INTO spent (account, minute, requests, bytes) VALUES (?1, ?2, ?3, ?4)"
	    " ON CONFLICT (account, minute) DO UPDATE SET requests = requests + ?3, bytes = bytes "
	    "+ ?4";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SPEND, sql, err);

	if (!stmt)
		return -1;
	db_bind_text(stmt, 1, account);
	db_bind_int(stmt, 2, minute);
	db_bind_int(stmt, 3, (int64_t)requests);
	db_bind_int(stmt, 4, (int64_t)bytes);
	return db_run(q, stmt, err);
}

/* A walk over all of it: accounts are few. */
static int forget(struct sqlite_queue *q, int64_t before, struct error *err)
{
	struct sqlite3_stmt *stmt =
	    db_stmt(q, STMT_SPENT_FORGET, "DELETE FROM spent WHERE minute < ?1", err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, before);
	return db_run(q, stmt, err);
}

int queue_sqlite_spend(struct queue *base, const char *account, uint64_t requests, uint64_t bytes,
		       int64_t now, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	int64_t minute = now / 60000;
	int r;

	if (db_begin(q, err) < 0)
		return -1;
	r = add(q, account, minute, requests, bytes, err);
	if (r == 0)
		r = forget(q, minute - QUEUE_SPENT_MINUTES, err);
	return db_end(q, r, err);
}

static void read_spent(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	(void)b;
	row->spent = (struct spent_row){.minute = sqlite3_column_int64(stmt, 0),
					.requests = (uint64_t)sqlite3_column_int64(stmt, 1),
					.bytes = (uint64_t)sqlite3_column_int64(stmt, 2)};
}

int queue_sqlite_spent(struct queue *base, const char *account, queue_spent_fn fn, void *arg,
		       struct error *err)
{
	static const char sql[] = "SELECT minute, requests, bytes FROM spent"
				  " WHERE account = ?1 AND minute > ?2 ORDER BY minute LIMIT 1000";
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_batch struct batch *b = batch_new();
	int64_t after = INT64_MIN;

	do {
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_SPENT, sql, err);

		if (!stmt)
			return -1;
		db_bind_text(stmt, 1, account);
		db_bind_int(stmt, 2, after);
		if (batch_read(q, stmt, read_spent, b, err) < 0)
			return -1;
		for (size_t i = 0; i < b->count; i++) {
			if (fn(arg, &b->rows[i].spent) != 0)
				return 0;
			after = b->rows[i].spent.minute;
		}
	} while (b->count == BATCH);
	return 0;
}

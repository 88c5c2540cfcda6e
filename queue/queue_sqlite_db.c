#include "queue/queue_sqlite.h"

#include "base/checked.h"
#include "base/text.h"

#include <assert.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

static enum error_code code_of(int sqlite_code)
{
	switch (sqlite_code) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_TRANSIENT;
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_NOTADB:
		return ERR_CONFIG;
	case SQLITE_FULL:
	case SQLITE_IOERR:
	case SQLITE_CORRUPT:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_PROTOCOL:
		return ERR_IO;
	default:
		return ERR_BUG;
	}
}

int db_fail(struct sqlite_queue *q, struct error *err)
{
	int code = sqlite3_errcode(q->db) & 0xff;
	int saved = sqlite3_system_errno(q->db);
	char quoted[TEXT_QUOTE_SIZE];

	text_quote(q->path, quoted);
	if (sqlite3_extended_errcode(q->db) == SQLITE_IOERR_DATA)
		return error_set(
		    err, ERR_IO,
		    "queue %s is damaged: a page of it is not what was written; remove the "
		    "folder that it is in and run the same encode again, which reads the "
		    "shards themselves",
		    quoted);
	if (saved != 0 && (code == SQLITE_IOERR || code == SQLITE_CANTOPEN || code == SQLITE_FULL))
		return error_set(err, code_of(code), "queue %s: %s: %s", quoted,
				 sqlite3_errmsg(q->db), strerror(saved));
	return error_set(err, code_of(code), "queue %s: %s", quoted, sqlite3_errmsg(q->db));
}

int db_exec(struct sqlite_queue *q, const char *sql, struct error *err)
{
	return sqlite3_exec(q->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(q, err);
}

int db_value(struct sqlite_queue *q, const char *sql, int64_t *out, struct error *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = 0;

	if (sqlite3_prepare_v2(q->db, sql, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		r = db_fail(q, err);
	else
		*out = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return r;
}

/* -- statements ----------------------------------------------------------------------------------- */

struct sqlite3_stmt *db_stmt(struct sqlite_queue *q, enum stmt_slot slot, const char *sql,
			     struct error *err)
{
	if (q->stmts[slot]) {
		sqlite3_reset(q->stmts[slot]);
	} else if (sqlite3_prepare_v3(q->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &q->stmts[slot],
				      NULL) != SQLITE_OK) {
		db_fail(q, err);
		return NULL;
	}
	return q->stmts[slot];
}

int db_step(struct sqlite_queue *q, struct sqlite3_stmt *stmt, struct error *err)
{
	int r = sqlite3_step(stmt);

	if (r == SQLITE_ROW)
		return 1;
	if (r != SQLITE_DONE)
		db_fail(q, err);
	sqlite3_reset(stmt);
	return r == SQLITE_DONE ? 0 : -1;
}

int db_run(struct sqlite_queue *q, struct sqlite3_stmt *stmt, struct error *err)
{
	int r = db_step(q, stmt, err);

	assert(r <= 0);
	return r;
}

void db_done(struct sqlite3_stmt *stmt)
{
	sqlite3_reset(stmt);
}

static void bound(int r)
{
	assert(r == SQLITE_OK);
	(void)r;
}

void db_bind_int(struct sqlite3_stmt *stmt, int index, int64_t value)
{
	bound(sqlite3_bind_int64(stmt, index, value));
}

void db_bind_null(struct sqlite3_stmt *stmt, int index)
{
	bound(sqlite3_bind_null(stmt, index));
}

void db_bind_text(struct sqlite3_stmt *stmt, int index, const char *s)
{
	bound(sqlite3_bind_text(stmt, index, s, -1, SQLITE_STATIC));
}

void db_bind_blob(struct sqlite3_stmt *stmt, int index, const void *data, size_t size)
{
	bound(sqlite3_bind_blob64(stmt, index, data, size, SQLITE_STATIC));
}

const char *db_column(struct sqlite3_stmt *stmt, int column, size_t *size)
{
	const void *data = sqlite3_column_blob(stmt, column);

	*size = (size_t)sqlite3_column_bytes(stmt, column);
	return data;
}

char *db_column_copy(struct sqlite3_stmt *stmt, int column)
{
	size_t size;
	const char *data = db_column(stmt, column, &size);
	char *copy;

	copy = xmalloc(size + 1);
	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

/* -- transactions --------------------------------------------------------------------------------- */

void db_tally(struct sqlite_queue *q, int64_t dataset, int kind, int64_t change)
{
	size_t i = 0;

	while (i < q->tally_count && q->tallies[i].dataset != dataset)
		i++;
	if (i == q->tally_count) {
		ARRAY_GROW(q->tallies, q->tally_count, q->tally_capacity);
		q->tallies[q->tally_count++] = (struct tally){.dataset = dataset};
	}
	q->tallies[i].by[kind] += change;
}

void db_tally_move(struct sqlite_queue *q, int64_t dataset, enum job_state from, enum job_state to)
{
	db_tally(q, dataset, (int)from, -1);
	db_tally(q, dataset, (int)to, 1);
}

int db_tally_read(struct sqlite_queue *q, int64_t dataset, int kind, int64_t *out,
		  struct error *err)
{
	static const char sql[] = "SELECT n FROM tally WHERE dataset = ?1 AND kind = ?2";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_TALLY_READ, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	db_bind_int(stmt, 2, kind);
	r = db_step(q, stmt, err);
	if (r < 0)
		return -1;
	*out = r > 0 ? sqlite3_column_int64(stmt, 0) : 0;
	db_done(stmt);
	return 0;
}

static int tallies_write(struct sqlite_queue *q, struct error *err)
{
	static const char sql[] = "INSERT INTO tally (dataset, kind, n) VALUES (?1, ?2, ?3)"
				  " ON CONFLICT (dataset, kind) DO UPDATE SET n = n + ?3";

	for (size_t i = 0; i < q->tally_count; i++) {
		for (int kind = 0; kind < TALLY_KINDS; kind++) {
			struct sqlite3_stmt *stmt;

			if (q->tallies[i].by[kind] == 0)
				continue;
			stmt = db_stmt(q, STMT_TALLY, sql, err);
			if (!stmt)
				return -1;
			db_bind_int(stmt, 1, q->tallies[i].dataset);
			db_bind_int(stmt, 2, kind);
			db_bind_int(stmt, 3, q->tallies[i].by[kind]);
			if (db_run(q, stmt, err) < 0)
				return -1;
		}
	}
	return 0;
}

int db_begin(struct sqlite_queue *q, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct sqlite3_stmt *stmt;

	if (q->readonly)
		return error_set(err, ERR_BUG, "queue %s is open for reading only",
				 text_quote(q->path, quoted));
	q->tally_count = 0;
	stmt = db_stmt(q, STMT_BEGIN, "BEGIN IMMEDIATE", err);
	return stmt ? db_run(q, stmt, err) : -1;
}

static int commit(struct sqlite_queue *q, struct error *err)
{
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_COMMIT, "COMMIT", err);

	return stmt ? db_run(q, stmt, err) : -1;
}

/* Some failures have rolled back already. In WAL mode a rollback writes nothing that could fail. */
static void rollback(struct sqlite_queue *q)
{
	for (size_t i = 0; i < STMT_SLOTS; i++)
		sqlite3_reset(q->stmts[i]);
	if (!sqlite3_get_autocommit(q->db))
		sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
}

int db_end(struct sqlite_queue *q, int r, struct error *err)
{
	if (r == 0)
		r = tallies_write(q, err);
	if (r == 0)
		r = commit(q, err);
	if (r != 0)
		rollback(q);
	return r;
}

static int64_t log_size(const struct sqlite_queue *q)
{
	cleanup_free char *wal = xasprintf("%s-wal", q->path);
	struct stat st;

	return stat(wal, &st) == 0 ? (int64_t)st.st_size : 0;
}

/* 0, or -1 where it failed; one that readers stand in the way of has not. */
static int cut_log(struct sqlite_queue *q, struct error *err)
{
	int r = sqlite3_wal_checkpoint_v2(q->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);

	return r == SQLITE_OK || (r & 0xff) == SQLITE_BUSY ? 0 : db_fail(q, err);
}

/*
 * journal_size_limit cuts the log only when it starts anew, which may be long after its readers left. That it could not
 * be cut hurts nobody yet: what is wrong with the disk is said by the next one who writes.
 */
void db_idle(struct sqlite_queue *q)
{
	struct error ignored = ERROR_INIT;

	if (log_size(q) <= WAL_LIMIT)
		return;
	sqlite3_busy_timeout(q->db, 0);
	if (cut_log(q, &ignored) < 0)
		error_clear(&ignored);
	sqlite3_busy_timeout(q->db, BUSY_TIMEOUT_MS);
}

int db_log_bounded(struct sqlite_queue *q, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE], size[24];

	if (log_size(q) <= q->log_most)
		return 0;
	if (cut_log(q, err) < 0)
		return -1;
	if (log_size(q) <= q->log_most)
		return 0;
	return error_set(err, ERR_TRANSIENT,
			 "queue %s: another program has been reading it for long, and its log has "
			 "grown to %s: nothing new is begun before that program ends its "
			 "transaction",
			 text_quote(q->path, quoted), text_bytes((uint64_t)log_size(q), size));
}

/*
 * Jobs that are to be recaptioned.
 */
#include "queue/queue_sqlite_batch.h"

#include <sqlite3.h>

int recaption_put(struct sqlite_queue *q, int64_t dataset, int64_t job, size_t *added,
		  struct error *err)
{
	static const char sql[] = "INSERT OR IGNORE INTO recaption (dataset, job) VALUES (?1, ?2)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_RECAPTION_PUT, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	db_bind_int(stmt, 2, job);
	if (db_run(q, stmt, err) < 0)
		return -1;
	if (sqlite3_changes(q->db) == 1) {
		db_tally(q, dataset, TALLY_RECAPTIONS, 1);
		++*added;
	}
	return 0;
}

static int put_all(struct sqlite_queue *q, int64_t dataset, const char *const *keys, size_t n,
		   struct error *err)
{
	size_t ignored = 0;

	for (size_t i = 0; i < n; i++) {
		int64_t job = 0;

		if (job_of_key(q, dataset, keys[i], &job, err) < 0)
			return -1;
		if (job != 0 && recaption_put(q, dataset, job, &ignored, err) < 0)
			return -1;
	}
	return 0;
}

int queue_sqlite_recaption(struct queue *base, int64_t dataset, const char *const *keys, size_t n,
			   struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);

	if (db_begin(q, err) < 0)
		return -1;
	return db_end(q, put_all(q, dataset, keys, n, err), err);
}

static int settle_one(struct sqlite_queue *q, const struct recaptioned *done, struct error *err)
{
	static const char sql[] = "DELETE FROM recaption WHERE (dataset, job) IN"
				  " (SELECT dataset, id FROM job WHERE id = ?1 AND ifnull(caption, "
				  "0) = ?2) RETURNING dataset";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_RECAPTION_DELETE, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, done->job);
	db_bind_int(stmt, 2, (int64_t)done->caption);
	while ((r = db_step(q, stmt, err)) > 0)
		db_tally(q, sqlite3_column_int64(stmt, 0), TALLY_RECAPTIONS, -1);
	return r;
}

static int settle_all(struct sqlite_queue *q, const struct recaptioned *done, size_t n,
		      struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		if (settle_one(q, &done[i], err) < 0)
			return -1;
	}
	return 0;
}

int queue_sqlite_recaptioned(struct queue *base, const struct recaptioned *done, size_t n,
			     struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);

	if (db_begin(q, err) < 0)
		return -1;
	return db_end(q, settle_all(q, done, n, err), err);
}

/* -- listing -------------------------------------------------------------------------------------- */

#define MARKED                                                                                     \
	"SELECT job.id, job.caption, job.root, job.key, job.path, ifnull(work.spooled, 0),"        \
	" ifnull(sample.shard, 0), ifnull(sample.variant, 0), EXISTS (SELECT 1 FROM sample AS o"   \
	"  WHERE o.rank = job.rank AND o.job = job.id AND o.dead = 0 AND o.shard <> sample.shard)" \
	" FROM "

static void read_recaption(struct sqlite3_stmt *stmt, struct batch *b, union row *row)
{
	row->recaption = (struct recaption_row){
	    .job = sqlite3_column_int64(stmt, 0),
	    .caption = (uint64_t)sqlite3_column_int64(stmt, 1),
	    .root = (uint32_t)sqlite3_column_int64(stmt, 2),
	    .key = batch_keep(b, job_column_key(stmt, 3, 4)),
	    .path = batch_keep(b, db_column_copy(stmt, 4)),
	    .spooled = sqlite3_column_int64(stmt, 5) != 0,
	    .shard = sqlite3_column_int64(stmt, 6),
	    .variant = (uint32_t)sqlite3_column_int64(stmt, 7),
	    .elsewhere = sqlite3_column_int64(stmt, 8) != 0,
	};
}

/* From the sample behind (job, variant) on. */
static struct sqlite3_stmt *of_dataset(struct sqlite_queue *q, int64_t dataset, int64_t job,
				       int64_t variant, struct error *err)
{
	static const char sql[] =
	    MARKED "recaption CROSS JOIN job ON job.id = recaption.job"
		   " LEFT JOIN work ON work.job = job.id LEFT JOIN sample"
		   " ON sample.rank = job.rank AND sample.job = job.id AND sample.dead = 0"
		   " WHERE recaption.dataset = ?1 AND recaption.job >= ?2"
		   " AND (recaption.job > ?2 OR ifnull(sample.variant, 0) > ?3)"
		   " ORDER BY recaption.job, sample.variant LIMIT 1000";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_RECAPTIONS, sql, err);

	if (!stmt)
		return NULL;
	db_bind_int(stmt, 1, dataset);
	db_bind_int(stmt, 2, job);
	db_bind_int(stmt, 3, variant);
	return stmt;
}

/* From the sample behind @variant of @job on, which is one of the shard's. */
static struct sqlite3_stmt *of_shard(struct sqlite_queue *q, int64_t dataset, int64_t shard,
				     int64_t job, int64_t variant, struct error *err)
{
	static const char sql[] =
	    MARKED "shard CROSS JOIN sample CROSS JOIN recaption CROSS JOIN job"
		   " LEFT JOIN work ON work.job = job.id"
		   " WHERE shard.id = ?2 AND sample.id >= shard.first"
		   " AND sample.id < shard.first + shard.samples AND sample.dead = 0"
		   " AND sample.id > ifnull((SELECT s.id FROM sample AS s CROSS JOIN job AS j"
		   "  WHERE j.id = ?3 AND s.rank = j.rank AND s.job = ?3 AND s.variant = ?4"
		   "  AND s.dead = 0), 0)"
		   " AND recaption.dataset = ?1 AND recaption.job = sample.job"
		   " AND job.id = sample.job ORDER BY sample.id LIMIT 1000";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_RECAPTIONS_OF_SHARD, sql, err);

	if (!stmt)
		return NULL;
	db_bind_int(stmt, 1, dataset);
	db_bind_int(stmt, 2, shard);
	db_bind_int(stmt, 3, job);
	db_bind_int(stmt, 4, variant);
	return stmt;
}

int queue_sqlite_recaptions(struct queue *base, int64_t dataset, int64_t shard,
			    queue_recaption_fn fn, void *arg, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_batch struct batch *b = batch_new();
	int64_t job = 0, variant = 0;

	do {
		struct sqlite3_stmt *stmt = shard == 0
						? of_dataset(q, dataset, job, variant, err)
						: of_shard(q, dataset, shard, job, variant, err);

		if (!stmt || batch_read(q, stmt, read_recaption, b, err) < 0)
			return -1;
		for (size_t i = 0; i < b->count; i++) {
			if (fn(arg, &b->rows[i].recaption) != 0)
				return 0;
		}
		if (b->count == BATCH) {
			job = b->rows[BATCH - 1].recaption.job;
			variant = b->rows[BATCH - 1].recaption.variant;
		}
	} while (b->count == BATCH);
	return 0;
}

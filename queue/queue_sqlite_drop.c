/*
 * Shards and samples that leave the catalog.
 */
#include "queue/queue_sqlite.h"

#include "base/checked.h"

#include <sqlite3.h>

int sample_at(struct sqlite_queue *q, const struct shard_place *shard, uint64_t offset,
	      struct live_sample *out, int64_t *job, struct error *err)
{
	static const char sql[] = "SELECT id, job FROM sample WHERE id >= ?1 AND id < ?2"
				  " AND offset = ?3 AND +dead = 0 AND shard = ?4";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SAMPLE_AT, sql, err);
	int r;

	if (!stmt)
		return -1;
	*out = (struct live_sample){.shard = shard->id};
	db_bind_int(stmt, 1, shard->first);
	db_bind_int(stmt, 2, shard->first + shard->samples);
	db_bind_int(stmt, 3, (int64_t)offset);
	db_bind_int(stmt, 4, shard->id);
	r = db_step(q, stmt, err);
	if (r <= 0)
		return r;
	out->id = sqlite3_column_int64(stmt, 0);
	*job = sqlite3_column_int64(stmt, 1);
	db_done(stmt);
	return 0;
}

static int run_on_ids(struct sqlite_queue *q, enum stmt_slot slot, const char *sql, int64_t a,
		      int64_t b, struct error *err)
{
	struct sqlite3_stmt *stmt = db_stmt(q, slot, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, a);
	if (sqlite3_bind_parameter_count(stmt) > 1)
		db_bind_int(stmt, 2, b);
	return db_run(q, stmt, err);
}

int shard_delete(struct sqlite_queue *q, const struct shard_place *shard, struct error *err)
{
	db_tally(q, shard->dataset, TALLY_SHARDS, -1);
	db_tally(q, shard->dataset, TALLY_SAMPLES, shard->dead - shard->samples);
	db_tally(q, shard->dataset, TALLY_SHARD_BYTES, -shard->bytes);
	recent_contents_reset(q);
	if (content_forget(q, shard->first, shard->first + shard->samples, err) < 0)
		return -1;
	if (run_on_ids(q, STMT_SAMPLES_DELETE, "DELETE FROM sample WHERE id >= ?1 AND id < ?2",
		       shard->first, shard->first + shard->samples, err) < 0)
		return -1;
	return run_on_ids(q, STMT_SHARD_DELETE, "DELETE FROM shard WHERE id = ?1", shard->id, 0,
			  err);
}

/* -- damage --------------------------------------------------------------------------------------- */

/* A job whose sample is lost is done again, if it was done. */
static int lose_sample(struct sqlite_queue *q, const struct live_sample *sample, int64_t job,
		       int64_t now, size_t *requeued, struct error *err)
{
	struct work w;

	if (job_read(q, job, &w, err) < 0 || sample_kill(q, w.dataset, sample, err) < 0)
		return -1;
	if (w.state != JOB_COMPLETED)
		return 0;
	w.state = JOB_AVAILABLE;
	w.updated_at = now;
	++*requeued;
	return job_write(q, &w, err);
}

struct lost {
	struct live_sample sample;
	int64_t job;
};

struct losses {
	struct lost *items;
	size_t count, capacity;
};

static void losses_release(struct losses *l)
{
	free(l->items);
}

static int live_of_shard(struct sqlite_queue *q, const struct shard_place *shard,
			 struct losses *out, struct error *err)
{
	static const char sql[] = "SELECT id, job FROM sample WHERE id >= ?1 AND id < ?2"
				  " AND +dead = 0 ORDER BY id";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SAMPLE_OF_SHARD, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, shard->first);
	db_bind_int(stmt, 2, shard->first + shard->samples);
	while ((r = db_step(q, stmt, err)) > 0) {
		ARRAY_GROW(out->items, out->count, out->capacity);
		out->items[out->count++] = (struct lost){
		    .sample = {.id = sqlite3_column_int64(stmt, 0), .shard = shard->id},
		    .job = sqlite3_column_int64(stmt, 1),
		};
	}
	return r;
}

static int drop_shard(struct sqlite_queue *q, int64_t id, int64_t now, size_t *requeued,
		      struct error *err)
{
	cleanup_with(losses_release) struct losses lost = {NULL, 0, 0};
	struct shard_place shard;

	if (shard_find(q, id, &shard, err) < 0 || live_of_shard(q, &shard, &lost, err) < 0)
		return -1;
	for (size_t i = 0; i < lost.count; i++) {
		if (lose_sample(q, &lost.items[i].sample, lost.items[i].job, now, requeued, err) <
		    0)
			return -1;
	}
	if (shard_find(q, id, &shard, err) < 0)
		return -1;
	return shard_delete(q, &shard, err);
}

int queue_sqlite_drop_shard(struct queue *base, int64_t shard, int64_t now, size_t *requeued,
			    struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t count = 0;

	if (db_begin(q, err) < 0 || db_end(q, drop_shard(q, shard, now, &count, err), err) < 0)
		return -1;
	*requeued = count;
	return 0;
}

static int drop_samples(struct sqlite_queue *q, int64_t id, const uint64_t *offsets, size_t n,
			int64_t now, size_t *requeued, struct error *err)
{
	struct shard_place shard;

	if (shard_find(q, id, &shard, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct live_sample sample;
		int64_t job;

		if (sample_at(q, &shard, offsets[i], &sample, &job, err) < 0)
			return -1;
		if (sample.id != 0 && lose_sample(q, &sample, job, now, requeued, err) < 0)
			return -1;
	}
	return 0;
}

int queue_sqlite_drop_samples(struct queue *base, int64_t shard, const uint64_t *offsets, size_t n,
			      int64_t now, size_t *requeued, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	size_t count = 0;

	if (db_begin(q, err) < 0 ||
	    db_end(q, drop_samples(q, shard, offsets, n, now, &count, err), err) < 0)
		return -1;
	*requeued = count;
	return 0;
}

/* -- retired shards ------------------------------------------------------------------------------- */

static int forget_retired(struct sqlite_queue *q, const int64_t *shards, size_t n,
			  struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		if (run_on_ids(q, STMT_RETIRED_DELETE, "DELETE FROM retired WHERE id = ?1",
			       shards[i], 0, err) < 0)
			return -1;
	}
	return 0;
}

int queue_sqlite_forget_retired(struct queue *base, const int64_t *shards, size_t n,
				struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);

	if (db_begin(q, err) < 0)
		return -1;
	return db_end(q, forget_retired(q, shards, n, err), err);
}

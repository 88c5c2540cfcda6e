/*
 * Shards that become visible, in place of others or of none.
 */
#include "queue/queue_sqlite.h"

#include "base/checked.h"

#include <sqlite3.h>
#include <string.h>

/* What goes on while one swap is made. */
struct swapping {
	struct sqlite_queue *q;
	const struct queue_swap *swap;
	int64_t now;
	int64_t dataset;
	int64_t first_new; /* this shard and later ones are the swap's own */
	int64_t completed; /* the job that it completed last */
	struct shard_place *retired;
};

static bool is_retired(const struct swapping *s, int64_t shard)
{
	for (size_t i = 0; i < s->swap->n_retired; i++) {
		if (s->swap->retired[i] == shard)
			return true;
	}
	return false;
}

/* -- new shards ----------------------------------------------------------------------------------- */

/* Of a retired shard, too: its file still lies there. */
static int check_path(struct swapping *s, const char *path, struct error *err)
{
	static const char sql[] = "SELECT 1 FROM shard WHERE dataset = ?1 AND path = ?2 UNION ALL"
				  " SELECT 1 FROM retired WHERE dataset = ?1 AND path = ?2 LIMIT 1";
	struct sqlite3_stmt *stmt = db_stmt(s->q, STMT_SHARD_KNOWN, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, s->dataset);
	db_bind_text(stmt, 2, path);
	r = db_step(s->q, stmt, err);
	db_done(stmt);
	return r > 0 ? QUEUE_CONFLICT : r;
}

/* Above the samples that table content has: an id that a dropped shard had may come again above them only. */
static int next_sample(struct sqlite_queue *q, int64_t *id, struct error *err)
{
	struct sqlite3_stmt *stmt =
	    db_stmt(q, STMT_SAMPLE_NEXT, "SELECT ifnull(max(id), 0) + 1 FROM sample", err);
	int64_t filled;

	if (!stmt || db_step(q, stmt, err) < 0)
		return -1;
	*id = sqlite3_column_int64(stmt, 0);
	db_done(stmt);
	if (db_tally_read(q, 0, TALLY_CONTENT, &filled, err) < 0)
		return -1;
	if (*id <= filled)
		*id = filled + 1;
	return 0;
}

static int insert_shard(struct swapping *s, const struct shard_row *row, int64_t first, int64_t *id,
			struct error *err)
{
	static const char sql[] = "INSERT INTO shard (dataset, path, format, \"group\", bytes,"
				  " samples, sha256, xxh3, sealed_at, visible_at, first)"
				  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
	struct sqlite_queue *q = s->q;
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SHARD_INSERT, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, s->dataset);
	db_bind_text(stmt, 2, row->path);
	db_bind_text(stmt, 3, row->format);
	db_bind_text(stmt, 4, row->group);
	db_bind_int(stmt, 5, (int64_t)row->bytes);
	db_bind_int(stmt, 6, (int64_t)row->samples);
	db_bind_blob(stmt, 7, row->sha256.bytes, sizeof(row->sha256.bytes));
	db_bind_blob(stmt, 8, row->xxh3.bytes, sizeof(row->xxh3.bytes));
	db_bind_int(stmt, 9, row->sealed_at);
	db_bind_int(stmt, 10, s->now);
	db_bind_int(stmt, 11, first);
	if (db_run(q, stmt, err) < 0)
		return -1;
	*id = sqlite3_last_insert_rowid(q->db);
	db_tally(q, s->dataset, TALLY_SHARDS, 1);
	db_tally(q, s->dataset, TALLY_SAMPLES, (int64_t)row->samples);
	db_tally(q, s->dataset, TALLY_SHARD_BYTES, (int64_t)row->bytes);
	return 0;
}

/* QUEUE_CONFLICT: the job has a live sample of this variant. */
static int insert_sample(struct sqlite_queue *q, int64_t id, int64_t shard, const struct work *w,
			 const struct sample_row *sample, struct error *err)
{
	static const char sql[] =
	    "INSERT INTO sample (id, shard, offset, bytes, job, rank, variant, dead, content,"
	    " latent) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9)"
	    " ON CONFLICT (rank, job, variant) WHERE dead = 0 DO NOTHING";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_SAMPLE_INSERT, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, id);
	db_bind_int(stmt, 2, shard);
	db_bind_int(stmt, 3, (int64_t)sample->offset);
	db_bind_int(stmt, 4, (int64_t)sample->bytes);
	db_bind_int(stmt, 5, w->job);
	db_bind_int(stmt, 6, w->rank);
	db_bind_int(stmt, 7, sample->variant);
	db_bind_blob(stmt, 8, sample->content.bytes, sizeof(sample->content.bytes));
	db_bind_blob(stmt, 9, sample->latent.bytes, sizeof(sample->latent.bytes));
	if (db_run(q, stmt, err) < 0)
		return -1;
	return sqlite3_changes(q->db) == 1 ? 0 : QUEUE_CONFLICT;
}

/* -- the job of a sample -------------------------------------------------------------------------- */

static int find_job(struct swapping *s, const struct sample_row *sample, struct work *w,
		    struct error *err)
{
	struct job_spec spec = {
	    .root = sample->root, .path = sample->path, .caption = CAPTION_UNSEEN};
	int64_t id = sample->job;
	struct job_match match;
	int r;

	if (id == 0) {
		if (job_find(s->q, s->dataset, sample->root, sample->path, sample->key, &match,
			     err) < 0)
			return -1;
		id = match.key_holder;
		if (id != 0 ? !match.holder_has_path : match.id != 0)
			return QUEUE_CONFLICT;
		if (id == 0 && job_insert(s->q, s->dataset, &spec, sample->key, &id, err) < 0)
			return -1;
	}
	r = job_try(s->q, id, sample->key, sample->path, w, err);
	return r == 0 && w->dataset != s->dataset ? QUEUE_CONFLICT : r;
}

/* Nothing says that the sample is of the file that was seen: it is visible, and the file is compared with it. */
static int compare_job(struct swapping *s, struct work *w, struct error *err)
{
	w->changed = true;
	if (w->state != JOB_RUNNING) {
		w->state = JOB_AVAILABLE;
		w->attempts = 0;
		w->updated_at = s->now;
		w->says = true;
	}
	return job_write(s->q, w, err);
}

/* A sample of the file as it is now completes its job. */
static int complete_job(struct swapping *s, const struct sample_row *sample, struct work *w,
			struct error *err)
{
	static const struct job_spec unseen = {.size = 0};
	bool same = !w->has_content || hash128_equal(&w->content, &sample->content);
	bool is_over = w->state == JOB_GONE || w->state == JOB_SKIPPED;

	if (w->state == JOB_COMPLETED)
		return 0;
	if (w->changed) {
		if (!w->spooled || !same)
			return 0;
		w->spooled = false;
		return job_write(s->q, w, err);
	}
	if (w->state == JOB_ENCODED && !same)
		return 0;
	if (w->state != JOB_ENCODED && !is_over && w->seen)
		return compare_job(s, w, err);
	if (is_over && job_remember(s->q, w->job, &unseen, err) < 0)
		return -1;
	w->state = JOB_COMPLETED;
	s->completed = w->job;
	return job_write(s->q, w, err);
}

/* There is a live sample of this variant: it is carried over, superseded, or in the way. */
static int replace_sample(struct swapping *s, const struct sample_row *sample, const struct work *w,
			  bool *carried, struct error *err)
{
	struct live_sample old;

	if (sample_find(s->q, w->rank, w->job, sample->variant, &old, err) < 0)
		return -1;
	*carried = is_retired(s, old.shard);
	if (*carried ? !hash128_equal(&old.latent, &sample->latent)
		     : old.shard >= s->first_new ||
			   (w->state == JOB_COMPLETED && w->job != s->completed))
		return QUEUE_CONFLICT;
	return sample_kill(s->q, s->dataset, &old, err);
}

static int add_sample(struct swapping *s, int64_t shard, int64_t id,
		      const struct sample_row *sample, struct error *err)
{
	bool carried = false;
	struct work w;
	int r = find_job(s, sample, &w, err);

	if (r != 0)
		return r;
	r = insert_sample(s->q, id, shard, &w, sample, err);
	if (r == QUEUE_CONFLICT) {
		r = replace_sample(s, sample, &w, &carried, err);
		if (r == 0)
			r = insert_sample(s->q, id, shard, &w, sample, err);
	}
	return r != 0 || carried ? r : complete_job(s, sample, &w, err);
}

static int add_shard(struct swapping *s, const struct new_shard *shard, int64_t *id,
		     struct error *err)
{
	int64_t first = 0;
	int r = check_path(s, shard->row.path, err);

	if (r == 0)
		r = next_sample(s->q, &first, err);
	if (r == 0)
		r = insert_shard(s, &shard->row, first, id, err);
	if (r == 0 && s->first_new == INT64_MAX)
		s->first_new = *id;
	for (size_t i = 0; i < shard->row.samples && r == 0; i++)
		r = add_sample(s, *id, first + (int64_t)i, &shard->samples[i], err);
	return r;
}

/* -- retired shards ------------------------------------------------------------------------------- */

static int drop(struct swapping *s, const struct sample_place *place, struct error *err)
{
	struct live_sample old, left;
	struct work w;
	int64_t job;
	size_t i = 0;

	while (i < s->swap->n_retired && s->retired[i].id != place->shard)
		i++;
	if (i == s->swap->n_retired)
		return QUEUE_CONFLICT;
	if (sample_at(s->q, &s->retired[i], place->offset, &old, &job, err) < 0)
		return -1;
	if (old.id == 0)
		return QUEUE_CONFLICT;
	if (job_read(s->q, job, &w, err) < 0 || sample_kill(s->q, s->dataset, &old, err) < 0 ||
	    sample_find(s->q, w.rank, job, ANY_VARIANT, &left, err) < 0)
		return -1;
	if (w.state != JOB_COMPLETED || left.id != 0)
		return 0;
	w.state = JOB_SKIPPED;
	w.updated_at = s->now;
	w.says = true;
	w.reason = "deleted";
	return job_write(s->q, &w, err);
}

/* Nothing of it may still be live. */
static int retire(struct swapping *s, const struct shard_place *shard, struct error *err)
{
	static const char left[] =
	    "SELECT 1 FROM sample WHERE id >= ?1 AND id < ?2 AND +dead = 0 LIMIT 1";
	static const char sql[] = "INSERT INTO retired (id, dataset, path, retired_at)"
				  " SELECT id, dataset, path, ?2 FROM shard WHERE id = ?1";
	struct sqlite3_stmt *stmt = db_stmt(s->q, STMT_SAMPLE_LEFT, left, err);
	struct shard_place now;
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, shard->first);
	db_bind_int(stmt, 2, shard->first + shard->samples);
	r = db_step(s->q, stmt, err);
	if (r != 0)
		return r < 0 ? -1 : QUEUE_CONFLICT;
	stmt = db_stmt(s->q, STMT_RETIRE, sql, err);
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, shard->id);
	db_bind_int(stmt, 2, s->now);
	if (db_run(s->q, stmt, err) < 0 || shard_find(s->q, shard->id, &now, err) < 0)
		return -1;
	return shard_delete(s->q, &now, err);
}

/* -- the swap ------------------------------------------------------------------------------------- */

static int check_datasets(struct swapping *s, struct error *err)
{
	const struct queue_swap *swap = s->swap;
	bool same = true;

	for (size_t i = 0; i < swap->n_retired; i++) {
		if (shard_find(s->q, swap->retired[i], &s->retired[i], err) < 0)
			return -1;
		s->dataset = s->dataset ? s->dataset : s->retired[i].dataset;
		same = same && s->retired[i].dataset == s->dataset;
	}
	for (size_t i = 0; i < swap->n_shards; i++) {
		int64_t dataset = swap->shards[i].row.dataset;

		if (dataset_check(s->q, dataset, err) < 0)
			return -1;
		s->dataset = s->dataset ? s->dataset : dataset;
		same = same && dataset == s->dataset;
	}
	return same ? 0 : error_set(err, ERR_BUG, "a swap has shards of several datasets");
}

static int make_swap(struct swapping *s, int64_t *ids, struct error *err)
{
	const struct queue_swap *swap = s->swap;
	int r = check_datasets(s, err);

	for (size_t i = 0; i < swap->n_dropped && r == 0; i++)
		r = drop(s, &swap->dropped[i], err);
	for (size_t i = 0; i < swap->n_shards && r == 0; i++)
		r = add_shard(s, &swap->shards[i], &ids[i], err);
	for (size_t i = 0; i < swap->n_retired && r == 0; i++)
		r = retire(s, &s->retired[i], err);
	return r == 0 ? content_fill(s->q, err) : r;
}

int queue_sqlite_swap(struct queue *base, const struct queue_swap *swap, int64_t now,
		      int64_t *shard_ids, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);
	cleanup_free int64_t *ids = xcalloc(swap->n_shards + 1, sizeof(*ids));
	cleanup_free struct shard_place *retired = xcalloc(swap->n_retired + 1, sizeof(*retired));
	struct swapping s = {
	    .q = q, .swap = swap, .now = now, .first_new = INT64_MAX, .retired = retired};
	int r;

	if (db_begin(q, err) < 0)
		return -1;
	r = db_end(q, make_swap(&s, ids, err), err);
	if (r == 0 && swap->n_shards > 0)
		memcpy(shard_ids, ids, swap->n_shards * sizeof(*ids));
	return r;
}

/*
 * Shards that take the place of others: what becomes of samples and jobs. The rules are those of the queue in memory.
 */
#include "queue/queue_postgres_swap.h"

#include "base/checked.h"

#include <string.h>

static void swap_release(struct swap *s)
{
	for (size_t i = 0; i < s->added_count; i++) {
		free(s->added[i].job.reason);
		free(s->added[i].job.message);
	}
	free(s->added);
	free(s->places);
	free(s->fresh);
	free(s->killed);
	ids_release(&s->ids);
	pg_jobs_release(&s->jobs);
}

bool swap_retires(const struct swap *s, int64_t shard)
{
	bool retired = false;

	for (size_t i = 0; i < s->what->n_retired && !retired; i++)
		retired = s->what->retired[i] == shard;
	return retired;
}

/* -- what it is about ----------------------------------------------------------------------------- */

static int dataset_of(struct swap *s, int64_t shard, int64_t *dataset, struct error *err)
{
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, shard);
	if (pg_query(s->q, "SELECT dataset FROM latentd.shard WHERE id = $1::bigint", &args,
		     &result, err) < 0)
		return -1;
	if (pg_rows(result) == 0)
		return error_set(err, ERR_BUG, "no shard has the id %lld", (long long)shard);
	*dataset = pg_value(result, 0, 0);
	return 0;
}

static int check_datasets(struct swap *s, struct error *err)
{
	const struct queue_swap *what = s->what;
	bool same = true;

	for (size_t i = 0; i < what->n_retired; i++) {
		int64_t dataset = 0;

		if (dataset_of(s, what->retired[i], &dataset, err) < 0)
			return -1;
		s->dataset = s->dataset ? s->dataset : dataset;
		same = same && dataset == s->dataset;
	}
	for (size_t i = 0; i < what->n_shards; i++) {
		int64_t dataset = what->shards[i].row.dataset;

		if (dataset != s->dataset && pg_dataset_check(s->q, dataset, err) < 0)
			return -1;
		s->dataset = s->dataset ? s->dataset : dataset;
		same = same && dataset == s->dataset;
	}
	return same ? 0 : error_set(err, ERR_BUG, "a swap has shards of several datasets");
}

static int check_paths(struct swap *s, struct error *err)
{
	static const char sql[] =
	    "SELECT 1 FROM latentd.shard WHERE dataset = $1::bigint AND path = ANY($2::bytea[])"
	    " UNION ALL"
	    " SELECT 1 FROM latentd.retired WHERE dataset = $1::bigint AND path = ANY($2::bytea[])"
	    " LIMIT 1";
	const struct queue_swap *what = s->what;
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	for (size_t i = 0; i < what->n_shards; i++) {
		for (size_t k = 0; k < i; k++) {
			if (strcmp(what->shards[i].row.path, what->shards[k].row.path) == 0)
				return QUEUE_CONFLICT;
		}
	}
	pg_int(&args, s->dataset);
	pg_array(&args, PG_BYTEA);
	for (size_t i = 0; i < what->n_shards; i++)
		pg_item_bytes(&args, what->shards[i].row.path, strlen(what->shards[i].row.path));
	pg_array_end(&args);
	if (pg_query(s->q, sql, &args, &result, err) < 0)
		return -1;
	return pg_rows(result) > 0 ? QUEUE_CONFLICT : 0;
}

/* -- what becomes of samples ---------------------------------------------------------------------- */

/* Nobody waits for it: a retired shard's rows go as a whole. */
static void kill_live(struct swap *s, struct pg_live *live)
{
	live->dead = true;
	if (live->is_new || swap_retires(s, live->shard))
		return;
	ARRAY_GROW(s->killed, s->killed_count, s->killed_capacity);
	s->killed[s->killed_count++] = live;
}

static struct pg_live *live_at(const struct swap *s, const struct sample_place *place)
{
	for (size_t i = 0; i < s->jobs.live_count; i++) {
		struct pg_live *live = &s->jobs.lives[i];

		if (live->shard == place->shard && live->offset == place->offset && !live->dead)
			return live;
	}
	return NULL;
}

static int drop(struct swap *s, const struct sample_place *place)
{
	struct pg_live *live = live_at(s, place);
	struct pg_job *job;

	if (!live || !swap_retires(s, place->shard))
		return QUEUE_CONFLICT;
	kill_live(s, live);
	job = jobs_find(&s->jobs, live->job);
	if (job->state != JOB_COMPLETED || job_live(job))
		return 0;
	job_set_state(job, JOB_SKIPPED);
	job_says(job, "deleted", NULL);
	job->updated_at = s->now;
	return 0;
}

/* Nothing says that the sample is of the file that was seen: it is visible, and the file is compared with it. */
static void compare(struct pg_job *job, int64_t now)
{
	job->changed = job->is_changed = true;
	if (job->state == JOB_RUNNING)
		return;
	job_set_state(job, JOB_AVAILABLE);
	job->attempts = 0;
	job->updated_at = now;
	job_says(job, NULL, NULL);
}

/* Whether it completes the job. */
static bool finish(struct pg_job *job, const struct hash128 *content, int64_t now)
{
	bool same = !job->has_content || hash128_equal(&job->content, content);
	bool is_over = job->state == JOB_GONE || job->state == JOB_SKIPPED;

	if (job->changed && same && job->keeper != 0) {
		job->keeper = 0;
		job->is_changed = true;
	}
	if (job->state == JOB_COMPLETED || job->changed || (job->state == JOB_ENCODED && !same))
		return false;
	if (job->state != JOB_ENCODED && !is_over && job_was_seen(job)) {
		compare(job, now);
		return false;
	}
	if (is_over)
		job->size = job->inode = 0;
	if (is_over)
		job->mtime_ns = 0;
	job_complete(job);
	return true;
}

static struct pg_live *live_of(const struct pg_job *job, uint32_t variant)
{
	struct pg_live *live = job->live;

	while (live && (live->dead || live->variant != variant))
		live = live->next;
	return live;
}

/* By variant, as all of a job's. */
static void link_live(struct pg_job *job, struct pg_live *live)
{
	struct pg_live **at = &job->live;

	while (*at && (*at)->variant < live->variant)
		at = &(*at)->next;
	live->next = *at;
	*at = live;
}

static int add_sample(struct swap *s, struct place *place, struct pg_live *fresh)
{
	const struct sample_row *sample = place->sample;
	struct pg_job *job = place->row;
	struct pg_live *old = live_of(job, sample->variant);
	bool carried = old && !old->is_new && swap_retires(s, old->shard);

	if (carried && !hash128_equal(&old->latent, &sample->latent))
		return QUEUE_CONFLICT;
	if (old && !carried &&
	    (old->is_new || (job->state == JOB_COMPLETED && job != s->completed)))
		return QUEUE_CONFLICT;
	if (old)
		kill_live(s, old);
	*fresh = (struct pg_live){.job = place->job,
				  .variant = sample->variant,
				  .offset = sample->offset,
				  .content = sample->content,
				  .latent = sample->latent,
				  .is_new = true};
	link_live(job, fresh);
	if (!carried && finish(job, &sample->content, s->now))
		s->completed = job;
	return 0;
}

static int decide(struct swap *s)
{
	int r = 0;

	for (size_t i = 0; i < s->what->n_dropped && r == 0; i++)
		r = drop(s, &s->what->dropped[i]);
	for (size_t i = 0; i < s->place_count && r == 0; i++)
		r = add_sample(s, &s->places[i], &s->fresh[i]);
	for (size_t i = 0; i < s->jobs.live_count && r == 0; i++) {
		const struct pg_live *live = &s->jobs.lives[i];

		if (!live->dead && swap_retires(s, live->shard))
			r = QUEUE_CONFLICT;
	}
	return r;
}

static int make_swap(struct swap *s, int64_t *shard_ids, struct error *err)
{
	int r = check_datasets(s, err);

	if (r == 0 && s->what->n_retired > 0)
		r = pg_turn_check(s->q, s->dataset, err);
	if (r == 0)
		r = check_paths(s, err);
	if (r == 0)
		r = swap_read(s, err);
	if (r == 0)
		r = decide(s);
	return r == 0 ? swap_write(s, shard_ids, err) : r;
}

int queue_postgres_swap(struct queue *base, const struct queue_swap *swap, int64_t now,
			int64_t *shard_ids, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	cleanup_free int64_t *ids = xcalloc(swap->n_shards + 1, sizeof(*ids));
	cleanup_with(swap_release) struct swap s = {.q = q, .what = swap};
	int r;

	if (pg_begin(q, err) < 0)
		return -1;
	s.now = pg_time(q, now, now);
	r = pg_end(q, make_swap(&s, ids, err), err);
	pg_fold(q);
	if (r == 0 && swap->n_shards > 0)
		memcpy(shard_ids, ids, swap->n_shards * sizeof(*ids));
	return r;
}

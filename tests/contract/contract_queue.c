#include "tests/contract/contract_queue.h"

#include "queue/queue_open.h"

#include <inttypes.h>

static const struct queue_backend *used;

void fixture_use(const struct queue_backend *backend)
{
	used = backend;
}

static void fixture_open(struct fixture *f)
{
	assert_ok(f->backend->open(f->path, &f->q, &f->err), &f->err);
}

int fixture_setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->backend = used;
	f->dir = testing_tempdir();
	f->path = testing_path(f->dir, "queue.db");
	fixture_open(f);
	f->dataset = make_dataset(f, "photos");
	*state = f;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	queue_close(f->q);
	testing_tempdir_remove(f->dir);
	free(f->path);
	free(f);
	return 0;
}

void fixture_after(struct fixture *f)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	if (f->backend->reopen) {
		queue_close(f->q);
		f->q = NULL;
		fixture_open(f);
	}
	queue_dump(f->q, &text);
}

void fixture_close(struct fixture *f)
{
	queue_close(f->q);
	f->q = NULL;
}

/* -- everything as text --------------------------------------------------------------------------- */

struct dump {
	struct buffer *out;
	int64_t last_id;
	uint64_t last_offset;
	char *last_name;
	uint64_t rows, sums[2], dead;
	int64_t *ids;
	size_t id_count, id_capacity;
};

static int dump_job(void *arg, const struct job_row *row)
{
	struct dump *d = arg;
	char content[HASH128_HEX_SIZE] = "";

	if (row->has_content)
		hash128_hex(&row->content, content);
	assert_true(row->id > d->last_id);
	d->last_id = row->id;
	d->rows++;
	buffer_appendf(d->out,
		       "%s %" PRId64 " %u %s|%s|%" PRIu64 " %" PRId64 "|%u %u|%s|%s|%" PRId64
		       " %" PRId64 " %s\n",
		       job_state_name(row->state), row->id, row->root, row->key, row->path,
		       row->size, row->mtime_ns, row->attempts, row->crashes, row->reason,
		       row->message, row->updated_at, row->not_before, content);
	return 0;
}

static int dump_sample(void *arg, const struct sample_row *row)
{
	struct dump *d = arg;
	char content[HASH128_HEX_SIZE], latent[HASH128_HEX_SIZE];

	assert_true(d->rows == 0 || row->offset > d->last_offset);
	d->last_offset = row->offset;
	d->rows++;
	hash128_hex(&row->content, content);
	hash128_hex(&row->latent, latent);
	d->sums[0] += row->dead;
	buffer_appendf(d->out, "%s %s|%" PRId64 " %u %s|%u|%s %s|%" PRIu64 " %" PRIu64 "\n",
		       row->dead ? "dead" : "sample", row->key, row->job, row->root, row->path,
		       row->variant, content, latent, row->offset, row->bytes);
	return 0;
}

static int dump_shard(void *arg, const struct shard_row *row)
{
	struct dump *d = arg;
	char sha[SHA256_HEX_SIZE], xxh3[HASH128_HEX_SIZE];

	assert_true(!d->last_name || strcmp(row->path, d->last_name) > 0);
	free(d->last_name);
	d->last_name = xstrdup(row->path);
	d->rows++;
	d->sums[0] += row->samples - row->dead;
	d->sums[1] += row->bytes;
	d->dead += row->dead;
	ARRAY_GROW(d->ids, d->id_count, d->id_capacity);
	d->ids[d->id_count++] = row->id;
	sha256_hex(&row->sha256, sha);
	hash128_hex(&row->xxh3, xxh3);
	buffer_appendf(d->out,
		       "shard %" PRId64 " of %" PRId64 " %s %s %s %" PRIu64 " %" PRIu64 " (%" PRIu64
		       " dead) %s %s %" PRId64 "\n",
		       row->id, row->dataset, row->path, row->format, row->group, row->bytes,
		       row->samples, row->dead, sha, xxh3, row->sealed_at);
	return 0;
}

static int dump_retired(void *arg, const struct retired_row *row)
{
	struct dump *d = arg;

	assert_true(row->id > d->last_id);
	d->last_id = row->id;
	buffer_appendf(d->out, "retired %" PRId64 " of %" PRId64 " %s %" PRId64 "\n", row->id,
		       row->dataset, row->path, row->retired_at);
	return 0;
}

static int dump_recaption(void *arg, const struct recaption_row *row)
{
	struct dump *d = arg;

	assert_true(row->job >= d->last_id);
	d->rows += row->job > d->last_id;
	d->last_id = row->job;
	buffer_appendf(d->out, "recaption %" PRId64 " %" PRIu64 " %u %s|%s|%s %" PRId64 " %u%s\n",
		       row->job, row->caption, row->root, row->key, row->path,
		       row->spooled ? "spooled" : "", row->shard, row->variant,
		       row->elsewhere ? " elsewhere" : "");
	return 0;
}

static int dump_duplicate(void *arg, const struct duplicate_row *row)
{
	struct dump *d = arg;
	char content[HASH128_HEX_SIZE];

	hash128_hex(&row->content, content);
	buffer_appendf(d->out, "duplicate %s %" PRId64 " %u %s|%s|%" PRId64 "\n", content, row->job,
		       row->root, row->key, row->path, row->shard);
	return 0;
}

static int sum_reasons(void *arg, const struct reason_row *row)
{
	struct dump *d = arg;

	assert_true(!d->last_name || strcmp(row->reason, d->last_name) > 0);
	free(d->last_name);
	d->last_name = xstrdup(row->reason);
	d->rows += row->jobs;
	return 0;
}

static int dump_dataset(void *arg, const struct queue_dataset *row)
{
	struct dump *d = arg;

	assert_true(!d->last_name || strcmp(row->name, d->last_name) > 0);
	free(d->last_name);
	d->last_name = xstrdup(row->name);
	ARRAY_GROW(d->ids, d->id_count, d->id_capacity);
	d->ids[d->id_count++] = row->id;
	buffer_appendf(d->out, "dataset %" PRId64 " %s %s %s %s\n", row->id, row->name, row->output,
		       row->recipe_id, row->recipe_json);
	return 0;
}

/* What hangs on jobs. */
static void dump_sides(struct queue *q, int64_t dataset, struct buffer *out)
{
	struct dump recaptions = {.out = out}, duplicates = {.out = out};
	struct error err = ERROR_INIT;
	struct queue_counts counts;

	assert_ok(queue_counts(q, dataset, &counts, &err), &err);
	assert_ok(queue_recaptions(q, dataset, 0, dump_recaption, &recaptions, &err), &err);
	assert_int_equal(recaptions.rows, counts.recaptions);
	assert_ok(queue_duplicates(q, dataset, NULL, 0, dump_duplicate, &duplicates, &err), &err);
	for (int state = 0; state < JOB_STATES; state++) {
		struct dump reasons = {.out = out};

		if (state == JOB_AVAILABLE || state == JOB_COMPLETED)
			continue;
		assert_ok(
		    queue_reasons(q, dataset, (enum job_state)state, sum_reasons, &reasons, &err),
		    &err);
		free(reasons.last_name);
		assert_int_equal(reasons.rows, counts.jobs[state]);
	}
}

static void dump_contents(struct queue *q, int64_t dataset, struct buffer *out)
{
	struct queue_counts counts;
	struct error err = ERROR_INIT;
	struct dump shards = {.out = out}, retired = {.out = out};
	int64_t last = 0;

	buffer_appendf(out, "contents of %" PRId64 "\n", dataset);
	dump_sides(q, dataset, out);
	assert_ok(queue_counts(q, dataset, &counts, &err), &err);
	for (int state = 0; state < JOB_STATES; state++) {
		struct dump jobs = {.out = out};

		assert_ok(queue_jobs(q,
				     &(struct job_filter){.dataset = dataset,
							  .state = (enum job_state)state},
				     dump_job, &jobs, &err),
			  &err);
		assert_int_equal(jobs.rows, counts.jobs[state]);
	}
	assert_ok(queue_shards(q, dataset, dump_shard, &shards, &err), &err);
	assert_int_equal(shards.rows, counts.shards);
	assert_int_equal(shards.sums[0], counts.samples);
	assert_int_equal(shards.sums[1], counts.shard_bytes);
	for (size_t i = 0; i < shards.id_count; i++)
		last = shards.ids[i] > last ? shards.ids[i] : last;
	assert_int_equal(last, counts.last_shard);
	free(shards.last_name);
	for (size_t i = 0; i < shards.id_count; i++) {
		struct dump samples = {.out = out};

		assert_ok(queue_samples(q, shards.ids[i], dump_sample, &samples, &err), &err);
		shards.sums[0] -= samples.rows - samples.sums[0];
		shards.dead -= samples.sums[0];
	}
	assert_int_equal(shards.sums[0], 0);
	assert_int_equal(shards.dead, 0);
	free(shards.ids);
	assert_ok(queue_retired(q, dataset, dump_retired, &retired, &err), &err);
}

void queue_dump(struct queue *q, struct buffer *out)
{
	struct error err = ERROR_INIT;
	struct dump datasets = {.out = out};

	buffer_append_string(out, "queue\n");
	assert_ok(queue_datasets(q, dump_dataset, &datasets, &err), &err);
	free(datasets.last_name);
	for (size_t i = 0; i < datasets.id_count; i++)
		dump_contents(q, datasets.ids[i], out);
	free(datasets.ids);
}

void assert_unchanged(struct queue *q, const struct buffer *before)
{
	cleanup_buffer struct buffer now = BUFFER_INIT;

	queue_dump(q, &now);
	assert_string_equal((const char *)now.data, (const char *)before->data);
}

void read_whole_queue(const char *path)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_queue struct queue *reader = NULL;
	struct error err = ERROR_INIT;

	assert_ok(queue_sqlite_open_readonly(path, &reader, &err), &err);
	queue_dump(reader, &text);
}

void assert_file_is(const char *path, const struct buffer *bytes)
{
	cleanup_buffer struct buffer now = testing_read(path);

	assert_int_equal(now.size, bytes->size);
	assert_memory_equal(now.data, bytes->data, bytes->size);
}

/* -- short forms ---------------------------------------------------------------------------------- */

int64_t make_dataset(struct fixture *f, const char *name)
{
	struct queue_dataset_spec spec = {name, "/out/\xff", "0123456789abcdef0123456789abcdef",
					  "{\"vae\":1}"};
	int64_t id = 0;

	assert_ok(queue_open_dataset(f->q, &spec, &id, &f->err), &f->err);
	fixture_after(f);
	return id;
}

struct job_spec file_spec(const char *path, const char *key, int64_t mtime)
{
	return (struct job_spec){
	    .path = path,
	    .key = key,
	    .key_distinct = "distinct",
	    .size = 1000,
	    .mtime_ns = mtime,
	    .inode = 77,
	};
}

struct enqueue_counts enqueue_one(struct fixture *f, int64_t dataset, struct job_spec spec)
{
	struct enqueue_counts counts = {0};

	assert_ok(queue_enqueue(f->q, dataset, &spec, 1, &counts, &f->err), &f->err);
	fixture_after(f);
	return counts;
}

struct finder {
	int64_t id;
	const char *path;
	struct shown found;
	int64_t found_id;
};

static int find_row(void *arg, const struct job_row *row)
{
	struct finder *finder = arg;

	if (finder->path ? strcmp(row->path, finder->path) != 0 : row->id != finder->id)
		return 0;
	finder->found_id = row->id;
	finder->found = (struct shown){
	    .state = row->state,
	    .root = row->root,
	    .attempts = row->attempts,
	    .crashes = row->crashes,
	    .key = xstrdup(row->key),
	    .path = xstrdup(row->path),
	    .reason = xstrdup(row->reason),
	    .message = xstrdup(row->message),
	    .updated_at = row->updated_at,
	};
	return 1;
}

static void find_job(struct fixture *f, struct finder *finder)
{
	for (int64_t dataset = 1; dataset < 4 && finder->found_id == 0; dataset++) {
		for (int state = 0; state < JOB_STATES && finder->found_id == 0; state++)
			assert_ok(queue_jobs(f->q,
					     &(struct job_filter){.dataset = dataset,
								  .state = (enum job_state)state},
					     find_row, finder, &f->err),
				  &f->err);
	}
	assert_true(finder->found_id != 0);
}

struct shown show_job(struct fixture *f, int64_t id)
{
	struct finder finder = {.id = id};

	find_job(f, &finder);
	return finder.found;
}

void shown_release(struct shown *s)
{
	free(s->key);
	free(s->path);
	free(s->reason);
	free(s->message);
}

enum job_state state_of(struct fixture *f, int64_t id)
{
	cleanup_shown struct shown shown = show_job(f, id);

	return shown.state;
}

int64_t add_job(struct fixture *f, const char *name)
{
	cleanup_free char *path = xasprintf("%s.jpg", name);
	struct finder finder = {.path = path};
	struct enqueue_counts counts = enqueue_one(f, f->dataset, file_spec(path, name, 1));

	assert_int_equal(counts.added, 1);
	find_job(f, &finder);
	shown_release(&finder.found);
	return finder.found_id;
}

size_t claim_jobs(struct fixture *f, const char *owner, struct job *jobs, size_t limit)
{
	struct queue_claim claim = {
	    .owner = owner, .now = NOW, .lease_until = NOW + LEASE, .limit = limit};
	size_t n = 0;
	int r = queue_claim(f->q, &claim, jobs, &n, &f->err);

	assert_true(r >= 0);
	fixture_after(f);
	return n;
}

struct job add_claimed(struct fixture *f, const char *name)
{
	int64_t id = add_job(f, name);
	struct job job;

	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_int_equal(job.id, id);
	return job;
}

struct job_outcome outcome_of(const struct job *job, enum outcome_kind kind)
{
	struct job_outcome outcome = {.job = job->id, .fence = job->fence, .kind = kind};

	switch (kind) {
	case OUTCOME_RETRY:
	case OUTCOME_POSTPONE:
		outcome.not_before = NOW + 500;
		outcome.reason = "timeout";
		outcome.message = "no answer";
		break;
	case OUTCOME_QUARANTINE:
		outcome.reason = "truncated";
		outcome.message = "ends at byte 7";
		break;
	case OUTCOME_SKIP:
		outcome.reason = "min_side";
		outcome.message = "12 x 9 pixels";
		break;
	case OUTCOME_ENCODED:
		outcome.has_content = true;
		outcome.content = hash128_of(job->path, strlen(job->path));
		break;
	default:
		break;
	}
	return outcome;
}

bool settle_one(struct fixture *f, struct job_outcome outcome)
{
	size_t lost = 99;

	assert_ok(queue_settle(f->q, &outcome, 1, NOW + 10, &lost, &f->err), &f->err);
	assert_true(lost <= 1);
	fixture_after(f);
	return lost == 0;
}

int64_t job_in_state(struct fixture *f, const char *name, enum job_state state)
{
	static const enum outcome_kind outcomes[JOB_STATES] = {
	    [JOB_ENCODED] = OUTCOME_ENCODED,
	    [JOB_RETRYABLE] = OUTCOME_RETRY,
	    [JOB_QUARANTINED] = OUTCOME_QUARANTINE,
	    [JOB_SKIPPED] = OUTCOME_SKIP,
	    [JOB_GONE] = OUTCOME_GONE,
	};
	cleanup_free char *path = xasprintf("%s.jpg", name);
	cleanup_job struct job job = {0};

	if (state == JOB_AVAILABLE)
		return add_job(f, name);
	job = add_claimed(f, name);
	if (state == JOB_COMPLETED) {
		struct sample_row sample = sample_of(path, name, 0);
		struct shard_row shard = shard_of(f->dataset, path, 1);

		assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
		assert_int_equal(complete(f, &shard, &sample, 1), 0);
	} else if (state != JOB_RUNNING) {
		assert_true(settle_one(f, outcome_of(&job, outcomes[state])));
	}
	assert_int_equal(state_of(f, job.id), state);
	return job.id;
}

struct sample_row sample_of(const char *path, const char *key, uint64_t offset)
{
	return (struct sample_row){
	    .path = path,
	    .key = key,
	    .content = hash128_of(path, strlen(path)),
	    .latent = hash128_of(key, strlen(key)),
	    .offset = offset,
	    .bytes = 512,
	};
}

struct shard_row shard_of(int64_t dataset, const char *path, uint64_t samples)
{
	return (struct shard_row){
	    .dataset = dataset,
	    .path = path,
	    .format = "wds",
	    .group = "512x512",
	    .bytes = 10240,
	    .samples = samples,
	    .sha256 = sha256_of(path, strlen(path)),
	    .xxh3 = hash128_of(path, strlen(path)),
	    .sealed_at = NOW,
	};
}

int complete(struct fixture *f, const struct shard_row *shard, const struct sample_row *samples,
	     size_t n)
{
	int64_t id = 0;
	int r = queue_complete(f->q, shard, samples, n, NOW + 20, &id, &f->err);

	assert_true(r >= 0);
	assert_true((r == 0) == (id > 0));
	fixture_after(f);
	return r;
}

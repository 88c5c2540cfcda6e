#include "run_rig.h"

#include "base/checked.h"
#include "daemon/record_facts.h"
#include "encoder/encoder_fake.h"
#include "queue/queue_open.h"
#include "source/sample_key.h"

#include <stdio.h>
#include <string.h>

static struct error err = ERROR_INIT;

static const struct shard_ops *wds(void)
{
	return shard_format("wds");
}

void run_use_buckets(struct run *run, enum bucket_rule rule, size_t resolution)
{
	run_use_bucket_options(run,
			       &(struct bucket_options){.rule = rule, .resolution = resolution});
}

void run_use_bucket_options(struct run *run, const struct bucket_options *options)
{
	bucket_table_free(run->buckets);
	recipe_release(&run->recipe);
	run->buckets = bucket_table_new(options, &err);
	assert_non_null(run->buckets);
	run->recipe = (struct recipe){.fake = true,
				      .vae = {.latent_channels = 4, .scaling_factor = 1},
				      .buckets = *bucket_table_options(run->buckets),
				      .filter = FILTER_LANCZOS,
				      .policy = IMAGE_POLICY_DEFAULT,
				      .dtype = DTYPE_F32};
	recipe_finish(&run->recipe);
}

void run_open(struct run *run)
{
	struct queue_dataset_spec spec = {.name = "photos", .output = "/out/photos"};

	error_clear(&err);
	memset(run, 0, sizeof(*run));
	run->dir = testing_tempdir();
	run->spool_dir = testing_path(run->dir, "spool");
	run_use_buckets(run, BUCKET_SQUARE, 64);
	spec.recipe_id = run->recipe.id;
	spec.recipe_json = run->recipe.json;
	assert_ok(queue_memory_open(&run->queue, &err), &err);
	assert_ok(queue_open_dataset(run->queue, &spec, &run->dataset, &err), &err);
	assert_ok(store_memory_open(&run->store, &err), &err);
	assert_ok(spool_open(run->spool_dir, NULL, NULL, NULL, &run->spool, &err), &err);
}

void run_close(struct run *run)
{
	run_close_packer(run);
	spool_close(run->spool);
	store_close(run->store);
	queue_close(run->queue);
	recipe_release(&run->recipe);
	bucket_table_free(run->buckets);
	free(run->rejected_path);
	free(run->spool_dir);
	testing_tempdir_remove(run->dir);
}

/* -- jobs ------------------------------------------------------------------------------------------- */

void run_enqueue(struct run *run, const char *path, uint64_t rank)
{
	char key[SAMPLE_KEY_SIZE], distinct[SAMPLE_KEY_SIZE];
	struct job_spec spec = {.root = 3,
				.path = path,
				.key = key,
				.key_distinct = distinct,
				.size = 1,
				.mtime_ns = 1,
				.rank = rank};
	struct enqueue_counts counts = {0};

	sample_key(path, key);
	sample_key_distinct(path, path, distinct);
	assert_ok(queue_enqueue(run->queue, run->dataset, &spec, 1, &counts, &err), &err);
	assert_int_equal(counts.added, 1);
}

void run_claim(struct run *run, const char *owner, struct job *jobs, size_t n)
{
	struct queue_claim claim = {.dataset = run->dataset,
				    .owner = owner,
				    .now = 1000,
				    .lease_until = INT64_MAX,
				    .limit = n};
	size_t got = 0;

	assert_ok(queue_claim(run->queue, &claim, jobs, &got, &err), &err);
	assert_int_equal(got, n);
}

struct job run_claimed(struct run *run, const char *path, uint64_t rank)
{
	struct job job;

	run_enqueue(run, path, rank);
	run_claim(run, RUN_OWNER, &job, 1);
	assert_string_equal(job.path, path);
	return job;
}

void run_settle(struct run *run, const struct job *job, enum outcome_kind kind)
{
	struct job_outcome outcome = {.job = job->id, .fence = job->fence, .kind = kind};
	size_t lost = 0;

	assert_ok(queue_settle(run->queue, &outcome, 1, 2000, &lost, &err), &err);
	assert_int_equal(lost, 0);
}

uint64_t run_count(struct run *run, enum job_state state)
{
	struct queue_counts counts;

	assert_ok(queue_counts(run->queue, run->dataset, &counts, &err), &err);
	return counts.jobs[state];
}

/* -- records ---------------------------------------------------------------------------------------- */

struct finished run_finished(const struct job *job, size_t width, size_t height)
{
	struct finished f = {.job = job->id, .fence = job->fence, .rank = job->rank};
	size_t shape[3] = {4, height / 8, width / 8}, pixels = shape[1] * shape[2];
	cleanup_free float *moments = xcalloc(8 * pixels, sizeof(*moments));

	f.key = xstrdup(job->key);
	f.path = xstrdup(job->path);
	f.facts.content = hash128_of(job->key, strlen(job->key));
	f.facts.header = (struct image_header){IMAGE_PNG, width, height, 1, 1};
	f.placements[0] =
	    (struct bucket_placement){.target_width = width,
				      .target_height = height,
				      .resized_width = width,
				      .resized_height = height,
				      .kohya_crop_ltrb = {0, 0, (double)width, (double)height}};
	f.facts.captions = true;
	f.engines[0] = xstrdup("fake");
	assert_ok(ndarray_alloc(&f.latents[0], DTYPE_F32, 3, shape, &err), &err);
	encoder_fake_moments(&f.facts.content, 4, pixels, moments);
	memcpy(f.latents[0].data, moments, f.latents[0].bytes);
	return f;
}

void run_record(const struct recipe *recipe, const struct job *job, size_t width, size_t height,
		struct record *out)
{
	struct finished f = run_finished(job, width, height);

	f.facts.key = f.key;
	f.facts.path = f.path;
	f.facts.engine = f.engines[0];
	f.facts.placement = f.placements[0];
	assert_ok(record_build(recipe, &f.facts, &f.latents[0], f.rank, out, &err), &err);
	out->dataset = job->dataset;
	out->job = f.job;
	out->fence = f.fence;
	finished_release(&f);
}

void run_spool(struct run *run, const struct job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		cleanup_record struct record record = RECORD_INIT;
		struct spool_place place;

		run_record(&run->recipe, &jobs[i], 64, 64, &record);
		assert_ok(spool_append(run->spool, &record, &place, &err), &err);
	}
	assert_ok(spool_sync(run->spool, &err), &err);
}

struct sealing {
	const struct recipe *recipe;
	const struct job *jobs;
};

static int load_one(void *arg, size_t index, struct record *out, struct error *why)
{
	const struct sealing *s = arg;

	(void)why;
	run_record(s->recipe, &s->jobs[index], 64, 64, out);
	return 0;
}

char *run_seal(struct run *run, const struct recipe *recipe, const struct job *jobs, size_t n)
{
	const struct seal_target target = {
	    .store = run->store, .format = wds(), .folder = "train/64x64"};
	struct sealing s = {recipe, jobs};
	struct sealed_shard sealed;
	char *name;

	assert_ok(seal_shard(&target, load_one, &s, n, &sealed, &err), &err);
	name = xstrdup(sealed.name);
	sealed_shard_release(&sealed);
	return name;
}

/* -- the packer's threads --------------------------------------------------------------------------- */

static void on_encoded(void *arg, const struct packed *what)
{
	struct run *run = arg;

	run->encoded++;
	if (run->pipeline)
		pipeline_on_encoded(run->pipeline, what);
}

static void on_rejected(void *arg, const struct packed *what, const char *path,
			const struct error *why)
{
	struct run *run = arg;

	if (run->pipeline)
		pipeline_on_rejected(run->pipeline, what, path, why);
	free(run->rejected_path);
	run->rejected_path = xstrdup(path);
	run->rejected_why = *why;
	run->rejected++;
}

static void on_shard(void *arg, const char *name, size_t samples, uint64_t bytes)
{
	struct run *run = arg;

	assert_non_null(name);
	assert_true(bytes > 0);
	run->shards++;
	run->shard_samples += samples;
}

static void on_fatal(void *arg, const struct error *why)
{
	struct run *run = arg;

	assert_int_equal(run->fatal.code, ERR_NONE); /* told once */
	run->fatal = *why;
}

void run_open_loop(struct run *run)
{
	assert_true(sd_event_new(&run->event) >= 0);
	assert_ok(inbox_open(run->event, &run->inbox, &err), &err);
	assert_ok(db_open(run->inbox, run->queue, RUN_OWNER, &run->db, &err), &err);
}

void run_open_packer(struct run *run, const struct run_limits *limits)
{
	struct packer_options options = {
	    .db = run->db,
	    .spool = run->spool,
	    .store = run->store,
	    .recipe = &run->recipe,
	    .dataset = run->dataset,
	    .node = limits->node,
	    .shard_samples = limits->samples ? limits->samples : RUN_MANY,
	    .shard_bytes = limits->bytes ? limits->bytes : RUN_MANY,
	    .spool_waste = limits->waste ? limits->waste : UINT64_MAX,
	    .seal_age_ms = limits->age_ms,
	    .backlog = limits->backlog ? limits->backlog : SIZE_MAX,
	    .handlers = {on_encoded, on_rejected, on_shard, on_fatal},
	    .arg = run,
	};

	assert_ok(packer_open(run->event, run->inbox, &options, &run->packer, &err), &err);
}

void run_turn(struct run *run)
{
	int r = sd_event_run(run->event, 30 * 1000 * 1000);

	if (r <= 0)
		fail_msg("the loop waited for nothing (%d)", r);
}

void run_until_idle(struct run *run)
{
	while (!packer_idle(run->packer))
		run_turn(run);
}

void run_close_packer(struct run *run)
{
	packer_close(run->packer);
	db_close(run->db);
	inbox_close(run->inbox);
	sd_event_unref(run->event);
	run->packer = NULL;
	run->db = NULL;
	run->inbox = NULL;
	run->event = NULL;
}

/* -- the result ------------------------------------------------------------------------------------- */

/* One shard's rows, while its file is read beside them. */
struct shard_check {
	int64_t id;
	char *name;
	uint64_t n;
	struct sample_row *rows;
	char (*keys)[RECORD_KEY_SIZE];
	size_t at;
	struct buffer *text;
};

struct catalog {
	struct shard_check *shards;
	size_t n, capacity;
};

static int on_shard_row(void *arg, const struct shard_row *row)
{
	struct catalog *c = arg;

	ARRAY_GROW(c->shards, c->n, c->capacity);
	c->shards[c->n++] =
	    (struct shard_check){.id = row->id,
				 .name = xstrdup(row->path),
				 .n = row->samples,
				 .rows = xcalloc(row->samples, sizeof(struct sample_row)),
				 .keys = xcalloc(row->samples, RECORD_KEY_SIZE)};
	return 0;
}

static int on_sample_row(void *arg, const struct sample_row *row)
{
	struct shard_check *s = arg;

	assert_true(s->at < s->n);
	s->rows[s->at] = *row;
	snprintf(s->keys[s->at++], RECORD_KEY_SIZE, "%s", row->key);
	return 0;
}

/* Every latent here is the fake encoder's mean of its content. */
static void check_latent(const struct record_facts *facts)
{
	size_t pixels = facts->height * facts->width;
	cleanup_free float *moments = xcalloc(8 * pixels, sizeof(*moments));
	struct hash128 want;

	assert_int_equal(facts->channels, 4);
	encoder_fake_moments(&facts->content, 4, pixels, moments);
	want = hash128_of(moments, 4 * pixels * sizeof(*moments));
	assert_true(hash128_equal(&facts->latent, &want));
}

static int on_stored(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *why)
{
	struct shard_check *s = arg;
	const struct sample_row *row = &s->rows[s->at];
	struct record_facts facts;

	assert_true(s->at < s->n);
	assert_string_equal(record->key, s->keys[s->at++]);
	assert_int_equal(span->offset, row->offset);
	assert_int_equal(span->bytes, row->bytes);
	assert_ok(record_facts_read(record, &facts, why), why);
	assert_ok(record_latent_read(record, &facts, NULL, why), why);
	check_latent(&facts);
	assert_true(hash128_equal(&facts.latent, &row->latent));
	assert_true(hash128_equal(&facts.content, &row->content));
	buffer_appendf(s->text, " %s", record->key);
	return 0;
}

static void check_shard(struct run *run, struct shard_check *s, struct buffer *text)
{
	assert_ok(queue_samples(run->queue, s->id, on_sample_row, s, &err), &err);
	assert_int_equal(s->at, s->n);
	s->at = 0;
	s->text = text;
	buffer_appendf(text, "%s:", s->name);
	assert_ok(shard_read_stored(run->store, s->name, on_stored, s, &err), &err);
	assert_int_equal(s->at, s->n);
	buffer_append_string(text, "\n");
	free(s->name);
	free(s->rows);
	free(s->keys);
}

static char *text_of(struct buffer *text)
{
	char *s = xstrdup(text->data ? (const char *)text->data : "");

	buffer_release(text);
	return s;
}

char *run_catalog(struct run *run)
{
	struct buffer text = BUFFER_INIT;
	struct catalog c = {.n = 0};

	assert_ok(queue_shards(run->queue, run->dataset, on_shard_row, &c, &err), &err);
	for (size_t i = 0; i < c.n; i++)
		check_shard(run, &c.shards[i], &text);
	free(c.shards);
	return text_of(&text);
}

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	(void)bytes;
	buffer_appendf(arg, "%s\n", name);
	return 0;
}

char *run_objects(struct run *run)
{
	struct buffer text = BUFFER_INIT;

	assert_ok(store_list(run->store, "", on_object, &text, &err), &err);
	return text_of(&text);
}

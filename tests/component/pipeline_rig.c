#include "pipeline_rig.h"

#include "daemon/db_queue.h"
#include "daemon/scan.h"

#include "base/checked.h"
#include "base/files.h"
#include "encoder/encoder_fake.h"

#include <stdio.h>
#include <string.h>

int pipeline_setup(void **state)
{
	static struct fixture f;
	const char *build = getenv("LATENTD_BUILD_DIR");

	memset(&f, 0, sizeof(f));
	run_open(&f.run);
	f.decoder = xasprintf("%s/daemon/latentd-decode", build ? build : ".");
	*state = &f;
	return 0;
}

void close_pipeline(struct fixture *f)
{
	encode_driver_close(f->driver);
	decode_pool_close(f->pool);
	if (f->pipeline)
		f->counts = *pipeline_counts(f->pipeline);
	pipeline_close(f->pipeline);
	encode_group_release(&f->encoders);
	f->driver = NULL;
	f->pool = NULL;
	f->pipeline = f->run.pipeline = NULL;
	run_close_packer(&f->run);
	encoder_close(f->encoder);
	f->encoder = NULL;
}

int pipeline_teardown(void **state)
{
	struct fixture *f = *state;

	close_pipeline(f);
	source_close(f->source);
	for (size_t i = 0; i < f->n; i++) {
		free((char *)f->files[i].path);
		free((void *)f->files[i].data);
	}
	free(f->decoder);
	run_close(&f->run);
	return 0;
}

/* -- files -------------------------------------------------------------------------------------------- */

void add_file(struct fixture *f, const char *path, const void *data, size_t size)
{
	struct source_memory_file *file = &f->files[f->n++];

	assert_true(f->n <= FILES_MAX);
	file->path = xstrdup(path);
	file->size = size;
	if (data) {
		void *copy = xmalloc(size);

		memcpy(copy, data, size);
		file->data = copy;
	}
}

void add_pictures(struct fixture *f, const char *prefix, const char *golden, uint8_t n)
{
	cleanup_free char *relative = xasprintf("images/%s", golden);
	cleanup_free char *path = testing_golden(relative);
	cleanup_buffer struct buffer bytes = testing_read(path);

	buffer_put_u8(&bytes, 0);
	for (uint8_t i = 0; i < n; i++) {
		cleanup_free char *name = xasprintf("%s%02u.jpg", prefix, i);

		bytes.data[bytes.size - 1] = i;
		add_file(f, name, bytes.data, bytes.size);
	}
}

void add_text(struct fixture *f, const char *path, const char *text)
{
	add_file(f, path, text, strlen(text));
}

/* -- a run -------------------------------------------------------------------------------------------- */

static void on_outcome(void *arg, const char *path, enum outcome_kind kind, const char *reason,
		       const char *message)
{
	struct fixture *f = arg;
	size_t n = strlen(f->outcomes);

	assert_non_null(message);
	snprintf(f->outcomes + n, sizeof(f->outcomes) - n, "%s %d %s\n", path, kind, reason);
}

static void on_fatal(void *arg, const struct error *why)
{
	struct fixture *f = arg;

	assert_int_equal(f->fatal.code, ERR_NONE);
	f->fatal = *why;
}

static void on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	struct fixture *f = arg;

	f->batches++;
	f->singles += batch->n == 1;
	pipeline_on_batch(batch, failure);
}

void scan_files(struct fixture *f)
{
	struct scan_options options = {.dataset = f->run.dataset, .root = ROOT, .shuffled = true};
	struct enqueue_counts counts = {0};

	source_close(f->source);
	assert_ok(source_memory_open(f->files, f->n, &f->source, &f->err), &f->err);
	assert_ok(scan_source(f->run.queue, f->source, &options, &counts, &f->err), &f->err);
	assert_int_equal(counts.added + counts.known, f->n);
}

void open_pipeline(struct fixture *f, const struct how *how)
{
	struct encoder_fake_options fake = {.poison = how->poison};
	struct run_limits limits = {.samples = 10};
	struct pipeline_options options = {.recipe = &f->run.recipe,
					   .resolutions = {{f->run.buckets}, 1},
					   .roots = &f->root,
					   .n_roots = 1,
					   .dataset = f->run.dataset,
					   .memory = &f->memory,
					   .encoders = &f->encoders,
					   .captions = true,
					   .drop_duplicates = how->drop,
					   .on_outcome = on_outcome,
					   .on_fatal = on_fatal,
					   .arg = f};

	struct decode_pool_options pool = {.workers = how->workers ? how->workers : 2,
					   .program = f->decoder,
					   .slot_bytes =
					       bucket_table_max_pixels(f->run.buckets) * 3};

	run_open_loop(&f->run);
	run_open_packer(&f->run, &limits);
	f->memory = (struct memory_budget){.limit = how->memory ? how->memory : (size_t)64 << 20};
	pipeline_decode_options(&pool);
	assert_ok(decode_pool_open(f->run.event, &pool, &f->pool, &f->err), &f->err);
	f->root = (struct pipeline_root){ROOT, f->source};
	if (!f->encoder)
		assert_ok(encoder_fake_open(&fake, &f->encoder, &f->err), &f->err);
	assert_ok(encode_driver_open(f->run.inbox, f->encoder, on_batch, f, &f->driver, &f->err),
		  &f->err);
	options.inbox = f->run.inbox;
	options.db = f->run.db;
	options.packer = f->run.packer;
	encode_group_add(&f->encoders, f->driver);
	options.pool = f->pool;
	options.best_batch = encoder_caps(f->encoder)->best_batch;
	assert_ok(pipeline_open(f->run.event, &options, &f->pipeline, &f->err), &f->err);
	f->run.pipeline = f->pipeline;
}

void turn_to_the_end(struct fixture *f, bool seal)
{
	bool draining = false;

	for (;;) {
		pipeline_pump(f->pipeline);
		if (!draining && pipeline_finished(f->pipeline)) {
			draining = true;
			packer_drain(f->run.packer, seal);
		}
		if (draining && packer_idle(f->run.packer) && pipeline_finished(f->pipeline))
			return;
		run_turn(&f->run);
	}
}

void run_all(struct fixture *f, const struct how *how)
{
	scan_files(f);
	open_pipeline(f, how);
	turn_to_the_end(f, true);
	close_pipeline(f);
	assert_int_equal(f->run.fatal.code, ERR_NONE);
}

uint64_t count(struct fixture *f, enum job_state state)
{
	return run_count(&f->run, state);
}

size_t word_count(const char *text, const char *word)
{
	size_t n = 0, length = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += length)
		n += p > text && p[-1] == ' ' && (p[length] == ' ' || p[length] == '\n');
	return n;
}

void assert_all_sealed_once(struct fixture *f)
{
	cleanup_free char *catalog = run_catalog(&f->run);

	assert_int_equal(count(f, JOB_COMPLETED), f->n);
	for (size_t i = 0; i < f->n; i++) {
		cleanup_free char *key = xstrdup(f->files[i].path);

		*strrchr(key, '.') = '\0';
		if (word_count(catalog, key) != 1)
			fail_msg("%s is in %zu shards", key, word_count(catalog, key));
	}
}

static int on_uncharged(void *arg, const struct job_row *row)
{
	(void)arg;
	assert_int_equal(row->attempts, 0);
	assert_int_equal(row->crashes, 0);
	return 0;
}

void assert_uncharged(struct fixture *f, uint64_t n)
{
	assert_int_equal(count(f, JOB_AVAILABLE), n);
	assert_ok(
	    queue_jobs(f->run.queue,
		       &(struct job_filter){.dataset = f->run.dataset, .state = JOB_AVAILABLE},
		       on_uncharged, NULL, &f->err),
	    &f->err);
}

struct hash128 poisoned;

bool is_poisoned(const struct hash128 *content)
{
	return hash128_equal(content, &poisoned);
}

/*
 * Opens everything from the outside in (output, model, queue, sources), brings what an earlier run left in
 * order, then turns the loop until the pipeline and the packer have nothing left. Closing is the same way
 * back, and safe at any point of opening.
 */
#include "daemon/encode_run.h"

#include "daemon/output.h"
#include "daemon/pipeline.h"
#include "daemon/progress.h"
#include "daemon/recovery.h"
#include "daemon/scan.h"
#include "daemon/sources.h"

#include "encoder/encoder_cpu.h"
#include "encoder/encoder_fake.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
	MESSAGES_MAX = 20,
	SPOOL_SHARDS =
	    4, /* full shards' worth of disk that the spool may take before small ones are made */
};

struct encode_run {
	const struct encode_options *options;
	struct output output;
	struct encoder *encoder;
	struct bucket_table *buckets;
	struct recipe recipe;
	char *name; /* of the dataset */
	char owner[QUEUE_OWNER_SIZE];
	struct queue *queue;
	int64_t dataset;
	struct pipeline_root *roots;
	char **paths; /* of the sources, absolute */
	size_t n_roots;
	struct store *store;
	struct spool *spool;

	sd_event *event;
	sd_event_source *on_int, *on_term;
	struct inbox *inbox;
	struct db *db;
	struct packer *packer;
	struct encode_driver *driver;
	struct pipeline *pipeline;
	struct progress *progress;

	size_t messages, shards;
	bool interrupted;
	struct error fatal;
};

/* -- what the parts report ------------------------------------------------------------------------ */

static void on_note(void *arg, const char *line)
{
	struct encode_run *run = arg;

	if (run->progress)
		progress_message(run->progress, "latentctl: %s", line);
	else
		fprintf(stderr, "latentctl: %s\n", line);
}

static void on_outcome(void *arg, const char *path, enum outcome_kind kind, const char *reason,
		       const char *message)
{
	struct encode_run *run = arg;
	char quoted[TEXT_QUOTE_SIZE];

	if (kind == OUTCOME_RETRY)
		return;
	progress_failed(run->progress);
	run->messages++;
	if (run->messages <= MESSAGES_MAX)
		progress_message(run->progress, "latentctl: %s: %s: %s", text_quote(path, quoted),
				 reason, message);
	if (run->messages == MESSAGES_MAX)
		progress_message(run->progress,
				 "latentctl: further failures are listed by `latentctl failed`");
}

static void on_fatal(void *arg, const struct error *why)
{
	struct encode_run *run = arg;

	if (run->fatal.code == ERR_NONE)
		run->fatal = *why;
	encode_driver_cancel(run->driver);
	if (run->pipeline)
		pipeline_stop(run->pipeline);
}

static void on_encoded(void *arg, int64_t job)
{
	(void)job;
	progress_done(((struct encode_run *)arg)->progress);
}

static void on_rejected(void *arg, int64_t job, uint64_t fence, const char *path,
			const struct error *why)
{
	pipeline_on_rejected(((struct encode_run *)arg)->pipeline, job, fence, path, why);
}

static void on_shard(void *arg, const char *name, size_t samples, uint64_t bytes)
{
	(void)name;
	(void)samples;
	(void)bytes;
	((struct encode_run *)arg)->shards++;
}

static void on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	pipeline_on_batch(((struct encode_run *)arg)->pipeline, batch, failure);
}

/* The first signal ends the run in order; a second one ends it at once. */
static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct encode_run *run = arg;

	(void)source;
	if (run->interrupted)
		_exit(128 + (int)info->ssi_signo);
	run->interrupted = true;
	progress_message(run->progress,
			 "latentctl: stopping; what is finished is kept (again: stop at once)");
	encode_driver_cancel(run->driver);
	pipeline_stop(run->pipeline);
	return 0;
}

/* -- opening -------------------------------------------------------------------------------------- */

static int open_encoder(struct encode_run *run, struct error *err)
{
	struct encoder_cpu_options cpu = {run->options->vae, run->options->threads};
	struct encoder_fake_options fake = {0};
	const struct kl_encoder *vae;

	run->recipe.fake = strcmp(run->options->vae, "fake") == 0;
	if (run->recipe.fake) {
		run->recipe.vae = (struct vae_config){.latent_channels = 4, .scaling_factor = 1};
		return encoder_fake_open(&fake, &run->encoder, err);
	}
	if (encoder_cpu_open(&cpu, &run->encoder, err) < 0)
		return -1;
	vae = encoder_cpu_vae(run->encoder);
	run->recipe.vae = *kl_encoder_config(vae);
	run->recipe.weights = *kl_encoder_weights_hash(vae);
	return 0;
}

static int make_recipe(struct encode_run *run, struct error *err)
{
	const struct encode_options *o = run->options;
	size_t multiple = encoder_caps(run->encoder)->downscale;
	uint8_t background = strcmp(o->alpha, "white") == 0 ? 255 : 0;
	struct bucket_options buckets = {.rule = (enum bucket_rule)bucket_rule_parse(o->bucketing),
					 .resolution = o->resolution};
	struct recipe *r = &run->recipe;

	if (o->resolution < 64 || o->resolution > 8192 || o->resolution % multiple != 0)
		return error_set(err, ERR_CONFIG,
				 "--resolution %zu: expected a multiple of %zu from 64 to 8192",
				 o->resolution, multiple);
	if (o->seed > INT64_MAX)
		return error_set(err, ERR_CONFIG, "--seed: expected a number below 2^63");
	run->buckets = bucket_table_new(&buckets, err);
	if (!run->buckets)
		return -1;
	r->buckets = *bucket_table_options(run->buckets);
	r->filter = (enum resample_filter)resample_filter_parse(o->filter);
	r->policy = (struct image_policy){.apply_exif = strcmp(o->exif, "apply") == 0,
					  .color = strcmp(o->color, "srgb") == 0 ? COLOR_SRGB
										 : COLOR_IGNORE,
					  .background = {background, background, background}};
	r->posterior = (enum posterior)posterior_parse(o->posterior);
	r->seed = o->seed;
	r->dtype = strcmp(o->dtype, "float16") == 0 ? DTYPE_F16 : DTYPE_F32;
	recipe_finish(r);
	run->name = o->name ? xstrdup(o->name) : output_default_name(o->vae, r);
	return 0;
}

/* host:boot id:pid:start, so that no later process is taken for this one. */
static void make_owner(struct encode_run *run)
{
	cleanup_buffer struct buffer boot = BUFFER_INIT;
	struct error ignored = ERROR_INIT;
	char host[48] = "";

	gethostname(host, sizeof(host) - 1);
	file_read_all("/proc/sys/kernel/random/boot_id", 64, &boot, &ignored);
	snprintf(run->owner, sizeof(run->owner), "%s:%.8s:%d:%lld", host,
		 boot.data ? (const char *)boot.data : "-", getpid(), (long long)clock_mono_ms());
}

static int open_queue(struct encode_run *run, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/queue.db", run->output.state);
	cleanup_free char *folder = xasprintf("%s/%s", run->output.root, run->name);
	struct queue_dataset_spec spec = {run->name, folder, run->recipe.id, run->recipe.json};
	int r;

	make_owner(run);
	if (queue_sqlite_open(path, &run->queue, err) < 0 ||
	    output_claim_dataset(&run->output, run->name, &run->recipe, err) < 0)
		return -1;
	r = queue_open_dataset(run->queue, &spec, &run->dataset, err);
	if (r == QUEUE_OTHER_RECIPE)
		return error_set(err, ERR_CONFIG,
				 "the queue in %s knows %s with another recipe, but %s is new: "
				 "give another --name",
				 run->output.state, run->name, folder);
	if (r < 0)
		return -1;
	return store_local_open(folder, false, &run->store, err);
}

static int open_sources(struct encode_run *run, const char *const *sources, size_t n,
			struct error *err)
{
	struct source_folder_options options = {true, on_note, run};

	run->roots = xcalloc(n, sizeof(*run->roots));
	run->paths = xcalloc(n, sizeof(*run->paths));
	for (size_t i = 0; i < n; i++) {
		if (source_folder_open(sources[i], &options, &run->roots[i].source, err) < 0)
			return -1;
		run->n_roots++;
		run->paths[i] = realpath(sources[i], NULL);
		if (!run->paths[i])
			return error_sys(err, "%s", sources[i]);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(run->paths[k], run->paths[i]) == 0)
				return error_set(err, ERR_CONFIG, "%s is given twice", sources[i]);
		}
	}
	return 0;
}

static int number_sources(struct encode_run *run, struct error *err)
{
	cleanup_free uint32_t *numbers = xcalloc(run->n_roots, sizeof(*numbers));

	if (sources_number(run->output.state, run->name, run->paths, run->n_roots, numbers, err) <
	    0)
		return -1;
	for (size_t i = 0; i < run->n_roots; i++)
		run->roots[i].root = numbers[i];
	return 0;
}

/* One clear line where a changed file is not encoded again. */
static void report_changed(const struct encode_run *run, const struct enqueue_counts *counts)
{
	if (counts->changed_done > 0)
		fprintf(stderr,
			"latentctl: %zu files changed after they were encoded into %s; their old "
			"latents are kept: encode into another --name to renew them\n",
			counts->changed_done, run->name);
}

static int scan_all(struct encode_run *run, const char *const *sources, struct error *err)
{
	struct enqueue_counts counts = {0};

	for (size_t i = 0; i < run->n_roots; i++) {
		struct scan_options options = {.dataset = run->dataset,
					       .root = run->roots[i].root,
					       .shuffled =
						   strcmp(run->options->order, "shuffled") == 0,
					       .seed = run->options->seed,
					       .first_rank = (uint64_t)i << 40};

		if (scan_source(run->queue, run->roots[i].source, &options, &counts, err) < 0)
			return error_wrap(err, "%s", sources[i]);
	}
	report_changed(run, &counts);
	if (counts.added + counts.known + counts.requeued + counts.changed_done == 0)
		return error_set(err, ERR_CONFIG, "no images below %s%s", sources[0],
				 run->n_roots > 1 ? " and the other folders" : "");
	return 0;
}

static int recover_state(struct encode_run *run, struct recovery *recovered, struct error *err)
{
	cleanup_free char *spool = xasprintf("%s/spool", run->output.state);
	struct recovery_options options = {.queue = run->queue,
					   .store = run->store,
					   .format = shard_format("wds"),
					   .recipe = &run->recipe,
					   .dataset = run->dataset,
					   .spool_dir = spool,
					   .owner = run->owner,
					   .note = on_note,
					   .arg = run};

	if (recover(&options, recovered, err) < 0)
		return -1;
	run->spool = recovered->spool;
	return 0;
}

static int open_loop(struct encode_run *run, struct error *err)
{
	sigset_t signals;
	int r;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	r = sd_event_new(&run->event);
	if (r >= 0)
		r = sd_event_add_signal(run->event, &run->on_int, SIGINT, on_signal, run);
	if (r >= 0)
		r = sd_event_add_signal(run->event, &run->on_term, SIGTERM, on_signal, run);
	if (r < 0) {
		errno = -r;
		return error_sys(err, "open the event loop");
	}
	if (inbox_open(run->event, &run->inbox, err) < 0)
		return -1;
	return db_open(run->inbox, run->queue, run->owner, &run->db, err);
}

static int open_packer(struct encode_run *run, const struct recovery *recovered, struct error *err)
{
	struct packer_options options = {.db = run->db,
					 .spool = run->spool,
					 .store = run->store,
					 .format = shard_format("wds"),
					 .recipe = &run->recipe,
					 .dataset = run->dataset,
					 .shard_samples = run->options->shard_samples,
					 .shard_bytes = run->options->shard_size,
					 .spool_limit =
					     (uint64_t)run->options->shard_size * SPOOL_SHARDS,
					 .handlers = {on_encoded, on_rejected, on_shard, on_fatal},
					 .arg = run};

	if (options.shard_samples == 0 || options.shard_bytes == 0)
		return error_set(err, ERR_CONFIG,
				 "--shard-samples and --shard-size must be at least 1");
	if (packer_open(run->event, run->inbox, &options, &run->packer, err) < 0)
		return -1;
	for (size_t i = 0; i < recovered->n; i++)
		packer_restore(run->packer, &recovered->entries[i]);
	return 0;
}

static int open_pipeline(struct encode_run *run, struct error *err)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct pipeline_options options = {.db = run->db,
					   .packer = run->packer,
					   .caps = encoder_caps(run->encoder),
					   .recipe = &run->recipe,
					   .buckets = run->buckets,
					   .roots = run->roots,
					   .n_roots = run->n_roots,
					   .dataset = run->dataset,
					   .workers = run->options->jobs > 0
							  ? run->options->jobs
							  : (size_t)(cores > 0 ? cores : 1),
					   .memory = run->options->memory,
					   .captions = !run->options->no_captions,
					   .on_outcome = on_outcome,
					   .on_fatal = on_fatal,
					   .arg = run};

	if (encode_driver_open(run->inbox, run->encoder, on_batch, run, &run->driver, err) < 0)
		return -1;
	options.driver = run->driver;
	return pipeline_open(run->event, &options, &run->pipeline, err);
}

/* -- the run -------------------------------------------------------------------------------------- */

static size_t images_to_do(const struct queue_counts *counts)
{
	return counts->jobs[JOB_AVAILABLE] + counts->jobs[JOB_RETRYABLE] +
	       counts->jobs[JOB_RUNNING];
}

static int turn_loop(struct encode_run *run, struct error *err)
{
	bool draining = false;

	for (;;) {
		int r;

		pipeline_pump(run->pipeline);
		if (!draining && pipeline_finished(run->pipeline)) {
			draining = true;
			progress_phase(run->progress, "sealing");
			packer_drain(run->packer, !run->interrupted && run->fatal.code == ERR_NONE);
		}
		if (draining && packer_idle(run->packer) && pipeline_finished(run->pipeline))
			return 0;
		progress_tick(run->progress);
		r = sd_event_run(run->event, 200 * 1000);
		if (r < 0) {
			errno = -r;
			return error_sys(err, "wait for events");
		}
	}
}

static void print_summary(struct encode_run *run, const struct queue_counts *c)
{
	uint64_t bad = c->jobs[JOB_QUARANTINED];
	char size[24];

	printf("%s/%s: %llu samples in %llu shards, %s\n", run->output.root, run->name,
	       (unsigned long long)c->samples, (unsigned long long)c->shards,
	       text_bytes(c->shard_bytes, size));
	if (c->jobs[JOB_ENCODED] > 0)
		printf("%llu encoded images wait in the spool for their shard\n",
		       (unsigned long long)c->jobs[JOB_ENCODED]);
	if (images_to_do(c) > 0)
		printf("%llu images are left: run the same command again\n",
		       (unsigned long long)images_to_do(c));
	if (bad > 0)
		printf("%llu images could not be encoded: latentctl failed --out %s\n",
		       (unsigned long long)bad, run->options->out);
	if (c->jobs[JOB_GONE] > 0)
		printf("%llu images are no longer there\n", (unsigned long long)c->jobs[JOB_GONE]);
}

/* Ends the threads, so that the queue is ours again. */
static void close_loop(struct encode_run *run)
{
	encode_driver_close(run->driver);
	pipeline_close(run->pipeline);
	packer_close(run->packer);
	db_close(run->db);
	inbox_close(run->inbox);
	sd_event_source_disable_unref(run->on_int);
	sd_event_source_disable_unref(run->on_term);
	sd_event_unref(run->event);
	progress_free(run->progress);
	run->driver = NULL;
	run->pipeline = NULL;
	run->packer = NULL;
	run->db = NULL;
	run->inbox = NULL;
	run->progress = NULL;
	run->on_int = run->on_term = NULL;
	run->event = NULL;
}

static void close_all(struct encode_run *run)
{
	close_loop(run);
	spool_close(run->spool);
	store_close(run->store);
	for (size_t i = 0; i < run->n_roots; i++) {
		source_close(run->roots[i].source);
		free(run->paths[i]);
	}
	free(run->roots);
	free(run->paths);
	queue_close(run->queue);
	encoder_close(run->encoder);
	bucket_table_free(run->buckets);
	recipe_release(&run->recipe);
	free(run->name);
	output_close(&run->output);
}

static int run_jobs(struct encode_run *run, const struct recovery *recovered, struct error *err)
{
	struct queue_counts counts;
	int r;

	if (queue_counts(run->queue, run->dataset, &counts, err) < 0)
		return -1;
	run->progress = progress_new(images_to_do(&counts), run->options->quiet);
	r = open_loop(run, err);
	if (r == 0)
		r = open_packer(run, recovered, err);
	if (r == 0)
		r = open_pipeline(run, err);
	if (r == 0)
		r = turn_loop(run, err);
	close_loop(run);
	if (r < 0)
		return -1;
	if (run->fatal.code != ERR_NONE) {
		*err = run->fatal;
		return -1;
	}
	if (queue_counts(run->queue, run->dataset, &counts, err) < 0)
		return -1;
	print_summary(run, &counts);
	if (run->interrupted)
		return EXIT_INTERRUPTED;
	return counts.jobs[JOB_QUARANTINED] > 0 ? EXIT_QUARANTINED : EXIT_OK;
}

static int run_all(struct encode_run *run, const char *const *sources, size_t n, struct error *err)
{
	struct recovery recovered = {.n = 0};
	int r;

	/* What can be refused is refused before anything is made. */
	if (open_sources(run, sources, n, err) < 0 || open_encoder(run, err) < 0 ||
	    make_recipe(run, err) < 0)
		return -1;
	r = output_open(run->options->out, run->options->state, &run->output, err);
	if (r == OUTPUT_BUSY) {
		fprintf(stderr, "latentctl: %s\n", run->output.owner);
		return EXIT_BUSY;
	}
	if (r < 0 || open_queue(run, err) < 0 || number_sources(run, err) < 0 ||
	    scan_all(run, sources, err) < 0 || recover_state(run, &recovered, err) < 0)
		return -1;
	r = run_jobs(run, &recovered, err);
	free(recovered.entries);
	return r;
}

int encode_run(const struct encode_options *options, const char *const *sources, size_t n_sources,
	       struct error *err)
{
	struct encode_run run = {.options = options, .output = OUTPUT_INIT};
	int r = run_all(&run, sources, n_sources, err);

	close_all(&run);
	return r;
}

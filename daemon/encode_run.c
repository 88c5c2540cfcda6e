/*
 * Opens everything from the outside in (output, model, queue, sources), brings what an earlier run left in
 * order, then turns the loop until the pipeline and the packer have nothing left. Closing is the same way
 * back, and safe at any point of opening.
 */
#include "daemon/encode_run.h"

#include "daemon/commands.h"

#include "daemon/encode_setup.h"
#include "daemon/index.h"
#include "daemon/output.h"
#include "daemon/pipeline.h"
#include "daemon/recaption.h"
#include "daemon/recovery.h"
#include "daemon/replaced.h"
#include "daemon/run_report.h"
#include "daemon/run_sources.h"
#include "daemon/skip_policy.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SPOOL_SEGMENT ((size_t)64 << 20)
#define SEAL_AGE_MS   ((int64_t)24 * 60 * 60 * 1000)
#define SPOOL_WASTE   ((uint64_t)512 << 20)

struct encode_run {
	const struct encode_options *options;
	struct output output;
	struct encode_setup setup;
	char *name; /* of the dataset */
	char owner[QUEUE_OWNER_SIZE];
	struct queue *queue;
	int64_t dataset;
	struct run_sources sources;
	struct sources_scanned scanned;
	struct packer_sibling *siblings;
	size_t n_siblings, siblings_capacity;
	struct store *store;
	struct spool *spool;

	sd_event *event;
	sd_event_source *on_int, *on_term;
	struct inbox *inbox;
	struct db *db;
	struct packer *packer;
	struct encode_driver *driver;
	struct encode_group encoders;
	struct decode_pool *pool;
	struct memory_budget memory;
	struct pipeline *pipeline;
	struct run_report report;

	size_t new_shards; /* of this run */
	struct pipeline_counts counts;
	bool interrupted;
	struct error fatal;
};

/* -- what the parts report ------------------------------------------------------------------------ */

static void on_note(void *arg, const char *line)
{
	run_report_note(&((struct encode_run *)arg)->report, line);
}

static void on_outcome(void *arg, const char *path, enum outcome_kind kind, const char *reason,
		       const char *message)
{
	run_report_outcome(&((struct encode_run *)arg)->report, path, kind, reason, message);
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

static void on_encoded(void *arg, const struct packed *what)
{
	struct encode_run *run = arg;

	progress_done(run->report.progress);
	pipeline_on_encoded(run->pipeline, what);
}

static void on_rejected(void *arg, const struct packed *what, const char *path,
			const struct error *why)
{
	pipeline_on_rejected(((struct encode_run *)arg)->pipeline, what, path, why);
}

static void on_shard(void *arg, const char *name, size_t samples, uint64_t bytes)
{
	(void)name;
	(void)samples;
	(void)bytes;
	((struct encode_run *)arg)->new_shards++;
}

static void on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	(void)arg;
	pipeline_on_batch(batch, failure);
}

/* The first signal ends the run in order; a second one ends it at once. */
static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct encode_run *run = arg;

	(void)source;
	if (run->interrupted)
		_exit(128 + (int)info->ssi_signo);
	run->interrupted = true;
	progress_message(run->report.progress,
			 "latentctl: stopping; what is finished is kept (again: stop at once)");
	encode_driver_cancel(run->driver);
	pipeline_stop(run->pipeline);
	return 0;
}

/* -- opening -------------------------------------------------------------------------------------- */

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

/* In the queue and on disk, each checked before the other is written. */
static int claim_dataset(struct encode_run *run, const char *folder, struct error *err)
{
	struct queue_dataset_spec spec = {run->name, folder, run->setup.recipe.id,
					  run->setup.recipe.json};
	struct queue_counts counts;
	bool there = false;
	int r;

	if (output_check_dataset(&run->output, run->name, &run->setup.recipe, &there, err) < 0)
		return -1;
	r = queue_open_dataset(run->queue, &spec, &run->dataset, err);
	if (r == QUEUE_OTHER_RECIPE)
		return error_set(
		    err, ERR_CONFIG,
		    "%s is not there, but the queue in %s knows it with another recipe: "
		    "give another --name",
		    folder, run->output.state);
	if (r < 0 || queue_counts(run->queue, run->dataset, &counts, err) < 0 ||
	    output_claim(&run->output, !there && counts.shards > 0, err) < 0)
		return -1;
	return there ? 0 : output_make_dataset(&run->output, run->name, &run->setup.recipe, err);
}

/* Another dataset of this output, from which latents may be copied. */
static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct encode_run *run = arg;
	cleanup_free char *folder = xasprintf("%s/%s", run->output.root, d->name);
	struct error ignored = ERROR_INIT; /* then nothing is copied from it */
	struct store *store = NULL;

	if (d->id == run->dataset || strcmp(d->recipe_id, run->setup.recipe.id) != 0 ||
	    !file_exists(folder) || store_local_open(folder, true, &store, &ignored) < 0)
		return 0;
	ARRAY_GROW(run->siblings, run->n_siblings, run->siblings_capacity);
	run->siblings[run->n_siblings++] = (struct packer_sibling){d->id, store};
	return 0;
}

static int open_queue(struct encode_run *run, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/queue.db", run->output.state);
	cleanup_free char *folder = xasprintf("%s/%s", run->output.root, run->name);

	make_owner(run);
	if (queue_sqlite_open(path, &run->queue, err) < 0 || claim_dataset(run, folder, err) < 0 ||
	    queue_datasets(run->queue, on_dataset, run, err) < 0)
		return -1;
	return store_local_open(folder, false, &run->store, err);
}

/* What was left out under other limits is looked at again. */
static int look_again(struct encode_run *run, struct error *err)
{
	size_t again = 0;

	if (skip_policy_apply(run->output.state, run->name,
			      bucket_table_options(run->setup.buckets),
			      run->options->duplicates == ON_DUPLICATE_DROP, run->queue,
			      run->dataset, &again, err) < 0)
		return -1;
	if (again > 0)
		fprintf(stderr,
			"latentctl: the limits are others than before: %zu skipped image%s looked "
			"at again\n",
			again, again == 1 ? " is" : "s are");
	return 0;
}

static int scan_all(struct encode_run *run, struct error *err)
{
	struct scan_options options = {.dataset = run->dataset,
				       .shuffled =
					   run->options->output.order == OUTPUT_ORDER_SHUFFLED,
				       .seed = run->options->recipe.seed,
				       .captions = !run->options->no_captions};
	const struct deletion_policy policy = {.remove = run->options->on_delete == ON_DELETE_DROP,
					       .all = run->options->on_delete_all};
	const struct scan_counts *vanished = &run->scanned.vanished;
	size_t n;

	if (run->options->part)
		dataset_part_parse(run->options->part, &options.part, &options.parts);
	if (run_sources_scan(&run->sources, run->queue, &options, &policy, &run->scanned, err) < 0)
		return -1;
	n = vanished->missed + (policy.remove ? vanished->missed_done : 0);
	if (run->scanned.not_believed)
		fprintf(stderr,
			"latentctl: %zu file%s no longer there, and %s: nothing is done about "
			"that; --on-delete-all if it is meant\n",
			n, n == 1 ? " is" : "s are", run->scanned.not_believed);
	return 0;
}

/*
 * In this order: what the last run finished counts for the files as they were then, the scan sees what
 * changed since, and then catalog, store and spool are brought together.
 */
static int scan_and_recover(struct encode_run *run, struct recovery *recovered, struct error *err)
{
	cleanup_free char *spool = xasprintf("%s/spool", run->output.state);
	struct recovery_options options = {.queue = run->queue,
					   .store = run->store,
					   .format = shard_format(run->options->output.format),
					   .recipe = &run->setup.recipe,
					   .dataset = run->dataset,
					   .spool_dir = spool,
					   .segment_bytes = SPOOL_SEGMENT,
					   .owner = run->owner,
					   .note = on_note,
					   .arg = run};
	struct recoverer *recoverer = NULL;
	int r = recovery_begin(&options, &recoverer, err);

	if (r == 0)
		r = scan_all(run, err);
	if (r == 0)
		r = recovery_finish(recoverer, recovered, err);
	if (r == 0)
		run->spool = recovered->spool;
	recovery_free(recoverer);
	return r;
}

static int open_loop(struct encode_run *run, struct error *err)
{
	int r;

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
					 .format = shard_format(run->options->output.format),
					 .recipe = &run->setup.recipe,
					 .dataset = run->dataset,
					 .siblings = run->siblings,
					 .n_siblings = run->n_siblings,
					 .shard_samples = run->options->output.shard_samples,
					 .shard_bytes = run->options->output.shard_size,
					 .spool_waste = SPOOL_WASTE,
					 .seal_age_ms = SEAL_AGE_MS,
					 .backlog = run->options->memory / 4,
					 .handlers = {on_encoded, on_rejected, on_shard, on_fatal},
					 .arg = run};

	if (packer_open(run->event, run->inbox, &options, &run->packer, err) < 0)
		return -1;
	for (size_t i = 0; i < recovered->n; i++)
		packer_restore(run->packer, &recovered->entries[i]);
	for (size_t i = 0; i < recovered->n_shards; i++)
		packer_note_shard(run->packer, recovered->shards[i]);
	return 0;
}

/* Those that this process may run on, which a container or taskset limits. */
static size_t usable_cores(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (size_t)CPU_COUNT(&set) : 1;
}

static int open_workers(struct encode_run *run, struct error *err)
{
	struct decode_pool_options pool = {
	    .workers = run->options->jobs > 0 ? run->options->jobs : usable_cores(),
	    .slot_bytes = bucket_table_max_pixels(run->setup.buckets) * 3};

	pipeline_decode_options(&pool);
	run->memory.limit = run->options->memory;
	if (decode_pool_open(run->event, &pool, &run->pool, err) < 0 ||
	    encode_driver_open(run->inbox, run->setup.encoder, on_batch, run, &run->driver, err) <
		0)
		return -1;
	encode_group_add(&run->encoders, run->driver);
	return 0;
}

static int open_pipeline(struct encode_run *run, struct error *err)
{
	struct pipeline_options options = {
	    .db = run->db,
	    .packer = run->packer,
	    .pool = run->pool,
	    .memory = &run->memory,
	    .encoders = &run->encoders,
	    .best_batch = encoder_caps(run->setup.encoder)->best_batch,
	    .recipe = &run->setup.recipe,
	    .buckets = run->setup.buckets,
	    .roots = run->sources.roots,
	    .n_roots = run->sources.n,
	    .dataset = run->dataset,
	    .captions = !run->options->no_captions,
	    .drop_duplicates = run->options->duplicates == ON_DUPLICATE_DROP,
	    .on_outcome = on_outcome,
	    .on_fatal = on_fatal,
	    .arg = run};

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
	bool draining = false, warned = false;

	for (;;) {
		int r;

		pipeline_pump(run->pipeline);
		if (!warned && decode_pool_warning(run->pool)) {
			warned = true;
			on_note(run, decode_pool_warning(run->pool));
		}
		if (!draining && pipeline_finished(run->pipeline)) {
			draining = true;
			progress_phase(run->report.progress, "sealing");
			packer_drain(run->packer, !run->interrupted && run->fatal.code == ERR_NONE);
		}
		if (draining && run->interrupted)
			packer_drain(run->packer, false);
		if (draining && packer_idle(run->packer) && pipeline_finished(run->pipeline))
			return 0;
		progress_tick(run->report.progress);
		r = sd_event_run(run->event, 200 * 1000);
		if (r < 0) {
			errno = -r;
			return error_sys(err, "wait for events");
		}
	}
}

/* What is left to do by the same command: images to encode, and records without a shard. */
static size_t report_result(const struct encode_run *run, const struct queue_counts *counts,
			    size_t left_out)
{
	bool kept = run->options->on_delete == ON_DELETE_KEEP;
	const struct run_result result = {.output = run->output.root,
					  .name = run->name,
					  .queue = counts,
					  .pipeline = &run->counts,
					  .new_shards = run->new_shards,
					  .left = images_to_do(counts) - left_out,
					  .left_out = left_out,
					  .vanished = kept ? run->scanned.vanished.missed_done : 0};

	run_report_result(&result);
	return result.left + counts->jobs[JOB_ENCODED];
}

/* Ends the threads, so that the queue is ours again. */
static void close_loop(struct encode_run *run)
{
	if (run->pipeline)
		run->counts = *pipeline_counts(run->pipeline);
	encode_driver_close(run->driver);
	decode_pool_close(run->pool);
	pipeline_close(run->pipeline);
	encode_group_release(&run->encoders);
	packer_close(run->packer);
	db_close(run->db);
	inbox_close(run->inbox);
	sd_event_source_disable_unref(run->on_int);
	sd_event_source_disable_unref(run->on_term);
	sd_event_unref(run->event);
	progress_free(run->report.progress);
	run->driver = NULL;
	run->pool = NULL;
	run->pipeline = NULL;
	run->packer = NULL;
	run->db = NULL;
	run->inbox = NULL;
	run->report.progress = NULL;
	run->on_int = run->on_term = NULL;
	run->event = NULL;
}

static void close_all(struct encode_run *run)
{
	close_loop(run);
	spool_close(run->spool);
	store_close(run->store);
	for (size_t i = 0; i < run->n_siblings; i++)
		store_close(run->siblings[i].store);
	free(run->siblings);
	run_sources_close(&run->sources);
	queue_close(run->queue);
	encode_setup_close(&run->setup);
	free(run->name);
	output_close(&run->output);
}

static bool interrupted_early(void);

static bool tidy_stops(void *arg)
{
	return ((struct encode_run *)arg)->interrupted || interrupted_early();
}

/* What may be rewritten; its folder is to be freed. */
static struct recaption_options rewriting_of(struct encode_run *run)
{
	return (struct recaption_options){
	    .rewrite = {.queue = run->queue,
			.store = run->store,
			.dataset = run->dataset,
			.recipe_id = run->setup.recipe.id,
			.format = shard_format(run->options->output.format),
			.stop = tidy_stops,
			.note = on_note,
			.arg = run},
	    .roots = run->sources.roots,
	    .n_roots = run->sources.n,
	    .folder = xasprintf("%s/%s", run->output.root, run->name)};
}

static int list_captions(struct encode_run *run, struct error *err)
{
	const struct recaption_options options = rewriting_of(run);
	cleanup_free const char *folder = options.folder;

	return run->options->no_captions ? 0 : captions_list_write(&options, err);
}

/*
 * Shards that hold samples with captions as they were before get the new ones, and those with samples of files as they
 * were before are rewritten without them.
 */
static int tidy(struct encode_run *run, struct error *err)
{
	const struct recaption_options options = rewriting_of(run);
	cleanup_free const char *folder = options.folder;
	size_t changed = 0;

	if (!run->options->no_captions && recaption(&options, &changed, err) < 0)
		return -1;
	if (changed > 0)
		fprintf(stderr, "latentctl: %zu caption%s changed: brought into the shards\n",
			changed, changed == 1 ? "" : "s");
	return replaced_tidy(&options.rewrite, folder, err);
}

static int run_jobs(struct encode_run *run, const struct recovery *recovered, struct error *err)
{
	struct queue_counts counts;
	size_t left_out = 0;
	int r;

	if (queue_counts(run->queue, run->dataset, &counts, err) < 0 ||
	    run_sources_left_out(&run->sources, run->queue, run->dataset, &left_out, err) < 0)
		return -1;
	run->report.progress = progress_new(images_to_do(&counts) - left_out, run->options->quiet);
	r = open_loop(run, err);
	if (r == 0)
		r = open_packer(run, recovered, err);
	if (r == 0)
		r = open_workers(run, err);
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
	if (!run->interrupted &&
	    run_sources_remove(run->queue, run->dataset, &run->scanned, err) < 0)
		return -1;
	if (tidy(run, err) < 0 ||
	    index_write_all(run->queue, run->dataset, run->output.root, false, err) < 0 ||
	    queue_counts(run->queue, run->dataset, &counts, err) < 0)
		return -1;
	if (report_result(run, &counts, left_out) > 0 && run->interrupted)
		return EXIT_INTERRUPTED;
	return counts.jobs[JOB_QUARANTINED] > 0 ? EXIT_QUARANTINED : EXIT_OK;
}

/*
 * Before any library starts a thread: one that did not block them would take the signals and die of them. They
 * wait until the loop reads them, or until interrupted_early() is asked.
 */
static void block_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static bool interrupted_early(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
}

/* What can be refused is refused before anything is made. */
static int prepare(struct encode_run *run, const char *const *sources, size_t n, struct error *err)
{
	const struct encode_options *o = run->options;

	if (run_sources_open(&run->sources, sources, n, !run->options->no_captions, on_note, run,
			     err) < 0 ||
	    encode_setup_open(&o->recipe, o->threads, &run->setup, err) < 0)
		return -1;
	run->setup.recipe.codec = o->output.codec;
	run->name =
	    o->name ? xstrdup(o->name) : output_default_name(o->recipe.vae, &run->setup.recipe);
	return 0;
}

static int run_all(struct encode_run *run, const char *const *sources, size_t n, struct error *err)
{
	struct recovery recovered = {.n = 0};
	int r = prepare(run, sources, n, err);

	if (r == 0)
		r = output_open(run->options->out, run->options->state, &run->output, err);
	if (r == OUTPUT_BUSY) {
		fprintf(stderr, "latentctl: %s\n", run->output.owner);
		return EXIT_BUSY;
	}
	if (r == 0)
		r = open_queue(run, err);
	if (r == 0)
		r = run_sources_number(&run->sources, run->output.state, run->name, err);
	if (r == 0)
		r = scan_and_recover(run, &recovered, err);
	if (r == 0)
		r = list_captions(run, err);
	if (r == 0)
		r = look_again(run, err);
	if (r == 0)
		r = interrupted_early() ? EXIT_INTERRUPTED : run_jobs(run, &recovered, err);
	recovery_release(&recovered);
	return r;
}

int encode_run(const struct encode_options *options, const char *const *sources, size_t n_sources,
	       struct error *err)
{
	struct encode_run run = {.options = options, .output = OUTPUT_INIT};
	int r;

	block_signals();
	r = run_all(&run, sources, n_sources, err);

	close_all(&run);
	return r;
}

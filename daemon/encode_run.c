/*
 * Opens everything from the outside in (output, model, queue, sources), brings what an earlier run left in
 * order, then turns the loop until the pipeline and the packer have nothing left. Closing is the same way
 * back, and safe at any point of opening.
 */
#include "daemon/encode_run.h"

#include "daemon/commands.h"

#include "daemon/dataset_open.h"
#include "daemon/encode_remote.h"
#include "daemon/encode_setup.h"
#include "daemon/index.h"
#include "daemon/output.h"
#include "daemon/pipeline.h"
#include "daemon/program.h"
#include "daemon/rebuild.h"
#include "daemon/recaption.h"
#include "daemon/replaced.h"
#include "daemon/run_report.h"
#include "daemon/run_sources.h"
#include "daemon/sources.h"
#include "daemon/spending.h"
#include "daemon/stdin_archive.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"
#include "base/thread.h"
#include "encoder/encoder_many.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 200 }; /* between two looks at endpoints */

#define SEAL_AGE_MS ((int64_t)24 * 60 * 60 * 1000)

struct encode_run {
	const struct encode_options *options;
	struct output output;
	struct encode_setup setup;
	struct spending *spending;
	char *name; /* of the dataset */
	char owner[QUEUE_OWNER_SIZE];
	struct queue *queue;
	struct opened_dataset dataset;
	struct run_sources sources;
	char *stdin_archive; /* its path; NULL: none was asked for, or it is not there yet */
	struct sources_scanned scanned;

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
	struct encode_remote_told told;
	int64_t looked_at; /* at endpoints */
	size_t left_out;   /* GPUs, since they failed */
	bool interrupted;
	bool untidy; /* interrupted before what was there was brought up to date */
	struct error fatal;
};

/* -- what the parts report ------------------------------------------------------------------------ */

static bool interrupted_early(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
}

/* A signal that the loop has taken is pending no more; threads that read ask as well. */
static atomic_bool interrupted;

static bool is_interrupted(void *arg)
{
	(void)arg;
	return atomic_load(&interrupted) || interrupted_early();
}

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
	struct encode_run *run = arg;
	struct error why = ERROR_INIT;
	size_t left_out = encoder_many_left_out(run->setup.encoder, &why);

	if (left_out > run->left_out)
		progress_message(run->report.progress, "latentctl: not used any more: %s",
				 why.message);
	run->left_out = left_out;
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
	atomic_store(&interrupted, true);
	progress_message(run->report.progress,
			 "latentctl: stopping; what is finished is kept (again: stop at once)");
	encode_driver_cancel(run->driver);
	pipeline_stop(run->pipeline);
	return 0;
}

/* -- opening -------------------------------------------------------------------------------------- */

static int scan_all(void *arg, int64_t dataset, struct error *err)
{
	struct encode_run *run = arg;
	struct scan_options options = {.dataset = dataset,
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
	if (run_sources_number(&run->sources, run->output.state, run->name, err) < 0 ||
	    run_sources_scan(&run->sources, run->queue, &options, &policy, &run->scanned, err) < 0)
		return -1;
	n = vanished->missed + (policy.remove ? vanished->missed_done : 0);
	if (run->scanned.not_believed)
		fprintf(stderr,
			"latentctl: %zu file%s no longer there, and %s: nothing is done about "
			"that; --on-delete-all if it is meant\n",
			n, n == 1 ? " is" : "s are", run->scanned.not_believed);
	return 0;
}

/* The sources have no numbers yet where the state was lost: they get them in this order. */
static int rebuild_lost(struct encode_run *run, struct error *err)
{
	cleanup_free struct shard_rows_root *roots = xcalloc(run->sources.n + 1, sizeof(*roots));
	const struct rebuild_options options = {
	    .output = &run->output, .roots = roots, .n_roots = run->sources.n};
	struct rebuild_result result = {.datasets = 0};

	for (size_t i = 0; i < run->sources.n; i++)
		roots[i] = (struct shard_rows_root){run->sources.paths[i], (uint32_t)i};
	if (rebuild_if_lost(&options, run->name, &result, err) < 0)
		return -1;
	if (result.datasets > 0)
		fprintf(stderr, "latentctl: the catalog was lost: rebuilt from %zu shards\n",
			result.shards);
	return 0;
}

static int open_dataset(struct encode_run *run, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/queue.db", run->output.state);
	struct dataset_open_options options = {.output = &run->output,
					       .name = run->name,
					       .recipe = &run->setup.recipe,
					       .owner = run->owner,
					       .drop_duplicates =
						   run->options->duplicates == ON_DUPLICATE_DROP,
					       .scan = scan_all,
					       .note = on_note,
					       .arg = run};
	size_t again;

	dataset_owner(run->owner);
	if (rebuild_lost(run, err) < 0)
		return -1;
	if (queue_sqlite_open(path, &run->queue, err) < 0 ||
	    spending_load(run->spending, run->queue, err) < 0)
		return -1;
	options.queue = run->queue;
	if (dataset_open(&options, &run->dataset, err) < 0)
		return -1;
	again = run->dataset.looked_again;
	if (again > 0)
		fprintf(stderr,
			"latentctl: the limits are others than before: %zu skipped image%s looked "
			"at again\n",
			again, again == 1 ? " is" : "s are");
	return 0;
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

static int open_packer(struct encode_run *run, struct error *err)
{
	struct packer_options options = {.db = run->db,
					 .spool = run->dataset.spool,
					 .store = run->dataset.store,
					 .recipe = &run->setup.recipe,
					 .dataset = run->dataset.id,
					 .masks = masks_where(run->options->masks),
					 .siblings = run->dataset.siblings,
					 .n_siblings = run->dataset.n_siblings,
					 .shard_samples = run->options->output.shard_samples,
					 .shard_bytes = run->options->output.shard_size,
					 .spool_waste = DATASET_SPOOL_WASTE,
					 .seal_age_ms = SEAL_AGE_MS,
					 .backlog = run->options->memory / 4,
					 .handlers = {on_encoded, on_rejected, on_shard, on_fatal},
					 .arg = run};

	if (packer_open(run->event, run->inbox, &options, &run->packer, err) < 0)
		return -1;
	dataset_restore(&run->dataset, run->packer);
	return 0;
}

static int open_workers(struct encode_run *run, struct error *err)
{
	struct decode_pool_options pool = {
	    .workers = run->options->jobs > 0 ? run->options->jobs : thread_cores(),
	    .slot_bytes = resolutions_max_pixels(&run->setup.resolutions) * 3};

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
	    .inbox = run->inbox,
	    .db = run->db,
	    .packer = run->packer,
	    .pool = run->pool,
	    .memory = &run->memory,
	    .encoders = &run->encoders,
	    .best_batch = encoder_caps(run->setup.encoder)->best_batch,
	    .recipe = &run->setup.recipe,
	    .resolutions = run->setup.resolutions,
	    .roots = run->sources.roots,
	    .n_roots = run->sources.n,
	    .dataset = run->dataset.id,
	    .captions = !run->options->no_captions,
	    .masks = masks_where(run->options->masks),
	    .given = run->dataset.given_captions,
	    .patience_ms = (int64_t)run->options->host_patience,
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

/* What is wrong with the endpoints is said when it changes; where none will come back by itself, the run ends. */
static void look_at_endpoints(struct encode_run *run)
{
	cleanup_buffer struct buffer why = BUFFER_INIT;
	int64_t now = clock_mono_ms();
	enum encode_remote_health health;
	struct error err = ERROR_INIT;

	if (now - run->looked_at < LOOK_MS)
		return;
	run->looked_at = now;
	spending_save(run->spending, run->db);
	health = encode_remote_look(run->setup.encoder, &why);
	if (!encode_remote_is_news(&run->told, health, now))
		return;
	if (health == ENCODE_REMOTE_STOPPED) {
		error_set(&err, ERR_CONFIG, "%s", (const char *)why.data);
		on_fatal(run, &err);
	} else {
		on_note(run, health == ENCODE_REMOTE_FINE ? "endpoints encode again"
							  : (const char *)why.data);
	}
}

static int turn_loop(struct encode_run *run, struct error *err)
{
	bool draining = false, warned = false;

	for (;;) {
		int r;

		look_at_endpoints(run);
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
	dataset_close(&run->dataset);
	run_sources_close(&run->sources);
	encode_setup_close(&run->setup);
	spending_close(run->spending, run->queue);
	queue_close(run->queue);
	free(run->name);
	if (run->stdin_archive)
		unlink(run->stdin_archive);
	free(run->stdin_archive);
	output_close(&run->output);
}

static bool tidy_stops(void *arg)
{
	struct encode_run *run = arg;

	run->untidy = run->interrupted || interrupted_early();
	return run->untidy;
}

/* What may be rewritten. */
static struct recaption_options rewriting_of(struct encode_run *run)
{
	return (struct recaption_options){.rewrite = {.queue = run->queue,
						      .store = run->dataset.store,
						      .dataset = run->dataset.id,
						      .recipe_id = run->setup.recipe.id,
						      .form = run->setup.recipe.form,
						      .stop = tidy_stops,
						      .note = on_note,
						      .arg = run},
					  .roots = run->sources.roots,
					  .n_roots = run->sources.n,
					  .folder = run->dataset.folder};
}

static int list_captions(struct encode_run *run, struct error *err)
{
	const struct recaption_options options = rewriting_of(run);

	return run->options->no_captions ? 0 : captions_list_write(&options, err);
}

/*
 * Shards that hold samples with captions as they were before get the new ones, and those with samples of files as they
 * were before are rewritten without them.
 */
static int tidy(struct encode_run *run, struct error *err)
{
	struct recaption_options options = rewriting_of(run);
	struct mask_reader masks = MASK_READER_INIT;
	size_t changed = 0;
	int r = 0;

	mask_reader_init(&masks, &run->setup.recipe);
	options.masks = masks_where(run->options->masks) ? &masks : NULL;
	if (!run->options->no_captions)
		r = recaption(&options, &changed, err);
	mask_reader_release(&masks);
	if (r < 0)
		return -1;
	if (changed > 0)
		fprintf(stderr, "latentctl: %zu caption%s%s changed: brought into the shards\n",
			changed, changed == 1 ? "" : "s", options.masks ? " or masks" : "");
	return replaced_tidy(&options.rewrite, options.folder, err);
}

static int run_jobs(struct encode_run *run, struct error *err)
{
	struct queue_counts counts;
	size_t left_out = 0;
	bool is_left;
	int r;

	if (queue_counts(run->queue, run->dataset.id, &counts, err) < 0 ||
	    run_sources_left_out(&run->sources, run->queue, run->dataset.id, &left_out, err) < 0)
		return -1;
	run->report.progress = progress_new(images_to_do(&counts) - left_out, run->options->quiet);
	r = open_loop(run, err);
	if (r == 0)
		r = open_packer(run, err);
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
	    run_sources_remove(run->queue, run->dataset.id, &run->scanned, err) < 0)
		return -1;
	if (tidy(run, err) < 0 ||
	    index_write_all(run->queue, run->dataset.id, run->output.root, false, err) < 0 ||
	    queue_counts(run->queue, run->dataset.id, &counts, err) < 0)
		return -1;
	is_left =
	    report_result(run, &counts, left_out) > 0 || run->scanned.open || counts.recaptions > 0;
	if ((is_left && run->interrupted) || run->untidy)
		return EXIT_INTERRUPTED;
	if (run->report.put_off && images_to_do(&counts) > left_out)
		return EXIT_FAILED; /* the servers of what is left cannot be reached */
	return counts.jobs[JOB_QUARANTINED] > 0 ? EXIT_QUARANTINED : EXIT_OK;
}

static bool has_stdin(const char *const *sources, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(sources[i], STDIN_ARCHIVE) == 0)
			return true;
	}
	return false;
}

static int open_sources(struct encode_run *run, const char *const *sources, size_t n,
			struct error *err)
{
	run->sources.masks = masks_where(run->options->masks);
	return run_sources_open(&run->sources, sources, n, !run->options->no_captions, on_note, run,
				err);
}

/* Once everything else is known to work: what comes through standard input does so once. */
static int take_stdin(struct encode_run *run, const char *const *sources, size_t n,
		      struct error *err)
{
	cleanup_free const char **paths = xcalloc(n, sizeof(*paths));

	run->stdin_archive = stdin_archive_path(run->output.state);
	if (stdin_archive_write(STDIN_FILENO, run->stdin_archive, is_interrupted, NULL, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		paths[i] = strcmp(sources[i], STDIN_ARCHIVE) == 0 ? run->stdin_archive : sources[i];
	return open_sources(run, paths, n, err);
}

/* What can be refused is refused before anything is made. */
static int prepare(struct encode_run *run, const char *const *sources, size_t n, struct error *err)
{
	const struct encode_options *o = run->options;
	struct remote_endpoint endpoints[SETTING_TEXTS_MAX];
	struct dataset_form form;
	struct encode_place place = {.cpu = o->encoder,
				     .remote = encode_options_remote(o, endpoints),
				     .remote_memory = o->memory / 4};
	struct cuda_limits cuda;

	run->spending = spending_new("encode", &o->remote);
	place.guard = spending_guard(run->spending);
	run->sources.stop = is_interrupted;
	run->sources.choice = sources_choice(&o->source);
	run->sources.manifest = sources_manifest(&o->source);
	run->sources.remote = sources_remote(&o->fetch);
	place.cpu.beside = o->memory;
	if (encode_options_cuda(o, &cuda))
		place.cuda = &cuda;
	if (dataset_form_of(&o->output, &form, err) < 0 ||
	    (!has_stdin(sources, n) && open_sources(run, sources, n, err) < 0) ||
	    encode_setup_open(&o->recipe, &place, &run->setup, err) < 0)
		return -1;
	if (run->setup.left_out.code != ERR_NONE)
		fprintf(stderr, "latentctl: not used: %s\n", run->setup.left_out.message);
	run->setup.recipe.form = form;
	run->name = o->name ? xstrdup(o->name)
			    : output_default_name(run->setup.model.name, &run->setup.recipe);
	return 0;
}

static int run_all(struct encode_run *run, const char *const *sources, size_t n, struct error *err)
{
	int r = prepare(run, sources, n, err);

	if (r == 0)
		r = output_open(run->options->out, run->options->state, &run->output, err);
	if (r == OUTPUT_BUSY) {
		fprintf(stderr, "latentctl: %s\n", run->output.owner);
		return EXIT_BUSY;
	}
	if (r == 0 && has_stdin(sources, n))
		r = take_stdin(run, sources, n, err);
	if (r == 0)
		r = open_dataset(run, err);
	if (r < 0 && err->code == ERR_TRANSIENT && interrupted_early())
		return EXIT_INTERRUPTED; /* in the middle of a folder, an archive or standard input */
	if (r == 0)
		r = list_captions(run, err);
	if (r == 0)
		r = interrupted_early() ? EXIT_INTERRUPTED : run_jobs(run, err);
	return r;
}

int encode_run(const struct encode_options *options, const char *const *sources, size_t n_sources,
	       struct error *err)
{
	struct encode_run run = {.options = options, .output = OUTPUT_INIT};
	int r;

	program_block_signals(false);
	r = run_all(&run, sources, n_sources, err);

	close_all(&run);
	return r;
}

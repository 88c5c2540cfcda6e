/*
 * Opens everything from the outside in (output, model, queue, sources), brings what an earlier run left in
 * order, then has the loop turn (encode_loop.c). Closing is the same way back, and safe at any point of opening.
 */
#include "daemon/encode_run.h"

#include "daemon/commands.h"
#include "daemon/encode_loop.h"
#include "daemon/index.h"
#include "daemon/program.h"
#include "daemon/rebuild.h"
#include "daemon/recaption.h"
#include "daemon/replaced.h"
#include "daemon/stdin_archive.h"
#include "queue/queue_open.h"

#include "base/checked.h"
#include "base/files.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* -- signals and notes ---------------------------------------------------------------------------- */

static bool interrupted_early(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
}

/* Threads that read ask as well. */
static bool is_interrupted(void *arg)
{
	(void)arg;
	return encode_loop_interrupted() || interrupted_early();
}

static void on_note(void *arg, const char *line)
{
	run_report_note(&((struct encode_run *)arg)->report, line);
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
	const struct deletion_policy policy = {.remove =
						   run->options->on_delete == ON_DELETE_REMOVE,
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
					       .store = &run->options->store,
					       .scan = scan_all,
					       .give_up = is_interrupted,
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

/* -- the run -------------------------------------------------------------------------------------- */

static size_t images_to_do(const struct queue_counts *counts)
{
	return counts->jobs[JOB_AVAILABLE] + counts->jobs[JOB_RETRYABLE] +
	       counts->jobs[JOB_RUNNING];
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

static void close_all(struct encode_run *run)
{
	encode_loop_close(run);
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
		fprintf(stderr, "latentctl: %zu caption%s%s%s changed: brought into the shards\n",
			changed, plural(changed), options.masks ? " or mask" : "",
			options.masks ? plural(changed) : "");
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
	r = encode_loop_open(run, err);
	if (r == 0)
		r = encode_loop_turn(run, err);
	encode_loop_close(run);
	if (r < 0)
		return -1;
	if (run->fatal.code != ERR_NONE) {
		*err = run->fatal;
		return -1;
	}
	if (!run->interrupted &&
	    run_sources_remove(run->queue, run->dataset.id, &run->scanned, err) < 0)
		return -1;
	r = tidy(run, err);
	if (r < 0 && err->code == ERR_TRANSIENT && tidy_stops(run)) {
		error_clear(err); /* in the middle of a bucket's list: the next run tidies up */
		r = 0;
	}
	if (r < 0 ||
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

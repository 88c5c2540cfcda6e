/* Turns until the pipeline and the packer have nothing left. Closing is safe at any point of opening. */
#include "daemon/encode_loop.h"

#include "base/clock.h"
#include "base/thread.h"
#include "encoder/encoder_many.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

enum { LOOK_MS = 200 }; /* between two looks at endpoints */

#define SEAL_AGE_MS ((int64_t)24 * 60 * 60 * 1000)

/* -- what the parts report ------------------------------------------------------------------------ */

static atomic_bool interrupted;

bool encode_loop_interrupted(void)
{
	return atomic_load(&interrupted);
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
					 .alpha = masks_are_alpha(run->options->masks),
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
	    .alpha = masks_are_alpha(run->options->masks),
	    .given = run->dataset.given_captions,
	    .patience_ms = (int64_t)run->options->host_patience,
	    .drop_duplicates = run->options->duplicates == ON_DUPLICATE_DROP,
	    .on_outcome = on_outcome,
	    .on_fatal = on_fatal,
	    .arg = run};

	return pipeline_open(run->event, &options, &run->pipeline, err);
}

int encode_loop_open(struct encode_run *run, struct error *err)
{
	if (open_loop(run, err) < 0 || open_packer(run, err) < 0 || open_workers(run, err) < 0)
		return -1;
	return open_pipeline(run, err);
}

/* -- turning -------------------------------------------------------------------------------------- */

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
		run_report_note(&run->report, health == ENCODE_REMOTE_FINE
						  ? "endpoints encode again"
						  : (const char *)why.data);
	}
}

int encode_loop_turn(struct encode_run *run, struct error *err)
{
	bool draining = false, warned = false;

	for (;;) {
		int r;

		look_at_endpoints(run);
		pipeline_pump(run->pipeline);
		if (!warned && decode_pool_warning(run->pool)) {
			warned = true;
			run_report_note(&run->report, decode_pool_warning(run->pool));
		}
		if (!draining && pipeline_finished(run->pipeline)) {
			draining = true;
			if (pipeline_gave_up(run->pipeline))
				run_report_waits(&run->report,
						 "it is not time yet to ask it again");
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

void encode_loop_close(struct encode_run *run)
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

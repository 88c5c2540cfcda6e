#include "daemon/lane_parts.h"

#include "daemon/encode_setup.h"
#include "daemon/outcome_log.h"
#include "daemon/rebuild.h"
#include "daemon/sources.h"
#include "daemon/unpack_process.h"

#include "base/checked.h"
#include "base/clock.h"

#include <string.h>

/* -- handlers of the parts -------------------------------------------------------------------------- */

static void on_outcome(void *arg, const char *path, enum outcome_kind kind, const char *reason,
		       const char *message)
{
	struct lane *l = arg;

	lane_count(l);
	if (kind == OUTCOME_QUARANTINE) {
		l->failed++;
		lane_log(l, LOG_EVENT_IMAGE_FAILED, "%s: %s: %s", path, reason, message);
	} else if (outcome_waits(kind, reason)) {
		lane_log(l, LOG_PLAIN_DEBUG, "put off: %s", message);
	} else if (kind == OUTCOME_SKIP) {
		l->skipped++;
		lane_log(l, LOG_PLAIN_DEBUG, "%s: skipped, %s: %s", path, reason, message);
	}
}

static void on_fatal(void *arg, const struct error *why)
{
	lane_fail(arg, why);
}

static void on_encoded(void *arg, const struct packed *what)
{
	struct lane *l = arg;

	l->encoded++;
	rate_add(&l->rate, clock_mono_ms(), 1);
	lane_count(l);
	pipeline_on_encoded(l->pipeline, what);
}

static void on_rejected(void *arg, const struct packed *what, const char *path,
			const struct error *why)
{
	pipeline_on_rejected(((struct lane *)arg)->pipeline, what, path, why);
}

static void on_shard(void *arg, const char *name, size_t samples, uint64_t bytes)
{
	struct lane *l = arg;

	free(l->last_shard);
	l->last_shard = xstrdup(name);
	l->last_shard_at = clock_wall_ms();
	l->shard_bytes_written += bytes;
	l->failures = 0;
	lane_news(l);
	l->index_wanted = true;
	l->sealed_unseen = l->config->on_delete == ON_DELETE_REMOVE;
	l->tidy_wanted = true; /* its samples may have taken the place of others */
	lane_count(l);
	lane_log(l, LOG_EVENT_SHARD_SEALED, "sealed %s: %zu samples, %llu bytes", name, samples,
		 (unsigned long long)bytes);
}

/* -- the intake ------------------------------------------------------------------------------------- */

static void keep_text(char **kept, const char *text)
{
	free(*kept);
	*kept = text ? xstrdup(text) : NULL;
}

static void on_state(void *arg, const struct intake_state *state)
{
	struct lane *l = arg;
	struct lane_intake *seen = &l->seen;

	if (state->why && (!seen->why || strcmp(state->why, seen->why) != 0))
		lane_log(l, LOG_EVENT_DATASET_WAITS, "%s", state->why);
	if (seen->removal_waits && !state->removal_waits)
		l->tidy_wanted = true;
	seen->phase = state->phase;
	seen->young = state->young;
	seen->scans = state->scans;
	seen->scan_files = state->scan_files;
	seen->running_files = state->running_files;
	seen->folders_watched = state->folders_watched;
	seen->folders_polled = state->folders_polled;
	seen->deletions = state->deletions;
	seen->scan_began_at = state->scan_began_at;
	seen->scan_ms = state->scan_ms;
	if (seen->missing == 0)
		seen->missing_since = clock_mono_ms();
	seen->missing = state->missing;
	seen->removal_waits = state->removal_waits;
	keep_text(&seen->why, state->why);
	keep_text(&seen->watch_note, state->watch_note);
	keep_text(&seen->not_believed, state->not_believed);
	lane_news(l);
	lane_take_roots(l, state);
	lane_count(l);
}

static void on_jobs(void *arg)
{
	struct lane *l = arg;

	if (l->pipeline)
		pipeline_again(l->pipeline);
	lane_count(l);
}

static void on_note(void *arg, const char *line)
{
	lane_log(arg, LOG_PLAIN_INFO, "%s", line);
}

static enum intake_watch watch_of(enum source_watch watch)
{
	switch (watch) {
	case SOURCE_WATCH_INOTIFY:
		return INTAKE_INOTIFY;
	case SOURCE_WATCH_POLL:
		return INTAKE_POLL;
	case SOURCE_WATCH_OFF:
		return INTAKE_OFF;
	case SOURCE_WATCH_AUTO:
		break;
	}
	return INTAKE_AUTO;
}

static int open_intake(struct lane *l, struct error *err)
{
	const struct dataset_config *c = l->config;
	const char *part = l->shared->part ? l->shared->part : c->part;
	struct intake_source *sources = xcalloc(c->n_sources, sizeof(*sources));
	struct intake_options options = {.db = l->shared->db,
					 .dataset = l->dataset.id,
					 .name = c->name,
					 .state = l->shared->state->path,
					 .sources = sources,
					 .n_sources = c->n_sources,
					 .shuffled =
					     c->output.options.order == OUTPUT_ORDER_SHUFFLED,
					 .seed = c->recipe.seed,
					 .captions = c->captions,
					 .masks = masks_where(c->masks),
					 .need_captions = c->require_caption,
					 .remove = c->on_delete == ON_DELETE_REMOVE,
					 .paused = l->held || l->intake_off,
					 .shared = lane_is_shared(l),
					 .following = lane_follows(l),
					 .handlers = {on_state, on_jobs, on_note},
					 .arg = l};
	int r;

	for (size_t i = 0; i < c->n_sources; i++) {
		const struct source_config *s = &c->sources[i];

		sources[i] = (struct intake_source){.path = s->path,
						    .recursive = s->recursive,
						    .choice = sources_choice(&s->options),
						    .manifest = sources_manifest(&s->options),
						    .remote = sources_remote(&s->fetch),
						    .watch = watch_of(s->watch),
						    .rescan_ms = (int64_t)s->rescan,
						    .safety_ms = (int64_t)s->rescan};
	}
	if (part)
		dataset_part_parse(part, &options.part, &options.parts);
	r = intake_open(&options, l->shared->inbox, &l->intake, err);
	free(sources);
	return r;
}

static bool is_interrupted(void *arg)
{
	return atomic_load(&((struct lane *)arg)->interrupted);
}

/* A store in the network is not stuck while it is waited for: it has its own patience. */
static void on_store_wait(void *arg)
{
	atomic_fetch_add(&((struct lane *)arg)->store_waits, 1);
}

/* The intake says what is wrong with it. */
static bool open_root(struct lane *l, size_t i, uint32_t number)
{
	const struct source_config *s = &l->config->sources[i];
	const struct source_folder_options options = {
	    .recursive = s->recursive,
	    .choice = {.links = sources_links(s->options.symlinks)},
	    .masks = masks_where(l->config->masks),
	    .unpack = unpack_process_open,
	    .manifest = sources_manifest(&s->options),
	    .remote = sources_remote(&s->fetch),
	    .stop = is_interrupted,
	    .stop_arg = l};
	cleanup_free char *lists = sources_lists(l->shared->state->path, l->config->name, number);
	struct error ignored = ERROR_INIT;

	if (source_open(s->path, &options, &l->roots[i].source, &ignored) < 0)
		return false;
	source_keep_lists(l->roots[i].source, lists);
	return true;
}

void lane_take_roots(struct lane *l, const struct intake_state *state)
{
	struct pipeline_root *there = xcalloc(l->config->n_sources, sizeof(*there));
	struct source **left = xcalloc(l->config->n_sources, sizeof(*left));
	size_t n = 0, n_left = 0, n_came = 0;

	if (!l->roots || !l->pipeline) {
		free(there);
		free(left);
		return;
	}
	for (size_t i = 0; i < l->config->n_sources; i++) {
		const struct intake_root *now = &state->roots[i];

		if (l->roots[i].source && (!now->there || now->came != l->roots_came[i]))
			left[n_left++] = TAKE(l->roots[i].source);
		if (!now->there || !now->known)
			continue;
		if (!l->roots[i].source)
			n_came += open_root(l, i, now->number);
		l->roots[i].root = now->number;
		l->roots_came[i] = now->came;
		if (l->roots[i].source)
			there[n++] = l->roots[i];
	}
	pipeline_set_roots(l->pipeline, there, n);
	l->sources_came = l->sources_came || n > 0;
	if (n_came > 0)
		pipeline_again(l->pipeline); /* its jobs could not be claimed before */
	free(there);
	for (size_t i = 0; i < n_left; i++)
		pipeline_close_source(l->pipeline, left[i]);
	free(left);
}

/* -- opening ---------------------------------------------------------------------------------------- */

/* What the background thread makes; the lane's fields are its own meanwhile. */
struct open_task {
	struct task base;
	struct lane *lane;
	bool taken; /* another process has the output */
	struct error err;
};

/* Waiting helps against another process: it ends some time. */
static int get_output(struct open_task *t)
{
	struct lane *l = t->lane;
	cleanup_free char *owner = NULL;
	int r = outputs_get(l->shared->outputs, l->config->output.path, l->shared->state,
			    &l->output, &owner, &t->err);

	t->taken = r == OUTPUT_BUSY;
	return t->taken ? error_set(&t->err, ERR_TRANSIENT, "%s", owner) : r;
}

/*
 * Of a dataset that the queue does not know: visible shards are adopted, but what a rewrite that was cut off left staged can
 * only be placed by a rebuild.
 */
static int rebuild_lost(struct lane *l, struct error *err)
{
	const struct dataset_config *c = l->config;
	cleanup_free struct shard_rows_root *roots = xcalloc(c->n_sources, sizeof(*roots));
	struct rebuild_options options = {.output = l->output, .roots = roots};
	struct rebuild_result result = {.datasets = 0};

	for (size_t i = 0; i < c->n_sources; i++) {
		struct shard_rows_root *root = &roots[options.n_roots];
		cleanup_free char *path = sources_real_path(c->sources[i].path);
		struct sources_numbers numbers = {.numbers = &root->number,
						  .root = c->sources[i].options.root};

		if (!path)
			continue;
		if (sources_number(l->shared->state->path, c->name, &path, 1, &numbers, err) < 0)
			return -1;
		root->path = c->sources[i].path;
		options.n_roots++;
	}
	if (rebuild_dataset_if_lost(l->shared->queue, &options, c->name, &result, err) < 0)
		return -1;
	if (result.shards > 0)
		lane_log(l, LOG_PLAIN_WARNING, "its catalog was lost: rebuilt from %zu shards",
			 result.shards);
	return 0;
}

static void open_run(struct task *task)
{
	struct open_task *t = (struct open_task *)task;
	struct lane *l = t->lane;
	const struct dataset_config *c = l->config;
	struct dataset_open_options options = {.queue = l->shared->queue,
					       .name = c->name,
					       .recipe = &l->recipe,
					       .owner = l->shared->owner,
					       .again = l->opened_before,
					       .drop_duplicates =
						   c->duplicates == ON_DUPLICATE_DROP,
					       .store = &c->output.store,
					       .stop = is_interrupted,
					       .give_up = is_interrupted,
					       .on_wait = on_store_wait,
					       .note = on_note,
					       .arg = l};

	if (is_interrupted(l))
		return;
	if (!l->spending_known && spending_load(l->spending, l->shared->queue, &t->err) < 0)
		return;
	l->spending_known = true;
	if (encode_recipe(&c->recipe, engine_model(l->engine), &l->resolutions, &l->recipe,
			  &t->err) < 0 ||
	    dataset_form_of(&c->output.options, &l->recipe.form, &t->err) < 0 ||
	    get_output(t) < 0 || (!l->shared->state->node && rebuild_lost(l, &t->err) < 0))
		return;
	options.output = l->output;
	dataset_open(&options, &l->dataset, &t->err);
}

static int open_packer(struct lane *l, struct error *err)
{
	const struct output_options *o = &l->config->output.options;
	struct packer_options options = {.db = l->shared->db,
					 .spool = l->dataset.spool,
					 .store = l->dataset.store,
					 .recipe = &l->recipe,
					 .dataset = l->dataset.id,
					 .masks = masks_where(l->config->masks),
					 .alpha = masks_are_alpha(l->config->masks),
					 .node = l->shared->state->node,
					 .siblings = l->dataset.siblings,
					 .n_siblings = l->dataset.n_siblings,
					 .shard_samples = o->shard_samples,
					 .shard_bytes = o->shard_size,
					 .spool_waste = DATASET_SPOOL_WASTE,
					 .seal_age_ms = (int64_t)l->config->seal_age,
					 .stages = l->shared->stages,
					 .backlog = l->shared->memory->limit / 4,
					 .handlers = {on_encoded, on_rejected, on_shard, on_fatal},
					 .arg = l};

	if (packer_open(l->shared->event, l->shared->inbox, &options, &l->packer, err) < 0)
		return -1;
	dataset_restore(&l->dataset, l->packer);
	return 0;
}

static int open_pipeline(struct lane *l, struct error *err)
{
	struct pipeline_options options = {.inbox = l->shared->inbox,
					   .db = l->shared->db,
					   .packer = l->packer,
					   .pool = l->shared->pool,
					   .memory = l->shared->memory,
					   .encoders = engine_group(l->engine),
					   .best_batch = engine_model(l->engine)->best_batch,
					   .recipe = &l->recipe,
					   .resolutions = l->resolutions,
					   .dataset = l->dataset.id,
					   .stages = l->shared->stages,
					   .captions = l->config->captions,
					   .masks = masks_where(l->config->masks),
					   .alpha = masks_are_alpha(l->config->masks),
					   .given = l->dataset.given_captions,
					   .guard = spending_guard(l->spending),
					   .drop_duplicates =
					       l->config->duplicates == ON_DUPLICATE_DROP,
					   .on_outcome = on_outcome,
					   .on_fatal = on_fatal,
					   .arg = l};

	if (pipeline_open(l->shared->event, &options, &l->pipeline, err) < 0)
		return -1;
	pipeline_pause(l->pipeline, l->paused || l->held || lane_rests(l));
	return 0;
}

static void open_done(struct task *task)
{
	struct open_task *t = (struct open_task *)task;
	struct lane *l = t->lane;
	struct error err = t->err;

	l->taken = t->taken;
	free(t);
	if (err.code == ERR_NONE && !l->stopping) {
		l->opened_before = true;
		l->roots = xcalloc(l->config->n_sources, sizeof(*l->roots));
		l->roots_came = xcalloc(l->config->n_sources, sizeof(*l->roots_came));
		if (open_packer(l, &err) == 0 && open_pipeline(l, &err) == 0 &&
		    open_intake(l, &err) == 0) {
			l->phase = LANE_OPEN;
			l->queue_id = l->dataset.id;
			memcpy(l->recipe_id, l->recipe.id, sizeof(l->recipe_id));
			l->opened_at = clock_mono_ms();
			/* What an earlier run left: dead samples, indexes that lag behind. */
			l->tidy_wanted = l->index_wanted = true;
			l->swept_at = clock_mono_ms() - LANE_SWEEP_EVERY_MS + LANE_SWEEP_FIRST_MS;
			lane_count(l);
			lane_look_at_encoders(l);
			lane_log(l, LOG_PLAIN_INFO, "open: %s, recipe %.8s", l->dataset.folder,
				 l->recipe.id);
			return;
		}
	}
	if (err.code != ERR_NONE && !l->stopping)
		lane_fail(l, &err);
	lane_end(l);
}

void lane_begin_open(struct lane *l)
{
	struct open_task *t = xcalloc(1, sizeof(*t));

	t->base.run = open_run;
	t->base.done = open_done;
	t->lane = l;
	l->phase = LANE_OPENING;
	executor_post(l->shared->background, &t->base);
}

/* -- closing ---------------------------------------------------------------------------------------- */

void lane_end(struct lane *l)
{
	intake_close(l->intake);
	memcpy(l->had_before, l->had, sizeof(l->had));
	pipeline_close(l->pipeline);
	packer_close(l->packer);
	for (size_t i = 0; l->roots && i < l->config->n_sources; i++)
		source_close(l->roots[i].source);
	free(l->roots);
	free(l->roots_came);
	dataset_close(&l->dataset);
	recipe_release(&l->recipe);
	resolutions_release(&l->resolutions);
	free(l->seen.why);
	free(l->seen.watch_note);
	free(l->seen.not_believed);
	l->intake = NULL;
	l->pipeline = NULL;
	l->packer = NULL;
	l->roots = NULL;
	l->roots_came = NULL;
	l->recipe = (struct recipe){.json = NULL};
	l->seen = (struct lane_intake){.phase = INTAKE_SCANNING};
	l->closing = l->sealed_unseen = l->reopening = l->sources_came = false;
	l->scans_wanted = 0;
	l->claims = PIPELINE_CLAIMS;
	l->unable_since = 0;
	/* What is opened again looks through everything again, and is drained of what that finds. */
	l->intake_off = l->drained = l->drain_counted = false;
	l->idle_since = 0;
	l->phase = LANE_CLOSED;
}

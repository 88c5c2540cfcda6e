/*
 * While a dataset is idle: samples that are dead leave their shards, changed captions and given arrays come into them, small shards
 * are merged, and the indexes are made again. In between, lists tell readers what is not as it should be. The packer is held meanwhile, because both number shards.
 */
#include "daemon/lane_parts.h"

#include "daemon/dataset_store.h"
#include "daemon/given_arrays.h"
#include "daemon/index.h"
#include "daemon/recaption.h"
#include "daemon/replaced.h"
#include "daemon/sources.h"
#include "daemon/unpack_process.h"

#include "base/checked.h"
#include "base/clock.h"

#include <jansson.h>

/* A dataset that gets a file every now and then is not rewritten for each. */
#define TIDY_EVERY_MS ((int64_t)10 * 60 * 1000)

struct tidy_task {
	struct task base;
	struct lane *lane;
	bool tidy, sweep;
	/* Whose captions can be read. A source is for one thread: these are not the pipeline's. */
	struct pipeline_root *roots;
	struct source_config *sources; /* of the roots */
	size_t n_roots;
	struct shard_list shards; /* there are now */
	struct error err;
};

static bool tidy_stops(void *arg)
{
	return atomic_load(&((struct lane *)arg)->interrupted);
}

static void tidy_note(void *arg, const char *line)
{
	lane_log(arg, LOG_PLAIN_INFO, "%s", line);
}

static int merge_small(const struct rewrite_options *options, struct error *err)
{
	struct rewriter *rewriter = NULL;
	int r = rewriter_open(options, &rewriter, err);

	if (r == 0)
		r = rewrite_small(rewriter, err);
	rewriter_close(rewriter);
	return r;
}

/* Whatever shards hold that is not as it should be: put right, or only told to readers. */
static int put_right(struct tidy_task *t, struct store *store, struct error *err)
{
	struct lane *l = t->lane;
	const struct output_options *o = &l->config->output.options;
	struct mask_reader masks = MASK_READER_INIT;
	const struct recaption_options options = {.rewrite = {.queue = l->shared->queue,
							      .store = store,
							      .dataset = l->dataset.id,
							      .recipe_id = l->recipe.id,
							      .form = l->recipe.form,
							      .shard_samples = o->shard_samples,
							      .shard_bytes = o->shard_size,
							      .stop = tidy_stops,
							      .note = tidy_note,
							      .arg = l},
						  .roots = t->roots,
						  .n_roots = t->n_roots,
						  .masks =
						      masks_where(l->config->masks) ? &masks : NULL,
						  .folder = l->dataset.folder};
	const struct given_arrays arrays = {options.rewrite.queue, options.rewrite.dataset,
					    options.folder};
	size_t changed = 0;
	int r = 0;

	if (!t->tidy) {
		if (l->config->captions && captions_list_write(&options, err) < 0)
			return -1;
		return removed_list_write(l->shared->queue, l->dataset.id, options.folder, err);
	}
	if (t->sweep && merge_small(&options.rewrite, err) < 0)
		return -1;
	mask_reader_init(&masks, &l->recipe);
	if (l->config->captions)
		r = recaption(&options, &changed, err);
	mask_reader_release(&masks);
	if (r < 0)
		return -1;
	if (changed > 0)
		lane_log(l, LOG_PLAIN_INFO, "%zu changed captions are in their shards", changed);
	if (given_arrays_attach(&arrays, &options.rewrite, err) < 0)
		return -1;
	return replaced_tidy(&options.rewrite, options.folder, err);
}

/* Those of the lane that are there, still without sources. */
static void take_roots(struct tidy_task *t)
{
	const struct lane *l = t->lane;

	t->roots = xcalloc(l->config->n_sources, sizeof(*t->roots));
	t->sources = xcalloc(l->config->n_sources, sizeof(*t->sources));
	for (size_t i = 0; i < l->config->n_sources; i++) {
		if (!l->roots[i].source)
			continue;
		t->roots[t->n_roots].root = l->roots[i].root;
		t->sources[t->n_roots++] = l->config->sources[i];
	}
}

static void open_sources(struct tidy_task *t)
{
	const struct lane *l = t->lane;
	size_t n = 0;

	for (size_t i = 0; i < t->n_roots; i++) {
		const struct source_folder_options options = {
		    .recursive = true,
		    .unpack = unpack_process_open,
		    .choice = {.links = sources_links(t->sources[i].options.symlinks)},
		    .masks = masks_where(l->config->masks),
		    .manifest = sources_manifest(&t->sources[i].options),
		    .remote = sources_remote(&t->sources[i].fetch)};
		cleanup_free char *lists =
		    sources_lists(l->shared->state->path, l->config->name, t->roots[i].root);
		struct error ignored = ERROR_INIT; /* its captions stay as they are */

		t->roots[n].root = t->roots[i].root;
		if (source_open(t->sources[i].path, &options, &t->roots[n].source, &ignored) < 0)
			continue;
		source_keep_lists(t->roots[n++].source, lists);
	}
	t->n_roots = n;
}

static int tidy(struct tidy_task *t, struct error *err)
{
	struct store *store = NULL;
	const struct dataset_store_use use = {
	    .node = t->lane->shared->state->node, .stop = tidy_stops, .arg = t->lane};
	int r = dataset_store_open_for(t->lane->dataset.folder, &use, &store, err);

	if (r < 0)
		return -1;
	open_sources(t);
	r = put_right(t, store, err);
	for (size_t i = 0; i < t->n_roots; i++)
		source_close(t->roots[i].source);
	store_close(store);
	return r;
}

static void tidy_run(struct task *task)
{
	struct tidy_task *t = (struct tidy_task *)task;
	struct lane *l = t->lane;

	if (tidy(t, &t->err) < 0)
		return;
	if (shard_list_read(l->shared->queue, l->dataset.id, &t->shards, &t->err) < 0)
		return;
	index_write_until(l->shared->queue, l->dataset.id, l->output->root, tidy_stops, l, &t->err);
}

static void tidy_done(struct task *task)
{
	struct tidy_task *t = (struct tidy_task *)task;
	struct lane *l = t->lane;
	int64_t now = clock_mono_ms();

	l->tidying = false;
	l->tidied_at = now;
	if (t->sweep)
		l->swept_at = now;
	for (size_t i = 0; i < t->shards.n; i++) {
		if (sealed_name_is_of(t->shards.rows[i].path, l->shared->state->node))
			packer_note_shard(l->packer, t->shards.rows[i].path);
	}
	packer_hold(l->packer, false);
	if (t->err.code != ERR_NONE && !l->stopping)
		lane_fail(l, &t->err);
	lane_count(l);
	shard_list_release(&t->shards);
	free(t->roots);
	free(t->sources);
	free(t);
}

const char *lane_folder(const struct lane *l, bool captions, struct error *err)
{
	if (captions && !l->config->captions)
		error_set(err, ERR_CONFIG, "it has captions: false");
	else if (!captions && lane_is_shared(l))
		error_set(err, ERR_CONFIG,
			  "nodes share it, and one process for all of them does that: `latentctl "
			  "attach NAME FILE --config FILE`, on any machine");
	else if (l->phase != LANE_OPEN)
		error_set(err, ERR_TRANSIENT, "it is not open now: ask again in a moment");
	else
		return l->dataset.folder;
	return NULL;
}

void lane_give_captions(struct lane *l, json_t *list)
{
	if (l->phase != LANE_OPEN) /* it reads them when it opens */
		return;
	if (list)
		json_object_update(l->dataset.given_captions, list);
	else
		json_object_clear(l->dataset.given_captions);
	l->tidy_wanted = true;
}

void lane_give_arrays(struct lane *l)
{
	l->tidy_wanted =
	    l->tidy_wanted || l->phase == LANE_OPEN; /* else they are found when it opens */
}

void lane_tidy(struct lane *l)
{
	int64_t now = clock_mono_ms();
	/* Shards of a dataset that nodes share stay as they are sealed. */
	bool sweep = now - l->swept_at >= LANE_SWEEP_EVERY_MS && !lane_is_shared(l);
	bool tidy = (l->tidy_wanted && !lane_is_shared(l)) || sweep;
	bool index = lane_is_shared(l) ? lane_index_lags(l) : l->index_wanted;
	bool soon = l->draining || l->tidied_at == 0 || now - l->tidied_at >= TIDY_EVERY_MS;
	struct tidy_task *t;

	if (l->held || l->tidying || lane_has_upkeep(l) || packer_sealing(l->packer) ||
	    !(index || (tidy && soon)))
		return;
	packer_hold(l->packer, true);
	t = xcalloc(1, sizeof(*t));
	t->base.run = tidy_run;
	t->base.done = tidy_done;
	t->lane = l;
	t->tidy = tidy && soon;
	t->sweep = sweep && soon;
	take_roots(t);
	l->tidying = true;
	l->index_wanted = false;
	l->indexed = l->counts;
	if (t->tidy)
		l->tidy_wanted = false;
	executor_post(l->shared->background, &t->base);
}

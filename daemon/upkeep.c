/*
 * Shards are rewritten as long as nobody waits; what is left is found anew the next time, because others may have changed shards in
 * between. All that comes after them is done in the last turn.
 */
#include "daemon/upkeep.h"

#include "daemon/dataset_splits.h"
#include "daemon/dataset_store.h"
#include "daemon/index.h"
#include "daemon/json_text.h"
#include "daemon/recaption.h"
#include "daemon/replaced.h"
#include "daemon/shared_sweep.h"

#include "base/checked.h"
#include "base/clock.h"

#include <jansson.h>
#include <string.h>

struct upkeep {
	struct upkeep_order order;
	struct rewritten rewritten; /* of all turns */
	struct replaced_swept swept;
	size_t captions;
	json_t *strangers, *uploads;
	bool settled; /* what earlier rewrites left */
};

/* One turn. */
struct turn {
	struct upkeep *upkeep;
	const struct upkeep_place *place;
	const char *folder; /* OUT/NAME */
	struct store *store;
	struct rewrite_options rewrite;
	struct rewriter *rewriter;
	int64_t before; /* gc: what is younger stays */
};

const char *upkeep_name(enum upkeep_kind kind)
{
	return kind == UPKEEP_GC ? "gc" : "compact";
}

struct upkeep *upkeep_new(const struct upkeep_order *order)
{
	struct upkeep *u = xcalloc(1, sizeof(*u));

	u->order = *order;
	u->strangers = json_array();
	u->uploads = json_array();
	return u;
}

void upkeep_free(struct upkeep *u)
{
	if (!u)
		return;
	json_decref(u->strangers);
	json_decref(u->uploads);
	free(u);
}

const struct upkeep_order *upkeep_order(const struct upkeep *u)
{
	return &u->order;
}

/* -- shards --------------------------------------------------------------------------------------- */

static void on_note(void *arg, const char *line)
{
	const struct upkeep_place *place = ((struct turn *)arg)->place;

	place->note(place->arg, line);
}

static bool is_to_end(void *arg)
{
	const struct upkeep_place *place = ((struct turn *)arg)->place;

	return place->stop && place->stop(place->arg);
}

/*
 * Not before something was done: a turn that only meets damaged shards would be followed by the same one. What a dry run has
 * counted is still there the next time.
 */
static bool stops(void *arg)
{
	const struct turn *t = arg;
	const struct upkeep_place *place = t->place;
	bool done = rewriter_done(t->rewriter)->retired > 0 && !t->rewrite.dry_run;

	return is_to_end(arg) || (done && place->waited_for && place->waited_for(place->arg));
}

/* 0, UPKEEP_GOES_ON or -1. */
static int rewrite_shards(struct turn *t, struct error *err)
{
	struct upkeep *u = t->upkeep;
	bool stopped;
	int r;

	if (rewriter_open(&t->rewrite, &t->rewriter, err) < 0)
		return -1;
	r = u->order.kind == UPKEEP_GC ? rewrite_dead(t->rewriter, err)
				       : rewrite_small(t->rewriter, err);
	stopped = rewriter_stopped(t->rewriter);
	rewritten_add(&u->rewritten, rewriter_done(t->rewriter));
	rewriter_close(t->rewriter);
	t->rewriter = NULL;
	return r == 0 && stopped ? UPKEEP_GOES_ON : r;
}

/* Those of files wait for a run that looks at them. */
static int recaption_given_ones(struct turn *t, struct error *err)
{
	struct recaption_options options = {.rewrite = t->rewrite, .folder = t->folder};

	options.rewrite.shard_samples = options.rewrite.shard_bytes = 0;
	options.rewrite.stop = is_to_end;
	return recaption(&options, &t->upkeep->captions, err);
}

/* -- what is in the store and nowhere else -------------------------------------------------------- */

struct strangers {
	struct upkeep *upkeep;
	struct shard_list known;
};

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct strangers *s = arg;
	json_t *stranger;

	if (!shard_format_of_file(name) || shard_list_find(&s->known, name))
		return 0;
	stranger = json_object();
	json_object_set_new(stranger, "path", json_path(name));
	json_object_set_new(stranger, "bytes", json_count(bytes));
	json_array_append_new(s->upkeep->strangers, stranger);
	return 0;
}

/* A run that was killed between a shard and its row left these. */
static int find_strangers(struct turn *t, struct error *err)
{
	struct strangers s = {.upkeep = t->upkeep};
	int r = shard_list_read(t->place->queue, t->place->dataset->id, &s.known, err);

	if (r == 0)
		r = splits_list(t->store, on_object, &s, err);
	shard_list_release(&s.known);
	return r;
}

static bool on_leftover(void *arg, const char *name, int64_t begun_ms)
{
	struct turn *t = arg;
	json_t *upload;

	if (begun_ms >= t->before)
		return false;
	upload = json_object();
	json_object_set_new(upload, "path", json_path(name));
	json_object_set_new(upload, "begun_at", json_integer(begun_ms));
	json_array_append_new(t->upkeep->uploads, upload);
	return !t->upkeep->order.dry_run;
}

/* -- the whole ------------------------------------------------------------------------------------ */

static struct replaced_options replaced_of(struct turn *t)
{
	return (struct replaced_options){.queue = t->place->queue,
					 .store = t->store,
					 .dataset = t->place->dataset->id,
					 .note = on_note,
					 .arg = t};
}

static int sweep_shared(struct turn *t, struct error *err)
{
	const struct shared_sweep_options options = {.queue = t->place->queue,
						     .store = t->store,
						     .dataset = t->place->dataset,
						     .form = &t->rewrite.form,
						     .folder = t->folder,
						     .node = t->place->use->node,
						     .before = t->before,
						     .dry_run = t->upkeep->order.dry_run,
						     .note = on_note,
						     .arg = t};

	return shared_sweep(&options, err);
}

static int collect(struct turn *t, struct error *err)
{
	struct upkeep *u = t->upkeep;
	const struct replaced_options replaced = replaced_of(t);
	int64_t now = t->place->shared ? t->place->now : clock_wall_ms();

	t->before = now - (int64_t)u->order.grace_hours * 3600 * 1000;
	if (replaced_sweep(&replaced, t->before, u->order.dry_run, &u->swept, err) < 0)
		return -1;
	if (t->place->shared)
		return sweep_shared(t, err);
	if (t->place->busy)
		return 0;
	if (find_strangers(t, err) < 0)
		return -1;
	return store_leftovers(t->store, on_leftover, t, err);
}

static int write_indexes(struct turn *t, struct error *err)
{
	const struct upkeep_place *p = t->place;

	if (removed_list_write(p->queue, p->dataset->id, t->folder, err) < 0)
		return -1;
	return index_write_until(p->queue, p->dataset->id, p->root, is_to_end, t, err);
}

static int take_turn(struct turn *t, struct error *err)
{
	struct upkeep *u = t->upkeep;
	const struct replaced_options replaced = replaced_of(t);
	bool changes = !u->order.dry_run;
	int r = 0;

	/* Between two turns at a shared one another may have had it, and died. */
	if (changes && (!u->settled || t->place->shared) && replaced_settle(&replaced, err) < 0)
		return -1;
	u->settled = true;
	r = rewrite_shards(t, err);
	if (r == 0 && u->order.kind == UPKEEP_GC)
		r = collect(t, err);
	else if (r == 0 && changes)
		r = recaption_given_ones(t, err);
	return r == 0 && changes ? write_indexes(t, err) : r;
}

/* 0, UPKEEP_NOTHING or -1. */
static int find_folder(const struct upkeep_place *place, const char *folder, struct error *err)
{
	switch (folder_state(place->queue, place->dataset->id, folder, err)) {
	case FOLDER_THERE:
		return 0;
	case FOLDER_NOT_YET:
		return UPKEEP_NOTHING;
	case FOLDER_LOST:
		return error_set(err, ERR_CONFIG, "%s is not there", folder);
	}
	return -1;
}

int upkeep_run(struct upkeep *u, const struct upkeep_place *place, struct error *err)
{
	cleanup_free char *folder = xasprintf("%s/%s", place->root, place->dataset->name);
	cleanup_index_dataset struct index_dataset said = {.there = false};
	struct turn t = {.upkeep = u, .place = place, .folder = folder};
	struct dataset_store_use use = *place->use;
	int r = find_folder(place, folder, err);

	if (r != 0)
		return r;
	if (index_dataset_read(folder, &said, err) < 0)
		return -1;
	use.readonly = u->order.dry_run;
	if (dataset_store_open_for(folder, &use, &t.store, err) < 0)
		return -1;
	t.rewrite = (struct rewrite_options){.queue = place->queue,
					     .store = t.store,
					     .dataset = place->dataset->id,
					     .recipe_id = place->dataset->recipe_id,
					     .form = said.form,
					     .shard_samples = u->order.shard_samples,
					     .shard_bytes = u->order.shard_bytes,
					     .dry_run = u->order.dry_run,
					     .shared = place->shared,
					     .stop = stops,
					     .note = on_note,
					     .arg = &t};
	r = take_turn(&t, err);
	store_close(t.store);
	return r;
}

json_t *upkeep_result(const struct upkeep *u)
{
	const struct upkeep_order *o = &u->order;
	json_t *result = json_object();

	json_object_set_new(result, "command", json_string(upkeep_name(o->kind)));
	json_object_set_new(result, "dry_run", json_boolean(o->dry_run));
	json_object_set_new(result, "retired", json_count(u->rewritten.retired));
	json_object_set_new(result, "retired_bytes", json_count(u->rewritten.retired_bytes));
	json_object_set_new(result, "shards", json_count(u->rewritten.shards));
	json_object_set_new(result, "samples", json_count(u->rewritten.samples));
	json_object_set_new(result, "bytes", json_count(u->rewritten.bytes));
	json_object_set_new(result, "dead", json_count(u->rewritten.dead));
	if (o->kind == UPKEEP_COMPACT) {
		json_object_set_new(result, "captions", json_count(u->captions));
		return result;
	}
	json_object_set_new(result, "grace_hours", json_count(o->grace_hours));
	json_object_set_new(result, "removed", json_count(u->swept.removed));
	json_object_set_new(result, "removed_bytes", json_count(u->swept.removed_bytes));
	json_object_set_new(result, "kept", json_count(u->swept.kept));
	json_object_set_new(result, "kept_bytes", json_count(u->swept.kept_bytes));
	json_object_set(result, "strangers", u->strangers);
	json_object_set(result, "uploads", u->uploads);
	return result;
}

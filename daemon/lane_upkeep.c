/*
 * gc and compact that people ask for, or a node does by itself under the dataset's turn (queue_nodes.h), one after the other, on the background thread. Between two pieces the packer may seal a shard
 * and the background thread serves others: the lane goes on encoding all the while. While a piece is done the packer is held,
 * because both number shards.
 */
#include "daemon/lane_parts.h"

#include "daemon/catalog.h"
#include "daemon/dataset_store.h"
#include "daemon/json_text.h"
#include "daemon/replaced.h"
#include "daemon/upkeep.h"

#include "base/checked.h"
#include "base/clock.h"
#include "queue/queue_nodes.h"

#include <jansson.h>
#include <string.h>

enum {
	/* A piece ends with the first shard that is done after so long. */
	PIECE_MS = 3000,
	/* So many may wait, and so many that have ended are remembered. */
	WAIT_MOST = 16,
	ENDED_MOST = 16,
	NOTES_MOST = 1000,
};

enum upkeep_state { UPKEEP_WAITING, UPKEEP_RUNNING, UPKEEP_DONE, UPKEEP_FAILED };

static const char *const state_names[] = {"waiting", "running", "done", "failed"};

struct lane_upkeep {
	struct lane_upkeep *next;
	struct upkeep *upkeep;
	int64_t id, asked_at, ended_at; /* wall-clock ms; 0: not yet */
	enum upkeep_state state;
	json_t *notes;
	struct error err;
	bool nothing; /* the dataset has no folder yet */
};

static bool has_ended(const struct lane_upkeep *u)
{
	return u->state >= UPKEEP_DONE;
}

static struct lane_upkeep *first_to_do(const struct lane *l)
{
	struct lane_upkeep *u = l->upkeep;

	while (u && has_ended(u))
		u = u->next;
	return u;
}

bool lane_has_upkeep(const struct lane *l)
{
	return first_to_do(l) != NULL;
}

static void free_upkeep(struct lane_upkeep *u)
{
	upkeep_free(u->upkeep);
	json_decref(u->notes);
	free(u);
}

void lane_forget_upkeep(struct lane *l)
{
	while (l->upkeep) {
		struct lane_upkeep *u = l->upkeep;

		l->upkeep = u->next;
		free_upkeep(u);
	}
}

/* -- a piece, on the background thread -------------------------------------------------------------- */

struct piece {
	struct task base;
	struct lane *lane;
	struct lane_upkeep *order; /* its upkeep is this thread's until the piece is done */
	json_t *notes;
	int64_t until; /* monotonic */
	int result;
	struct shard_list shards; /* there are now */
	struct error err;
};

static bool is_interrupted(void *arg)
{
	return atomic_load(&((struct piece *)arg)->lane->interrupted);
}

static bool lasts_long(void *arg)
{
	return clock_mono_ms() >= ((struct piece *)arg)->until;
}

static void on_wait(void *arg)
{
	atomic_fetch_add(&((struct piece *)arg)->lane->store_waits, 1);
}

static bool is_noted(const json_t *notes, const json_t *wanted)
{
	json_t *note;
	size_t i;

	json_array_foreach(notes, i, note)
	{
		if (json_equal(note, wanted))
			return true;
	}
	return false;
}

/* The same is met in each piece. */
static void on_note(void *arg, const char *line)
{
	struct piece *p = arg;
	json_t *note = json_clean(line);

	if (!is_noted(p->order->notes, note)) {
		lane_log(p->lane, LOG_PLAIN_INFO, "%s", line);
		if (json_array_size(p->order->notes) + json_array_size(p->notes) < NOTES_MOST)
			json_array_append(p->notes, note);
	}
	json_decref(note);
}

struct wanted {
	const char *name;
	struct queue_dataset *found;
};

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct wanted *w = arg;

	if (strcmp(d->name, w->name) != 0)
		return 0;
	*w->found = (struct queue_dataset){d->id, xstrdup(d->name), xstrdup(d->output),
					   xstrdup(d->recipe_id), xstrdup(d->recipe_json)};
	return 1;
}

static int find_dataset(const struct lane *l, struct queue_dataset *out, struct error *err)
{
	struct wanted wanted = {l->config->name, out};

	if (queue_datasets(l->shared->queue, on_dataset, &wanted, err) < 0)
		return -1;
	return out->name ? 0 : error_set(err, ERR_CONFIG, "nothing of it is encoded yet");
}

/* Our own from now on, if shards are changed. */
static int find_root(const struct piece *p, const char **root, struct error *err)
{
	const struct lane *l = p->lane;
	cleanup_free char *owner = NULL;
	struct output *output = NULL;
	int r;

	*root = l->config->output.path;
	if (upkeep_order(p->order->upkeep)->dry_run)
		return 0;
	r = outputs_get(l->shared->outputs, *root, l->shared->state, &output, &owner, err);
	if (r == OUTPUT_BUSY)
		return error_set(err, ERR_TRANSIENT, "%s: again when that has ended", owner);
	if (r == 0)
		*root = output->root;
	return r;
}

/* Another process may have it, between two pieces too. */
static int run_in_turn(struct piece *p, struct upkeep_place *place, struct error *err)
{
	int r = queue_turn_take(place->queue, place->dataset->id, &place->now, err);

	if (r == QUEUE_TURN_TAKEN) {
		on_note(p, "another process replaces or removes shards of it, and does this");
		return UPKEEP_NOTHING;
	}
	if (r < 0)
		return -1;
	r = upkeep_run(p->order->upkeep, place, err);
	queue_turn_end(place->queue);
	return r;
}

static int run_piece(struct piece *p, struct error *err)
{
	const struct lane *l = p->lane;
	const struct dataset_store_use use = {.node = l->shared->state->node,
					      .beside = lane_is_shared(l),
					      .stop = is_interrupted,
					      .on_wait = on_wait,
					      .arg = p};
	struct queue_dataset dataset = {.name = NULL};
	struct upkeep_place place = {.queue = l->shared->queue,
				     .dataset = &dataset,
				     .use = &use,
				     .shared = lane_is_shared(l) &&
					       !upkeep_order(p->order->upkeep)->dry_run,
				     .busy = lane_is_shared(l),
				     .stop = is_interrupted,
				     .waited_for = lasts_long,
				     .note = on_note,
				     .arg = p};
	int r = find_dataset(l, &dataset, err);

	if (r == 0)
		r = find_root(p, &place.root, err);
	if (r == 0)
		r = place.shared ? run_in_turn(p, &place, err)
				 : upkeep_run(p->order->upkeep, &place, err);
	if (r >= 0 && dataset.name &&
	    shard_list_read(l->shared->queue, dataset.id, &p->shards, err) < 0)
		r = -1;
	queue_dataset_release(&dataset);
	return r;
}

static void piece_run(struct task *task)
{
	struct piece *p = (struct piece *)task;

	p->until = clock_mono_ms() + PIECE_MS;
	p->result = run_piece(p, &p->err);
}

/* -- what becomes of it, on the loop's --------------------------------------------------------------- */

/* The oldest that have ended. */
static void forget_some(struct lane *l)
{
	struct lane_upkeep **at = &l->upkeep;
	size_t ended = 0;

	for (const struct lane_upkeep *u = l->upkeep; u; u = u->next)
		ended += has_ended(u);
	while (ended > ENDED_MOST) {
		struct lane_upkeep *u = *at;

		if (!has_ended(u)) {
			at = &u->next;
			continue;
		}
		*at = u->next;
		free_upkeep(u);
		ended--;
	}
}

static void end_upkeep(struct lane *l, struct lane_upkeep *u, enum upkeep_state state)
{
	u->state = state;
	u->ended_at = clock_wall_ms();
	forget_some(l);
}

static void say_end(const struct lane *l, const struct lane_upkeep *u)
{
	const struct upkeep_order *o = upkeep_order(u->upkeep);

	lane_log(l, u->state == UPKEEP_FAILED ? LOG_PLAIN_WARNING : LOG_PLAIN_INFO, "%s%s %s%s%s",
		 upkeep_name(o->kind), o->dry_run ? " (dry run)" : "",
		 u->state == UPKEEP_FAILED ? "failed"
		 : u->nothing		   ? "had nothing to do"
					   : "is done",
		 *u->err.message ? ": " : "", u->err.message);
}

static void take_result(struct lane *l, struct piece *p)
{
	struct lane_upkeep *u = p->order;

	json_array_extend(u->notes, p->notes);
	if (p->result == UPKEEP_GOES_ON && !l->stopping)
		return;
	if (p->result == UPKEEP_GOES_ON)
		error_set(&p->err, ERR_TRANSIENT,
			  "the daemon ended before it was done (what was done is kept: ask again "
			  "for the rest)");
	u->err = p->err;
	u->nothing = p->result == UPKEEP_NOTHING;
	if (u->err.code != ERR_NONE)
		l->index_wanted = true; /* some shards may have been replaced */
	u->state = u->err.code != ERR_NONE ? UPKEEP_FAILED : UPKEEP_DONE;
	say_end(l, u);
	end_upkeep(l, u, u->state);
}

static void piece_done(struct task *task)
{
	struct piece *p = (struct piece *)task;
	struct lane *l = p->lane;

	l->tidying = false;
	take_result(l, p);
	if (l->packer) {
		for (size_t i = 0; i < p->shards.n; i++) {
			if (sealed_name_is_of(p->shards.rows[i].path, l->shared->state->node))
				packer_note_shard(l->packer, p->shards.rows[i].path);
		}
		packer_hold(l->packer, false);
	}
	lane_count(l);
	lane_news(l);
	shard_list_release(&p->shards);
	json_decref(p->notes);
	free(p);
}

/* While it opens or closes, the background thread and the packer have other things to do with the same shards. */
static bool may_begin(const struct lane *l)
{
	return !l->tidying && !l->settling && !l->stopping && l->phase != LANE_OPENING &&
	       l->phase != LANE_CLOSING;
}

void lane_pump_upkeep(struct lane *l)
{
	struct lane_upkeep *u = first_to_do(l);
	struct piece *p;

	if (!u || !may_begin(l))
		return;
	if (l->packer) {
		packer_hold(l->packer, true);
		if (packer_sealing(l->packer))
			return;
	}
	p = xcalloc(1, sizeof(*p));
	p->base.run = piece_run;
	p->base.done = piece_done;
	p->lane = l;
	p->order = u;
	p->notes = json_array();
	u->state = UPKEEP_RUNNING;
	l->tidying = true;
	executor_post(l->shared->background, &p->base);
}

/* -- what people ask -------------------------------------------------------------------------------- */

/* Its id. Where nothing else is said a full shard is as the dataset's. */
static int64_t add_order(struct lane *l, const struct upkeep_order *order)
{
	const struct output_options *o = &l->config->output.options;
	struct lane_upkeep **at = &l->upkeep, *u = xcalloc(1, sizeof(*u));
	struct upkeep_order asked = *order;
	int64_t last = 0;

	for (; *at; at = &(*at)->next)
		last = (*at)->id;
	asked.shard_samples = order->shard_samples ? order->shard_samples : o->shard_samples;
	asked.shard_bytes = order->shard_bytes ? order->shard_bytes : o->shard_size;
	u->upkeep = upkeep_new(&asked);
	u->asked_at = clock_wall_ms();
	u->id = u->asked_at > last ? u->asked_at : last + 1;
	u->notes = json_array();
	*at = u;
	return u->id;
}

int lane_upkeep(struct lane *l, const struct upkeep_order *order, int64_t *id, struct error *err)
{
	size_t waiting = 0;

	if (lane_is_shared(l) && !order->dry_run)
		return error_set(err, ERR_CONFIG,
				 "nodes share it, and one process for all of them does that: "
				 "`latentctl %s --config FILE`, on any machine",
				 upkeep_name(order->kind));
	for (const struct lane_upkeep *u = l->upkeep; u; u = u->next)
		waiting += !has_ended(u);
	if (waiting >= WAIT_MOST)
		return error_set(err, ERR_TRANSIENT,
				 "%zu of gc and compact wait already: again when some are done",
				 waiting);
	*id = add_order(l, order);
	return 0;
}

/* -- what a node does by itself ---------------------------------------------------------------------- */

static bool is_due(const struct lane *l, int64_t now)
{
	int64_t every = l->shared->upkeep_ms;

	if (l->upkeep_at != 0)
		return now - l->upkeep_at >= every;
	return now - l->opened_at >= (every < LANE_SWEEP_FIRST_MS ? every : LANE_SWEEP_FIRST_MS);
}

void lane_tick_upkeep(struct lane *l, int64_t now)
{
	if (!lane_is_shared(l) || !l->duty || l->held || l->shared->upkeep_ms == 0 ||
	    lane_has_upkeep(l) || !is_due(l, now))
		return;
	l->upkeep_at = now;
	add_order(l, &(struct upkeep_order){.kind = UPKEEP_COMPACT});
	add_order(l, &(struct upkeep_order){.kind = UPKEEP_GC,
					    .grace_hours = REPLACED_GRACE_MS / 3600000});
}

/* -- what is said of them ---------------------------------------------------------------------------- */

static json_t *json_of(const struct lane_upkeep *u)
{
	const struct upkeep_order *order = upkeep_order(u->upkeep);
	json_t *o = json_object();

	json_object_set_new(o, "id", json_integer(u->id));
	json_object_set_new(o, "command", json_string(upkeep_name(order->kind)));
	json_object_set_new(o, "dry_run", json_boolean(order->dry_run));
	json_object_set_new(o, "state", json_string(state_names[u->state]));
	json_object_set_new(o, "asked_at", json_integer(u->asked_at));
	json_object_set_new(o, "ended_at", u->ended_at ? json_integer(u->ended_at) : json_null());
	json_object_set_new(o, "error",
			    u->state == UPKEEP_FAILED ? json_clean(u->err.message) : json_null());
	json_object_set(o, "notes", u->notes);
	json_object_set_new(o, "result",
			    u->state == UPKEEP_DONE && !u->nothing ? upkeep_result(u->upkeep)
								   : json_null());
	return o;
}

json_t *lane_upkeep_json(const struct lane *l)
{
	json_t *list = json_array();

	for (const struct lane_upkeep *u = l->upkeep; u; u = u->next)
		json_array_append_new(list, json_of(u));
	return list;
}

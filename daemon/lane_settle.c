/*
 * Shards that took the place of others in a dataset that nodes share are staged for a moment, and for longer where their
 * process died. Whoever has the duty for the dataset looks for them every queue.poll, and brings that to its end once nobody has the
 * turn (queue_nodes.h).
 */
#include "daemon/lane_parts.h"

#include "daemon/dataset_store.h"
#include "daemon/replaced.h"

#include "base/checked.h"
#include "base/clock.h"
#include "queue/queue_nodes.h"

struct settle_task {
	struct task base;
	struct lane *lane;
	struct error err;
};

static bool stops(void *arg)
{
	return atomic_load(&((struct lane *)arg)->interrupted);
}

static void note(void *arg, const char *line)
{
	lane_log(arg, LOG_PLAIN_WARNING, "%s", line);
}

static int on_staged(void *arg, const char *name, uint64_t bytes)
{
	(void)name;
	(void)bytes;
	*(bool *)arg = true;
	return 1;
}

static int settle(const struct replaced_options *o, struct error *err)
{
	bool staged = false;
	int64_t now;
	int r;

	if (store_list_area(o->store, STORE_STAGED, on_staged, &staged, err) < 0)
		return -1;
	r = staged ? queue_turn_take(o->queue, o->dataset, &now, err) : QUEUE_TURN_TAKEN;
	if (r != 0)
		return r < 0 ? -1 : 0;
	r = replaced_settle(o, err);
	queue_turn_end(o->queue);
	return r;
}

static void settle_run(struct task *task)
{
	struct settle_task *t = (struct settle_task *)task;
	struct lane *l = t->lane;
	const struct dataset_store_use use = {
	    .node = l->shared->state->node, .beside = true, .stop = stops, .arg = l};
	struct replaced_options options = {
	    .queue = l->shared->queue, .dataset = l->dataset.id, .note = note, .arg = l};

	if (dataset_store_open_for(l->dataset.folder, &use, &options.store, &t->err) < 0)
		return;
	settle(&options, &t->err);
	store_close(options.store);
}

static void settle_done(struct task *task)
{
	struct settle_task *t = (struct settle_task *)task;
	struct lane *l = t->lane;

	l->settling_rewrites = false;
	l->settled_at = clock_mono_ms();
	if (t->err.code != ERR_NONE && !l->stopping)
		lane_fail(l, &t->err);
	free(t);
}

void lane_tick_settle(struct lane *l, int64_t now)
{
	struct settle_task *t;

	if (!l->duty || l->settling_rewrites ||
	    (l->settled_at != 0 && now - l->settled_at < l->shared->poll_ms))
		return;
	t = xcalloc(1, sizeof(*t));
	t->base.run = settle_run;
	t->base.done = settle_done;
	t->lane = l;
	l->settling_rewrites = true;
	executor_post(l->shared->background, &t->base);
}

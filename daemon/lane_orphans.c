/*
 * What nodes that died have left in sight and in no catalog: whoever has the duty for the dataset looks for it whenever
 * others are dead than before, and before the images in a dead node's spool are given back.
 */
#include "daemon/lane_parts.h"

#include "daemon/dataset_store.h"
#include "daemon/orphan.h"

#include "base/checked.h"

struct orphan_task {
	struct task base;
	struct lane *lane;
	int64_t deaths;
	size_t adopted; /* samples */
	struct error err;
};

static bool stops(void *arg)
{
	return atomic_load(&((struct lane *)arg)->interrupted);
}

static void note(void *arg, const char *line)
{
	lane_log(arg, LOG_PLAIN_WARNING, "of a node that died: %s", line);
}

static void orphans_run(struct task *task)
{
	struct orphan_task *t = (struct orphan_task *)task;
	struct lane *l = t->lane;
	const struct dataset_store_use use = {
	    .node = l->shared->state->node, .beside = true, .stop = stops, .arg = l};
	struct orphan_options options = {.queue = l->shared->queue,
					 .recipe_id = l->recipe.id,
					 .form = &l->recipe.form,
					 .dataset = l->dataset.id,
					 .node = l->shared->state->node,
					 .stop = stops,
					 .note = note,
					 .arg = l};

	if (dataset_store_open_for(l->dataset.folder, &use, &options.store, &t->err) < 0)
		return;
	orphans_settle(&options, &t->adopted, &t->err);
	store_close(options.store);
}

static void orphans_done(struct task *task)
{
	struct orphan_task *t = (struct orphan_task *)task;
	struct lane *l = t->lane;

	l->settling = false;
	if (t->err.code == ERR_NONE)
		l->deaths_settled = t->deaths;
	else if (!l->stopping)
		lane_fail(l, &t->err);
	if (t->adopted > 0)
		lane_again(l);
	free(t);
}

bool lane_orphans_pend(const struct lane *l)
{
	return l->settling || (l->duty && l->deaths != l->deaths_settled);
}

int64_t lane_deaths_settled(const struct lane *l)
{
	return l->phase == LANE_OPEN && l->duty ? l->deaths_settled : -1;
}

void lane_note_deaths(struct lane *l, int64_t deaths)
{
	l->deaths = deaths;
}

void lane_tick_orphans(struct lane *l)
{
	struct orphan_task *t;

	if (l->settling || !lane_orphans_pend(l))
		return;
	t = xcalloc(1, sizeof(*t));
	t->base.run = orphans_run;
	t->base.done = orphans_done;
	t->lane = l;
	t->deaths = l->deaths;
	l->settling = true;
	executor_post(l->shared->background, &t->base);
}

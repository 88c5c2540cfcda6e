/*
 * From the end to the beginning: a stage that is full holds up all before it, so the last full one is what limits.
 */
#include "daemon/bottleneck.h"

#include "base/checked.h"
#include "base/text.h"

/* Shares of the time from which on something counts as busy all the time. Encoders are lent out in whole batches. */
#define FULL_ENCODER 0.9
#define FULL_WORKERS 0.85
#define FULL_MEMORY  0.9

/* No usual image takes a worker so long. */
#define STUCK_MS 5000

static unsigned percent(double share)
{
	if (share < 0)
		return 0;
	return share > 1 ? 100 : (unsigned)(share * 100 + 0.5);
}

/* The usable encoder that has least to do; NULL: none is usable, or none is known yet. */
static const struct bottleneck_encoder *idlest(const struct bottleneck_input *in)
{
	const struct bottleneck_encoder *best = NULL;

	for (size_t i = 0; i < in->n_encoders; i++) {
		const struct bottleneck_encoder *e = &in->encoders[i];

		if (e->usable && e->busy >= 0 && (!best || e->busy < best->busy))
			best = e;
	}
	return best;
}

static bool any_loads(const struct bottleneck_input *in)
{
	for (size_t i = 0; i < in->n_encoders; i++) {
		if (in->encoders[i].loading)
			return true;
	}
	return false;
}

static bool any_usable(const struct bottleneck_input *in)
{
	for (size_t i = 0; i < in->n_encoders; i++) {
		if (in->encoders[i].usable)
			return true;
	}
	return false;
}

/* Of the stages that decode workers do, the one that has most of their time. */
static enum work_stage largest(const struct bottleneck_input *in)
{
	enum work_stage best = STAGE_DECODE;

	for (enum work_stage s = STAGE_READ; s <= STAGE_RESIZE; s++) {
		if (in->stages[s].busy > in->stages[best].busy)
			best = s;
	}
	return best;
}

static double workers_busy(const struct bottleneck_input *in)
{
	return in->stages[STAGE_READ].busy + in->stages[STAGE_DECODE].busy +
	       in->stages[STAGE_RESIZE].busy;
}

static void decode_bound(const struct bottleneck_input *in, const char *idle,
			 struct bottleneck *out)
{
	size_t workers = in->stages[STAGE_DECODE].workers;
	double busy = workers_busy(in);
	enum work_stage stage = largest(in);
	size_t full = (size_t)(busy + 0.5);

	out->stage = stage;
	if (in->longest_ms >= STUCK_MS) {
		out->text =
		    xasprintf("%s%s-bound, %zu of %zu decode workers busy, one of them at one "
			      "image for %lld s: a slow disk, a hard image, or it is stuck; "
			      "it will be replaced",
			      idle, stage_name(stage), full < workers ? full : workers, workers,
			      (long long)in->longest_ms / 1000);
		return;
	}
	out->text = xasprintf("%s%s-bound, %zu of %zu decode workers busy, %u %% of that with "
			      "%s",
			      idle, stage_name(stage), full < workers ? full : workers, workers,
			      percent(in->stages[stage].busy / busy),
			      stage == STAGE_READ     ? "reading files"
			      : stage == STAGE_RESIZE ? "resizing"
						      : "decoding");
}

static void memory_bound(const struct bottleneck_input *in, const char *idle,
			 struct bottleneck *out)
{
	char used[24], limit[24];

	out->stage = STAGE_DECODE;
	out->text =
	    xasprintf("%smemory-bound, %zu image%s until some of memory_limit is free "
		      "(%s of %s used)",
		      idle, in->waits_for_memory, in->waits_for_memory == 1 ? " waits" : "s wait",
		      text_bytes(in->memory_used, used), text_bytes(in->memory_limit, limit));
}

/* What is before the encoders; @idle: what is said of them. */
static void find_before(const struct bottleneck_input *in, const char *idle, struct bottleneck *out)
{
	const struct stage_view *decode = &in->stages[STAGE_DECODE],
				*open = &in->stages[STAGE_OPEN];

	if (in->behind > 0) {
		out->stage = STAGE_WRITE;
		out->text = xasprintf("%swrite-bound, %zu images wait to be written", idle,
				      in->stages[STAGE_WRITE].queue);
	} else if (workers_busy(in) >= FULL_WORKERS * (double)decode->workers) {
		decode_bound(in, idle, out);
	} else if (in->waits_for_memory > 0 &&
		   (double)in->memory_used >= FULL_MEMORY * (double)in->memory_limit) {
		memory_bound(in, idle, out);
	} else if (open->workers > 0 && open->busy >= FULL_WORKERS * (double)open->workers) {
		out->stage = STAGE_OPEN;
		out->text = xasprintf("%sopen-bound, opening files takes all the time: a slow disk "
				      "or network",
				      idle);
	} else if (in->scanning && open->queue == 0) {
		out->stage = STAGE_NONE;
		out->text = xasprintf("%sthe scan finds no more files than are encoded", idle);
	} else {
		out->stage = STAGE_NONE;
		out->text =
		    xasprintf("%sno stage is busy all the time, decode workers are at %u %%", idle,
			      percent(workers_busy(in) / (double)(decode->workers ?: 1)));
	}
}

void bottleneck_find(const struct bottleneck_input *in, struct bottleneck *out)
{
	const struct bottleneck_encoder *e = idlest(in);
	cleanup_free char *idle = NULL;

	*out = (struct bottleneck){STAGE_NONE, NULL};
	if (!in->work)
		return;
	if (!any_usable(in)) {
		out->stage = STAGE_ENCODE;
		out->text = xstrdup(any_loads(in) ? "the model is being loaded"
						  : "no encoder can encode now");
		return;
	}
	if (!e || in->stages[STAGE_DECODE].busy < 0)
		return;
	if (e->busy >= FULL_ENCODER && in->behind == 0) {
		double share = workers_busy(in) / (double)(in->stages[STAGE_DECODE].workers ?: 1);

		out->stage = STAGE_ENCODE;
		out->text = xasprintf("%s busy %u %%: encode-bound, decode workers idle %u %%",
				      e->name, percent(e->busy), percent(1 - share));
		return;
	}
	idle = xasprintf("%s idle %u %%: ", e->name, percent(1 - e->busy));
	find_before(in, idle, out);
}

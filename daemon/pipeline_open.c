/*
 * Opening may wait for a disk or a network for as long as that likes, so it has a thread of its own, which looks at
 * nothing of a work but what is given to it.
 */
#include "daemon/caption_list.h"
#include "daemon/pipeline_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <stddef.h>

/* NULL: it was claimed while its source was still there. */
static struct source *source_of(const struct pipeline *p, const struct job *job)
{
	for (size_t i = 0; i < p->n_roots; i++) {
		if (p->roots[i].root == job->root)
			return p->roots[i].source;
	}
	return NULL;
}

static int read_caption(struct work *w, struct error *err)
{
	const struct pipeline_options *options = &w->pipeline->options;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int r;

	if (!options->captions || w->caption || w->caption_given)
		return 0;
	r = source_caption(w->source, w->job.path, &text, err);
	if (r < 0)
		return error_wrap(err, "its caption");
	if (r == 0)
		w->caption = xstrdup(text.data ? (const char *)text.data : "");
	return 0;
}

static int read_meta(struct work *w, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int r = w->meta ? SOURCE_NO_META : source_meta(w->source, w->job.path, &text, err);

	if (r == 0)
		w->meta = xstrdup((const char *)text.data);
	return r < 0 ? -1 : 0;
}

static int read_mask(struct work *w, struct error *err)
{
	int r = 0;

	if (w->pipeline->options.masks && w->mask.size == 0)
		r = source_mask(w->source, w->job.path, &w->mask, err);
	return r < 0 ? error_wrap(err, "its mask") : 0;
}

static int open_image(struct work *w, struct error *err)
{
	w->fd = source_open_sample(w->source, w->job.path, err);
	return w->fd < 0 ? -1 : 0;
}

/* In the order in which they stand in an archive. */
static void open_with_mask(struct work *w, struct error *err)
{
	if (!w->pipeline->options.masks || !source_mask_follows(w->source, w->job.path)) {
		if (read_mask(w, err) == 0)
			open_image(w, err);
	} else if (open_image(w, err) == 0) {
		read_mask(w, err);
	}
}

/* What the source has to wait for is fetched later, among many others. */
static void prepare_order(struct work *w, struct error *err)
{
	const struct pipeline_options *options = &w->pipeline->options;

	w->order.wants_caption = options->captions && !w->caption && !w->caption_given;
	w->order.wants_meta = !w->meta;
	w->order.wants_mask = options->masks && w->mask.size == 0;
	source_order_prepare(w->source, &w->order, err);
}

static void finish_order(struct work *w, struct error *err)
{
	struct source_order *o = &w->order;

	if (source_order_finish(w->source, o, err) < 0)
		return;
	w->fd = TAKE_FD(o->fd);
	if (o->has_caption)
		w->caption = xstrdup(o->caption.data ? (const char *)o->caption.data : "");
	if (o->meta.size > 0)
		w->meta = xstrdup((const char *)o->meta.data);
	if (o->mask.size > 0) {
		buffer_release(&w->mask);
		w->mask = o->mask;
		o->mask = (struct buffer)BUFFER_INIT;
	}
}

static struct work *work_of(struct task *t)
{
	return (struct work *)((char *)t - offsetof(struct work, opening));
}

static void open_here(struct work *w, struct error *err)
{
	if (read_caption(w, err) == 0 && read_meta(w, err) == 0)
		open_with_mask(w, err);
}

/* A part of opening, on the opener's thread. */
static void run_step(struct work *w, void (*step)(struct work *w, struct error *err))
{
	struct stage_meter *stages = w->pipeline->options.stages;
	int64_t began = clock_mono_ns();
	struct error err = ERROR_INIT;

	stage_meter_enter(stages, STAGE_OPEN);
	step(w, &err);
	if (err.code != ERR_NONE) {
		w->failure = xmalloc(sizeof(err));
		*w->failure = err;
	}
	stage_meter_did(stages, STAGE_OPEN, 1, (uint64_t)(clock_mono_ns() - began));
	stage_meter_leave(stages, STAGE_OPEN);
}

static void open_here_run(struct task *t)
{
	run_step(work_of(t), open_here);
}

static void prepare_run(struct task *t)
{
	run_step(work_of(t), prepare_order);
}

static void finish_run(struct task *t)
{
	run_step(work_of(t), finish_order);
}

static void opening_done(struct task *t)
{
	struct work *w = work_of(t);
	struct pipeline *p = w->pipeline;
	struct error why = ERROR_INIT;

	p->opening--;
	source_order_release(&w->order);
	if (w->fd >= 0 && w->is_remote)
		p->fetched_at = clock_mono_ms();
	if (w->fd >= 0)
		p->reached_at = clock_mono_ms();
	if (!pipeline_begins(p)) {
		work_released(w);
	} else if (w->failure && w->order.put_off_ms > 0) {
		why = *w->failure;
		work_put_off(w, &why, w->order.put_off_ms);
	} else if (w->failure) {
		why = *w->failure;
		work_failed(w, &why);
	} else {
		work_list_push(&p->opened, w);
	}
}

/* On the loop's thread, where the list may change. */
static void take_given_caption(struct work *w)
{
	const struct pipeline_options *options = &w->pipeline->options;
	const char *given = NULL;

	if (!options->captions || w->caption)
		return;
	w->caption_given = caption_list_find(options->given, w->job.key, &given);
	w->caption = given ? xstrdup(given) : NULL;
}

/* On a thread of the source's. */
static void on_order(struct source_order *order)
{
	struct work *w = (struct work *)((char *)order - offsetof(struct work, order));

	inbox_post(w->pipeline->options.inbox, &w->opening);
}

/* Whether it ends here: it failed, nothing is wanted any more, or its source may be closed by now. */
static bool ends_early(struct work *w)
{
	struct pipeline *p = w->pipeline;
	bool closed = source_of(p, &w->job) != w->source;

	if (!w->failure && pipeline_begins(p) && !closed)
		return false;
	if (closed && !w->failure) {
		p->opening--;
		source_order_release(&w->order);
		work_released(w);
	} else {
		opening_done(&w->opening);
	}
	return true;
}

/* All of it has come, or will not. */
static void fetched(struct task *t)
{
	struct work *w = work_of(t);
	struct pipeline *p = w->pipeline;

	if (w->fetching)
		p->fetching--;
	w->fetching = false;
	if (ends_early(w))
		return;
	t->run = finish_run;
	t->done = opening_done;
	executor_post(p->opener, t);
}

/* What it consists of is known: now it is fetched. */
static void prepared(struct task *t)
{
	struct work *w = work_of(t);
	struct pipeline *p = w->pipeline;

	t->done = fetched;
	if (ends_early(w))
		return;
	if (!source_order_waits(&w->order)) {
		fetched(t);
		return;
	}
	w->fetching = true;
	if (p->fetching++ == 0)
		p->fetched_at = clock_mono_ms();
	source_order_start(&w->order);
}

void pipeline_drop_at_hand(const struct work *w)
{
	if (w->is_remote && source_of(w->pipeline, &w->job) == w->source)
		source_drop_at_hand(w->source, w->job.path);
}

size_t pipeline_fetches(const struct pipeline *p, const struct work *w)
{
	const struct source *source = source_of(p, &w->job);

	return source && source_is_remote(source, w->job.path) ? source_ahead(source) : 0;
}

void pipeline_open_file(struct pipeline *p, struct work *w)
{
	work_forget(w);
	w->source = source_of(p, &w->job);
	if (!w->source) {
		work_released(w);
		return;
	}
	take_given_caption(w);
	w->is_remote = source_is_remote(w->source, w->job.path);
	w->opening.run = source_takes_orders(w->source) ? prepare_run : open_here_run;
	w->opening.done = source_takes_orders(w->source) ? prepared : opening_done;
	w->order = (struct source_order){.path = w->job.path, .done = on_order, .fd = -1};
	p->opening++;
	executor_post(p->opener, &w->opening);
}

struct closing {
	struct task base;
	struct source *source;
};

static void closing_run(struct task *t)
{
	source_close(((struct closing *)t)->source);
	free(t);
}

/* Behind the files of it that are to be opened. */
void pipeline_close_source(struct pipeline *p, struct source *source)
{
	struct closing *closing = xcalloc(1, sizeof(*closing));

	closing->base.run = closing_run;
	closing->source = source;
	executor_post(p->opener, &closing->base);
}

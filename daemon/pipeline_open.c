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
	w->fd = w->is_remote ? source_open_at_hand(w->source, w->job.path)
			     : source_open_sample(w->source, w->job.path, err);
	return err->code == ERR_NONE ? 0 : -1;
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

static struct work *work_of(struct task *t)
{
	return (struct work *)((char *)t - offsetof(struct work, opening));
}

static void opening_run(struct task *t)
{
	struct work *w = work_of(t);
	struct stage_meter *stages = w->pipeline->options.stages;
	int64_t began = clock_mono_ns();
	struct error err = ERROR_INIT;

	stage_meter_enter(stages, STAGE_OPEN);
	if (read_caption(w, &err) == 0 && read_meta(w, &err) == 0)
		open_with_mask(w, &err);
	if (err.code != ERR_NONE) {
		w->failure = xmalloc(sizeof(err));
		*w->failure = err;
	}
	stage_meter_did(stages, STAGE_OPEN, 1, (uint64_t)(clock_mono_ns() - began));
	stage_meter_leave(stages, STAGE_OPEN);
}

static void opening_done(struct task *t)
{
	struct work *w = work_of(t);
	struct pipeline *p = w->pipeline;
	struct error why = ERROR_INIT;

	p->opening--;
	if (w->fetching)
		p->fetching--;
	if (w->fetching && w->fd >= 0)
		p->fetched_at = clock_mono_ms();
	w->fetching = false;
	if (w->fd >= 0)
		p->reached_at = clock_mono_ms();
	if (p->paused || p->stopping || p->failed) {
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

	w->fd = order->fd;
	if (w->fd < 0) {
		w->failure = xmalloc(sizeof(order->err));
		*w->failure = order->err;
	}
	inbox_post(w->pipeline->options.inbox, &w->opening);
}

/* Captions and metadata of one that is remote are known, and that it is not at hand: now its bytes are fetched, among many others. */
static void looked_up(struct task *t)
{
	struct work *w = work_of(t);
	struct pipeline *p = w->pipeline;

	t->done = opening_done;
	if (w->fd >= 0 || w->failure || p->paused || p->stopping || p->failed) {
		opening_done(t);
	} else if (source_of(p, &w->job) != w->source) { /* it may be closed by now */
		p->opening--;
		work_released(w);
	} else {
		w->fetching = true;
		if (p->fetching++ == 0)
			p->fetched_at = clock_mono_ms();
		source_open_later(w->source, &w->order);
	}
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
	w->opening.run = opening_run;
	w->opening.done = w->is_remote ? looked_up : opening_done;
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

/*
 * An encoder on this machine is busy while a batch is in flight in it; one of endpoints by as much of what they bear as
 * is under way, looked at once a second.
 */
#include "daemon/service_stages.h"

#include "daemon/bottleneck.h"
#include "daemon/busy_window.h"
#include "daemon/endpoint_windows.h"
#include "daemon/service_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <string.h>

struct encoder_window {
	uint64_t id;	  /* of the encoder */
	uint64_t busy_ns; /* as of the last tick */
	struct busy_window window;
	uint64_t endpoints_ns; /* busy, of endpoints */
	struct endpoint_windows endpoints;
};

struct service_stages {
	struct service *service;
	struct busy_window stages[STAGES];
	struct encoder_window *encoders;
	size_t n_encoders;
	uint64_t left_ns;  /* what encoders were busy that have left */
	int64_t ticked_at; /* monotonic ns */
};

struct service_stages *service_stages_new(struct service *s)
{
	struct service_stages *stages = xcalloc(1, sizeof(*stages));

	stages->service = s;
	stages->ticked_at = clock_mono_ns();
	return stages;
}

void service_stages_free(struct service_stages *stages)
{
	if (!stages)
		return;
	for (size_t i = 0; i < stages->n_encoders; i++)
		endpoint_windows_release(&stages->encoders[i].endpoints);
	free(stages->encoders);
	free(stages);
}

/* -- encoders come and go ----------------------------------------------------------------------------- */

static bool is_followed(const struct service_stages *stages, size_t n)
{
	for (size_t i = 0; i < n && n == stages->n_encoders; i++) {
		if (stages->encoders[i].id != engines_id(stages->service->engines, i))
			return false;
	}
	return n == stages->n_encoders;
}

/* What was seen of the encoder @id is the caller's now. */
static struct encoder_window take_window(struct service_stages *stages, uint64_t id)
{
	struct encoder_window window = {.id = id};

	for (size_t i = 0; i < stages->n_encoders; i++) {
		if (stages->encoders[i].id != id)
			continue;
		window = stages->encoders[i];
		stages->encoders[i] = (struct encoder_window){.id = 0};
	}
	return window;
}

/* A window for each that there is, in their order. */
static void follow_encoders(struct service_stages *stages)
{
	const struct engines *engines = stages->service->engines;
	size_t n = engines_count(engines);
	struct encoder_window *windows;

	if (is_followed(stages, n))
		return;
	windows = xcalloc(n, sizeof(*windows));
	for (size_t i = 0; i < n; i++)
		windows[i] = take_window(stages, engines_id(engines, i));
	for (size_t i = 0; i < stages->n_encoders; i++) {
		stages->left_ns += stages->encoders[i].busy_ns;
		endpoint_windows_release(&stages->encoders[i].endpoints);
	}
	free(stages->encoders);
	stages->encoders = windows;
	stages->n_encoders = n;
}

/* -- once a second ---------------------------------------------------------------------------------- */

/* What the encoder at @index was busy for, ever; *images: that it has encoded. */
static uint64_t encoder_busy_ns(struct service_stages *stages, size_t index, int64_t now,
				int64_t passed, uint64_t *images)
{
	struct engines *engines = stages->service->engines;
	struct encoder_window *e = &stages->encoders[index];
	struct encoder_view view;
	double busy = endpoint_windows_tick(&e->endpoints, engines, index, now, passed);

	engines_view(engines, index, &view);
	*images = view.images_done;
	if (strcmp(view.type, "remote") != 0)
		return view.busy_ns;
	e->endpoints_ns += (uint64_t)((double)passed * busy);
	return e->endpoints_ns;
}

void service_stages_tick(struct service_stages *stages)
{
	const struct service *s = stages->service;
	int64_t now = clock_mono_ns(), passed = now - stages->ticked_at;
	uint64_t encoding;
	struct stage_sums sums;

	stages->ticked_at = now;
	follow_encoders(stages);
	encoding = stages->left_ns;
	for (size_t i = 0; i < stages->n_encoders; i++) {
		uint64_t images, busy = encoder_busy_ns(stages, i, now, passed, &images);

		stages->encoders[i].busy_ns = busy;
		busy_window_add(&stages->encoders[i].window, now, busy, images);
		encoding += busy;
	}
	for (int i = 0; i < STAGES; i++) {
		stage_meter_sums(s->stages, (enum work_stage)i, &sums);
		busy_window_add(&stages->stages[i], now,
				i == STAGE_ENCODE ? encoding : sums.busy_ns, sums.images);
	}
}

/* -- the picture ------------------------------------------------------------------------------------ */

static size_t workers_of(const struct service *s, enum work_stage stage,
			 const struct lane_load *load)
{
	switch (stage) {
	case STAGE_OPEN:
	case STAGE_WRITE:
		return load->lanes;
	case STAGE_ENCODE:
		return engines_count(s->engines);
	default:
		return decode_pool_workers(s->pool);
	}
}

static void picture_stages(const struct service_stages *stages, const struct lane_load *load,
			   struct service_status *out)
{
	for (int i = 0; i < STAGES; i++) {
		const struct busy_window *w = &stages->stages[i];

		out->stages[i] = (struct stage_view){
		    .images_per_second = busy_window_rate(w, BUSY_WINDOW_MINUTE),
		    .busy = busy_window_busy(w, BUSY_WINDOW_NOW),
		    .workers = workers_of(stages->service, (enum work_stage)i, load),
		    .queue = load->queues[i]};
		stage_meter_sums(stages->service->stages, (enum work_stage)i, &out->stage_sums[i]);
	}
}

/* What an encoder without work does not do limits nothing. */
static bool has_work(const struct service *s, size_t encoder)
{
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (lane_needs(s->lanes[i], encoder))
			return true;
	}
	return false;
}

static void picture_limit(const struct service_stages *stages, const struct lane_load *load,
			  struct service_status *out)
{
	const struct service *s = stages->service;
	struct bottleneck_input in = {.n_encoders = out->n_encoders,
				      .work = load->left > 0 && !s->full,
				      .scanning = load->scanning,
				      .behind = load->behind,
				      .waits_for_memory = load->waits_for_memory,
				      .longest_ms =
					  decode_pool_longest_ms(s->pool, clock_mono_ms()),
				      .memory_used = s->memory.used,
				      .memory_limit = s->memory.limit};
	struct bottleneck_encoder *encoders = xcalloc(out->n_encoders, sizeof(*encoders));
	struct bottleneck found;

	memcpy(in.stages, out->stages, sizeof(in.stages));
	for (size_t i = 0; i < out->n_encoders; i++) {
		const struct service_encoder *e = &out->encoders[i];
		bool works = e->state == ENCODER_IDLE || e->state == ENCODER_BUSY;
		bool needed = has_work(s, i);

		encoders[i] =
		    (struct bottleneck_encoder){.name = e->name,
						.busy = e->busy,
						.usable = needed && e->ready && works,
						.loading = needed && e->state == ENCODER_STARTING};
	}
	in.encoders = encoders;
	bottleneck_find(&in, &found);
	out->limit_stage = found.stage;
	out->limit = found.text;
	free(encoders);
}

void service_stages_picture(struct service_stages *stages, struct service_status *out)
{
	const struct service *s = stages->service;
	struct lane_load load = {.lanes = 0};

	follow_encoders(stages);
	for (size_t i = 0; i < s->n_lanes; i++)
		lane_load(s->lanes[i], &load);
	for (size_t i = 0; i < out->n_encoders; i++) {
		const struct encoder_window *e = &stages->encoders[i];

		out->encoders[i].busy = busy_window_busy(&e->window, BUSY_WINDOW_NOW);
		endpoint_windows_picture(&e->endpoints, &out->encoders[i]);
	}
	picture_stages(stages, &load, out);
	picture_limit(stages, &load, out);
}

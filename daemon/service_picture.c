/*
 * What happens is seen at once where little happens; where much does, a picture is made of many changes.
 */
#include "daemon/service_parts.h"

#include "base/checked.h"
#include "base/clock.h"
#include "encoder/encoder_remote.h"

#include <string.h>
#include <systemd/sd-daemon.h>

/* Between two pictures, but for those that somebody asked for. */
enum { PICTURE_MS = LANE_COUNT_MS, ACCURACY_US = 10 * 1000 };

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static void picture_endpoints(void *arg, const struct encoder *encoder, const char *model)
{
	struct service_encoder *out = arg;
	struct encoder_remote_view view;

	if (!encoder_remote_view(encoder, &view))
		return;
	out->endpoints =
	    xrealloc(out->endpoints, out->n_endpoints + view.n_endpoints, sizeof(*out->endpoints));
	for (size_t i = 0; i < view.n_endpoints; i++) {
		struct encoder_remote_endpoint_view p;

		if (!encoder_remote_endpoint_view(encoder, i, &p))
			break;
		out->endpoints[out->n_endpoints++] = (struct service_endpoint){
		    .url = xstrdup(p.url),
		    .model = xstrdup(model),
		    .state = encoder_remote_state_name(p.state),
		    .why = p.reason[0] ? xstrdup(p.reason) : NULL,
		    .wait_ms = p.wait_ms,
		    .in_flight = p.in_flight,
		    .limit = p.limit,
		    .latency_ms = p.latency_ms,
		    .requests = p.requests,
		    .failures = p.failures,
		    .images = p.images,
		    .sent = p.sent,
		    .received = p.received,
		};
	}
}

/* Of one that has its model: what its endpoints let it do. */
static enum encoder_state working_state(const struct encoder_view *view)
{
	switch (view->health) {
	case ENCODE_REMOTE_WAITS:
		return ENCODER_WAITING;
	case ENCODE_REMOTE_GUARDED:
		return ENCODER_PAUSED;
	case ENCODE_REMOTE_STOPPED:
		return ENCODER_FAILED;
	case ENCODE_REMOTE_FINE:
		break;
	}
	return view->in_flight > 0 ? ENCODER_BUSY : ENCODER_IDLE;
}

static void picture_encoder(struct service *s, size_t index, struct service_encoder *out)
{
	const struct work_hours *hours = engines_hours(s->engines, index);
	struct encoder_view view;

	engines_view(s->engines, index, &view);
	out->name = copy(view.name);
	out->type = copy(view.type);
	out->engine = copy(view.engine);
	out->in_flight = view.in_flight;
	out->batch = view.batch;
	out->images_done = view.images_done;
	out->images_per_second = view.images_per_second;
	out->images_failed = view.images_failed;
	out->images = view.images;
	out->ready = view.ready;
	out->memory_used = view.memory.used;
	out->memory_limit = view.memory.limit;
	out->busy_ns = view.busy_ns;
	out->paused = hours->paused;
	out->state = working_state(&view);
	if (out->state == ENCODER_IDLE && hours->rests)
		out->state = ENCODER_PAUSED;
	if (out->state == ENCODER_IDLE && (view.loading || view.failure))
		out->state = view.loading ? ENCODER_STARTING : ENCODER_FAILED;
	if (view.failure)
		out->why = copy(view.failure->message);
	else if (out->state == ENCODER_PAUSED && hours->rests)
		out->why = work_hours_why(hours);
	else
		out->why = engines_why(s->engines, index);
	engines_each(s->engines, index, picture_endpoints, out);
}

/* -- what charts show ------------------------------------------------------------------------------- */

int service_open_history(struct service *s, struct error *err)
{
	s->history = history_new();
	return history_restore(s->history, s->queue, err);
}

static void note_history(struct service *s, const struct service_status *p)
{
	uint64_t encoded = 0, todo = 0;

	for (size_t i = 0; i < p->n_datasets; i++) {
		const struct service_dataset *d = &p->datasets[i];

		encoded += d->encoded;
		todo += d->counts.jobs[JOB_AVAILABLE] + d->counts.jobs[JOB_RUNNING] +
			d->counts.jobs[JOB_RETRYABLE];
	}
	history_note(s->history, p->taken_at, s->published_at, encoded, todo);
	history_save(s->history, s->db, s->published_at);
}

void service_close_history(struct service *s)
{
	if (s->history)
		history_flush(s->history, s->queue);
	history_free(s->history);
}

/* -- the picture ------------------------------------------------------------------------------------ */

void service_publish(struct service *s)
{
	struct service_status *p = service_status_new(s->n_lanes, engines_count(s->engines));

	s->published_at = clock_mono_ms();
	s->news = false;
	p->taken_at = clock_wall_ms();
	p->version = xstrdup(LATENTD_VERSION);
	p->pid = getpid();
	p->started_at = s->started_at;
	p->state = s->state;
	p->state_dir = xstrdup(s->state_folder.path);
	p->config = copy(s->config->file);
	p->socket = copy(s->config->api.socket);
	p->intake_paused = copy(s->full);
	p->memory_used = s->memory.used;
	p->memory_limit = s->memory.limit;
	p->decode_busy = decode_pool_busy(s->pool);
	p->decode_workers = decode_pool_workers(s->pool);
	p->decode_warning = copy(decode_pool_warning(s->pool));
	p->reloaded_at = s->reloaded_at;
	p->reload_error = copy(s->reload_error);
	for (size_t i = 0; i < s->n_lanes; i++)
		lane_status(s->lanes[i], &p->datasets[i]);
	for (size_t i = 0; i < p->n_encoders; i++)
		picture_encoder(s, i, &p->encoders[i]);
	service_picture_disks(s, p);
	service_stages_picture(s->last_minute, p);
	service_picture_serve(s, &p->serve);
	service_picture_webhook(s, p);
	service_picture_node(s, p);
	note_history(s, p);
	status_board_publish(s->board, p);
}

/* -- when ------------------------------------------------------------------------------------------- */

/* The loop has turned: service_follow_news() does the rest. */
static int on_picture(sd_event_source *source, uint64_t usec, void *arg)
{
	(void)source;
	(void)usec;
	(void)arg;
	return 0;
}

int service_picture_open(struct service *s)
{
	int r = sd_event_add_time_relative(s->event, &s->on_picture, CLOCK_MONOTONIC, 0,
					   ACCURACY_US, on_picture, s);

	return r < 0 ? r : sd_event_source_set_enabled(s->on_picture, SD_EVENT_OFF);
}

static bool has_news(const struct service *s)
{
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (lane_has_news(s->lanes[i]))
			return true;
	}
	return s->news;
}

void service_follow_news(struct service *s)
{
	int64_t due = s->published_at + PICTURE_MS, now = clock_mono_ms();

	if (!has_news(s))
		return;
	if (now >= due) {
		service_publish(s);
		due = now + PICTURE_MS;
		if (!has_news(s)) /* what is still being counted comes by then */
			return;
	}
	sd_event_source_set_time_relative(s->on_picture, (uint64_t)(due - now) * 1000);
	sd_event_source_set_enabled(s->on_picture, SD_EVENT_ONESHOT);
}

void service_say_status(const struct service *s)
{
	uint64_t left = 0, done = 0, failed = 0;

	for (size_t i = 0; i < s->n_lanes; i++) {
		struct queue_counts c;

		lane_counts(s->lanes[i], &c);
		left += c.jobs[JOB_AVAILABLE] + c.jobs[JOB_RETRYABLE] + c.jobs[JOB_RUNNING];
		done += c.jobs[JOB_COMPLETED] + c.jobs[JOB_ENCODED];
		failed += c.jobs[JOB_QUARANTINED];
	}
	sd_notifyf(0, "STATUS=%s%zu dataset%s: %llu images done, %llu to do, %llu failed",
		   s->full ? "Disk full. " : "", s->n_lanes, s->n_lanes == 1 ? "" : "s",
		   (unsigned long long)done, (unsigned long long)left, (unsigned long long)failed);
}

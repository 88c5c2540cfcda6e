/*
 * The end: in order where everything comes back, as a kill would leave it where something does not.
 */
#include "daemon/service_parts.h"

#include "daemon/pipeline.h"

#include "base/clock.h"

#include <systemd/sd-daemon.h>

void service_stop(struct service *s, int code)
{
	if (s->state == SERVICE_STOPPING)
		return;
	s->state = SERVICE_STOPPING;
	s->stopping_at = clock_mono_ms();
	s->exit_code = code;
	sd_notify(0, "STOPPING=1\nSTATUS=Stopping");
	service_log(s, LOG_EVENT_STOPPING, NULL, "stopping; what is encoded is kept");
	api_pictures_end(s->pictures);
	if (s->serve)
		serve_server_stop(s->serve);
	service_end_serve(s);
	for (size_t i = 0; i < s->n_lanes; i++)
		lane_stop(s->lanes[i]);
	for (size_t i = 0; i < s->n_leaving; i++)
		lane_stop(s->leaving[i]);
}

/* Nothing is lost by it; what still runs somewhere may use all memory until then. */
static void leave_behind(struct service *s)
{
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (!lane_is_closed(s->lanes[i]))
			service_log(s, LOG_PLAIN_ERROR, lane_name(s->lanes[i]),
				    "does not end: left behind");
	}
	for (size_t i = 0; i < s->n_leaving; i++)
		service_log(s, LOG_PLAIN_ERROR, lane_name(s->leaving[i]),
			    "does not end: left behind");
	api_server_unlink(s->api); /* its threads may wait for what hangs, too */
	_exit(EXIT_FAILED);
}

static bool all_closed(const struct service *s)
{
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (!lane_is_closed(s->lanes[i]))
			return false;
	}
	return s->n_leaving == 0 && !service_awaits_disks(s) && !api_pictures_busy(s->pictures) &&
	       (!s->serve || serve_server_is_done(s->serve));
}

bool service_has_ended(struct service *s)
{
	if (s->state != SERVICE_STOPPING)
		return false;
	if (all_closed(s) && !engines_busy(s->engines))
		return true;
	if (all_closed(s) && engines_only_load(s->engines) &&
	    clock_mono_ms() - s->stopping_at >= SERVICE_LOAD_MS) {
		s->abandons_load = true;
		return true;
	}
	if (s->serve && serve_server_is_patient(s->serve))
		s->stopping_at = clock_mono_ms(); /* its clients have a time of their own */
	if (clock_mono_ms() - s->stopping_at >= SERVICE_STOP_MS)
		leave_behind(s);
	return false;
}

/* How a lane ended: EXIT_OK, or what is wrong with it. -1: it has not ended. */
static int end_of(const struct service *s, const struct lane *l)
{
	struct queue_counts counts;

	switch (lane_hope(l)) {
	case LANE_TAKEN:
		return EXIT_BUSY;
	case LANE_LOST:
		return EXIT_FAILED;
	case LANE_HOPE:
		break;
	}
	if (s->options.once && lane_is_paused(l))
		return EXIT_OK;
	if (!lane_is_drained(l))
		return -1;
	lane_counts(l, &counts);
	if (s->options.once && counts.jobs[JOB_RETRYABLE] > 0)
		return EXIT_FAILED; /* their servers cannot be reached */
	return counts.jobs[JOB_QUARANTINED] > 0 ? EXIT_QUARANTINED : EXIT_OK;
}

/* What is worse than all before. */
static bool is_worse(int code, int than)
{
	static const int order[] = {EXIT_OK, EXIT_QUARANTINED, EXIT_BUSY, EXIT_FAILED};
	size_t a = 0, b = 0;

	while (order[a] != code)
		a++;
	while (order[b] != than)
		b++;
	return a > b;
}

bool service_end_drain(struct service *s)
{
	int code = EXIT_OK;

	if (s->state != SERVICE_DRAINING)
		return false;
	for (size_t i = 0; i < s->n_lanes; i++) {
		int end = end_of(s, s->lanes[i]);

		if (end < 0)
			return false;
		if (is_worse(end, code))
			code = end;
	}
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (lane_hope(s->lanes[i]) != LANE_HOPE)
			service_log(s, LOG_PLAIN_ERROR, lane_name(s->lanes[i]),
				    "given up: it was not waited for any longer");
	}
	service_publish(s); /* with all of it done, for the last messages */
	service_stop(s, code);
	return true;
}

#include "daemon/service_parts.h"

#include "base/checked.h"

int service_open_serve(struct service *s, struct error *err)
{
	const struct serve_shared shared = {.event = s->event,
					    .inbox = s->inbox,
					    .pool = s->pool,
					    .memory = &s->memory,
					    .engines = s->engines,
					    .log = s->shared.log,
					    .arg = s->shared.arg};

	if (!s->config->serve.listen || s->options.once)
		return 0;
	/* The configuration stays in memory when another takes its place. */
	return serve_server_open(&shared, &s->config->serve, &s->serve, err);
}

void service_picture_serve(const struct service *s, struct service_serve *out)
{
	struct serve_view view;

	if (!s->serve)
		return;
	serve_server_view(s->serve, &view);
	*out = (struct service_serve){
	    .url = xstrdup(serve_server_url(s->serve)),
	    .model = view.model ? xstrdup(view.model) : NULL,
	    .state = view.stopping  ? SERVE_STOPPING
		     : view.failure ? SERVE_FAILED
		     : view.ready   ? SERVE_READY
				    : SERVE_STARTING,
	    .why = view.failure	  ? xstrdup(view.failure->message)
		   : view.resting ? work_hours_why(view.resting)
				  : NULL,
	    .connections = view.connections,
	    .in_flight = view.in_flight,
	    .requests = view.sums.requests,
	    .refused = view.sums.refused,
	    .images_done = view.sums.images,
	    .images_per_second = view.images_per_second,
	};
}

bool service_serve_goes_before(const struct service *s, const struct lane *l)
{
	if (s->config->serve.priority != lane_priority(l))
		return s->config->serve.priority > lane_priority(l);
	return serve_server_served(s->serve) <= lane_had(l, LANE_ENCODERS);
}

void service_forgive_serve(struct service *s, uint64_t least)
{
	if (s->serve && !serve_server_is_busy(s->serve) && serve_server_served(s->serve) < least)
		serve_server_set_served(s->serve, least);
}

void service_end_serve(struct service *s)
{
	if (s->state != SERVICE_STOPPING || s->encoders_cancelled ||
	    (s->serve && serve_server_is_patient(s->serve)))
		return;
	s->encoders_cancelled = true;
	engines_cancel(s->engines);
}

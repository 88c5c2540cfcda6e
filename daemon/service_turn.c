/*
 * After each turn of the loop every lane is pumped, in the order of priority and, where that is equal, of what encoders
 * have done for it: so a lane that had least goes first, and datasets share encoders by pixels. Then, in the order of what
 * decoders have done for it, it may begin images: a dataset of huge files has as much of the decoders as one of small
 * ones, not as many images.
 */
#include "daemon/service_parts.h"

#include <stdlib.h>
#include <string.h>

static int first_of(const void *a, const void *b, enum lane_share share)
{
	const struct lane *x = *(struct lane *const *)a, *y = *(struct lane *const *)b;

	if (lane_priority(x) != lane_priority(y))
		return lane_priority(x) > lane_priority(y) ? -1 : 1;
	return (lane_had(x, share) > lane_had(y, share)) -
	       (lane_had(x, share) < lane_had(y, share));
}

static int first_encoded(const void *a, const void *b)
{
	return first_of(a, b, LANE_ENCODERS);
}

static int first_decoded(const void *a, const void *b)
{
	return first_of(a, b, LANE_DECODERS);
}

/* The least that they had of somebody who is busy; UINT64_MAX: nobody is. */
static uint64_t least_of(const struct service *s, enum lane_share share)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < s->n_lanes; i++) {
		if (lane_is_busy(s->lanes[i]) && lane_had(s->lanes[i], share) < least)
			least = lane_had(s->lanes[i], share);
	}
	if (share == LANE_ENCODERS && s->serve && serve_server_is_busy(s->serve) &&
	    serve_server_served(s->serve) < least)
		least = serve_server_served(s->serve);
	return least;
}

/* A lane that had nothing to do meanwhile has no claim to what the others had. */
static void forgive_idle(struct service *s, enum lane_share share)
{
	uint64_t least = least_of(s, share);

	if (least == UINT64_MAX)
		return;
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (!lane_is_busy(s->lanes[i]) && lane_had(s->lanes[i], share) < least)
			lane_set_had(s->lanes[i], share, least);
	}
	if (share == LANE_ENCODERS)
		service_forgive_serve(s, least);
}

/* A dataset that was taken out of the configuration has not ended yet, and is back already. */
static bool is_leaving(const struct service *s, const char *name)
{
	for (size_t i = 0; i < s->n_leaving; i++) {
		if (strcmp(lane_name(s->leaving[i]), name) == 0)
			return true;
	}
	return false;
}

/* Into s->order. */
static void order_lanes(struct service *s, int (*first)(const void *, const void *))
{
	for (size_t i = 0; i < s->n_lanes; i++)
		s->order[i] = s->lanes[i];
	if (s->n_lanes > 0)
		qsort(s->order, s->n_lanes, sizeof(struct lane *), first);
}

static void end_leaving(struct service *s)
{
	for (size_t i = 0; i < s->n_leaving; i++) {
		lane_pump(s->leaving[i]);
		if (!lane_is_closed(s->leaving[i]))
			continue;
		lane_free(s->leaving[i]);
		s->leaving[i--] = s->leaving[--s->n_leaving];
	}
}

void service_pump_lanes(struct service *s)
{
	bool serve = s->serve != NULL;

	forgive_idle(s, LANE_ENCODERS);
	forgive_idle(s, LANE_DECODERS);
	order_lanes(s, first_encoded);
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (serve && service_serve_goes_before(s, s->order[i])) {
			serve_server_pump(s->serve);
			serve = false;
		}
		if (!is_leaving(s, lane_name(s->order[i])))
			lane_pump(s->order[i]);
	}
	if (serve)
		serve_server_pump(s->serve);
	order_lanes(s, first_decoded);
	for (size_t i = 0; i < s->n_lanes; i++)
		lane_decode(s->order[i]);
	end_leaving(s);
}

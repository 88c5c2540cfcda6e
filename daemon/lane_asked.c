/* What people, and the service for them, ask of a lane. What needs its phases is in lane.c. */
#include "daemon/lane_parts.h"

#include "base/checked.h"
#include "base/clock.h"

void lane_pause(struct lane *l, bool paused)
{
	l->paused = paused;
	if (!paused) {
		l->draining = l->drained = l->drain_counted = l->intake_off = false;
		l->drain_looks = 0;
		l->left_available = 0;
		l->retry_at = 0;
	}
	lane_apply_pause(l);
}

void lane_hold(struct lane *l, const char *why)
{
	bool change = !l->held != !why;

	free(l->held);
	l->held = why ? xstrdup(why) : NULL;
	if (!change)
		return;
	lane_news(l);
	lane_log(l, LOG_PLAIN_INFO, "%s", why ? why : "goes on");
	if (!why && l->retry_at != INT64_MAX)
		l->retry_at = 0; /* what failed for want of room need not wait any more */
	lane_apply_pause(l);
}

void lane_scan(struct lane *l)
{
	if (l->intake)
		intake_rescan(l->intake);
}

void lane_seal(struct lane *l)
{
	if (l->packer)
		packer_flush(l->packer);
}

bool lane_is_paused(const struct lane *l)
{
	return l->paused;
}

bool lane_is_drained(const struct lane *l)
{
	return l->drained && l->seen.missing == 0;
}

void lane_again(struct lane *l)
{
	l->drained = l->drain_counted = false;
	if (l->pipeline)
		pipeline_again(l->pipeline);
	lane_count(l);
}

uint64_t lane_accept_deletions(struct lane *l)
{
	if (l->intake && l->seen.deletions > 0)
		intake_accept_deletions(l->intake);
	return l->seen.deletions;
}

void lane_set_priority(struct lane *l, int priority)
{
	l->priority = priority;
}

void lane_reopen(struct lane *l)
{
	l->drained = l->drain_counted = false;
	l->why = (struct error)ERROR_INIT;
	l->retry_at = 0;
	l->reopening = l->phase == LANE_OPEN || l->phase == LANE_OPENING;
}

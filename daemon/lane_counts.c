/*
 * How many jobs are in which state, asked every now and then: for people, for a quota and for the end of a drain.
 */
#include "daemon/lane_parts.h"

#include "base/clock.h"

#include <string.h>

/* A thousand nodes ask one database. */
#define SHARED_COUNT_MS 1000

/* What is not known at all is asked for again by itself: a quota waits for it. */
static void count_failed(struct lane *l, const struct error *why)
{
	if (l->counted)
		return;
	if (strcmp(l->count_failure.message, why->message) != 0)
		lane_log(l, LOG_PLAIN_ERROR, "its images cannot be counted: %s", why->message);
	l->count_failure = *why;
	l->count_again = true;
}

static void on_counts(void *arg, const struct queue_counts *counts, const struct error *err)
{
	struct lane *l = arg;

	l->counting = false;
	lane_news(l);
	if (err->code != ERR_NONE) {
		count_failed(l, err);
		return;
	}
	/* Those that could not be brought in are tried again with the next ones, or when something is sealed. */
	if (counts->recaptions > 0 && counts->recaptions != l->counts.recaptions)
		l->tidy_wanted = l->index_wanted = true;
	l->counts = *counts;
	if (l->counted)
		return;
	l->counted = true;
	lane_look_at_limits(l); /* a quota waited for them */
	lane_apply_pause(l);
}

void lane_count(struct lane *l)
{
	l->count_again = true;
}

void lane_ask_counts(struct lane *l)
{
	int64_t now = clock_mono_ms(), pause = lane_is_shared(l) ? SHARED_COUNT_MS : LANE_COUNT_MS;

	if (!l->count_again || l->counting || now - l->counted_at < pause)
		return;
	l->count_again = false;
	l->counting = true;
	l->counted_at = now;
	db_count(l->shared->db, l->dataset.id, on_counts, l);
}

void lane_counts(const struct lane *l, struct queue_counts *out)
{
	*out = l->counts;
}

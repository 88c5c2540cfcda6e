/*
 * What its own settings forbid a lane: more latents than its quota, more images for endpoints than those of a day, work
 * outside its hours. It goes on finding files and tidying up, but begins no image.
 */
#include "daemon/lane_parts.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"

#include <time.h>

bool lane_rests(const struct lane *l)
{
	return l->over_quota || l->over_requests || l->hours.rests ||
	       (l->config->output.quota > 0 && !l->counted);
}

bool lane_lacks_counts(const struct lane *l)
{
	return l->phase == LANE_OPEN && l->config->output.quota > 0 && !l->counted &&
	       l->count_failure.code != ERR_NONE;
}

bool lane_has_work(const struct lane *l)
{
	return l->counts.jobs[JOB_AVAILABLE] + l->counts.jobs[JOB_RETRYABLE] > 0;
}

/*
 * Bytes of a shard that has just come into the catalog are counted in neither for a moment: that is no room.
 */
static bool is_over_quota(const struct lane *l)
{
	size_t quota = l->config->output.quota;

	if (quota == 0)
		return false;
	if (l->phase != LANE_OPEN || !l->counted)
		return l->over_quota;
	if (l->over_quota && (packer_sealing(l->packer) || l->counting || l->count_again))
		return true;
	return l->counts.shard_bytes + packer_unsealed_bytes(l->packer) >= quota;
}

struct cost_limits lane_cost_limits(const struct dataset_config *config)
{
	return (struct cost_limits){.requests_per_day = config->max_requests_per_day};
}

/* An encoder of this machine goes on with what endpoints may not have any more. */
static bool look_at_requests(struct lane *l)
{
	bool over = l->over_requests;
	int64_t wait = 0;

	if (l->phase == LANE_OPEN && !engine_is_here(l->engine))
		wait = cost_guard_wait_for_ms(spending_guard(l->spending), clock_mono_ms(),
					      recipe_variants(&l->recipe));
	l->over_requests = wait > 0;
	l->requests_at = wait > 0 ? clock_wall_ms() + wait : 0;
	return l->over_requests != over;
}

void lane_look_at_limits(struct lane *l)
{
	bool over = is_over_quota(l), change = over != l->over_quota;
	cleanup_free char *why = NULL;

	change = work_hours_look(&l->hours) || change;
	change = look_at_requests(l) || change;
	if (!change)
		return;
	l->over_quota = over;
	why = lane_limits_why(l);
	lane_news(l);
	lane_log(l, LOG_PLAIN_INFO, "%s", why ? why : "goes on");
	lane_apply_pause(l);
}

char *lane_limits_why(const struct lane *l)
{
	time_t at = (time_t)(l->requests_at / 1000);
	char quota[24];
	struct tm local;

	if (l->over_quota)
		return xasprintf("its quota of %s is used up: nothing new is begun until there is "
				 "room, or a larger one",
				 text_bytes(l->config->output.quota, quota));
	if (l->over_requests && localtime_r(&at, &local))
		return xasprintf("its %zu images a day for endpoints are used up, goes on at "
				 "%02d:%02d",
				 l->config->max_requests_per_day, local.tm_hour, local.tm_min);
	return work_hours_why(&l->hours);
}

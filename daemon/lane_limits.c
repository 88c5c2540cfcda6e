/*
 * What its own settings forbid a lane: more latents than its quota, work outside its hours. It goes on finding files and
 * tidying up, but begins no image.
 */
#include "daemon/lane_parts.h"

#include "base/checked.h"
#include "base/text.h"

bool lane_rests(const struct lane *l)
{
	return l->over_quota || l->hours.rests || (l->config->output.quota > 0 && !l->counted);
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
 * Bytes on their way from the spool into a shard are counted in neither for a moment: that is no room.
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

void lane_look_at_limits(struct lane *l)
{
	bool over = is_over_quota(l);
	cleanup_free char *why = NULL;

	if (!work_hours_look(&l->hours) && over == l->over_quota)
		return;
	l->over_quota = over;
	why = lane_limits_why(l);
	lane_news(l);
	lane_log(l, LOG_LEVEL_INFO, "%s", why ? why : "goes on");
	lane_apply_pause(l);
}

char *lane_limits_why(const struct lane *l)
{
	char quota[24];

	if (l->over_quota)
		return xasprintf("its quota of %s is used up: nothing new is begun until there is "
				 "room, or a larger one",
				 text_bytes(l->config->output.quota, quota));
	return work_hours_why(&l->hours);
}

/* Where a disk is full nothing new is begun, before writes fail. */
#include "daemon/service_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <sys/statvfs.h>

/* With less than that a disk counts as full: room for a shard that is being sealed, and for the database. */
#define DISK_LEFT      ((uint64_t)512 << 20)
#define DISKS_EVERY_MS 2000

static bool is_full(const char *path)
{
	struct statvfs fs;

	return statvfs(path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < DISK_LEFT &&
	       /* one that is small altogether is used to its last tenth */
	       fs.f_bavail < fs.f_blocks / 10;
}

/* Why a lane may begin nothing new: its output's disk is full, or that of the state, which all need. NULL: it may. */
static char *full_for(const struct service *s, const struct lane *l)
{
	if (is_full(s->state_folder.path))
		return xasprintf("the disk of the state folder %s is full", s->state_folder.path);
	if (is_full(lane_output(l)))
		return xasprintf("the disk of the output %s is full", lane_output(l));
	return NULL;
}

/* Holds the lanes that have no room. What is said of all is the first one's reason, if every lane has one. */
static char *hold_full(struct service *s)
{
	char *first = NULL;
	size_t held = 0;

	for (size_t i = 0; i < s->n_lanes; i++) {
		char *why = full_for(s, s->lanes[i]);

		lane_hold(s->lanes[i], why);
		held += why != NULL;
		if (!first)
			first = TAKE(why);
		free(why);
	}
	if (held < s->n_lanes) {
		free(first);
		return NULL;
	}
	return first;
}

void service_check_disks(struct service *s)
{
	int64_t now = clock_mono_ms();
	bool was = s->full != NULL;

	if (now - s->disks_checked_at < DISKS_EVERY_MS)
		return;
	s->disks_checked_at = now;
	free(s->full);
	s->full = hold_full(s);
	if (!was && s->full)
		service_log(s, LOG_LEVEL_ERROR, NULL,
			    "%s: nothing new is begun until there is room", s->full);
	else if (was && !s->full)
		service_log(s, LOG_LEVEL_INFO, NULL, "there is room on the disks again");
}

/*
 * Where a disk is full nothing new is begun, before writes fail. A thread of its own asks, because a file system that
 * hangs does not answer: then what was known last stays.
 */
#include "daemon/service_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <string.h>
#include <sys/statvfs.h>

/* With less than that a disk counts as full: room for a shard that is being sealed, and for the database. */
#define DISK_LEFT      ((uint64_t)512 << 20)
#define DISKS_EVERY_MS 2000

struct disk {
	char *dataset,
	    *path; /* of its output; the first is the state's, which all need: dataset NULL */
	bool full;
};

struct look_task {
	struct task base;
	struct service *service;
	struct disk *disks;
	size_t n;
};

static bool is_full(const char *path)
{
	struct statvfs fs;

	return statvfs(path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < DISK_LEFT &&
	       /* one that is small altogether is used to its last tenth */
	       fs.f_bavail < fs.f_blocks / 10;
}

static void look_run(struct task *task)
{
	struct look_task *t = (struct look_task *)task;

	for (size_t i = 0; i < t->n; i++)
		t->disks[i].full = is_full(t->disks[i].path);
}

static const struct disk *disk_of(const struct look_task *t, const char *dataset)
{
	for (size_t i = 1; i < t->n; i++) {
		if (strcmp(t->disks[i].dataset, dataset) == 0)
			return &t->disks[i];
	}
	return NULL;
}

/* Why a lane may begin nothing new. NULL: it may, or came since. */
static char *full_for(const struct look_task *t, const struct lane *l)
{
	const struct disk *output = disk_of(t, lane_name(l));

	if (t->disks[0].full)
		return xasprintf("the disk of the state folder %s is full", t->disks[0].path);
	if (output && output->full)
		return xasprintf("the disk of the output %s is full", output->path);
	return NULL;
}

/* Holds the lanes that have no room. What is said of all is the first one's reason, if every lane has one. */
static char *hold_full(struct service *s, const struct look_task *t)
{
	char *first = NULL;
	size_t held = 0;

	for (size_t i = 0; i < s->n_lanes; i++) {
		char *why = full_for(t, s->lanes[i]);

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

static void look_done(struct task *task)
{
	struct look_task *t = (struct look_task *)task;
	struct service *s = t->service;
	bool was = s->full != NULL;

	s->looking_at_disks = false;
	free(s->full);
	s->full = hold_full(s, t);
	if (!was && s->full)
		service_log(s, LOG_LEVEL_ERROR, NULL,
			    "%s: nothing new is begun until there is room", s->full);
	else if (was && !s->full)
		service_log(s, LOG_LEVEL_INFO, NULL, "there is room on the disks again");
	if (was != (s->full != NULL))
		s->news = true;
	for (size_t i = 0; i < t->n; i++) {
		free(t->disks[i].dataset);
		free(t->disks[i].path);
	}
	free(t->disks);
	free(t);
}

void service_check_disks(struct service *s)
{
	int64_t now = clock_mono_ms();
	struct look_task *t;

	if (s->looking_at_disks || s->state == SERVICE_STOPPING ||
	    now - s->disks_checked_at < DISKS_EVERY_MS)
		return;
	s->disks_checked_at = now;
	s->looking_at_disks = true;
	t = xcalloc(1, sizeof(*t));
	t->base.run = look_run;
	t->base.done = look_done;
	t->service = s;
	t->n = s->n_lanes + 1;
	t->disks = xcalloc(t->n, sizeof(*t->disks));
	t->disks[0].path = xstrdup(s->state_folder.path);
	for (size_t i = 1; i < t->n; i++) {
		t->disks[i].dataset = xstrdup(lane_name(s->lanes[i - 1]));
		t->disks[i].path = xstrdup(lane_output(s->lanes[i - 1]));
	}
	executor_post(s->disks, &t->base);
}

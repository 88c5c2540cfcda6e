/*
 * Where a disk is full nothing new is begun, before writes fail. A file system that hangs does not answer, so each folder
 * is asked about on a thread of its own: what was known of it stays, and the others are seen.
 */
#include "daemon/disk_reserve.h"
#include "daemon/service_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define DISKS_EVERY_MS 2000

/* What there is of a disk. */
struct room {
	bool known; /* it answers, and says how large it is: some of FUSE do not */
	uint64_t device, free, total; /* bytes */
	uint64_t usable;	      /* until it counts as full */
};

/* A folder that something of ours lies in. */
struct service_disk {
	struct task look;
	struct service *service;
	char *path;
	struct executor *thread;
	bool looking, wanted;
	struct room room, answer; /* of the thread */
	int64_t looked_at;
};

static bool is_full(const struct room *room)
{
	return room->known && room->usable == 0;
}

static struct room room_at(const char *path)
{
	struct room room = {.known = false};
	struct statvfs fs;
	struct stat st;
	uint64_t left;

	if (stat(path, &st) < 0 || statvfs(path, &fs) < 0 || fs.f_blocks == 0)
		return room;
	room = (struct room){.known = true,
			     .device = st.st_dev,
			     .free = (uint64_t)fs.f_bavail * fs.f_frsize,
			     .total = (uint64_t)fs.f_blocks * fs.f_frsize};
	left = disk_reserve(room.total);
	room.usable = room.free > left ? room.free - left : 0;
	return room;
}

static struct service_disk *disk_of(struct task *look)
{
	return (struct service_disk *)((char *)look - offsetof(struct service_disk, look));
}

static void look_run(struct task *look)
{
	disk_of(look)->answer = room_at(disk_of(look)->path);
}

/* -- what follows from it ----------------------------------------------------------------------------- */

static struct service_disk *find(const struct service *s, const char *path)
{
	for (size_t i = 0; i < s->n_disks; i++) {
		if (strcmp(s->disks[i]->path, path) == 0)
			return s->disks[i];
	}
	return NULL;
}

static bool known_full(const struct service *s, const char *path)
{
	const struct service_disk *disk = find(s, path);

	return disk && is_full(&disk->room);
}

/* Why a lane may begin nothing new. NULL: it may. */
static char *full_for(const struct service *s, const struct lane *l)
{
	if (known_full(s, s->state_folder.path))
		return xasprintf("the disk of the state folder %s is full", s->state_folder.path);
	if (known_full(s, lane_output(l)))
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

static void take_answer(struct service *s)
{
	bool was = s->full != NULL;

	free(s->full);
	s->full = hold_full(s);
	if (!was && s->full)
		service_log(s, LOG_EVENT_DISK_FULL, NULL,
			    "%s: nothing new is begun until there is room", s->full);
	else if (was && !s->full)
		service_log(s, LOG_EVENT_DISK_ROOM, NULL, "there is room on the disks again");
	if (was != (s->full != NULL))
		s->news = true;
}

static void look_done(struct task *look)
{
	struct service_disk *disk = disk_of(look);

	disk->looking = false;
	disk->room = disk->answer;
	take_answer(disk->service);
}

/* -- which there are ---------------------------------------------------------------------------------- */

static void disk_free(struct service_disk *disk)
{
	executor_close(disk->thread);
	inbox_cancel(disk->service->inbox, &disk->look);
	free(disk->path);
	free(disk);
}

/* Where no thread can be had it is tried again the next time. */
static void want(struct service *s, const char *path)
{
	struct service_disk *disk = find(s, path);
	struct error none = ERROR_INIT;

	if (!disk) {
		disk = xcalloc(1, sizeof(*disk));
		disk->look.run = look_run;
		disk->look.done = look_done;
		disk->service = s;
		if (executor_open(s->inbox, "disk", &disk->thread, &none) < 0) {
			free(disk);
			return;
		}
		disk->path = xstrdup(path);
		disk->looked_at = clock_mono_ms() - DISKS_EVERY_MS;
		ARRAY_GROW(s->disks, s->n_disks, s->disks_capacity);
		s->disks[s->n_disks++] = disk;
	}
	disk->wanted = true;
}

static void look(struct service_disk *disk, int64_t now)
{
	if (disk->looking || now - disk->looked_at < DISKS_EVERY_MS)
		return;
	disk->looking = true;
	disk->looked_at = now;
	executor_post(disk->thread, &disk->look);
}

void service_check_disks(struct service *s)
{
	int64_t now = clock_mono_ms();

	if (s->state == SERVICE_STOPPING)
		return;
	for (size_t i = 0; i < s->n_disks; i++)
		s->disks[i]->wanted = false;
	want(s, s->state_folder.path);
	for (size_t i = 0; i < s->n_lanes; i++)
		want(s, lane_output(s->lanes[i]));
	for (size_t i = 0; i < s->n_disks; i++) {
		if (s->disks[i]->wanted) {
			look(s->disks[i], now);
		} else if (!s->disks[i]->looking) {
			disk_free(s->disks[i]);
			s->disks[i--] = s->disks[--s->n_disks];
		}
	}
}

/* -- what people see ---------------------------------------------------------------------------------- */

/* The datasets of @p whose output lies on the disk of @room: what they will write there, and how fast. */
static void forecast(const struct service *s, const struct service_status *p,
		     const struct room *room, struct service_disk_view *out)
{
	double a_second = 0, needed = 0;

	for (size_t i = 0; i < s->n_lanes; i++) {
		const struct service_dataset *d = &p->datasets[i];
		const struct service_disk *disk = find(s, lane_output(s->lanes[i]));
		double bytes;

		if (!disk || !disk->room.known || disk->room.device != room->device ||
		    d->counts.samples == 0)
			continue;
		bytes = (double)d->counts.shard_bytes / (double)d->counts.samples;
		a_second += d->images_per_second * bytes;
		needed +=
		    bytes * (double)(d->counts.jobs[JOB_AVAILABLE] + d->counts.jobs[JOB_RETRYABLE] +
				     d->counts.jobs[JOB_RUNNING] + d->counts.jobs[JOB_ENCODED]);
	}
	out->needed = (uint64_t)needed;
	out->full_in_s = a_second > 0 ? (int64_t)((double)room->usable / a_second) : -1;
}

/* Whether a folder before that at @index lies on the same disk. */
static bool is_shown(const struct service *s, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (s->disks[i]->room.known &&
		    s->disks[i]->room.device == s->disks[index]->room.device)
			return true;
	}
	return false;
}

void service_picture_disks(const struct service *s, struct service_status *p)
{
	p->disks = xcalloc(s->n_disks, sizeof(*p->disks));
	for (size_t i = 0; i < s->n_disks; i++) {
		const struct room *room = &s->disks[i]->room;
		struct service_disk_view *view = &p->disks[p->n_disks];

		if (!room->known || is_shown(s, i))
			continue;
		*view = (struct service_disk_view){.path = xstrdup(s->disks[i]->path),
						   .free = room->free,
						   .total = room->total,
						   .usable = room->usable};
		forecast(s, p, room, view);
		p->n_disks++;
	}
}

bool service_awaits_disks(const struct service *s)
{
	for (size_t i = 0; i < s->n_disks; i++) {
		if (s->disks[i]->looking)
			return true;
	}
	return false;
}

void service_close_disks(struct service *s)
{
	for (size_t i = 0; i < s->n_disks; i++)
		disk_free(s->disks[i]);
	free(s->disks);
}

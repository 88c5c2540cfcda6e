/*
 * The process of a worker: it is started, given so much memory, stopped and replaced. Of the images of a process that is gone the
 * one that it was at is to blame; the others were not looked into since their last answer, and are returned.
 */
#include "daemon/decode_pool_parts.h"

#include "base/checked.h"
#include "daemon/decode_memory.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

enum { EARLY_DEATHS_MAX = 8, START_AGAIN_MS = 200 };

/* -- what it has ---------------------------------------------------------------------------------- */

size_t decode_worker_images(const struct decode_worker *w)
{
	size_t n = 0;

	for (size_t i = 0; i < DECODE_BERTHS; i++)
		n += w->berths[i].state != TICKET_FREE;
	return n;
}

/* For good: what it has is finished, then it is replaced, or leaves. */
static bool is_worn(const struct decode_worker *w)
{
	const struct decode_pool_options *options = &w->pool->options;

	return w->leaves || w->images >= options->images_per_process ||
	       w->process.slot_bytes < options->slot_bytes * DECODE_BERTHS;
}

/* One file at a time is unread, so that memory is asked for only one of unknown size. */
bool decode_worker_has_room(const struct decode_worker *w)
{
	size_t files = 0, images = 0;

	if (w->state != WORKER_READY || is_worn(w))
		return false;
	for (size_t i = 0; i < DECODE_BERTHS; i++) {
		const struct decode_ticket *t = &w->berths[i];

		if (t->state == TICKET_LOOKING)
			return false;
		if (t->state == TICKET_FREE)
			continue;
		images++;
		files += t->file_bytes;
	}
	return images < DECODE_BERTHS && files <= DECODE_MEMORY_AHEAD;
}

void decode_worker_limit(struct decode_worker *w)
{
	const struct image_limits *limits = &w->pool->options.limits;
	size_t files = 0, render = 0, file;

	for (size_t i = 0; i < DECODE_BERTHS; i++) {
		const struct decode_ticket *t = &w->berths[i];

		if (t->state == TICKET_FREE)
			continue;
		file = t->state == TICKET_LOOKING ? limits->max_file_bytes : t->file_bytes;
		if (!size_add(files, file, &files))
			files = SIZE_MAX;
		if (t->state == TICKET_PLACED && t->render_bytes > render)
			render = t->render_bytes;
	}
	decode_process_limit(
	    &w->process, decode_memory_working(w->process.slot_bytes,
					       files > 0 ? files : limits->max_file_bytes, render));
}

void decode_ticket_free(struct decode_ticket *t)
{
	*t = (struct decode_ticket){.worker = t->worker};
}

/* -- its life ------------------------------------------------------------------------------------- */

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	(void)source;
	(void)fd;
	(void)events;
	decode_worker_hear(arg);
	return 0;
}

int decode_worker_spawn(struct decode_worker *w, struct error *err)
{
	const struct decode_pool_options *options = &w->pool->options;
	struct decode_message m = {.type = DECODE_START,
				   .start = {options->mode, options->limits, options->slot_bytes}};
	struct error ended = ERROR_INIT;
	int r;

	assert(w->state == WORKER_DOWN);
	w->images = 0;
	if (decode_process_start(&w->process, w->pool->program, options->slot_bytes * DECODE_BERTHS,
				 err) < 0)
		return -1;
	w->state = WORKER_STARTING;
	r = sd_event_add_io(w->pool->event, &w->io, w->process.socket, EPOLLIN, on_socket, w);
	if (r < 0) {
		errno = -r;
		return error_sys(err, "watch a worker");
	}
	decode_deadline_set(w, options->time_limit_ms);
	/* One that has ended already says so by its socket. */
	decode_message_send(w->process.socket, &m, w->process.slot_fd, &ended);
	return 0;
}

void decode_worker_stop(struct decode_worker *w, char how[DECODE_PROCESS_END_SIZE])
{
	w->io = sd_event_source_disable_unref(w->io);
	decode_process_end(&w->process, how);
	w->state = WORKER_DOWN;
	w->deadline = DECODE_NO_DEADLINE;
	w->n_owed = 0;
	decode_worker_moves_on(w);
	w->looked = NULL;
	for (size_t i = 0; i < DECODE_BERTHS; i++)
		decode_ticket_free(&w->berths[i]);
}

/* Where a process cannot be had (no memory, too many of them), it may be had a little later. */
static void worker_start_again(struct decode_worker *w)
{
	struct decode_pool *pool = w->pool;
	struct error failed = ERROR_INIT;
	char how[DECODE_PROCESS_END_SIZE];

	decode_worker_stop(w, how);
	if (w->leaves) {
		w->state = WORKER_GONE;
		decode_deadline_set(w, 0);
		return;
	}
	if (pool->cancelled || pool->early_deaths >= EARLY_DEATHS_MAX ||
	    decode_worker_spawn(w, &failed) == 0)
		return;
	decode_worker_stop(w, how);
	snprintf(pool->last_end, sizeof(pool->last_end), "%s", failed.message);
	if (++pool->early_deaths < EARLY_DEATHS_MAX)
		decode_deadline_set(w, START_AGAIN_MS);
}

/* A worker that owes nothing is at nothing; but what it looked at last may have been too much for it. */
struct decode_ticket *decode_worker_blames(const struct decode_worker *w)
{
	if (w->n_owed > 0)
		return w->owed[0];
	return w->looked && w->looked->state == TICKET_SEEN ? w->looked : NULL;
}

void decode_worker_lost(struct decode_worker *w, const struct decode_ticket *blamed,
			const struct error *why)
{
	struct decode_pool *pool = w->pool;
	struct decode_ticket bad = {.image = NULL}, good[DECODE_BERTHS];
	bool early = w->images == 0;
	struct error died = ERROR_INIT;
	char how[DECODE_PROCESS_END_SIZE];
	size_t n = 0;

	for (size_t i = 0; i < DECODE_BERTHS; i++) {
		if (w->berths[i].state != TICKET_FREE && &w->berths[i] != blamed)
			good[n++] = w->berths[i];
	}
	if (blamed)
		bad = *blamed;
	decode_worker_stop(w, how);
	pool->early_deaths = early ? pool->early_deaths + 1 : 0;
	snprintf(pool->last_end, sizeof(pool->last_end), "%s", why && early ? why->message : how);
	if (blamed) {
		if (!why) {
			error_data(&died, "worker_died", "the decoder died on this file: %s", how);
			why = &died;
		}
		bad.handlers->on_failed(bad.image, why);
	}
	for (size_t i = 0; i < n; i++)
		good[i].handlers->on_returned(good[i].image);
	worker_start_again(w);
}

void decode_worker_cancel(struct decode_worker *w)
{
	decode_worker_lost(w, NULL, NULL);
}

void decode_worker_rest(struct decode_worker *w)
{
	if (decode_worker_images(w) > 0)
		return;
	if (is_worn(w)) {
		w->state = WORKER_SPENT; /* by the timer: the caller may still hold its pixels */
		decode_deadline_set(w, 0);
	} else {
		w->state = WORKER_READY;
		decode_worker_limit(w);
	}
}

void decode_worker_outgrown(struct decode_worker *w)
{
	if (w->state == WORKER_READY)
		decode_worker_rest(w);
}

void decode_worker_leave(struct decode_worker *w)
{
	w->leaves = true;
	if (decode_worker_images(w) > 0)
		return;
	w->state = WORKER_SPENT;
	decode_deadline_set(w, 0);
}

void decode_worker_stay(struct decode_worker *w)
{
	w->leaves = false;
	if (w->state == WORKER_GONE)
		w->state = WORKER_DOWN;
}

void decode_worker_late(struct decode_worker *w, int64_t now)
{
	struct error why = ERROR_INIT;

	if (w->state == WORKER_GONE)
		return;
	if (w->state == WORKER_SPENT || w->state == WORKER_DOWN) {
		worker_start_again(w);
		return;
	}
	/* What arrived in time is heard first: it may be this process that was late to its loop. */
	decode_worker_hear(w);
	if (w->deadline > now || w->state == WORKER_GONE)
		return;
	error_data(&why, "timeout", "not decoded after %llu ms", (unsigned long long)w->limit_ms);
	decode_worker_lost(w, decode_worker_blames(w), &why);
}

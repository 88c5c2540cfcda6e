/*
 * The thread turns like a loop of its own: it takes what was asked, hears its folders, does what is due and waits
 * for the next of these. What it has to say is kept in one piece of mail, which the loop fetches when it gets to it:
 * however much happens meanwhile, one message waits.
 */
#include "daemon/intake_parts.h"

#include "daemon/db_queue.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	TELL_MS = 500,
	LATER_MS = 2000, /* the least between two scans because of something that vanished */
	GATHER_MS = 500, /* until such a scan begins, so that one is enough */
	RETRY_MS = 5000,
	RETRY_MAX_MS = 5 * 60 * 1000,
};

/* -- the mail, on the loop's thread --------------------------------------------------------------- */

static void deliver(struct intake *in)
{
	char why[WHY_SIZE], watch_note[sizeof(in->mail_watch_note)];
	cleanup_free struct intake_root *roots = xcalloc(in->n, sizeof(*roots));
	const struct intake_handlers *tell = &in->options.handlers;
	struct intake_mail mail;

	pthread_mutex_lock(&in->lock);
	mail = in->mail;
	memcpy(why, in->mail_why, sizeof(why));
	memcpy(watch_note, in->mail_watch_note, sizeof(watch_note));
	memcpy(roots, in->mail_roots, in->n * sizeof(*roots));
	in->mail.rung = in->mail.state = in->mail.jobs = false;
	in->mail.n_notes = in->mail.dropped = 0;
	pthread_mutex_unlock(&in->lock);

	mail.now.why = why[0] ? why : NULL;
	mail.now.watch_note = watch_note[0] ? watch_note : NULL;
	mail.now.roots = roots;
	for (size_t i = 0; i < mail.n_notes; i++) {
		tell->on_note(in->options.arg, mail.notes[i]);
		free(mail.notes[i]);
	}
	if (mail.dropped > 0)
		tell->on_note(in->options.arg, "... and more of that kind");
	if (mail.jobs)
		tell->on_jobs(in->options.arg);
	if (mail.state)
		tell->on_state(in->options.arg, &mail.now);
}

static void on_bell(struct task *bell)
{
	deliver(((struct intake_mail *)bell)->intake);
}

/* -- the mail, on the thread ---------------------------------------------------------------------- */

/* Under the lock. */
static void ring(struct intake *in)
{
	if (!in->mail.rung)
		inbox_post(in->inbox, &in->mail.bell);
	in->mail.rung = true;
}

void intake_note(struct intake *in, const char *fmt, ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	pthread_mutex_lock(&in->lock);
	if (in->mail.n_notes < NOTES_MAX)
		in->mail.notes[in->mail.n_notes++] = xstrdup(line);
	else
		in->mail.dropped++;
	ring(in);
	pthread_mutex_unlock(&in->lock);
}

void intake_found_jobs(struct intake *in, const struct enqueue_counts *counts)
{
	if (counts->added + counts->requeued + counts->superseding + counts->recaptioned == 0)
		return;
	pthread_mutex_lock(&in->lock);
	in->mail.jobs = true;
	ring(in);
	pthread_mutex_unlock(&in->lock);
}

static enum intake_phase phase_of(const struct intake *in)
{
	bool watched = false, polled = false;

	if (in->doing.paused)
		return INTAKE_PAUSED;
	if (in->doing.following)
		return INTAKE_IDLE;
	if (in->scanning)
		return INTAKE_SCANNING;
	for (size_t i = 0; i < in->n; i++) {
		const struct intake_folder *f = &in->folders[i];

		polled = polled || intake_folder_is_polled(f);
		watched = watched || (f->there && f->watch);
	}
	return polled ? INTAKE_POLLING : watched ? INTAKE_WATCHING : INTAKE_IDLE;
}

/* The folders' part of the state. */
static void sum_up(struct intake *in, const char **why, const char **watch_note_text)
{
	cleanup_free char *unsettled = intake_files_restless(in);
	char quoted[TEXT_QUOTE_SIZE];
	struct intake_state *s = &in->state;

	s->missing = s->folders_watched = s->folders_polled = 0;
	*why = in->failure[0] ? in->failure : NULL;
	*watch_note_text = NULL;
	for (size_t i = 0; i < in->n; i++) {
		const struct intake_folder *f = &in->folders[i];

		in->roots[i] = (struct intake_root){f->number, f->known, f->there, f->came};
		s->missing += !f->there;
		if (!f->there && !*why)
			*why = f->absent;
		if (!f->there || !f->watch)
			continue;
		s->folders_watched += watch_folders(f->watch);
		s->folders_polled += watch_unwatched(f->watch);
		if (watch_note(f->watch))
			*watch_note_text = watch_note(f->watch);
	}
	if (!*why && unsettled) {
		snprintf(in->unsettled, sizeof(in->unsettled),
			 "%s keeps changing: until it does not, nothing in it is taken, and "
			 "nothing that vanished is noticed",
			 text_quote(unsettled, quoted));
		*why = in->unsettled;
	}
}

void intake_tell_state(struct intake *in, bool now)
{
	int64_t time = clock_mono_ms();
	const char *why, *note;

	if (!now && time < in->told_at + TELL_MS) {
		in->tell_due = in->told_at + TELL_MS;
		return;
	}
	in->told_at = time;
	in->tell_due = NEVER;
	sum_up(in, &why, &note);
	in->state.phase = phase_of(in);
	in->state.young = in->young.n - in->restless + in->young_left + in->archive_due;
	pthread_mutex_lock(&in->lock);
	in->mail.now = in->state;
	snprintf(in->mail_why, sizeof(in->mail_why), "%s", why ? why : "");
	snprintf(in->mail_watch_note, sizeof(in->mail_watch_note), "%s", note ? note : "");
	memcpy(in->mail_roots, in->roots, in->n * sizeof(*in->roots));
	in->mail.state = true;
	ring(in);
	pthread_mutex_unlock(&in->lock);
}

/* -- when to scan --------------------------------------------------------------------------------- */

void intake_want_scan(struct intake *in, enum rescan how)
{
	int64_t now = clock_mono_ms(), pause = how * in->last_scan_ms, due;

	if (how == RESCAN_LATER) {
		pause = pause > LATER_MS ? pause : LATER_MS;
		now += GATHER_MS;
	}
	due = in->last_scan_end + pause;
	due = how == RESCAN_NOW || due < now ? now : due;
	in->rescan_due = due < in->rescan_due ? due : in->rescan_due;
}

void intake_failed(struct intake *in, const struct error *why)
{
	if (strcmp(in->failure, why->message) != 0)
		intake_note(in, "%s", why->message);
	snprintf(in->failure, sizeof(in->failure), "%s", why->message);
	/* A server that is away costs little to ask. */
	in->failed_ms =
	    in->failed_ms == 0 || why->code == ERR_TRANSIENT ? RETRY_MS : in->failed_ms * 2;
	in->failed_ms = in->failed_ms < RETRY_MAX_MS ? in->failed_ms : RETRY_MAX_MS;
	in->rescan_due = clock_mono_ms() + in->failed_ms;
	intake_tell_state(in, true);
}

void intake_works(struct intake *in)
{
	in->failed_ms = 0;
	in->failure[0] = '\0';
}

/* -- the thread ----------------------------------------------------------------------------------- */

bool intake_interrupted(struct intake *in)
{
	bool was_paused = in->doing.paused, was_following = in->doing.following;

	pthread_mutex_lock(&in->lock);
	in->doing.stop = in->asked.stop;
	in->doing.paused = in->asked.paused;
	in->doing.following = in->asked.following;
	in->doing.accept = in->doing.accept || in->asked.accept;
	in->doing.remove = in->doing.remove || in->asked.remove;
	in->doing.rescan = in->asked.rescan || in->asked.accept || in->asked.remove;
	in->asked.rescan = in->asked.accept = in->asked.remove = false;
	pthread_mutex_unlock(&in->lock);
	if (in->doing.rescan || (was_paused && !in->doing.paused))
		intake_want_scan(in, RESCAN_NOW);
	if (was_following != in->doing.following)
		intake_folders_follow(in);
	if (was_paused != in->doing.paused || was_following != in->doing.following)
		intake_tell_state(in, true);
	return in->doing.stop || in->doing.paused || (in->scanning && in->doing.following);
}

bool intake_scan_stops(struct intake *in)
{
	bool stops;

	pthread_mutex_lock(&in->lock);
	stops = in->asked.stop || in->asked.paused || in->asked.following;
	pthread_mutex_unlock(&in->lock);
	return stops;
}

static int64_t next_due(const struct intake *in)
{
	int64_t due = in->look_due < in->tell_due ? in->look_due : in->tell_due;
	int64_t files = intake_files_next(in);

	if (in->doing.paused)
		return NEVER;
	if (in->doing.following)
		return due;
	due = files < due ? files : due;
	if (intake_folders_ready(in))
		due = in->rescan_due < due ? in->rescan_due : due;
	return due;
}

/* Until something is heard, asked, mounted or due. */
static void wait_for_anything(struct intake *in)
{
	cleanup_free struct pollfd *fds = xcalloc(in->n + 2, sizeof(*fds));
	int64_t due = next_due(in), now = clock_mono_ms(), ms = due > now ? due - now : 0;
	uint64_t count;
	nfds_t n = 2;

	fds[0] = (struct pollfd){in->wake, POLLIN, 0};
	fds[1] = (struct pollfd){in->mounts, POLLPRI, 0};
	for (size_t i = 0; i < in->n && !in->doing.paused; i++) {
		if (in->folders[i].watch)
			fds[n++] = (struct pollfd){watch_fd(in->folders[i].watch), POLLIN, 0};
	}
	if (poll(fds, n, due == NEVER ? -1 : ms < INT32_MAX ? (int)ms : INT32_MAX) < 0)
		return;
	if (fds[0].revents && read(in->wake, &count, sizeof(count)) < 0)
		return;
	if (fds[1].revents & POLLPRI)
		in->look_due = 0;
}

static void turn(struct intake *in)
{
	bool more;

	if (clock_mono_ms() >= in->look_due)
		intake_folders_look(in);
	if (in->doing.following) {
		if (clock_mono_ms() >= in->tell_due)
			intake_tell_state(in, true);
		wait_for_anything(in);
		return;
	}
	more = intake_folders_hear(in);
	intake_files_due(in);
	if (clock_mono_ms() >= in->tell_due)
		intake_tell_state(in, true);
	if (intake_folders_ready(in) && clock_mono_ms() >= in->rescan_due)
		intake_scan(in);
	else if (!more)
		wait_for_anything(in);
}

static void *intake_run(void *arg)
{
	struct intake *in = arg;

	intake_tell_state(in, true);
	for (;;) {
		bool interrupted = intake_interrupted(in);

		if (in->doing.stop)
			break;
		if (interrupted)
			wait_for_anything(in);
		else
			turn(in);
	}
	atomic_store(&in->ended, true);
	pthread_mutex_lock(&in->lock);
	ring(in); /* the loop looks */
	pthread_mutex_unlock(&in->lock);
	return NULL;
}

bool intake_has_ended(const struct intake *in)
{
	return atomic_load(&in->ended);
}

/* -- opening and commands ------------------------------------------------------------------------- */

static void ask(struct intake *in, bool *what, bool value)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&in->lock);
	*what = value;
	pthread_mutex_unlock(&in->lock);
	while (write(in->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void intake_rescan(struct intake *in)
{
	ask(in, &in->asked.rescan, true);
}

void intake_set_paused(struct intake *in, bool paused)
{
	ask(in, &in->asked.paused, paused);
}

void intake_set_following(struct intake *in, bool following)
{
	ask(in, &in->asked.following, following);
}

void intake_accept_deletions(struct intake *in)
{
	ask(in, &in->asked.accept, true);
}

void intake_remove(struct intake *in)
{
	ask(in, &in->asked.remove, true);
}

void intake_stop(struct intake *in)
{
	ask(in, &in->asked.stop, true);
}

static struct intake *intake_new(const struct intake_options *options, struct inbox *inbox)
{
	struct intake *in = xcalloc(1, sizeof(*in));

	in->options = *options;
	if (options->masks)
		in->options.masks = in->masks = xstrdup(options->masks);
	in->options.name = in->name = xstrdup(options->name);
	in->options.state = in->state_dir = xstrdup(options->state);
	if (in->options.patience_ms <= 0)
		in->options.patience_ms = INTAKE_PATIENCE_MS;
	in->n = options->n_sources;
	in->inbox = inbox;
	pthread_mutex_init(&in->lock, NULL);
	atomic_init(&in->ended, false);
	in->asked.paused = in->doing.paused = options->paused;
	in->asked.following = in->doing.following = options->following;
	in->mail.bell.done = on_bell;
	in->mail.intake = in;
	in->mail_roots = xcalloc(in->n, sizeof(*in->mail_roots));
	in->roots = xcalloc(in->n, sizeof(*in->roots));
	in->mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	in->page = scan_page_new();
	in->queue = db_queue_new(options->db, NULL);
	in->tell_due = NEVER;
	intake_folders_open(in);
	in->options.sources = NULL; /* the folders have them */
	return in;
}

int intake_open(const struct intake_options *options, struct inbox *inbox, struct intake **out,
		struct error *err)
{
	struct intake *in = intake_new(options, inbox);

	in->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (in->wake < 0) {
		error_sys(err, "watch the sources of %s", in->name);
		intake_close(in);
		return -1;
	}
	if (thread_start(&in->thread, "intake", intake_run, in, err) < 0) {
		intake_close(in);
		return -1;
	}
	*out = in;
	return 0;
}

void intake_close(struct intake *in)
{
	if (!in)
		return;
	if (in->thread.running)
		intake_stop(in);
	thread_join(&in->thread);
	inbox_cancel(in->inbox, &in->mail.bell);
	for (size_t i = 0; i < in->mail.n_notes; i++)
		free(in->mail.notes[i]);
	intake_files_clear(in);
	intake_folders_close(in);
	scan_page_free(in->page);
	queue_close(in->queue);
	if (in->wake >= 0)
		close(in->wake);
	if (in->mounts >= 0)
		close(in->mounts);
	pthread_mutex_destroy(&in->lock);
	free(in->mail_roots);
	free(in->roots);
	free(in->name);
	free(in->state_dir);
	free(in->masks);
	free(in);
}

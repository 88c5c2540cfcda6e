/*
 * Private to intake*.c: the thread's state. Nothing here is touched by another thread but what stands under `lock`.
 *
 *	intake.c          commands and reports, the thread's turn
 *	intake_folders.c  which source folders are there, and what is heard from them
 *	intake_files.c    single files on their way into the queue
 *	intake_scan.c     looking through everything
 */
#ifndef LATENTD_DAEMON_INTAKE_PARTS_H
#define LATENTD_DAEMON_INTAKE_PARTS_H

#include "daemon/intake.h"
#include "daemon/scan.h"

#include "base/thread.h"
#include "source/watch.h"

#include <stdatomic.h>
#include <sys/types.h>

#define NEVER INT64_MAX

enum {
	YOUNG_MAX =
	    100000, /* files that are remembered to be looked at again; beyond, a scan does it */
	NOTES_MAX = 100, /* between two turns of the loop */
	WHY_SIZE = 640,
};

/* How soon everything is looked through again, at the earliest: so many times the last scan's duration later. */
enum rescan {
	RESCAN_NOW = 0,
	RESCAN_SOON = 4, /* events were lost: files may be waiting */
	RESCAN_LATER =
	    50, /* something vanished or was not ready: it takes 2 % of the time at most */
};

/* What source.manifest points to. */
struct manifest_texts {
	char *root, *path_column, *caption_column;
};

struct intake_folder {
	struct intake_source source;
	char *path; /* source.path */
	struct manifest_texts manifest;
	char *cache; /* source.remote.cache */
	bool there, known;
	uint32_t number; /* once known */
	uint32_t came;
	bool archive;	   /* or a manifest: a file by itself, no folder */
	uint64_t size;	   /* of the file */
	int64_t mtime_ns;  /* the same */
	bool moved_device; /* since the last scan that believed what it saw */
	dev_t dev;
	ino_t ino;
	struct watch *watch;   /* NULL: not listened to */
	bool ready;	       /* all its folders are watched, or it is not listened to */
	bool watch_failed;     /* tried again with the next scan */
	char absent[WHY_SIZE]; /* why it is not there */
};

/* A file that something was heard of. */
struct intake_file {
	size_t folder;
	char *path;
	bool settled; /* need not be looked at twice */
	bool caption;
	bool archive; /* when it does not change any more, a scan looks into it */
	bool seen;    /* size and mtime are those of the last look */
	uint64_t size;
	int64_t mtime_ns;
	int64_t due;   /* of young ones, monotonic */
	int64_t since; /* it has been young; monotonic */
	bool restless; /* for so long that nothing waits for it */
};

struct file_list { /* first in, first out */
	struct intake_file *items;
	size_t first, n, capacity;
};

struct intake_commands {
	bool stop, rescan, accept, remove, paused, following;
};

/* What the loop's thread has not been told yet. */
struct intake_mail {
	struct task bell; /* first: the task is the mail */
	struct intake *intake;
	bool rung;
	bool state, jobs; /* are news */
	char *notes[NOTES_MAX];
	size_t n_notes, dropped;
	struct intake_state now; /* its strings are copied when it is delivered */
};

struct intake {
	/* as they were given */
	struct intake_options options;
	char *name, *state_dir, *masks;
	struct inbox *inbox;

	pthread_mutex_t lock;
	struct intake_commands asked; /* under lock */
	struct intake_mail mail;      /* under lock */
	char mail_why[WHY_SIZE], mail_watch_note[512];
	struct intake_root *mail_roots;
	int wake;   /* eventfd: something was asked */
	int mounts; /* /proc/self/mountinfo: an exception when something is mounted; -1 */
	struct thread thread;
	atomic_bool ended;

	/* the thread's */
	struct queue *queue;
	struct intake_folder *folders;
	size_t n;
	struct intake_commands doing;
	struct file_list batch, young;
	size_t restless;  /* of the young */
	bool archive_due; /* one has settled, and the scan that looks into it is still to come */
	bool young_left;  /* more of them than are remembered: the next scan looks at these */
	struct scan_page *page;
	int64_t batch_due, look_due; /* look_due: at folders that are missing */
	int64_t rescan_due;
	int64_t last_scan_end, last_scan_ms; /* monotonic */
	int64_t failed_ms;		     /* how long the last failure made wait; 0: it works */
	char failure[WHY_SIZE];
	char unsettled[WHY_SIZE]; /* what is said of an archive that keeps changing */
	bool scanning;
	int64_t told_at, tell_due; /* tell_due: what was held back then */
	struct intake_state state;
	struct intake_root *roots;
};

/* -- intake.c ------------------------------------------------------------------------------------- */

/* What was asked meanwhile comes into in->doing. True: stop or pause, at once. */
bool intake_interrupted(struct intake *in);
/* Whether that would end a scan; nothing of it is taken over. Any thread: sources fetch and unpack on theirs. */
bool intake_scan_stops(struct intake *in);
/* To the loop, one line. */
void intake_note(struct intake *in, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void intake_found_jobs(struct intake *in, const struct enqueue_counts *counts);
/* Not @now: at most every half second, so that many small changes are one. */
void intake_tell_state(struct intake *in, bool now);
/* Everything is to be looked through, as soon as @how allows. */
void intake_want_scan(struct intake *in, enum rescan how);
/* Something did not work: it is said, and tried again by a scan later, and later still. */
void intake_failed(struct intake *in, const struct error *why);
void intake_works(struct intake *in);

/* -- intake_folders.c ----------------------------------------------------------------------------- */

void intake_folders_open(struct intake *in);
void intake_folders_close(struct intake *in);
/* @source, of @f, has the lists of archives that earlier ones left. */
void intake_keep_lists(const struct intake *in, const struct intake_folder *f,
		       struct source *source);
/* Folders that came, or went. */
void intake_folders_look(struct intake *in);
/* Takes what is heard from all of them. True: there is more. */
bool intake_folders_hear(struct intake *in);
/* All that are there are ready to be looked through. */
bool intake_folders_ready(const struct intake *in);
/* It, or some folder below it, has to be looked through every now and then. */
bool intake_folder_is_polled(const struct intake_folder *f);
/* Begins or ends listening to all that are there, as it follows or not. */
void intake_folders_follow(struct intake *in);
/* What could not be watched is tried again. */
void intake_folders_retry(struct intake *in);
/* When the next scan is due because nothing tells of changes, from the end of the last one; NEVER. */
int64_t intake_folders_period(const struct intake *in);

/* -- intake_files.c ------------------------------------------------------------------------------- */

/* @path is copied. */
void intake_file_heard(struct intake *in, size_t folder, const char *path, bool settled,
		       bool caption);
/* What is due now. */
void intake_files_due(struct intake *in);
/* When the next is; NEVER. */
int64_t intake_files_next(const struct intake *in);
/*
 * Of a file that a scan found: true: it may still be written, and is looked at again later.
 */
bool intake_file_is_young(struct intake *in, size_t folder, const struct source_entry *entry);
/* The same of an archive: nothing in it is taken before. */
bool intake_archive_is_young(struct intake *in, size_t folder, const struct source_entry *entry);
/* Files that will be enqueued, as far as anybody waits for that. */
size_t intake_files_awaited(const struct intake *in);
/* The archive or manifest that keeps changing, by its path, to be freed; NULL: there is none. */
char *intake_files_restless(const struct intake *in);
void intake_files_clear(struct intake *in);
struct scan_options intake_scan_options(const struct intake *in, size_t folder);

/* -- intake_scan.c -------------------------------------------------------------------------------- */

void intake_scan(struct intake *in);

#endif

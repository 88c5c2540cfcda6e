/*
 * Keeps the queue in step with a dataset's source folders: a thread that looks through them, then listens to them
 * (inotify) or looks again every now and then, and enqueues what is new or has changed.
 *
 *	intake_open(&options, inbox, &intake, err)      begins with a scan at once; a folder may be missing
 *	... handlers, on the loop's thread ...
 *	intake_rescan(intake)  intake_set_paused(intake, true)  intake_accept_deletions(intake)
 *	intake_remove(intake)                           when nothing is left to encode, see below
 *	intake_stop(intake)                             ends it soon, wherever it is; returns at once
 *	intake_has_ended(intake)                        then
 *	intake_close(intake)                            waits for the end; no handler is called any more
 *
 * Files. One that is closed after writing, moved or linked into a watched folder is available at most INTAKE_BATCH_MS
 * and a transaction later. One that only a scan finds waits until it has not changed for INTAKE_YOUNG_MS; of one that
 * changes for INTAKE_PATIENCE_MS (a log, a download) nothing else waits for that any more. A
 * caption that comes, changes or goes makes its images be looked at. A file that changes while its image is being
 * encoded is looked at again afterwards. What vanishes is noticed by a scan, which takes at most a fiftieth of the time.
 *
 * Archives and manifests that are a source by themselves are looked at every two seconds, and read again when they have changed and
 * settled. A manifest's images are looked at every rescan_ms, and those that are URLs as often as remote.recheck_ms says.
 *
 * Folders. One that is missing, or is another one than before (a disk that is not mounted), is left alone, with
 * everything that is known of it, until it is back. What is not watched (network file systems, folders beyond the
 * limit of inotify) is looked at every rescan_ms.
 *
 * Deletions. What a scan no longer finds is gone, unless that looks like a mistake (run_sources.h): then nothing is
 * done about it, state.not_believed says why, and each further scan asks again; intake_accept_deletions() says that they
 * are gone. With `remove`, the samples of vanished files are removed, but only when the loop calls
 * intake_remove(), because a file that was only moved must have been copied from its old sample by then:
 * state.removal_waits asks for that call, to be made when the dataset has nothing left to encode.
 *
 * Whatever fails (a disk, no descriptors left) is tried again by itself; state.why says what, until it works.
 */
#ifndef LATENTD_DAEMON_INTAKE_H
#define LATENTD_DAEMON_INTAKE_H

#include "daemon/db.h"

#include "source/source.h"

#define INTAKE_BATCH_MS	   50
#define INTAKE_YOUNG_MS	   2000
#define INTAKE_PATIENCE_MS 10000

enum intake_watch {
	INTAKE_AUTO,	/* listens where the file system tells of changes, else looks again */
	INTAKE_INOTIFY, /* listens, whatever the file system is */
	INTAKE_POLL,
	INTAKE_OFF, /* looks once, and when asked to */
};

struct intake_source {
	const char *path; /* absolute */
	bool recursive;
	struct source_choice choice;
	struct source_manifest_options manifest;
	struct source_remote_options remote;
	enum intake_watch watch;
	int64_t rescan_ms; /* between scans of what is not watched; 0: 5 minutes */
	int64_t
	    safety_ms; /* between scans of what is watched, against what no event tells of; 0: a day */
};

enum intake_phase {
	INTAKE_SCANNING,
	INTAKE_WATCHING, /* all folders */
	INTAKE_POLLING,	 /* some of them, at least */
	INTAKE_IDLE,	 /* none is watched: waits for intake_rescan() */
	INTAKE_PAUSED,
};

struct intake_root {
	uint32_t number; /* the source's in the dataset; not known before it has been there once */
	bool known;
	bool there;
	/* How often it has come. When this changes, the path leads to another folder than what was opened of it before. */
	uint32_t came;
};

/* One moment, valid during the call that brings it. Wall-clock times are milliseconds. */
struct intake_state {
	enum intake_phase phase;
	const struct intake_root *roots; /* in the order of the options */
	size_t missing;			 /* of them are not there */
	const char *why;		 /* what hinders it, one line; NULL: nothing */

	uint64_t
	    scans; /* that are through. Before the first one nobody knows what there is to do */
	int64_t scan_began_at, scan_ms; /* the last of them */
	uint64_t scan_files;
	uint64_t running_files; /* found by the scan that is under way */
	uint64_t
	    young; /* files that wait until they have stopped changing, the restless left out; an archive that has, until it is listed */

	uint64_t folders_watched, folders_polled;
	const char *watch_note; /* why some are not watched: the limit with its sysctl; NULL */

	uint64_t deletions;	  /* files that vanished, about which nothing is done */
	const char *not_believed; /* why; NULL: there are none */
	bool removal_waits;
};

struct intake_handlers {
	/* Something in the state is another now. While it scans, about twice a second. */
	void (*on_state)(void *arg, const struct intake_state *state);
	/* There are jobs, or captions to be mended, that were not there before. */
	void (*on_jobs)(void *arg);
	/* One line for people. */
	void (*on_note)(void *arg, const char *line);
};

struct intake_options {
	struct db *db;
	int64_t dataset;   /* its id in the queue */
	const char *name;  /* of the dataset */
	const char *state; /* the folder where the sources' numbers are kept, see sources.h */
	const struct intake_source *sources; /* none in another */
	size_t n_sources;
	bool shuffled; /* as in struct scan_options */
	uint64_t seed;
	uint32_t part, parts;
	bool captions;	     /* the .txt beside an image counts */
	const char *masks;   /* as in struct source_folder_options; copied */
	bool need_captions;  /* an image without one waits for it */
	bool remove;	     /* samples of vanished files die */
	bool paused;	     /* from the start */
	bool shared;	     /* nodes share the queue, which numbers the sources */
	bool following;	     /* from the start, see intake_set_following() */
	int64_t patience_ms; /* with a file that keeps changing; 0: INTAKE_PATIENCE_MS */
	struct intake_handlers handlers;
	void *arg;
};

struct intake;

/* Copies what @options points to. ERR_IO: no thread, no descriptor. A source that is missing is no error. */
int intake_open(const struct intake_options *options, struct inbox *inbox, struct intake **out,
		struct error *err);

/* Commands return at once; what they did shows in the state. */
void intake_rescan(struct intake *in);
/* Paused it enqueues nothing; afterwards it looks through everything once. */
void intake_set_paused(struct intake *in, bool paused);
/*
 * Following it only notices whether the sources are there: another node looks through them. Afterwards it looks through
 * everything.
 */
void intake_set_following(struct intake *in, bool following);
/* What the next scan does not find is gone, however much that is. */
void intake_accept_deletions(struct intake *in);
/*
 * The dataset has nothing left to encode: looks once more, and removes the samples of vanished files if there still is
 * nothing; otherwise removal_waits stays.
 */
void intake_remove(struct intake *in);
/* Safe to call twice. */
void intake_stop(struct intake *in);
/* Its thread is through: intake_close() will not wait. It may hang for as long as a network file system does. */
bool intake_has_ended(const struct intake *in);
/* NULL is fine. */
void intake_close(struct intake *in);

#endif

/*
 * Tells what happens to the images, captions and archives below a folder, as inotify does for one folder. No threads: the
 * caller polls a descriptor and asks.
 *
 *	struct watch *w = NULL;
 *	watch_open("/data/photos", &options, &w, err);
 *	for (;;) {
 *		while ((r = watch_next(w, &event, err)) == 0 || r == WATCH_AGAIN)
 *			if (r == 0) ... event, whose strings are valid until the next call ...
 *		poll watch_fd(w) for POLLIN
 *	}
 *	watch_close(w);
 *
 * Opening watches nothing yet: the first calls of watch_next() put a watch on every folder and then say
 * WATCH_RESCAN. Who looks through the tree after that misses nothing: what was there before is found by looking,
 * what comes later is told. A folder that appears later is watched first and then listed, and what is found in
 * it is told, so that nothing slips through between its making and its watch; some files are told twice.
 *
 * Names are chosen as by source_folder: images (source_path_is_image) and archives that options->choice takes, and captions; what
 * lies deeper than SOURCE_FOLDER_DEPTH and links to folders that are not followed are left out. Folders of which it takes nothing
 * are not watched.
 *
 * Some folders cannot be watched: they lie on a network file system, where changes that other machines make raise no
 * events, a link leads to them (they may have several names), or the user's limit of watches is reached. They are counted, and have to be looked through from time to
 * time; watch_retry() tries again those that may succeed later.
 *
 * One descriptor is held, and one more while a folder is listed: the root may be unmounted. About 150 bytes are
 * held for each folder, besides the kernel's.
 */
#ifndef LATENTD_SOURCE_WATCH_H
#define LATENTD_SOURCE_WATCH_H

#include "base/error.h"
#include "source/source_choice.h"

#include <stdbool.h>
#include <stddef.h>

enum watch_kind {
	WATCH_SETTLED, /* closed after writing, moved or linked here */
	/*
	 * Appeared: in a folder that is new, or without having been opened under this name. Perhaps it is
	 * being written; then it will be settled as well.
	 */
	WATCH_FOUND,
	WATCH_VANISHED, /* deleted or moved away; a folder's path ends with '/', what lies in it is not told */
	WATCH_RESCAN, /* every folder is watched now (after opening, or after events were lost) */
	WATCH_NOTE, /* path: one line for people, why something is not watched; once for each reason */
	WATCH_LOST, /* path: why. The root was deleted, moved or unmounted; nothing comes any more */
};

struct watch_event {
	enum watch_kind kind;
	const char *path; /* relative to the root */
	bool caption;	  /* it is a caption's */
};

struct watch_options {
	bool recursive;
	bool network;		     /* watch network file systems too */
	struct source_choice choice; /* copied */
};

struct watch;

#define WATCH_EMPTY 1 /* nothing there now */
#define WATCH_AGAIN 2 /* folders were listed; there is more to do */

/* ERR_CONFIG: no such folder. ERR_IO: no descriptor left, or none for inotify, with the limit's name. */
int watch_open(const char *path, const struct watch_options *options, struct watch **out,
	       struct error *err);
/* Readable when something has happened; the same for the whole life. */
int watch_fd(const struct watch *w);
/* ERR_IO: inotify failed. Takes about a millisecond at most. */
int watch_next(struct watch *w, struct watch_event *event, struct error *err);

/* Folders that are watched, and those (each with all below it) that are not. */
size_t watch_folders(const struct watch *w);
size_t watch_unwatched(const struct watch *w);
/* The last note, while some folder is not watched; otherwise NULL. */
const char *watch_note(const struct watch *w);
/* What could not be watched is tried again by the next calls of watch_next(). */
void watch_retry(struct watch *w);
/* Whether the root's path still leads to the folder that is watched. */
bool watch_is_there(const struct watch *w);
/* NULL is fine. */
void watch_close(struct watch *w);

#endif

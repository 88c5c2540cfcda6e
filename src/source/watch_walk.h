/*
 * Private to watch*.c: which folders are watched. Folders that are new wait in a list until they are watched and
 * listed, one at a time.
 */
#ifndef LATENTD_SOURCE_WATCH_WALK_H
#define LATENTD_SOURCE_WATCH_WALK_H

#include "source/watch.h"
#include "source/watch_tree.h"

#include <dirent.h>
#include <sys/types.h>

struct watch {
	struct watch_options options;
	char *root; /* its path */
	dev_t dev;
	ino_t ino;
	int fd; /* of inotify */
	struct watch_tree tree;
	size_t watched, unwatched;

	struct watch_folder *pending;
	DIR *dir; /* of the folder that is being listed */
	struct watch_folder *at;
	bool whole;	  /* the walk is over the whole tree: what it finds is not told */
	dev_t last_dev;	  /* that was asked what it is */
	bool last_remote; /* and is */

	char note[512];
	bool note_is_new, noted_limit, noted_descriptors, noted_network, noted_link;
	char lost[512]; /* why; empty: it is not */
	bool lost_told;

	struct buffer path; /* of the event */
	char *events;	    /* as read from fd */
	size_t events_size, events_at;
};

/* Puts the root alone into an empty tree, to be listed with all below it. */
void walk_begin(struct watch *w);
/* A folder @name in @parent, which may be known already. */
void walk_add(struct watch *w, struct watch_folder *parent, const char *name);
/* Forgets @f and all below it. */
void walk_drop(struct watch *w, struct watch_folder *f);
/*
 * Goes on by some entries. 0: @event is filled; WATCH_AGAIN: nothing to tell yet; WATCH_EMPTY: there is nothing to
 * list.
 */
int walk_next(struct watch *w, struct watch_event *event);
void walk_lost(struct watch *w, const char *why);
/* The path of @name in @f, to be freed. */
char *walk_path(const struct watch *w, const struct watch_folder *f, const char *name);
/* Fills @event for @name in @f; its path is the watch's. */
void walk_event(struct watch *w, struct watch_event *event, enum watch_kind kind,
		const struct watch_folder *f, const char *name);
/* Whether file @name in @f is told of, and whether folder @name is watched. Both may write over the event's path. */
bool walk_wants(struct watch *w, const struct watch_folder *f, const char *name);
bool walk_enters(struct watch *w, const struct watch_folder *f, const char *name);

#endif

/*
 * Private to src/source: a listing in which entries that are URLs are asked about while others are: whoever lists waits for
 * the first of many answers, not for each. Order and errors are those of the listing.
 *
 *	struct remote_window *w = remote_window_new(files)
 *	remote_window_next(w, next, arg, &entry, err)      as next(arg, &entry, err) would
 *	remote_window_close(w)                             after the files: nothing is asked any more
 */
#ifndef LATENTD_SOURCE_REMOTE_WINDOW_H
#define LATENTD_SOURCE_REMOTE_WINDOW_H

#include "source/remote_files.h"

struct remote_window;

struct remote_window *remote_window_new(struct remote_files *files);
void remote_window_close(struct remote_window *w);
/* The entry is valid until the next call. */
int remote_window_next(struct remote_window *w,
		       int (*next)(void *arg, struct source_entry *entry, struct error *err),
		       void *arg, struct source_entry *entry, struct error *err);

#endif

/*
 * How a run is going, for a person: one line that is redrawn on a terminal, a line every ten seconds elsewhere,
 * and messages in between. All of it on stderr.
 */
#ifndef LATENTD_DAEMON_PROGRESS_H
#define LATENTD_DAEMON_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct progress;

/* @total: images to do in this run; 0: not known. @quiet: nothing but messages. */
struct progress *progress_new(size_t total, bool quiet);
/* Removes the line. NULL is fine. */
void progress_free(struct progress *p);

void progress_done(struct progress *p);	   /* one image is encoded */
void progress_failed(struct progress *p);  /* one image will not be */
void progress_skipped(struct progress *p); /* one image is left out on purpose */
void progress_gone(struct progress *p);	   /* one file is no longer there: that is no failure */
void progress_phase(struct progress *p,
		    const char *phase); /* shown instead of the ETA, e.g. "sealing" */
/* Draws if it is time to. */
void progress_tick(struct progress *p);
/* A line of its own, with the progress line out of the way. */
void progress_message(struct progress *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif

/*
 * How fast images were encoded, and how many were still to do: in stretches of ten seconds for an hour, and of five minutes
 * for a day, of all datasets together.
 *
 *	h = history_new()
 *	history_restore(h, queue, err)                  once, what an earlier process kept
 *	history_note(h, wall, mono, images, todo)       every second or so
 *	history_save(h, db)                             every now and then: what has changed, in the background
 *	history_flush(h, queue)                         the same at the end, at once
 *	history_read(h, series, wall, rows, &n)         any thread
 *
 * A stretch knows how much of its time was seen, so that a start in its middle makes no slow one. Each has its place in
 * a ring, by the wall clock: there are never more than HISTORY_ROWS, and a clock that jumps leaves a gap, or
 * stretches in the future that are not shown and whose places are taken when their time comes.
 */
#ifndef LATENTD_DAEMON_HISTORY_H
#define LATENTD_DAEMON_HISTORY_H

#include "daemon/db.h"

enum history_series { /* stored as these numbers */
		      HISTORY_HOUR,
		      HISTORY_DAY,
};

#define HISTORY_SERIES 2
#define HISTORY_PLACES 360 /* of a series, at most */
#define HISTORY_ROWS   (HISTORY_SERIES * HISTORY_PLACES)
/* A process that is killed forgets so much. */
#define HISTORY_SAVE_MS 60000

struct history;

struct history *history_new(void);
/* NULL is fine. */
void history_free(struct history *h);

/* Length of a stretch, and how many there are. */
int64_t history_step_ms(enum history_series series);
size_t history_places(enum history_series series);

int history_restore(struct history *h, struct queue *queue, struct error *err);
/*
 * @images: encoded since anything; where it is less than the last time (a dataset has gone) nothing is counted, and neither
 * is it the first time. Time is that of @mono, places are those of @wall.
 */
void history_note(struct history *h, int64_t wall, int64_t mono, uint64_t images, uint64_t todo);
/* Unless it did so less than HISTORY_SAVE_MS ago. What cannot be written is lost with the next start. */
void history_save(struct history *h, struct db *db, int64_t mono);
void history_flush(struct history *h, struct queue *queue);
/* The stretches of the last hour, or day, in their order; *n of them in @rows[HISTORY_PLACES]. */
void history_read(struct history *h, enum history_series series, int64_t wall,
		  struct history_row *rows, size_t *n);

#endif

/*
 * How busy something was and how much it did of late, from sums that only grow.
 *
 *	once a second: busy_window_add(&w, clock_mono_ns(), busy_ns, images)
 *	busy_window_busy(&w, BUSY_SECONDS)     workers that were busy, on average
 *	busy_window_rate(&w, RATE_SECONDS)     images a second
 */
#ifndef LATENTD_DAEMON_BUSY_WINDOW_H
#define LATENTD_DAEMON_BUSY_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#define BUSY_WINDOW 61
/* How far back people want to look: for what is going on now, and for a rate that does not jump. */
#define BUSY_WINDOW_NOW	   15
#define BUSY_WINDOW_MINUTE 60

struct busy_window {
	struct busy_mark {
		int64_t at; /* monotonic ns */
		uint64_t busy_ns, images;
	} marks[BUSY_WINDOW];
	size_t n; /* so many were added, ever */
};

void busy_window_add(struct busy_window *w, int64_t now, uint64_t busy_ns, uint64_t images);
/* Over the last @seconds marks, or those that there are; -1: fewer than two. */
double busy_window_busy(const struct busy_window *w, size_t seconds);
double busy_window_rate(const struct busy_window *w, size_t seconds);

#endif

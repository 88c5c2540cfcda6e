/*
 * The hours of a dataset or an encoder that works only at some of the day (day_hours.h), and a pause that ends when people
 * say so.
 *
 *	work_hours_set(&hours, text)             at first, and whenever other settings come
 *	if (work_hours_look(&hours)) ...         once a second: it rests now, or does not any more
 */
#ifndef LATENTD_DAEMON_WORK_HOURS_H
#define LATENTD_DAEMON_WORK_HOURS_H

#include "base/day_hours.h"

struct work_hours {
	const char *text; /* not copied; NULL: at any time */
	struct day_hours hours;
	bool paused; /* by people */
	bool rests;
	int64_t resumes_at; /* while it rests: wall-clock ms; 0: not known, or it is paused */
	int64_t looked_at;  /* private: wall-clock ms */
};

/* @text is good, or NULL. work_hours_look() follows. */
void work_hours_set(struct work_hours *w, const char *text);
/* Other hours do not end it. work_hours_look() follows. */
void work_hours_pause(struct work_hours *w, bool paused);
/* Looks at the clock. Whether `rests` is another now. */
bool work_hours_look(struct work_hours *w);
/*
 * "outside its hours 20:00-08:00, goes on at 20:00", "paused until it is resumed"; to be freed. NULL: it does not rest.
 */
char *work_hours_why(const struct work_hours *w);

#endif

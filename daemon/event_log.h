/*
 * The last lines that the daemon said, for whoever asks later than they came.
 *
 *	log = event_log_new(EVENT_LOG_LINES)
 *	event_log_add(log, LOG_LEVEL_INFO, "photos", "paused")
 *	next = event_log_read(log, &filter, on_line, arg)        goes on there the next time: filter.after = next
 *
 * Ids rise by one, and are larger in a daemon that was started later, so that a reader who goes on after a restart misses
 * nothing that is still there: they begin with the time, or behind the last one that is known (event_log_go_on), where the clock
 * was set back. Any thread may call all of it.
 */
#ifndef LATENTD_DAEMON_EVENT_LOG_H
#define LATENTD_DAEMON_EVENT_LOG_H

#include "config/daemon_config.h"

#include <stddef.h>
#include <stdint.h>

#define EVENT_LOG_LINES 1000
/* Before the first line, for event_filter.after: all that there are. */
#define EVENT_LOG_ALL 0
/* Only the newest. */
#define EVENT_LOG_NEWEST (-1)

struct event_line {
	int64_t id;
	int64_t at; /* wall-clock ms */
	enum log_level level;
	char *dataset; /* NULL: of none */
	char *text;
};

struct event_filter {
	int64_t after;	      /* an id, or one of the two above */
	enum log_level level; /* and graver ones */
	const char *dataset;  /* NULL: any, and none */
	size_t limit; /* the first ones behind `after`; with EVENT_LOG_NEWEST the last ones */
};

struct event_log;

struct event_log *event_log_new(size_t lines);
/* NULL is fine. */
void event_log_free(struct event_log *log);
/* All ids, of lines that are there too, are larger than @last, of an earlier daemon. */
void event_log_go_on(struct event_log *log, int64_t last);
/* The line as it was added, but with the caller's strings. */
struct event_line event_log_add(struct event_log *log, enum log_level level, const char *dataset,
				const char *text);
/*
 * Calls @fn for each line, oldest first; it must not call the log. The id behind which the next reading goes on: of the last
 * line that was looked at.
 */
typedef void (*event_line_fn)(void *arg, const struct event_line *line);
int64_t event_log_read(struct event_log *log, const struct event_filter *filter, event_line_fn fn,
		       void *arg);

#endif

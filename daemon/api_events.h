/*
 * Server-sent events: whoever asks for /api/v1/events gets health, status and what was said since the last one once a second,
 * for as long as it stays; first the newest API_EVENTS_LINES lines.
 */
#ifndef LATENTD_DAEMON_API_EVENTS_H
#define LATENTD_DAEMON_API_EVENTS_H

#include "daemon/event_log.h"
#include "daemon/service_status.h"

#include <microhttpd.h>

/* So many may listen at once, at each of two doors: each has one of the server's threads. */
#define API_EVENTS_MAX	 16
#define API_EVENTS_LINES 100 /* of the log, in one event at most */

struct api_events;

/* @board and @log outlive it. */
struct api_events *api_events_new(struct status_board *board, struct event_log *log);
/* Whoever listens comes to the end of what it gets: before the server is stopped. */
void api_events_end(struct api_events *e);
/* When nobody listens. NULL is fine. */
void api_events_free(struct api_events *e);
/* The answer to one who asks; NULL: there are too many. */
struct MHD_Response *api_events_response(struct api_events *e);

#endif

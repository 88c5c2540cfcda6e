/*
 * Server-sent events: whoever asks for /api/v1/events gets health and status once a second, for as long as it stays.
 */
#ifndef LATENTD_DAEMON_API_EVENTS_H
#define LATENTD_DAEMON_API_EVENTS_H

#include "daemon/service_status.h"

#include <microhttpd.h>

/* So many may listen at once: each has one of the server's threads. */
#define API_EVENTS_MAX 16

struct api_events;

/* @board outlives it. */
struct api_events *api_events_new(struct status_board *board);
/* Whoever listens comes to the end of what it gets: before the server is stopped. */
void api_events_end(struct api_events *e);
/* When nobody listens. NULL is fine. */
void api_events_free(struct api_events *e);
/* The answer to one who asks; NULL: there are too many. */
struct MHD_Response *api_events_response(struct api_events *e);

#endif

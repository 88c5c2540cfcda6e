/*
 * The API itself, without HTTP: a request as it came, and what is answered. docs/API.md is its manual for people.
 *
 * Any thread may call, several at once. Status comes from the board, lists from a connection of their own that only
 * reads, and commands from the service, which may take SERVICE_REQUEST_MS to answer.
 */
#ifndef LATENTD_DAEMON_API_ROUTES_H
#define LATENTD_DAEMON_API_ROUTES_H

#include "daemon/api_pictures.h"
#include "daemon/event_log.h"
#include "daemon/history.h"
#include "daemon/http_answer.h"
#include "daemon/service_request.h"
#include "daemon/service_status.h"

/* api_server.c answers it as api_events.h says. */
#define API_EVENTS_PATH "/api/v1/events"
#define API_EVENTS_TYPE "text/event-stream"

struct api_context {
	struct status_board *board;
	service_request_fn request;
	void *arg; /* of request */
	struct history *history;
	struct event_log *log;
	struct api_pictures *pictures;
};

struct api_call { /* none of it is trusted */
	const char *method;
	const char *uri;    /* path and query as they were sent, ended by a NUL */
	const char *accept; /* the header; NULL: none */
	const void *body;
	size_t body_size;
};

/* Always gives an answer; HEAD is answered as GET. The caller releases the body. */
void api_handle(const struct api_context *context, const struct api_call *call,
		struct http_answer *answer);
/* {"error": {"code", "message"}} with the code that belongs to @status. */
void api_error(struct http_answer *answer, unsigned status, const char *message);

#endif

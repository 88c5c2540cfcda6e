/*
 * The half of the server that speaks HTTP/1.1 over TCP, with or without TLS. docs/SERVE.md is its manual for people.
 *
 *	serve_http_open(&options, listen, &http, err)    takes connections from now on, on threads of its own
 *	serve_http_ready(http, &bounds, model)           requests are taken; until then they are told to come later
 *	serve_http_tick(http)                            every second
 *	serve_http_stop(http)                            admits no more; what is under way is answered
 *	if (serve_http_encodes(http) == 0) serve_http_close(http)      or after serve_http_end(), when the desk is empty
 *
 * A few threads serve all connections; one whose request is being encoded is suspended meanwhile. A request is admitted by
 * its headers, against the queue's length and the memory that it will need, before its body is taken. A refused one is
 * read to its end, so that every client gets to see the answer, unless that would be long.
 */
#ifndef LATENTD_DAEMON_SERVE_HTTP_H
#define LATENTD_DAEMON_SERVE_HTTP_H

#include "config/serve_options.h"
#include "daemon/serve_desk.h"
#include "daemon/serve_listen.h"

struct serve_http;

/* @options and @listen outlive it; the socket stays the caller's. */
int serve_http_open(const struct serve_options *options, struct serve_listen *listen,
		    struct serve_desk *desk, struct serve_stats *stats, struct serve_http **out,
		    struct error *err);
/* @model: what GET /v1/model answers; taken over. */
void serve_http_ready(struct serve_http *h, const struct serve_bounds *bounds,
		      const struct serve_identity *identity, char *model);
/* Why not; NULL: it is only loading. */
void serve_http_not_ready(struct serve_http *h, const char *why);
void serve_http_tick(struct serve_http *h);
void serve_http_stop(struct serve_http *h);
/* Nothing more comes to the desk. */
void serve_http_end(struct serve_http *h);
/* Requests that were admitted to be encoded and are not answered to their end. */
size_t serve_http_encodes(struct serve_http *h);
size_t serve_http_connections(struct serve_http *h);
/* Nothing of it may be with the desk. NULL is fine. */
void serve_http_close(struct serve_http *h);

#endif

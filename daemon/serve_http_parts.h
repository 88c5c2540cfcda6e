/*
 * What the parts of the HTTP half share; nobody else includes it.
 *
 *	serve_http.c         what libmicrohttpd calls: bodies, answers, connections
 *	serve_request.c      what a request is, by its first line and headers: routes, the token, admission
 */
#ifndef LATENTD_DAEMON_SERVE_HTTP_PARTS_H
#define LATENTD_DAEMON_SERVE_HTTP_PARTS_H

#include "daemon/serve_clients.h"
#include "daemon/serve_http.h"

#include <microhttpd.h>

struct serve_http {
	const struct serve_options *options;
	struct serve_listen *listen;
	struct serve_desk *desk;
	struct serve_stats *stats;
	struct MHD_Daemon *mhd;
	struct serve_clients clients;
	pthread_mutex_t mutex; /* of all below */
	bool ready, stopping, ended;
	char *why_not; /* NULL: it is loading */
	struct serve_bounds bounds;
	struct serve_identity identity;
	char *model;
	size_t encodes, images, bytes; /* admitted and not answered */
	double image_seconds;	       /* that one takes, roughly */
};

enum stage {
	REQUEST_HEADERS,
	REQUEST_BODY,	 /* to be encoded */
	REQUEST_DECIDED, /* its answer is made, its body not wanted */
	REQUEST_ENCODING,
	REQUEST_ENCODED,
};

struct serve_request {
	struct serve_job job; /* first: the desk gives this back */
	struct serve_http *http;
	struct serve_client *client;
	struct MHD_Connection *connection;
	char *uri;
	enum stage stage;
	bool encodes;  /* counted as such */
	int64_t began; /* monotonic ns */
	struct serve_ask ask;
	size_t images, bytes; /* that it was admitted with */
	bool expected;	      /* by the desk */
	struct buffer body;
	size_t body_size; /* so far, of what was not wanted too */
	struct http_answer answer;
};

/* -- serve_request.c -------------------------------------------------------------------------------- */

/* With its headers: it is decided, or in REQUEST_BODY, admitted. */
void serve_request_begin(struct serve_request *r, const char *method);
/* Its answer is an error. */
void serve_request_decide(struct serve_request *r, unsigned status, const char *message);
void serve_request_decide_error(struct serve_request *r, const struct error *err);
/* A header's value; NULL: it has none such. */
const char *serve_request_header(const struct serve_request *r, const char *name);
/* Bytes that the headers announce; 0: none, SIZE_MAX: nobody knows. libmicrohttpd has checked the number. */
size_t serve_request_announced(const struct serve_request *r);

#endif

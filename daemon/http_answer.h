/*
 * What is answered to an HTTP request: by the API on its socket, and by the server that encodes for others.
 */
#ifndef LATENTD_DAEMON_HTTP_ANSWER_H
#define LATENTD_DAEMON_HTTP_ANSWER_H

#include "base/buffer.h"

struct json_t;

#define HTTP_ANSWER_HEADERS 8

struct http_answer {
	unsigned status;      /* of HTTP */
	const char *type;     /* of the body; NULL: JSON */
	const char *cache;    /* Cache-Control; NULL: no-store */
	const char *allow;    /* with 405: the methods that this path has; else NULL */
	unsigned retry_after; /* seconds; 0: not said */
	struct {
		const char *name;
		char *value;		/* released with the answer */
	} headers[HTTP_ANSWER_HEADERS]; /* further ones; the first without a name ends them */
	struct buffer body;
};

#define HTTP_ANSWER_INIT                                                                           \
	{                                                                                          \
		0, NULL, NULL, NULL, 0, {{NULL, NULL}}, BUFFER_INIT                                \
	}

void http_answer_release(struct http_answer *answer);
/* One more of headers, of which there is room for HTTP_ANSWER_HEADERS; @value is copied. */
void http_answer_header(struct http_answer *answer, const char *name, const char *value);
/* The body becomes @body, which is released, and a newline. */
void http_answer_json(struct http_answer *answer, unsigned status, struct json_t *body);

#endif

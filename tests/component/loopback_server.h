/*
 * An HTTP/1.1 server on a port of 127.0.0.1, on one thread, that answers as a function says: whole, late, never, cut off,
 * with garbage. For tests of clients, and fast enough for benchmarks of them.
 *
 *	struct loopback_server *server = loopback_start(&options);
 *	... loopback_url(server) ...
 *	loopback_stop(server);
 */
#ifndef LATENTD_TESTS_LOOPBACK_SERVER_H
#define LATENTD_TESTS_LOOPBACK_SERVER_H

#include "base/buffer.h"

#include <stdbool.h>

struct loopback_server;

struct loopback_request {
	size_t number;	    /* requests before this one */
	const char *head;   /* "POST /?a=b HTTP/1.1\r\n..." up to the empty line */
	const char *target; /* "/?a=b" */
	bool post;
	const uint8_t *body; /* the first body_kept bytes */
	size_t body_size;
};

enum loopback_how {
	LOOPBACK_WHOLE, /* status, headers, body */
	LOOPBACK_CUT,	/* half of the body, then the connection is closed */
	LOOPBACK_CLOSE, /* nothing, closed */
	LOOPBACK_NEVER, /* nothing, open */
	LOOPBACK_RAW,	/* the body's bytes alone, then closed */
};

struct loopback_reply {
	enum loopback_how how;
	int status;	   /* 0: 200 */
	char headers[512]; /* further lines, each with its "\r\n" */
	struct buffer body;
	int delay_ms; /* before the first byte */
};

/* On the server's thread. */
typedef void (*loopback_fn)(void *arg, const struct loopback_request *request,
			    struct loopback_reply *reply);

struct loopback_options {
	loopback_fn answer;
	void *arg;
	size_t body_kept;  /* 0: all */
	size_t upload_max; /* a connection is closed when a body gets longer; 0: never */
};

/* Fails the process where it cannot. */
struct loopback_server *loopback_start(const struct loopback_options *options);
/* "http://127.0.0.1:PORT/". */
const char *loopback_url(const struct loopback_server *server);
/* So far. */
size_t loopback_requests(const struct loopback_server *server);
size_t loopback_connections(const struct loopback_server *server);
/* Requests that were being answered at one time, at most. */
size_t loopback_most_at_once(const struct loopback_server *server);
/* Nanoseconds of CPU that its thread has used. */
int64_t loopback_cpu_ns(const struct loopback_server *server);
/* NULL is fine. */
void loopback_stop(struct loopback_server *server);

/* A port of 127.0.0.1 where nobody listens, as a URL; to be freed. */
char *loopback_nobody(void);

/* The value of ?NAME= in a target, the first one, into @out; "" where there is none. */
const char *loopback_query(const char *target, const char *name, char *out, size_t size);

#endif

/*
 * Whether a request that did not give what was wanted is sent again, where, and after which pause.
 */
#ifndef LATENTD_NET_RETRY_H
#define LATENTD_NET_RETRY_H

#include "net/http_result.h"

#include <stddef.h>
#include <stdint.h>

enum retry_class {
	RETRY_NOT_NEEDED, /* 2xx: the reply is to be looked at */
	RETRY_LATER,	  /* 408, 425, 5xx, anything short of a reply: it may work in a moment */
	RETRY_TIMED_OUT,  /* the same, and the server is perhaps too busy */
	RETRY_THROTTLED,  /* 429, and 503 with Retry-After: the server asks for a pause */
	RETRY_STARTING,	  /* 502 and 503 without: a proxy whose server is down or starts */
	RETRY_ELSEWHERE,  /* 400 and kin: servers say so of running out of memory too */
	RETRY_REFUSED,	  /* 413, 415, 422: this body will never be taken there */
	RETRY_STOP,	  /* 401, 403, 404, redirects, TLS, ...: no request will be */
};

enum retry_class retry_class_of(enum http_result result, long status, int64_t retry_after_ms);

/* A source of random numbers that a test can repeat. Any @state. */
struct retry_random {
	uint64_t state;
};

/* In [0, 1). */
double retry_random(struct retry_random *random);

/*
 * Milliseconds before try number @tries (1: the first again). Full jitter: evenly between 0 and 0.5 s * 2^(tries - 1), at
 * most 60 s, so that those who failed together do not come back together.
 */
int64_t retry_pause_ms(size_t tries, struct retry_random *random);

#endif

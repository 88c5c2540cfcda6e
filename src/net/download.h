/*
 * Files from web servers, many at once, on a thread of their own.
 *
 *	download_pool_open(&options, &pool, err)
 *	struct download d = {.url = url, .done = on_done, .owner = ...};
 *	download_start(pool, &d)          any thread; d belongs to the pool until done is called, on the pool's thread
 *	download_wait(pool, &d)           the same, and waits; without done
 *	... d.fd, or d.err ...            download_release(&d)
 *	download_pool_close(pool)         what is under way ends with ERR_TRANSIENT
 *
 * One server. Each (scheme, host, port) has the breaker, the limit and the backoff of endpoint.h, at most per_host
 * connections (of whoever wants to know who asks, which is a store: all of them) and, if wanted, so many requests a second; of all pools of this
 * process that fetch from it together, by the strictest of them. What fails for a passing reason (no answer, a reset, 429, 5xx) is
 * tried up to DOWNLOAD_TRIES times, with Retry-After obeyed. A download of a server that is down, has been silent for
 * DOWNLOAD_PATIENCE_MS, or asks for a longer pause than that, does not stand in the way of others: it ends with ERR_TRANSIENT, and
 * retry_ms says when it may be asked again.
 *
 * Whose fault. ERR_DATA is about this file: `not_found` (404, 410), `forbidden` (401, 402, 403, 451), `bad_status` (another 4xx),
 * `too_large`, `redirect` (more than DOWNLOAD_REDIRECTS, from https to http, to no URL), `not_public`, `bad_url`, and
 * `unreachable` where it failed DOWNLOAD_TRIES times while its server answered others, `no_such_host` where its server's name has
 * no address while servers of other names answered: that may pass, as name servers fail too. ERR_TRANSIENT is about the server, the network
 * or us. Of a server that wants to know who asks, @sign and @judge say more.
 *
 * Redirects are followed, to other servers too, but for requests that are signed. Bodies lie in memory
 * (memfd), at most as many as were started: whoever starts them bounds that.
 */
#ifndef LATENTD_NET_DOWNLOAD_H
#define LATENTD_NET_DOWNLOAD_H

#include "base/buffer.h"

#include <stdbool.h>

#define DOWNLOAD_TRIES	     4
#define DOWNLOAD_PATIENCE_MS 3000
#define DOWNLOAD_REDIRECTS   5

struct download_pool;
struct download_task;
struct http_exchange;

enum download_next {
	DOWNLOAD_AGAIN, /* another request, at once */
	DOWNLOAD_LATER, /* as after a failure of the server */
	DOWNLOAD_OVER,	/* the error is set */
};

struct download_options {
	size_t connections;  /* in all; at least 1 */
	size_t per_host;     /* at least 1; of requests that are not signed */
	double rate;	     /* requests a second to each server; 0: as fast as it goes */
	uint64_t bytes_max;  /* of one file */
	int64_t connect_ms;  /* 0: 10 s */
	int64_t stall_ms;    /* with less than a kilobyte a second; 0: 30 s */
	int64_t timeout_ms;  /* of one try; 0: 10 min */
	int64_t patience_ms; /* with a server's silence or pause; 0: DOWNLOAD_PATIENCE_MS */
	bool only_public;    /* addresses: http_address.h */
	const char *ca_file; /* NULL: the system's */
	/* Asked a few times a second while something is under way; true: all of it ends with ERR_TRANSIENT. May be NULL. */
	bool (*stop)(void *arg);
	void *stop_arg;
};

struct download {
	const char *url; /* lives as long as the download */
	/* With this ETag, or modified then, a file that is still the same ends as `unchanged`. NULL: it is wanted anyway. */
	const char *etag, *modified;
	bool check; /* nothing but that is wanted: no bytes of another file come */
	/*
	 * size > 0: these bytes of it alone. ERR_DATA `no_ranges`: its server gives files only whole, of which nothing is read then;
	 * `truncated`: they are not all there; `bad_range`: others came.
	 */
	uint64_t offset, size;
	const char
	    *match; /* ... of the file that has this ETag: ERR_DATA `changed`. NULL: of any */
	/*
	 * Both or neither, on the pool's thread. For each request @sign makes *url, to be freed, and appends lines "Name: value\n"; its
	 * error ends the download. @judge hears of each reply, and says what those mean that have not the file.
	 */
	int (*sign)(struct download *d, char **url, struct buffer *lines, struct error *err);
	enum download_next (*judge)(struct download *d, const struct http_exchange *x,
				    struct error *err);
	bool text; /* the body becomes text, not a descriptor */
	void (*done)(struct download *d);
	void *owner;
	void *arg; /* of sign and judge; not touched */

	/* The result. */
	struct error err; /* ERR_NONE: it is there */
	int fd;		  /* its bytes, at 0; -1: none */
	bool unchanged;
	long status;		 /* of the last reply; 0: none */
	struct buffer text_body; /* of `text`; of a reply with an error: how it begins */
	char *etag_now;		 /* what the server calls it; NULL: nothing */
	char *modified_now;	 /* its Last-Modified; NULL: none */
	char *type;		 /* its Content-Type; NULL: none */
	int64_t retry_ms;	 /* of ERR_TRANSIENT: not earlier */
	struct download_task *task;
};

/* So far. */
struct download_counts {
	uint64_t files, bytes, unchanged; /* that came */
	uint64_t failed;		  /* ERR_DATA */
	uint64_t put_off;		  /* ERR_TRANSIENT */
	uint64_t retries;
};

int download_pool_open(const struct download_options *options, struct download_pool **out,
		       struct error *err);
/* Waits for the pool's thread; done of what is left is called before. NULL is fine. */
void download_pool_close(struct download_pool *pool);
void download_start(struct download_pool *pool, struct download *d);
/* 0, or -1 with @err as in d->err. */
int download_wait(struct download_pool *pool, struct download *d, struct error *err);
void download_pool_counts(struct download_pool *pool, struct download_counts *out);
/* Frees what the result holds, the descriptor included. */
void download_release(struct download *d);

#endif

/*
 * Private to src/net: what the parts of a download pool share.
 *
 *	download.c         what is started, sent and ended; the thread
 *	download_judge.c   what came of a request
 *	download_host.c    the servers, and what waits for each
 */
#ifndef LATENTD_NET_DOWNLOAD_PARTS_H
#define LATENTD_NET_DOWNLOAD_PARTS_H

#include "net/download.h"
#include "net/download_host.h"
#include "net/http_multi.h"

#include "base/thread.h"

/* After a failure of its server, before a download is asked for again. */
#define DOWNLOAD_PUT_OFF_MS 5000

struct download_task {
	struct download_waiter waiter; /* first */
	struct http_exchange x;
	struct download *d;
	struct download_host *host;
	struct endpoint_ticket ticket;
	char *encoded; /* d->url, as it is sent */
	char *url;     /* where it was redirected to; NULL: nowhere */
	unsigned tries, throttles, redirects;
	uint64_t answers; /* of its server before the first try */
	int64_t since;	  /* it waits for its server */
	struct buffer header_text;
	int fd;
	bool seen;			   /* a body has begun that nobody wants */
	struct error sink;		   /* why its body could not be kept */
	struct download_task *prev, *next; /* in flight */
};

struct download_pool {
	struct download_options options;
	char *ca_file;
	struct http_multi *multi;
	struct download_hosts *hosts;
	uint64_t names; /* replies of servers that have a name */
	struct retry_random random;
	struct download_task *flying;
	size_t n_flying;
	struct thread thread;

	pthread_mutex_t lock;
	struct download_waiter *started, **last; /* under the lock, like what follows */
	struct download_counts counts;
	bool closing;
};

/* Where it is fetched from now. */
const char *download_url(const struct download_task *t);
/* Into the line of its server. */
void download_queue_up(struct download_pool *p, struct download_task *t, int64_t now);
/* It is not in flight any more. */
void download_land(struct download_pool *p, struct download_task *t);
/* Its request has ended: its server has room for another. */
void download_asked(struct download_pool *p, struct download_task *t, int64_t now,
		    enum endpoint_outcome outcome);
/* d->err says how. */
void download_end(struct download_pool *p, struct download_task *t);
/* Its server cannot be asked now, for @ms at least. */
void download_put_off(struct download_pool *p, struct download_task *t, int64_t ms,
		      const char *why);
/* Its server cannot be asked: put off, or `no_such_host`. */
void download_give_up(struct download_pool *p, struct download_task *t, int64_t ms,
		      const char *why);
void download_end_bad(struct download_pool *p, struct download_task *t, const char *reason,
		      const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Its exchange has finished. */
void download_judge(struct download_pool *p, struct download_task *t);

#endif

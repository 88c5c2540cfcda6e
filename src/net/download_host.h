/*
 * Private to src/net: the servers of a download pool, each with what waits for it. On the pool's thread.
 */
#ifndef LATENTD_NET_DOWNLOAD_HOST_H
#define LATENTD_NET_DOWNLOAD_HOST_H

#include "net/endpoint.h"
#include "net/host_gate.h"

#include <stdbool.h>

/* A download in the pool: the head of what download.c knows of it. */
struct download_waiter {
	struct download_waiter *next;
	int64_t not_before; /* monotonic ms */
};

struct download_host {
	char *origin;
	struct endpoint endpoint;
	struct download_waiter *first, **last;
	size_t waiting;
	struct host_pass *pass; /* what all pools together may ask of it */
	uint64_t answers;	/* that said something about a file */
	bool named;		/* by a name, not an address */
	bool nameless;		/* the last request found no address for it */
	uint64_t names_before;	/* replies of named servers to the pool when that began */
	struct download_host *next_of_hash;
	struct download_host *next_waiting, **of_waiting; /* in the list of those with waiters */
};

struct download_hosts;

/* @each: of every server, but for its limit. */
struct download_hosts *download_hosts_new(const struct host_pass_options *each);
void download_hosts_free(struct download_hosts *hosts);
/* Made where it is not known, for @limit requests at once. Servers that are idle and well are forgotten when they become many. */
struct download_host *download_hosts_get(struct download_hosts *hosts, const char *origin,
					 size_t limit, int64_t now);
/* The first with waiters, and the next one in no order: it may be removed meanwhile, others may not. */
struct download_host *download_hosts_waiting(struct download_hosts *hosts);

void download_host_push(struct download_hosts *hosts, struct download_host *h,
			struct download_waiter *w);
/* The first that may be sent now, taken out, with room in the pass for it; NULL: none. */
struct download_waiter *download_host_pop(struct download_host *h, int64_t now);
/* The first, taken out; NULL: none. */
struct download_waiter *download_host_drop(struct download_host *h);
/* When download_host_pop() may give one; INT64_MAX: when something else happens. */
int64_t download_host_next(const struct download_host *h, int64_t now);

#endif

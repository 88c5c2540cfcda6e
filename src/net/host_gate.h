/*
 * Private to src/net: how many requests one server gets at a time, and how often, from all pools of this process together.
 *
 *	struct host_pass *pass = host_pass_open("https://example.org:443", &options);     of one pool
 *	if (host_pass_take(pass, now)) ... a request ... host_pass_give(pass, now)
 *	host_pass_close(pass)                                                             nothing is under way
 *
 * Of the pools that ask, or have requests under way, the smallest limit and the longest interval count. Who had to wait comes
 * before who asked later, is woken when it may be its turn, and has to ask again by itself every now and then: who has not for
 * HOST_GATE_STALE_MS does not wait any more. Any thread; times are those of one monotonic clock, in ms.
 */
#ifndef LATENTD_NET_HOST_GATE_H
#define LATENTD_NET_HOST_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOST_GATE_STALE_MS 1000

struct host_pass;

struct host_pass_options {
	size_t limit;	    /* requests under way, at least 1 */
	double interval_ms; /* between two requests; 0: none */
	void (*wake)(
	    void *arg); /* on any thread, under a lock: returns at once, and asks nothing */
	void *arg;
};

struct host_pass *host_pass_open(const char *origin, const struct host_pass_options *options);
/* NULL is fine. */
void host_pass_close(struct host_pass *pass);
/* Takes room for one request. False: there is none now. */
bool host_pass_take(struct host_pass *pass, int64_t now);
/* One that was taken has ended. */
void host_pass_give(struct host_pass *pass, int64_t now);
/* When host_pass_take() may succeed: @now, later, or INT64_MAX: when others have ended. */
int64_t host_pass_next(const struct host_pass *pass, int64_t now);

#endif

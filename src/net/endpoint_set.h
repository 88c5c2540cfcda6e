/*
 * Where the next request goes: to the endpoint that will answer it first.
 */
#ifndef LATENTD_NET_ENDPOINT_SET_H
#define LATENTD_NET_ENDPOINT_SET_H

#include "net/endpoint.h"

#define ENDPOINT_NOWHERE SIZE_MAX

/*
 * The index of an endpoint that has room, or ENDPOINT_NOWHERE: none has, or it is better to wait for one that is full.
 * An endpoint that is due for a probe comes first: it needs a request to come back. @waiting: requests that
 * wait to be sent, this one aside; a slow endpoint gets one only if it is done before the faster ones have done all these.
 * @avoid (or ENDPOINT_NOWHERE) is chosen only if no other endpoint works.
 */
size_t endpoint_set_choose(const struct endpoint *const *set, size_t n, int64_t now, size_t waiting,
			   size_t avoid);
/* For the second try of a request that is stuck at @busy: another one that works and has room now. */
size_t endpoint_set_hedge(const struct endpoint *const *set, size_t n, int64_t now, size_t busy);
/* Some endpoint works, or may be tried now. */
bool endpoint_set_usable(const struct endpoint *const *set, size_t n, int64_t now);

#endif

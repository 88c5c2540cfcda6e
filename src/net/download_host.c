#include "net/download_host.h"

#include "base/checked.h"
#include "base/hash.h"

#include <arpa/inet.h>
#include <string.h>

enum { BUCKETS = 1024, MANY = 16384 };

struct download_hosts {
	struct host_pass_options each;
	struct download_host *buckets[BUCKETS];
	struct download_host *waiting;
	size_t n;
	size_t enough; /* when there are so many, some are forgotten */
};

struct download_hosts *download_hosts_new(const struct host_pass_options *each)
{
	struct download_hosts *hosts = xcalloc(1, sizeof(*hosts));

	hosts->each = *each;
	hosts->enough = MANY;
	return hosts;
}

/* "http://[::1]:80", "https://192.0.2.1" and the like are none. */
static bool has_name(const char *origin)
{
	const char *host = strstr(origin, "://");
	char text[INET_ADDRSTRLEN] = "";
	struct in_addr address;
	size_t n;

	host = host ? host + 3 : origin;
	n = strcspn(host, ":/");
	if (n < sizeof(text))
		memcpy(text, host, n);
	return *host != '[' && inet_pton(AF_INET, text, &address) != 1;
}

static void host_free(struct download_host *h)
{
	host_pass_close(h->pass);
	free(h->origin);
	free(h);
}

void download_hosts_free(struct download_hosts *hosts)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct download_host *h = hosts->buckets[i], *next; h; h = next) {
			next = h->next_of_hash;
			host_free(h);
		}
	}
	free(hosts);
}

/* What is known of it is what is known of any. */
static bool is_forgettable(const struct download_host *h)
{
	return h->waiting == 0 && h->endpoint.in_flight == 0 && h->endpoint.phase == ENDPOINT_OK &&
	       !h->nameless;
}

/* Where few can be forgotten, the next look is at twice as many: not all of them for each that is new. */
static void forget_some(struct download_hosts *hosts)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct download_host **at = &hosts->buckets[i];

		while (*at) {
			struct download_host *h = *at;

			if (!is_forgettable(h)) {
				at = &h->next_of_hash;
				continue;
			}
			*at = h->next_of_hash;
			host_free(h);
			hosts->n--;
		}
	}
	hosts->enough = 2 * hosts->n > MANY ? 2 * hosts->n : MANY;
}

struct download_host *download_hosts_get(struct download_hosts *hosts, const char *origin,
					 size_t limit, int64_t now)
{
	const struct endpoint_limits limits = {.max_in_flight = limit};
	struct host_pass_options pass = hosts->each;
	size_t bucket = hash64_of(origin, strlen(origin), 0) % BUCKETS;
	struct download_host *h = hosts->buckets[bucket];

	while (h && strcmp(h->origin, origin) != 0)
		h = h->next_of_hash;
	if (h)
		return h;
	if (hosts->n >= hosts->enough)
		forget_some(hosts);
	h = xcalloc(1, sizeof(*h));
	h->origin = xstrdup(origin);
	h->named = has_name(origin);
	h->last = &h->first;
	pass.limit = limit;
	h->pass = host_pass_open(origin, &pass);
	endpoint_init(&h->endpoint, &limits, now);
	h->next_of_hash = hosts->buckets[bucket];
	hosts->buckets[bucket] = h;
	hosts->n++;
	return h;
}

struct download_host *download_hosts_waiting(struct download_hosts *hosts)
{
	return hosts->waiting;
}

void download_host_push(struct download_hosts *hosts, struct download_host *h,
			struct download_waiter *w)
{
	w->next = NULL;
	*h->last = w;
	h->last = &w->next;
	if (h->waiting++ > 0)
		return;
	h->next_waiting = hosts->waiting;
	h->of_waiting = &hosts->waiting;
	if (h->next_waiting)
		h->next_waiting->of_waiting = &h->next_waiting;
	hosts->waiting = h;
}

static struct download_waiter *take(struct download_host *h, struct download_waiter **at)
{
	struct download_waiter *w = *at;

	*at = w->next;
	if (!*at)
		h->last = at;
	if (--h->waiting == 0) {
		*h->of_waiting = h->next_waiting;
		if (h->next_waiting)
			h->next_waiting->of_waiting = h->of_waiting;
	}
	return w;
}

struct download_waiter *download_host_pop(struct download_host *h, int64_t now)
{
	if (!endpoint_room(&h->endpoint, now))
		return NULL;
	for (struct download_waiter **at = &h->first; *at; at = &(*at)->next) {
		if ((*at)->not_before <= now)
			return host_pass_take(h->pass, now) ? take(h, at) : NULL;
	}
	return NULL;
}

struct download_waiter *download_host_drop(struct download_host *h)
{
	return h->first ? take(h, &h->first) : NULL;
}

int64_t download_host_next(const struct download_host *h, int64_t now)
{
	int64_t at = INT64_MAX, host = endpoint_next(&h->endpoint, now), pass;

	for (const struct download_waiter *w = h->first; w; w = w->next)
		at = w->not_before < at ? w->not_before : at;
	if (at == INT64_MAX || (host == INT64_MAX && !endpoint_room(&h->endpoint, now)))
		return INT64_MAX;
	if (host != INT64_MAX && host > at)
		at = host;
	pass = host_pass_next(h->pass, now);
	return pass > at ? pass : at;
}

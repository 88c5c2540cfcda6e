/*
 * One lock for all of it: what is done under it is a look at a handful of passes, once a request.
 */
#include "net/host_gate.h"

#include "base/checked.h"
#include "base/hash.h"

#include <pthread.h>
#include <string.h>

enum { BUCKETS = 1024 };

struct host_gate {
	char *origin;
	struct host_pass *passes;
	size_t in_flight;
	double free_at; /* when the next request may be sent */
	uint64_t turns;
	struct host_gate *next;
};

struct host_pass {
	struct host_gate *gate;
	struct host_pass_options options;
	size_t in_flight;
	bool waiting;
	uint64_t turn; /* of one that waits: lower ones come first */
	int64_t asked_at;
	struct host_pass *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct host_gate *gates[BUCKETS]; /* of servers that some pool knows */

static struct host_gate **place_of(const char *origin)
{
	struct host_gate **at = &gates[hash64_of(origin, strlen(origin), 0) % BUCKETS];

	while (*at && strcmp((*at)->origin, origin) != 0)
		at = &(*at)->next;
	return at;
}

struct host_pass *host_pass_open(const char *origin, const struct host_pass_options *options)
{
	struct host_pass *pass = xcalloc(1, sizeof(*pass));
	struct host_gate **at;

	pass->options = *options;
	pthread_mutex_lock(&lock);
	at = place_of(origin);
	if (!*at) {
		*at = xcalloc(1, sizeof(**at));
		(*at)->origin = xstrdup(origin);
	}
	pass->gate = *at;
	pass->next = pass->gate->passes;
	pass->gate->passes = pass;
	pthread_mutex_unlock(&lock);
	return pass;
}

void host_pass_close(struct host_pass *pass)
{
	struct host_gate *gate, **at;
	struct host_pass **link;

	if (!pass)
		return;
	pthread_mutex_lock(&lock);
	gate = pass->gate;
	for (link = &gate->passes; *link != pass;)
		link = &(*link)->next;
	*link = pass->next;
	if (!gate->passes) {
		at = place_of(gate->origin);
		*at = gate->next;
		free(gate->origin);
		free(gate);
	}
	pthread_mutex_unlock(&lock);
	free(pass);
}

static bool waits(const struct host_pass *pass, int64_t now)
{
	return pass->waiting && now - pass->asked_at < HOST_GATE_STALE_MS;
}

/* The least that @pass and all that are at it now allow. */
static struct host_pass_options strictest(const struct host_pass *pass, int64_t now)
{
	struct host_pass_options all = pass->options;

	for (const struct host_pass *p = pass->gate->passes; p; p = p->next) {
		if (p->in_flight == 0 && !waits(p, now))
			continue;
		if (p->options.limit < all.limit)
			all.limit = p->options.limit;
		if (p->options.interval_ms > all.interval_ms)
			all.interval_ms = p->options.interval_ms;
	}
	return all;
}

/* Of those that wait the one whose turn it is, but for @but; NULL: nobody waits. */
static struct host_pass *first_waiting(const struct host_gate *gate, const struct host_pass *but,
				       int64_t now)
{
	struct host_pass *first = NULL;

	for (struct host_pass *p = gate->passes; p; p = p->next) {
		if (p != but && waits(p, now) && (!first || p->turn < first->turn))
			first = p;
	}
	return first;
}

/* There is room, and nobody comes before. */
static bool has_room(const struct host_pass *pass, int64_t now)
{
	const struct host_gate *gate = pass->gate;
	const struct host_pass *first = first_waiting(gate, pass, now);

	return gate->in_flight < strictest(pass, now).limit &&
	       (!first || (waits(pass, now) && pass->turn < first->turn));
}

static void wake_next(const struct host_pass *but, int64_t now)
{
	const struct host_pass *first = first_waiting(but->gate, but, now);

	if (first)
		first->options.wake(first->options.arg);
}

bool host_pass_take(struct host_pass *pass, int64_t now)
{
	struct host_gate *gate = pass->gate;
	bool taken;

	pthread_mutex_lock(&lock);
	taken = has_room(pass, now) && (double)now >= gate->free_at;
	if (!taken && !waits(pass, now))
		pass->turn = ++gate->turns;
	pass->asked_at = now;
	pass->waiting = !taken;
	if (taken) {
		/* What was not used of the rate is not saved up. */
		gate->free_at = (gate->free_at > (double)now - 1 ? gate->free_at : (double)now) +
				strictest(pass, now).interval_ms;
		gate->in_flight++;
		pass->in_flight++;
		wake_next(pass, now);
	}
	pthread_mutex_unlock(&lock);
	return taken;
}

void host_pass_give(struct host_pass *pass, int64_t now)
{
	pthread_mutex_lock(&lock);
	pass->gate->in_flight--;
	pass->in_flight--;
	wake_next(pass, now);
	pthread_mutex_unlock(&lock);
}

int64_t host_pass_next(const struct host_pass *pass, int64_t now)
{
	double free_at;
	bool room;

	pthread_mutex_lock(&lock);
	room = has_room(pass, now);
	free_at = pass->gate->free_at;
	pthread_mutex_unlock(&lock);
	if (!room)
		return INT64_MAX;
	return free_at > (double)now ? (int64_t)free_at + 1 : now;
}

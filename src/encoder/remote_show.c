/*
 * What the loop tells others after each turn: the state of every endpoint, whether there is room, and the batches that are
 * finished. Whoever asks gets a copy, so nobody waits for the loop.
 */
#include "encoder/remote_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum encoder_remote_state state_of(const struct remote_server *s, int64_t now)
{
	switch (s->endpoint.phase) {
	case ENDPOINT_STOPPED:
		return ENCODER_REMOTE_STOPPED;
	case ENDPOINT_WARMING:
		return ENCODER_REMOTE_WARMING;
	case ENDPOINT_OPEN:
		return ENCODER_REMOTE_FAILING;
	case ENDPOINT_OK:
		break;
	}
	if (s->endpoint.not_before > now)
		return ENCODER_REMOTE_BACKING_OFF;
	return s->images == 0 ? ENCODER_REMOTE_UNKNOWN : ENCODER_REMOTE_OK;
}

static void show_server(struct remote_server *s, int64_t now,
			struct encoder_remote_endpoint_view *v)
{
	const struct endpoint *e = &s->endpoint;
	enum encoder_remote_state state = state_of(s, now);

	if (state != s->state)
		s->state_since = now;
	s->state = state;
	v->state = state;
	v->state_ms = s->state_since;
	v->wait_ms = endpoint_next(e, now);
	memcpy(v->reason, s->reason, sizeof(v->reason));
	v->in_flight = e->in_flight;
	v->limit = e->phase == ENDPOINT_OK	  ? (size_t)e->limit
		   : e->phase == ENDPOINT_STOPPED ? 0
						  : 1;
	v->latency_ms = e->latency;
	v->requests = s->requests;
	v->failures = s->failures;
	v->images = s->images;
	v->sent = s->sent;
	v->received = s->received;
}

/* Under the lock: the batches that are done, the oldest first. */
static void hand_out(struct encoder_remote *r)
{
	struct remote_batch *newest = TAKE(r->done), *b = NULL;
	uint64_t one = 1;

	if (!newest)
		return;
	for (struct remote_batch *next; newest; newest = next) {
		next = newest->next;
		newest->next = b;
		b = newest;
	}
	for (struct remote_batch *next; b; b = next) {
		next = b->next;
		r->finished[r->n_finished++] = b->batch;
		free(b);
	}
	pthread_cond_broadcast(&r->changed);
	while (write(r->readable, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
}

void remote_show(struct encoder_remote *r, int64_t now)
{
	int64_t try_at = INT64_MAX;
	bool works = false;

	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->n_servers; i++) {
		const struct endpoint *e = &r->servers[i].endpoint;
		int64_t at = endpoint_room(e, now) ? now : endpoint_next(e, now);

		works |= e->phase == ENDPOINT_OK && e->not_before <= now;
		try_at = at < try_at ? at : try_at;
		show_server(&r->servers[i], now, &r->shown.endpoints[i]);
	}
	if (works != r->shown.works || try_at < r->shown.try_at)
		pthread_cond_broadcast(&r->changed); /* there may be capacity again */
	r->shown.works = works;
	r->shown.try_at = try_at;
	hand_out(r);
	pthread_mutex_unlock(&r->lock);
}

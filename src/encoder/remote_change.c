/*
 * Other endpoints while requests are under way. One that stays keeps all that is known of it and all that it is at; what is under
 * way at one that goes is sent to others, as if it had not been asked.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "encoder/remote_parts.h"

#include <string.h>

enum { SERVER_REQUESTS = 64 };

/* ---- a list of endpoints ---------------------------------------------------------------------------------------- */

void remote_list_release(struct remote_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		remote_access_release(&list->servers[i].access);
	free(list->servers);
	free(list->shown);
	*list = (struct remote_list){.n = 0};
}

static int server_init(const struct encoder_remote *r, const struct encoder_remote_endpoint *from,
		       struct remote_server *s, struct error *err)
{
	const struct endpoint_limits limits = {
	    .max_in_flight = from->max_in_flight ? from->max_in_flight : SERVER_REQUESTS,
	    .scale_up_ms = r->options.scale_up_ms,
	};
	int64_t now = clock_mono_ms();

	if (remote_access_init(&s->access, from->url, from->token_file, err) < 0)
		return -1;
	endpoint_init(&s->endpoint, &limits, now);
	s->known = r->options.declared;
	s->typed = r->options.wire == ENCODER_REMOTE_TYPED;
	s->state_since = now;
	return 0;
}

int remote_list_init(const struct encoder_remote *r, const struct encoder_remote_endpoint *from,
		     size_t n, struct remote_list *out, struct error *err)
{
	struct remote_list list = {.n = 0};

	if (n == 0)
		return error_set(err, ERR_CONFIG, "a remote encoder needs an endpoint");
	list.servers = xcalloc(n, sizeof(*list.servers));
	list.shown = xcalloc(n, sizeof(*list.shown));
	for (; list.n < n; list.n++) {
		struct remote_server *s = &list.servers[list.n];

		if (server_init(r, &from[list.n], s, err) < 0) {
			remote_list_release(&list);
			return -1;
		}
		list.shown[list.n] = (struct encoder_remote_endpoint_view){
		    .url = s->access.shown, .state_ms = s->state_since, .wait_ms = INT64_MAX};
	}
	*out = list;
	return 0;
}

size_t remote_list_requests(const struct remote_list *list, size_t most)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n && n < most; i++) {
		size_t more = list->servers[i].endpoint.limits.max_in_flight;

		n = more < most - n ? n + more : most;
	}
	return n;
}

void remote_list_use(struct encoder_remote *r, struct remote_list *list)
{
	r->set = xrealloc(r->set, list->n, sizeof(struct endpoint *));
	r->which = xrealloc(r->which, list->n, sizeof(*r->which));
	pthread_mutex_lock(&r->lock);
	r->servers = TAKE(list->servers);
	r->shown.endpoints = TAKE(list->shown);
	r->n_servers = list->n;
	pthread_mutex_unlock(&r->lock);
	list->n = 0;
}

/* ---- from one list to the next ---------------------------------------------------------------------------------- */

static size_t place_of(const struct remote_server *s, const struct remote_list *next,
		       const bool *taken)
{
	for (size_t i = 0; i < next->n; i++) {
		const struct remote_access *a = &next->servers[i].access;

		if (!taken[i] && strcmp(a->url, s->access.url) == 0 &&
		    text_same(a->token_file, s->access.token_file))
			return i;
	}
	return ENDPOINT_NOWHERE;
}

/* Where each is in @next; ENDPOINT_NOWHERE: it goes. To be freed. */
static size_t *places(const struct encoder_remote *r, const struct remote_list *next)
{
	cleanup_free bool *taken = xcalloc(next->n, sizeof(*taken));
	size_t *to = xcalloc(r->n_servers, sizeof(*to));

	for (size_t i = 0; i < r->n_servers; i++) {
		to[i] = place_of(&r->servers[i], next, taken);
		if (to[i] != ENDPOINT_NOWHERE)
			taken[to[i]] = true;
	}
	return to;
}

static void drop_flights(struct encoder_remote *r, struct remote_item *item, const size_t *to,
			 int64_t now)
{
	for (size_t i = 0; i < REMOTE_FLIGHTS; i++) {
		if (!item->flights[i] || to[item->flights[i]->server] != ENDPOINT_NOWHERE)
			continue;
		r->n_flying--;
		item->hedged = false;
		remote_flight_drop(r, TAKE(item->flights[i]), now);
	}
	if (!item->flights[0])
		item->flights[0] = TAKE(item->flights[1]);
	if (item->state == ITEM_FLYING && !item->flights[0])
		remote_item_enter(r, item, ITEM_READY);
}

/* Requests under way, and what items remember, name servers by their places. */
static void follow(struct remote_item *item, const size_t *to)
{
	for (size_t i = 0; i < REMOTE_FLIGHTS; i++) {
		if (item->flights[i])
			item->flights[i]->server = to[item->flights[i]->server];
	}
	if (item->avoid != ENDPOINT_NOWHERE)
		item->avoid = to[item->avoid];
}

/* What is known of @s; of the new one only its limits count. */
static void keep(struct remote_server *s, struct remote_server *fresh, size_t place)
{
	const struct endpoint_limits limits = fresh->endpoint.limits;

	remote_access_release(&fresh->access);
	*fresh = *s;
	endpoint_limit(&fresh->endpoint, &limits);
	if (fresh->question)
		fresh->question->server = place;
}

void remote_take_change(struct encoder_remote *r, int64_t now)
{
	struct remote_server *old = r->servers;
	struct encoder_remote_endpoint_view *shown = r->shown.endpoints;
	struct remote_list next;
	cleanup_free size_t *to = NULL;

	pthread_mutex_lock(&r->lock);
	next = r->wanted;
	r->wanted = (struct remote_list){.n = 0};
	pthread_mutex_unlock(&r->lock);
	if (next.n == 0)
		return;
	to = places(r, &next);
	for (size_t i = 0; i < r->n_items; i++)
		drop_flights(r, r->items[i], to, now);
	for (size_t i = 0; i < r->n_servers; i++) {
		if (to[i] != ENDPOINT_NOWHERE) {
			keep(&old[i], &next.servers[to[i]], to[i]);
			next.shown[to[i]] = shown[i];
			continue;
		}
		if (old[i].question)
			remote_flight_drop(r, TAKE(old[i].question), now);
		/* people may be looking at its name */
		ARRAY_GROW(r->gone, r->n_gone, r->gone_capacity);
		r->gone[r->n_gone++] = old[i].access;
	}
	for (size_t i = 0; i < r->n_items; i++)
		follow(r->items[i], to);
	remote_list_use(r, &next);
	free(old);
	free(shown);
}

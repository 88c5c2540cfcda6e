/*
 * The loop's thread: everything that has happened is taken in, then everything that can begin is begun, what is to be seen is
 * shown, and it waits for the next thing. Nothing in here blocks but that wait, which has an end while there is an image.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "encoder/remote_parts.h"

#include <string.h>

enum { TICK_MS = 500, AHEAD_LEAST = 2, HEDGE_SHARE = 20, HEDGES_FREE = 4 };

/* ---- items come and go ------------------------------------------------------------------------------------------ */

static void take_batch(struct encoder_remote *r, struct remote_batch *b)
{
	b->left = b->batch->n;
	for (size_t i = 0; i < b->batch->n; i++) {
		struct remote_item *item = xcalloc(1, sizeof(*item));

		item->batch = b;
		item->image = &b->batch->items[i];
		item->avoid = ENDPOINT_NOWHERE;
		item->moments = (struct ndarray)NDARRAY_INIT;
		ARRAY_GROW(r->items, r->n_items, r->items_capacity);
		r->items[r->n_items++] = item;
	}
}

void remote_item_enter(struct encoder_remote *r, struct remote_item *item,
		       enum remote_item_state state)
{
	r->n_ready -= item->state == ITEM_READY;
	r->n_preparing -= item->state == ITEM_PREPARING;
	item->state = state;
	r->n_ready += state == ITEM_READY;
	r->n_preparing += state == ITEM_PREPARING;
}

void remote_item_drop(struct encoder_remote *r, struct remote_item *item, int64_t now)
{
	for (size_t i = 0; i < REMOTE_FLIGHTS; i++) {
		if (!item->flights[i])
			continue;
		r->n_flying--;
		remote_flight_drop(r, TAKE(item->flights[i]), now);
	}
}

void remote_item_finish(struct encoder_remote *r, struct remote_item *item,
			const struct error *error)
{
	struct remote_batch *b = item->batch;

	remote_item_enter(r, item, ITEM_WAITING);
	if (error)
		item->image->error = *error;
	buffer_release(&item->body);
	ndarray_release(&item->moments);
	r->memory_used -= item->reserved;
	for (size_t i = 0; i < r->n_items; i++) {
		if (r->items[i] != item)
			continue;
		r->n_items--;
		memmove(&r->items[i], &r->items[i + 1],
			(r->n_items - i) * sizeof(struct remote_item *));
		break;
	}
	free(item);
	atomic_fetch_add(&r->ticks, 1);
	if (--b->left > 0)
		return;
	b->next = r->done;
	r->done = b;
}

static void take_arrived(struct encoder_remote *r, int64_t now)
{
	struct remote_batch *b;

	pthread_mutex_lock(&r->lock);
	b = TAKE(r->arrived);
	pthread_mutex_unlock(&r->lock);
	if (r->n_items == 0)
		r->works_until = now; /* patience begins anew */
	for (struct remote_batch *next; b; b = next) {
		next = b->next;
		take_batch(r, b);
	}
}

static const struct error *cancelled_error(struct error *err)
{
	error_set(err, ERR_TRANSIENT, "the encode was cancelled");
	return err;
}

static void worked_on(struct encoder_remote *r, struct remote_item *item)
{
	struct error err = ERROR_INIT;

	if (item->cancelled) {
		ndarray_release(&item->image->latent);
		remote_item_finish(r, item, cancelled_error(&err));
	} else if (item->error.code != ERR_NONE) {
		/* Memory is short, or no PNG is that large. */
		if (item->error.code != ERR_DATA)
			item->error.code = ERR_TRANSIENT;
		err = item->error;
		remote_item_finish(r, item, &err);
	} else if (item->state == ITEM_DRAWING) {
		remote_item_finish(r, item, NULL);
	} else {
		const struct remote_latent want = remote_latent_of(r, item->batch->batch);
		size_t needs = item->body.capacity + remote_reply_max(&want);

		r->memory_used += needs - item->reserved;
		item->reserved = needs;
		remote_item_enter(r, item, ITEM_READY);
	}
}

static void take_worked(struct encoder_remote *r)
{
	struct remote_item *item;

	pthread_mutex_lock(&r->lock);
	item = TAKE(r->worked);
	pthread_mutex_unlock(&r->lock);
	for (struct remote_item *next; item; item = next) {
		next = item->next;
		worked_on(r, item);
	}
}

/* Every item of the batches before the mark; what a worker has ends when that gives it back. */
static void take_cancel(struct encoder_remote *r, int64_t now)
{
	uint64_t mark = atomic_load(&r->cancelled);

	for (size_t i = r->n_items; i > 0; i--) {
		struct remote_item *item = r->items[i - 1];
		struct error err = ERROR_INIT;

		if (item->batch->number >= mark)
			continue;
		remote_item_drop(r, item, now);
		item->cancelled = true;
		if (item->state != ITEM_PREPARING && item->state != ITEM_DRAWING)
			remote_item_finish(r, item, cancelled_error(&err));
	}
}

/* ---- what begins ------------------------------------------------------------------------------------------------ */

/* How many bodies should be ready or made: what may be sent soon. */
static size_t ahead_wanted(const struct encoder_remote *r)
{
	size_t room = 0;

	for (size_t i = 0; i < r->n_servers; i++) {
		const struct endpoint *e = &r->servers[i].endpoint;

		if (e->phase == ENDPOINT_OK && e->limit > (double)e->in_flight)
			room += (size_t)e->limit - e->in_flight;
	}
	return room + AHEAD_LEAST * r->n_workers;
}

/* Items that are ready but for the pause before their next try. */
static size_t count_paused(const struct encoder_remote *r, int64_t now)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_items; i++)
		n += r->items[i]->state == ITEM_READY && r->items[i]->not_before > now;
	return n;
}

static void prepare_ahead(struct encoder_remote *r, int64_t now)
{
	size_t wanted = ahead_wanted(r) + count_paused(r, now);

	for (size_t i = 0; i < r->n_items && r->n_ready + r->n_preparing < wanted; i++) {
		struct remote_item *item = r->items[i];
		const struct remote_latent want = remote_latent_of(r, item->batch->batch);
		size_t needs = remote_work_bytes(r, item->batch->batch) + remote_reply_max(&want);

		if (item->state != ITEM_WAITING)
			continue;
		if (r->memory_used > 0 &&
		    (needs > r->options.memory || r->memory_used > r->options.memory - needs))
			return;
		item->reserved = needs;
		r->memory_used += needs;
		remote_item_enter(r, item, ITEM_PREPARING);
		remote_work_give(r, item);
	}
}

/* Fills r->set with those that may have images, and r->which with what each is; returns how many. */
static size_t known_servers(struct encoder_remote *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_servers; i++) {
		if (!r->servers[i].known)
			continue;
		r->set[n] = &r->servers[i].endpoint;
		r->which[n++] = i;
	}
	return n;
}

static size_t position_of(const struct encoder_remote *r, size_t n, size_t server)
{
	for (size_t i = 0; i < n; i++) {
		if (r->which[i] == server)
			return i;
	}
	return ENDPOINT_NOWHERE;
}

static void ask_models(struct encoder_remote *r, int64_t now)
{
	for (size_t i = 0; i < r->n_servers && r->n_items > 0; i++) {
		struct remote_server *s = &r->servers[i];

		if (!s->known && !s->question && endpoint_room(&s->endpoint, now))
			remote_send_question(r, i, now);
	}
}

static void send_ready(struct encoder_remote *r, int64_t now)
{
	size_t n = known_servers(r);

	for (size_t i = 0; i < r->n_items && n > 0 && r->n_flying < r->max_requests; i++) {
		struct remote_item *item = r->items[i];
		size_t at;

		if (item->state != ITEM_READY || item->not_before > now)
			continue;
		at = endpoint_set_choose(r->set, n, now, r->n_ready - 1,
					 position_of(r, n, item->avoid));
		if (at == ENDPOINT_NOWHERE) {
			if (item->avoid == ENDPOINT_NOWHERE)
				return;
			continue;
		}
		if (!remote_send_image(r, item, r->which[at], now))
			return;
		remote_item_enter(r, item, ITEM_FLYING);
	}
}

/* A second try of what is stuck, where nothing else waits; no more than a few, and a twentieth of all requests. */
static void hedge(struct encoder_remote *r, int64_t now)
{
	size_t n = known_servers(r);

	if (r->options.declared || n < 2 || r->n_ready > 0)
		return;
	for (size_t i = 0; i < r->n_items && r->n_flying < r->max_requests; i++) {
		struct remote_item *item = r->items[i];
		const struct remote_flight *f = item->flights[0];
		size_t at;

		if (item->state != ITEM_FLYING || item->hedged || !f ||
		    r->hedges >= HEDGES_FREE + r->requests / HEDGE_SHARE ||
		    now - f->ticket.started < endpoint_stuck_ms(&r->servers[f->server].endpoint))
			continue;
		at = endpoint_set_hedge(r->set, n, now, position_of(r, n, f->server));
		if (at == ENDPOINT_NOWHERE)
			return;
		item->hedged = remote_send_image(r, item, r->which[at], now);
		r->hedges += item->hedged;
	}
}

/* ---- where there is nobody -------------------------------------------------------------------------------------- */

/* The next time that anybody may be sent something: 0: now, INT64_MAX: never. */
static int64_t next_chance(struct encoder_remote *r, int64_t now)
{
	int64_t wait = cost_guard_wait_ms(r->options.guard, now), first = INT64_MAX;

	for (size_t i = 0; i < r->n_servers; i++) {
		const struct endpoint *e = &r->servers[i].endpoint;
		int64_t at = e->not_before > now ? e->not_before : 0;

		if (e->phase == ENDPOINT_STOPPED)
			continue;
		if (e->probing) /* under way: its end is a chance, whenever that is */
			at = now;
		first = at < first ? at : first;
	}
	return wait > 0 && first < now + wait ? now + wait : first;
}

static void why_nobody(const struct encoder_remote *r, bool guarded, struct error *err)
{
	const struct remote_server *s = &r->servers[0];

	for (size_t i = 1; i < r->n_servers && s->reason[0] == '\0'; i++)
		s = &r->servers[i];
	if (guarded)
		error_set(err, ERR_TRANSIENT, "the cost guard has paused this encoder");
	else
		error_set(err, ERR_TRANSIENT, "no endpoint takes images now (%s: %s)",
			  s->access.shown, s->reason[0] ? s->reason : "waited for");
}

/* What nobody can take for long goes back, so that others can have it. */
static void give_back_stranded(struct encoder_remote *r, int64_t now)
{
	int64_t chance = next_chance(r, now);
	bool guarded = cost_guard_wait_ms(r->options.guard, now) > 0;
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < r->n_servers && !guarded; i++) {
		const struct endpoint *e = &r->servers[i].endpoint;

		if (e->phase == ENDPOINT_OK && e->not_before <= now)
			r->works_until = now;
	}
	if (chance <= now + REMOTE_PATIENCE_MS && now - r->works_until < REMOTE_PATIENCE_MS)
		return;
	why_nobody(r, guarded, &err);
	for (size_t i = r->n_items; i > 0; i--) {
		struct remote_item *item = r->items[i - 1];

		if (item->state == ITEM_WAITING || item->state == ITEM_READY)
			remote_item_finish(r, item, &err);
	}
}

static void look_for_tokens(struct encoder_remote *r, int64_t now)
{
	for (size_t i = 0; i < r->n_servers; i++) {
		struct remote_server *s = &r->servers[i];

		if (s->endpoint.phase != ENDPOINT_STOPPED || !s->wants_token || s->token_at > now)
			continue;
		if (remote_new_token(s, now)) {
			endpoint_resume(&s->endpoint, now);
			s->wants_token = false;
		}
	}
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

/* Until the next thing that no wake announces; -1: never. */
static int wait_ms(const struct encoder_remote *r, int64_t now)
{
	int64_t end = r->n_items > 0 ? now + TICK_MS : INT64_MAX;

	for (size_t i = 0; i < r->n_items; i++) {
		const struct remote_item *item = r->items[i];

		if (item->state == ITEM_READY && item->not_before > now && item->not_before < end)
			end = item->not_before;
	}
	for (size_t i = 0; i < r->n_servers; i++) {
		const struct remote_server *s = &r->servers[i];
		int64_t next = endpoint_next(&s->endpoint, now);

		if (s->wants_token && s->endpoint.phase == ENDPOINT_STOPPED)
			next = s->token_at;
		end = next < end ? next : end;
	}
	if (end == INT64_MAX)
		return -1;
	return end > now ? (int)(end - now < TICK_MS * 100 ? end - now : TICK_MS * 100) : 0;
}

static void take_replies(struct encoder_remote *r, int64_t now)
{
	struct http_exchange *x;

	while ((x = http_multi_finished(r->multi))) {
		struct remote_flight *f = x->owner;

		if (f->item)
			remote_judge(r, f, now);
		else
			remote_answered(r, f, now);
	}
}

void *remote_loop_run(void *arg)
{
	struct encoder_remote *r = arg;

	while (!atomic_load(&r->closing)) {
		int64_t now = clock_mono_ms();

		take_arrived(r, now);
		take_worked(r);
		take_replies(r, now);
		remote_take_change(r, now);
		take_cancel(r, now);
		look_for_tokens(r, now);
		give_back_stranded(r, now);
		if (cost_guard_wait_ms(r->options.guard, now) == 0) {
			prepare_ahead(r, now);
			ask_models(r, now);
			send_ready(r, now);
			hedge(r, now);
		}
		remote_show(r, now);
		if (r->n_items > 0)
			atomic_fetch_add(&r->ticks, 1);
		http_multi_wait(r->multi, wait_ms(r, now));
	}
	return NULL;
}

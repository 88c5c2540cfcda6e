/*
 * One timer for all workers is set to the earliest deadline, and looks at all when it goes off, so that an image costs
 * no timer of its own.
 */
#include "daemon/decode_pool_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <assert.h>
#include <string.h>

enum { IMAGES_PER_PROCESS = 10000, TIME_LIMIT_MS = 5000, MEGAPIXEL_MS = 100 };

/* -- time ----------------------------------------------------------------------------------------- */

static void timer_set(struct decode_pool *pool, int64_t at)
{
	pool->timer_at = at;
	if (at == DECODE_NO_DEADLINE) {
		sd_event_source_set_enabled(pool->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(pool->timer, (uint64_t)at * 1000);
	sd_event_source_set_enabled(pool->timer, SD_EVENT_ONESHOT);
}

/* A timer that goes off too early only looks again. */
void decode_deadline_set(struct decode_worker *w, uint64_t ms)
{
	w->limit_ms = ms;
	w->deadline = clock_mono_ms() + (int64_t)ms;
	if (w->deadline < w->pool->timer_at)
		timer_set(w->pool, w->deadline);
}

/* Here, because nobody has their pixels or is at their messages any more. */
static void forget_gone(struct decode_pool *pool)
{
	size_t kept = 0;

	for (size_t i = 0; i < pool->n; i++) {
		if (pool->workers[i]->state == WORKER_GONE)
			free(pool->workers[i]);
		else
			pool->workers[kept++] = pool->workers[i];
	}
	pool->n = kept;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct decode_pool *pool = arg;
	int64_t now = clock_mono_ms(), next = DECODE_NO_DEADLINE;

	(void)source;
	(void)usec;
	for (size_t i = 0; i < pool->n; i++) {
		if (pool->workers[i]->deadline <= now)
			decode_worker_late(pool->workers[i], now);
	}
	forget_gone(pool);
	for (size_t i = 0; i < pool->n; i++) {
		if (pool->workers[i]->deadline < next)
			next = pool->workers[i]->deadline;
	}
	timer_set(pool, next);
	return 0;
}

/* -- the pool ------------------------------------------------------------------------------------- */

static struct decode_worker *worker_add(struct decode_pool *pool)
{
	struct decode_worker *w = xcalloc(1, sizeof(*w));

	*w = (struct decode_worker){.pool = pool,
				    .process = DECODE_PROCESS_NONE,
				    .deadline = DECODE_NO_DEADLINE,
				    .stage = STAGE_NONE};
	for (size_t i = 0; i < DECODE_BERTHS; i++)
		w->berths[i].worker = w;
	ARRAY_GROW(pool->workers, pool->n, pool->capacity);
	pool->workers[pool->n++] = w;
	return w;
}

static struct decode_pool *pool_new(sd_event *event, const struct decode_pool_options *options)
{
	struct decode_pool *pool = xcalloc(1, sizeof(*pool));

	pool->event = event;
	pool->options = *options;
	pool->options.time_limit_ms = options->time_limit_ms ?: TIME_LIMIT_MS;
	pool->options.megapixel_ms = options->megapixel_ms ?: MEGAPIXEL_MS;
	pool->options.images_per_process = options->images_per_process ?: IMAGES_PER_PROCESS;
	pool->program = options->program ? xstrdup(options->program) : NULL;
	pool->timer_at = DECODE_NO_DEADLINE;
	return pool;
}

int decode_pool_open(sd_event *event, const struct decode_pool_options *options,
		     struct decode_pool **out, struct error *err)
{
	struct decode_pool *pool;
	int r;

	assert(options->workers > 0 &&
	       (options->slot_bytes > 0) == (options->mode == DECODE_MODE_PIXELS));
	pool = pool_new(event, options);
	r = sd_event_add_time(event, &pool->timer, CLOCK_MONOTONIC, UINT64_MAX, 1, on_timer, pool);
	if (r < 0) {
		decode_pool_close(pool);
		return error_set(err, ERR_IO, "cannot set a timer: %s", strerror(-r));
	}
	for (size_t i = 0; i < options->workers; i++) {
		if (decode_worker_spawn(worker_add(pool), err) < 0) {
			decode_pool_close(pool);
			return -1;
		}
	}
	*out = pool;
	return 0;
}

void decode_pool_close(struct decode_pool *pool)
{
	char how[DECODE_PROCESS_END_SIZE];

	if (!pool)
		return;
	for (size_t i = 0; i < pool->n; i++) {
		decode_worker_stop(pool->workers[i], how);
		free(pool->workers[i]);
	}
	sd_event_source_disable_unref(pool->timer);
	free(pool->workers);
	free(pool->program);
	free(pool);
}

size_t decode_pool_workers(const struct decode_pool *pool)
{
	return pool->n;
}

static void leave_some(struct decode_pool *pool, size_t n, bool with_images)
{
	for (size_t i = 0; i < pool->n && n > 0; i++) {
		struct decode_worker *w = pool->workers[i];

		if (w->leaves || (decode_worker_images(w) > 0) != with_images)
			continue;
		decode_worker_leave(w);
		n--;
	}
}

static size_t staying(const struct decode_pool *pool)
{
	size_t n = 0;

	for (size_t i = 0; i < pool->n; i++)
		n += !pool->workers[i]->leaves;
	return n;
}

void decode_pool_resize(struct decode_pool *pool, size_t workers)
{
	size_t n = staying(pool);

	assert(workers > 0);
	for (size_t i = 0; i < pool->n && n < workers; i++) {
		if (pool->workers[i]->leaves) {
			decode_worker_stay(pool->workers[i]);
			n++;
		}
	}
	for (; n < workers; n++)
		decode_deadline_set(worker_add(pool), 0);
	if (n > workers)
		leave_some(pool, n - workers, false);
	n = staying(pool);
	if (n > workers)
		leave_some(pool, n - workers, true);
}

size_t decode_pool_room(const struct decode_pool *pool)
{
	size_t n = 0;

	for (size_t i = 0; i < pool->n; i++)
		n += decode_worker_has_room(pool->workers[i]);
	return n;
}

size_t decode_pool_busy(const struct decode_pool *pool)
{
	size_t n = 0;

	for (size_t i = 0; i < pool->n; i++)
		n += decode_worker_images(pool->workers[i]) > 0;
	return n;
}

int64_t decode_pool_longest_ms(const struct decode_pool *pool, int64_t now)
{
	int64_t longest = 0;

	for (size_t i = 0; i < pool->n; i++) {
		const struct decode_worker *w = pool->workers[i];
		int64_t at = w->n_owed > 0 ? now - (w->deadline - (int64_t)w->limit_ms) : 0;

		if (at > longest)
			longest = at;
	}
	return longest;
}

/* Whether @w has an image of @whose that @which picks; NULL: any. */
static bool has_any(const struct decode_worker *w, const struct decode_handlers *whose,
		    bool (*which)(const void *image, const void *arg), const void *arg)
{
	for (size_t i = 0; i < DECODE_BERTHS; i++) {
		const struct decode_ticket *t = &w->berths[i];

		if (t->state != TICKET_FREE && t->handlers == whose &&
		    (!which || which(t->image, arg)))
			return true;
	}
	return false;
}

void decode_pool_cancel_some(struct decode_pool *pool,
			     bool (*which)(const void *image, const void *arg), const void *arg)
{
	for (size_t i = 0; i < pool->n; i++) {
		if (has_any(pool->workers[i], &pool->options.handlers, which, arg))
			decode_worker_cancel(pool->workers[i]);
	}
}

void decode_pool_cancel_for(struct decode_pool *pool, const struct decode_handlers *whose)
{
	for (size_t i = 0; i < pool->n; i++) {
		if (has_any(pool->workers[i], whose, NULL, NULL))
			decode_worker_cancel(pool->workers[i]);
	}
}

void decode_pool_cancel(struct decode_pool *pool)
{
	pool->cancelled = true;
	for (size_t i = 0; i < pool->n; i++) {
		if (decode_worker_images(pool->workers[i]) > 0)
			decode_worker_cancel(pool->workers[i]);
	}
}

void decode_pool_reserve(struct decode_pool *pool, size_t slot_bytes)
{
	if (slot_bytes <= pool->options.slot_bytes)
		return;
	pool->options.slot_bytes = slot_bytes;
	for (size_t i = 0; i < pool->n; i++)
		decode_worker_outgrown(pool->workers[i]);
}

const char *decode_pool_last_end(const struct decode_pool *pool)
{
	return pool->last_end;
}

const char *decode_pool_confinement(const struct decode_pool *pool)
{
	return pool->confinement;
}

const char *decode_pool_warning(const struct decode_pool *pool)
{
	return pool->warning[0] ? pool->warning : NULL;
}

bool decode_pool_dead(const struct decode_pool *pool)
{
	size_t lost = 0;

	for (size_t i = 0; i < pool->n; i++)
		lost += pool->workers[i]->state == WORKER_DOWN &&
			pool->workers[i]->deadline == DECODE_NO_DEADLINE;
	return !pool->cancelled && lost == pool->n;
}

void decode_pool_revive(struct decode_pool *pool)
{
	if (!decode_pool_dead(pool))
		return;
	pool->early_deaths = 0;
	for (size_t i = 0; i < pool->n; i++)
		decode_deadline_set(pool->workers[i], 0);
}

void decode_pool_start(struct decode_pool *pool, int fd, void *image)
{
	decode_pool_start_for(pool, fd, image, &pool->options.handlers);
}

/* By the worker that will be at the image soonest. */
void decode_pool_start_for(struct decode_pool *pool, int fd, void *image,
			   const struct decode_handlers *handlers)
{
	struct decode_worker *best = NULL;

	for (size_t i = 0; i < pool->n; i++) {
		struct decode_worker *w = pool->workers[i];

		if (decode_worker_has_room(w) &&
		    (!best || decode_worker_images(w) < decode_worker_images(best)))
			best = w;
	}
	assert(best);
	decode_worker_open(best, fd, image, handlers);
}

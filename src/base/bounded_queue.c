/* A ring of max_items slots under one mutex, with a condition for each side that may wait. */
#include "base/bounded_queue.h"

#include "base/checked.h"

#include <assert.h>
#include <pthread.h>

struct slot {
	void *item;
	size_t bytes;
};

struct bounded_queue {
	pthread_mutex_t lock;
	pthread_cond_t not_empty, not_full;
	struct slot *slots;
	size_t max_items, max_bytes;
	size_t head, items, bytes;
	bool closed;
};

struct bounded_queue *bounded_queue_new(size_t max_items, size_t max_bytes)
{
	struct bounded_queue *q = xcalloc(1, sizeof(*q));

	assert(max_items > 0);
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->not_empty, NULL);
	pthread_cond_init(&q->not_full, NULL);
	q->slots = xcalloc(max_items, sizeof(*q->slots));
	q->max_items = max_items;
	q->max_bytes = max_bytes;
	return q;
}

void bounded_queue_free(struct bounded_queue *q)
{
	if (!q)
		return;
	pthread_cond_destroy(&q->not_full);
	pthread_cond_destroy(&q->not_empty);
	pthread_mutex_destroy(&q->lock);
	free(q->slots);
	free(q);
}

void bounded_queue_grow(struct bounded_queue *q, size_t max_items)
{
	struct slot *slots;

	pthread_mutex_lock(&q->lock);
	if (max_items > q->max_items) {
		slots = xcalloc(max_items, sizeof(*slots));
		for (size_t i = 0; i < q->items; i++)
			slots[i] = q->slots[(q->head + i) % q->max_items];
		free(q->slots);
		q->slots = slots;
		q->max_items = max_items;
		q->head = 0;
		pthread_cond_broadcast(&q->not_full);
	}
	pthread_mutex_unlock(&q->lock);
}

static bool has_room(const struct bounded_queue *q, size_t bytes)
{
	size_t total;

	if (q->items == 0)
		return true;
	return q->items < q->max_items && size_add(q->bytes, bytes, &total) &&
	       total <= q->max_bytes;
}

static void put(struct bounded_queue *q, void *item, size_t bytes)
{
	assert(item);
	q->slots[(q->head + q->items) % q->max_items] = (struct slot){item, bytes};
	q->items++;
	q->bytes += bytes;
	pthread_cond_signal(&q->not_empty);
}

bool bounded_queue_push(struct bounded_queue *q, void *item, size_t bytes)
{
	bool taken;

	pthread_mutex_lock(&q->lock);
	while (!q->closed && !has_room(q, bytes))
		pthread_cond_wait(&q->not_full, &q->lock);
	taken = !q->closed;
	if (taken)
		put(q, item, bytes);
	pthread_mutex_unlock(&q->lock);
	return taken;
}

bool bounded_queue_try_push(struct bounded_queue *q, void *item, size_t bytes)
{
	bool taken;

	pthread_mutex_lock(&q->lock);
	taken = !q->closed && has_room(q, bytes);
	if (taken)
		put(q, item, bytes);
	pthread_mutex_unlock(&q->lock);
	return taken;
}

static void *take(struct bounded_queue *q)
{
	struct slot slot;

	if (q->items == 0)
		return NULL;
	slot = q->slots[q->head];
	q->head = (q->head + 1) % q->max_items;
	q->items--;
	q->bytes -= slot.bytes;
	pthread_cond_broadcast(&q->not_full);
	return slot.item;
}

void *bounded_queue_pop(struct bounded_queue *q)
{
	void *item;

	pthread_mutex_lock(&q->lock);
	while (!q->closed && q->items == 0)
		pthread_cond_wait(&q->not_empty, &q->lock);
	item = take(q);
	pthread_mutex_unlock(&q->lock);
	return item;
}

void *bounded_queue_try_pop(struct bounded_queue *q)
{
	void *item;

	pthread_mutex_lock(&q->lock);
	item = take(q);
	pthread_mutex_unlock(&q->lock);
	return item;
}

void bounded_queue_close(struct bounded_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->closed = true;
	pthread_cond_broadcast(&q->not_empty);
	pthread_cond_broadcast(&q->not_full);
	pthread_mutex_unlock(&q->lock);
}

size_t bounded_queue_items(struct bounded_queue *q)
{
	size_t items;

	pthread_mutex_lock(&q->lock);
	items = q->items;
	pthread_mutex_unlock(&q->lock);
	return items;
}

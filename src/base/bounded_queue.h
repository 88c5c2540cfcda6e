/*
 * First in, first out between threads, bounded in items and in bytes.
 *
 *	producer: bounded_queue_push(q, item, bytes)      waits while it is full
 *	consumer: while ((item = bounded_queue_pop(q)))   waits while it is empty
 *	the end:  bounded_queue_close(q)                  push refuses, pop hands out what is left, then NULL
 *
 * An item larger than the byte bound is taken when the queue is empty: it travels alone. The queue
 * does not own its items; after close the consumer empties it.
 */
#ifndef LATENTD_BASE_BOUNDED_QUEUE_H
#define LATENTD_BASE_BOUNDED_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct bounded_queue;

struct bounded_queue *bounded_queue_new(size_t max_items, size_t max_bytes);
/* Must be empty or hold items that somebody else frees. NULL is fine. */
void bounded_queue_free(struct bounded_queue *q);

/* So many items from now on, unless it holds that many already. */
void bounded_queue_grow(struct bounded_queue *q, size_t max_items);

/* Waits for room. False if the queue is closed: the item stays the caller's. */
bool bounded_queue_push(struct bounded_queue *q, void *item, size_t bytes);
/* The same without waiting: false also when it is full. */
bool bounded_queue_try_push(struct bounded_queue *q, void *item, size_t bytes);
/* Waits for an item. NULL: closed and empty. */
void *bounded_queue_pop(struct bounded_queue *q);
/* NULL: nothing there now. */
void *bounded_queue_try_pop(struct bounded_queue *q);
void bounded_queue_close(struct bounded_queue *q);
size_t bounded_queue_items(struct bounded_queue *q);

#endif

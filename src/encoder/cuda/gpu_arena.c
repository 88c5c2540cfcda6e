/* Largest first, each at the lowest offset where nothing lies that lives at the same time. */
#include "gpu_arena.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

static size_t end_of(const struct gpu_arena_item *item)
{
	size_t end = 0;

	if (__builtin_add_overflow(item->offset, item->bytes, &end) ||
	    end > SIZE_MAX - GPU_ARENA_ALIGN)
		return SIZE_MAX;
	return (end + GPU_ARENA_ALIGN - 1) / GPU_ARENA_ALIGN * GPU_ARENA_ALIGN;
}

static int meet(const struct gpu_arena_item *a, const struct gpu_arena_item *b)
{
	return a->first <= b->last && b->first <= a->last;
}

/* The lowest end of a placed item that is in the way of @item where it lies now; 0: nothing is. */
static size_t obstacle(struct gpu_arena_item *const *placed, size_t n,
		       const struct gpu_arena_item *item)
{
	size_t lowest = 0;

	for (size_t i = 0; i < n; i++) {
		size_t end = end_of(placed[i]);

		if (meet(placed[i], item) && placed[i]->offset < end_of(item) &&
		    item->offset < end && (lowest == 0 || end < lowest))
			lowest = end;
	}
	return lowest;
}

/* Items in the order in which they are placed, and how many are. */
struct placing {
	struct gpu_arena_item *items;
	size_t n;
	struct gpu_arena_item *order[GPU_ARENA_ITEMS], *placed[GPU_ARENA_ITEMS];
	size_t n_order, n_placed;
};

static void sort(struct placing *p)
{
	for (size_t i = 0; i < p->n; i++) {
		size_t at = p->n_order;

		p->items[i].offset = 0;
		if (p->items[i].bytes == 0 || p->items[i].over)
			continue;
		for (; at > 0 && p->order[at - 1]->bytes < p->items[i].bytes; at--)
			p->order[at] = p->order[at - 1];
		p->order[at] = &p->items[i];
		p->n_order++;
	}
}

/* What is in the way of @item, or of one that begins where it does. */
static size_t any_obstacle(const struct placing *p, const struct gpu_arena_item *item)
{
	size_t next = obstacle(p->placed, p->n_placed, item);

	for (size_t i = 0; i < p->n; i++) {
		struct gpu_arena_item over = p->items[i];
		size_t other;

		if (over.over != item)
			continue;
		over.offset = item->offset;
		other = obstacle(p->placed, p->n_placed, &over);
		next = other > next ? other : next;
	}
	return next;
}

/* False: it has no place. */
static bool place(struct placing *p, struct gpu_arena_item *item)
{
	size_t next;

	while ((next = any_obstacle(p, item)) > 0 && next != SIZE_MAX)
		item->offset = next;
	if (next == SIZE_MAX || end_of(item) == SIZE_MAX)
		return false;
	p->placed[p->n_placed++] = item;
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].over != item || p->items[i].bytes == 0)
			continue;
		p->items[i].offset = item->offset;
		p->placed[p->n_placed++] = &p->items[i];
	}
	return true;
}

size_t gpu_arena_plan(struct gpu_arena_item *items, size_t n)
{
	struct placing p = {.items = items, .n = n};
	size_t size = 0;

	assert(n <= GPU_ARENA_ITEMS);
	sort(&p);
	for (size_t i = 0; i < p.n_order; i++) {
		if (!place(&p, p.order[i]))
			return SIZE_MAX;
		if (end_of(p.order[i]) > size)
			size = end_of(p.order[i]);
	}
	return size;
}

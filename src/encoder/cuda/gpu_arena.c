/* Largest first, each at the lowest offset where nothing lies that lives at the same time. */
#include "gpu_arena.h"

#include <assert.h>
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

size_t gpu_arena_plan(struct gpu_arena_item *items, size_t n)
{
	struct gpu_arena_item *order[GPU_ARENA_ITEMS];
	size_t size = 0, count = 0;

	assert(n <= GPU_ARENA_ITEMS);
	for (size_t i = 0; i < n; i++) {
		size_t at = count;

		items[i].offset = 0;
		if (items[i].bytes == 0)
			continue;
		for (; at > 0 && order[at - 1]->bytes < items[i].bytes; at--)
			order[at] = order[at - 1];
		order[at] = &items[i];
		count++;
	}
	for (size_t i = 0; i < count; i++) {
		size_t next;

		while ((next = obstacle(order, i, order[i])) > 0 && next != SIZE_MAX)
			order[i]->offset = next;
		if (next == SIZE_MAX || end_of(order[i]) == SIZE_MAX)
			return SIZE_MAX;
		if (end_of(order[i]) > size)
			size = end_of(order[i]);
	}
	return size;
}

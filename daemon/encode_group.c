#include "daemon/encode_group.h"

#include "base/checked.h"

#include <assert.h>
#include <string.h>

void encode_group_add(struct encode_group *g, struct encode_driver *driver)
{
	ARRAY_GROW(g->drivers, g->n, g->capacity);
	g->drivers[g->n++] = driver;
}

void encode_group_remove(struct encode_group *g, const struct encode_driver *driver)
{
	for (size_t i = 0; i < g->n; i++) {
		if (g->drivers[i] != driver)
			continue;
		memmove(&g->drivers[i], &g->drivers[i + 1], (--g->n - i) * sizeof(*g->drivers));
		return;
	}
}

/* The one with the least before it, of those that have room and can do it. NULL: none has. */
static struct encode_driver *freest(const struct encode_group *g, unsigned needs)
{
	struct encode_driver *best = NULL;

	for (size_t i = 0; i < g->n; i++) {
		struct encode_driver *d = g->drivers[i];

		if (encode_driver_room(d) > 0 && encode_driver_can(d, needs) &&
		    (!best || encode_driver_in_flight(d) < encode_driver_in_flight(best)))
			best = d;
	}
	return best;
}

bool encode_group_room(const struct encode_group *g, unsigned needs)
{
	return freest(g, needs) != NULL;
}

bool encode_group_is_shut(const struct encode_group *g)
{
	for (size_t i = 0; i < g->n; i++) {
		if (!encode_driver_is_shut(g->drivers[i]))
			return false;
	}
	return g->n > 0;
}

static bool has_values(const struct encode_batch *batch)
{
	for (size_t i = 0; i < batch->n; i++) {
		if (batch->items[i].values)
			return true;
	}
	return false;
}

void encode_group_submit(struct encode_group *g, struct encode_batch *batch)
{
	unsigned needs =
	    (batch->tile > 0 ? ENCODE_TILES : 0) | (has_values(batch) ? ENCODE_VALUES : 0);
	struct encode_driver *d = freest(g, needs);

	assert(d);
	encode_driver_submit(d, batch);
}

void encode_group_release(struct encode_group *g)
{
	free(g->drivers);
	*g = (struct encode_group)ENCODE_GROUP_INIT;
}

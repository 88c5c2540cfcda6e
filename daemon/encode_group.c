#include "daemon/encode_group.h"

#include "base/checked.h"

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

/*
 * Whether @a should have done a batch before @b, by what they have before it and how they went until now. One that has given
 * none back yet is tried; of two such, and of equals, the one with less before it.
 */
static bool is_sooner(const struct encode_driver *a, const struct encode_driver *b)
{
	size_t before[2] = {encode_driver_in_flight(a), encode_driver_in_flight(b)};
	double ends[2] = {(double)(before[0] + 1) * (double)encode_driver_pace(a),
			  (double)(before[1] + 1) * (double)encode_driver_pace(b)};

	return ends[0] < ends[1] || (ends[0] <= ends[1] && before[0] < before[1]);
}

bool encode_group_can(const struct encode_group *g, unsigned needs)
{
	for (size_t i = 0; i < g->n; i++) {
		if (encode_driver_can(g->drivers[i], needs))
			return true;
	}
	return false;
}

struct encode_driver *encode_group_pick(const struct encode_group *g, unsigned needs)
{
	struct encode_driver *best = NULL;

	for (size_t i = 0; i < g->n; i++) {
		struct encode_driver *d = g->drivers[i];

		if (encode_driver_room(d) > 0 && encode_driver_can(d, needs) &&
		    (!best || is_sooner(d, best)))
			best = d;
	}
	return best;
}

void encode_group_release(struct encode_group *g)
{
	free(g->drivers);
	*g = (struct encode_group)ENCODE_GROUP_INIT;
}

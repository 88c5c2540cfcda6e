#include "daemon/resolutions.h"

size_t resolutions_place(const struct resolutions *r, size_t width, size_t height,
			 struct bucket_placement placements[RESOLUTIONS_MAX])
{
	size_t skips = r->n;

	for (size_t i = r->n; i-- > 0;) {
		bucket_place(r->tables[i], width, height, &placements[i]);
		if (placements[i].skip)
			skips = i;
	}
	return skips;
}

size_t resolutions_max_pixels(const struct resolutions *r)
{
	size_t sum = 0;

	for (size_t i = 0; i < r->n; i++)
		sum += bucket_table_max_pixels(r->tables[i]);
	return sum;
}

void resolutions_release(struct resolutions *r)
{
	for (size_t i = 0; i < r->n; i++)
		bucket_table_free(r->tables[i]);
	*r = (struct resolutions)RESOLUTIONS_INIT;
}

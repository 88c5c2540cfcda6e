/*
 * The resolutions of a dataset: for each a table of buckets, in rising order; the first is that of the plain variant. An image
 * has a place in each, or is skipped as a whole.
 */
#ifndef LATENTD_DAEMON_RESOLUTIONS_H
#define LATENTD_DAEMON_RESOLUTIONS_H

#include "image/bucket.h"
#include "image/render.h"

#define RESOLUTIONS_MAX RENDERS_MAX

struct resolutions {
	struct bucket_table *tables[RESOLUTIONS_MAX];
	size_t n;
};

#define RESOLUTIONS_INIT                                                                           \
	{                                                                                          \
		.n = 0                                                                             \
	}

/*
 * @placements: one for each. The number of the one that skips an image of this size, for its message; @r->n: none does.
 */
size_t resolutions_place(const struct resolutions *r, size_t width, size_t height,
			 struct bucket_placement placements[RESOLUTIONS_MAX]);
/* Pixels that the buckets of all have together at most. */
size_t resolutions_max_pixels(const struct resolutions *r);
void resolutions_release(struct resolutions *r);

#define cleanup_resolutions cleanup_with(resolutions_release)

#endif

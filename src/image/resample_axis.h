/*
 * One direction of a resampling: what is done along it, how much memory that takes, and its table
 * of taps and weights as the kernels want them.
 *
 *	struct direction d = {.span = ..., .method = ..., .filter = ..., .across = true};
 *	if (!direction_measure(&d, kernels)) ...             it overflows
 *	axis_init(&axis, &d, kernels, err); ... axis_release(&axis);
 */
#ifndef LATENTD_IMAGE_RESAMPLE_AXIS_H
#define LATENTD_IMAGE_RESAMPLE_AXIS_H

#include "image/resample_kernels.h"

enum method {
	METHOD_COPY,	/* nothing but a crop */
	METHOD_NEAREST, /* one input */
	METHOD_FIXED, /* Pillow's filters; with METHOD_COPY in the other direction, or by itself */
	METHOD_AREA,  /* INTER_AREA in both directions */
	METHOD_MEAN,  /* the same by whole factors */
};

struct direction {
	struct span span;
	enum method method;
	enum resample_filter filter; /* METHOD_FIXED */
	bool across;
	/* measured */
	size_t bound;	/* inputs of an output, at most */
	size_t outputs; /* span.count, and what fills up the last group */
	size_t stride;	/* words or weights of an output */
	size_t bytes;	/* of its table, and of what making it takes */
};

static inline size_t round_up(size_t n, size_t multiple)
{
	return (n + multiple - 1) / multiple * multiple;
}

/* What @filter comes to with these spans, in both directions. */
void directions_choose(struct direction *across, struct direction *down,
		       enum resample_filter filter);
/* False if the sizes overflow. */
bool direction_measure(struct direction *d, const struct resample_kernels *kernels);

/* ERR_NOMEM. */
int axis_init(struct axis *a, const struct direction *d, const struct resample_kernels *kernels,
	      struct error *err);
void axis_release(struct axis *a);

#endif

/*
 * Which inputs an output takes, and their weights, along one side of the picture. Two families of
 * rules: Pillow's filters in 22-bit fixed point (Resample.c precompute_coeffs,
 * normalize_coeffs_8bpc) and OpenCV's INTER_AREA in single precision (resize.cpp).
 *
 *	struct span s = {from, to, inputs, full, first, count};
 *	if (span_valid(&s)) ... for index < s.count: taps_fixed(&s, filter, index, scratch, &tap, weights)
 *
 * The taps of neighbouring outputs follow each other: neither first nor first + count ever falls.
 */
#ifndef LATENTD_IMAGE_RESAMPLE_TAPS_H
#define LATENTD_IMAGE_RESAMPLE_TAPS_H

#include "image/resample.h"

#include <stdbool.h>

/* 32 bits hold 8 of the sample, 2 for sums beyond 1 and the sign, and this fraction. */
#define WEIGHT_BITS 22
#define WEIGHT_ONE  (1 << WEIGHT_BITS)
#define WEIGHT_HALF (1 << (WEIGHT_BITS - 1))
/* Beyond it kernels that split a weight into bytes would lose it; no filter comes near. */
#define WEIGHT_LIMIT (2 * WEIGHT_ONE - (WEIGHT_ONE >> 6))

/* One direction of a plan. Pillow's box is single precision. */
struct span {
	float from, to; /* of the box */
	size_t inputs;	/* of the source */
	size_t full, first, count;
};

struct tap {
	size_t first, count; /* inputs */
};

bool span_valid(const struct span *s);
/* Nothing but a crop in this direction. */
bool span_is_identity(const struct span *s);
/* The box is at least as long as what it becomes: INTER_AREA is what it is made for. */
bool span_shrinks(const struct span *s);

/* No output takes more inputs than this. */
size_t taps_fixed_bound(const struct span *s, enum resample_filter filter);
/* Of a filter that is neither nearest nor kohya. @scratch and @weights: taps_fixed_bound() of each. */
void taps_fixed(const struct span *s, enum resample_filter filter, size_t index, double *scratch,
		struct tap *tap, int32_t *weights);

/*
 * The whole number that OpenCV shrinks by, 0 if it is none: then taps_area() holds instead. With one
 * in both directions every output is the mean of that many whole samples.
 */
size_t span_whole_factor(const struct span *s);
size_t taps_area_bound(const struct span *s);
void taps_area(const struct span *s, size_t index, struct tap *tap, float *weights);

/* Each output takes one input, [s->count]. */
void taps_nearest(const struct span *s, struct tap *taps);

#endif

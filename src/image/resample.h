/*
 * Resampling with the bytes of Pillow before 13 (src/libImaging/Resample.c): separable, support
 * scaled when shrinking, coefficients normalised in double and rounded to 22-bit fixed point, 8-bit
 * intermediate between the horizontal pass, which is first, and the vertical one. And with those of
 * OpenCV's INTER_AREA; there a box, which OpenCV has not, moves and scales the cells.
 *
 * The result is a crop of what `image.resize((full_width, full_height), filter, box)` gives: each
 * output pixel depends only on its own coefficients, so only the wanted ones are computed.
 */
#ifndef LATENTD_IMAGE_RESAMPLE_H
#define LATENTD_IMAGE_RESAMPLE_H

#include "image/image.h"

enum resample_filter {
	FILTER_NEAREST,
	FILTER_BOX,
	FILTER_BILINEAR,
	FILTER_HAMMING,
	FILTER_BICUBIC,
	FILTER_LANCZOS,
	/* sd-scripts: OpenCV's INTER_AREA where both sides shrink or stay, Pillow's Lanczos otherwise */
	FILTER_KOHYA,
};

struct resample_plan {
	double box[4]; /* source box left, top, right, bottom; used in single precision */
	size_t full_width, full_height;	 /* size the box is resized to */
	size_t left, top, width, height; /* crop of that which is wanted */
	enum resample_filter filter;
};

/* A filter by its name ("lanczos"), -1 if there is none; and the name of a filter. */
int resample_filter_parse(const char *name);
const char *resample_filter_name(enum resample_filter filter);

/* The whole of @source to @width x @height, uncropped. */
struct resample_plan resample_whole(const struct image *source, size_t width, size_t height,
				    enum resample_filter filter);

/*
 * For a picture that is whole in memory, as tests and tools have it; image_render() takes rows, below.
 * @out: [plan->height][plan->width][3], the caller's memory. ERR_NOMEM, or ERR_BUG for a plan
 * whose crop or box leaves its frame.
 */
int resample(const struct image *source, const struct resample_plan *plan, uint8_t *out,
	     struct error *err);

/*
 * The same, a source row at a time, so that a decoder need not keep the picture: only the rows that
 * still matter are held.
 *
 *	resampler_new(&plan, source width, source height, out, &r, err)      as resample()
 *	resampler_row(r, row)      height times, from the top; after the last one @out is complete
 *	resampler_free(r)
 */
struct resampler;

int resampler_new(const struct resample_plan *plan, size_t width, size_t height, uint8_t *out,
		  struct resampler **r, struct error *err);
void resampler_row(struct resampler *r, const uint8_t *row);
/* NULL is fine. */
void resampler_free(struct resampler *r);

/* An upper bound of the memory a resampler takes, without rows and @out; SIZE_MAX if it overflows. */
size_t resampler_bytes(const struct resample_plan *plan, size_t width, size_t height);

/*
 * The instructions it runs on: "portable", "avx2", "avx512" (which here includes VNNI). All give the
 * same bytes. $LATENTD_ISA chooses a lesser one than the machine has.
 */
const char *resample_isa(void);

#endif

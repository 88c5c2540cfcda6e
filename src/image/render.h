/*
 * From the bytes of an image file to the pixels of its bucket: decode, turn upright, scale, crop.
 *
 *	image_read_header(bytes, size, &limits, &header, err)
 *	... a placement for the oriented size; reserve image_render_bytes(...) ...
 *	image_render(bytes, size, &limits, &policy, &geometry, out, err)
 *
 * The rows of a picture that is not turned are resampled as they come, the picture is never whole in
 * memory; nor is a mirrored one. Several pictures are made of one decoding.
 *
 * With policy.jpeg_scaling a JPEG is first shrunk by its decoder: by the largest of 8, 4, 2 that
 * leaves at least twice the resized size in both directions, as Pillow's
 * Image.thumbnail(reducing_gap=2.0) does; the rest is resampled from the exact box. Of several
 * pictures the largest decides. It is for filters that take such a box: with `nearest` and `kohya`,
 * and for other formats, it changes nothing.
 */
#ifndef LATENTD_IMAGE_RENDER_H
#define LATENTD_IMAGE_RENDER_H

#include "image/decode.h"
#include "image/resample.h"

struct render_geometry {
	size_t full_width, full_height;	 /* the whole oriented image, resized */
	size_t left, top, width, height; /* crop of that */
	enum resample_filter filter;
};

/* Whether policy.jpeg_scaling changes anything with this filter. */
static inline bool render_may_scale(enum resample_filter filter)
{
	return filter != FILTER_NEAREST && filter != FILTER_KOHYA;
}

/* @out: [height][width][3], the caller's. Errors of image_decode(); ERR_BUG: the crop leaves its frame. */
int image_render(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		 const struct image_policy *policy, const struct render_geometry *geometry,
		 uint8_t *out, struct error *err);

/* Pictures of one decoding. */
#define RENDERS_MAX 4

/*
 * @n of them, from 1 to RENDERS_MAX, one behind the other in @out, and *resize_ns: how much of its time went into
 * resampling; reads a clock for each row.
 */
int image_render_many(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		      const struct image_policy *policy, const struct render_geometry *geometries,
		      size_t n, uint8_t *out, int64_t *resize_ns, struct error *err);

/* Of the pictures of these together, [height][width][3] each; false: it overflows. */
bool render_pixel_bytes(const struct render_geometry *geometries, size_t n, size_t *bytes);

/* An upper bound of the memory they take, without the file and @out; SIZE_MAX if it overflows. */
size_t image_render_bytes(const struct image_header *header, const struct image_policy *policy,
			  const struct render_geometry *geometries, size_t n);

#endif

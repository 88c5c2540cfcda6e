/*
 * The first frame is decoded whole (libwebp hands out no rows of its own) and then put on the canvas
 * row by row. As in Pillow, what the frame of an animation leaves open is transparent, or black where
 * the file announces no alpha.
 */
#include "image/decode_webp.h"

#include "base/checked.h"
#include "image/exif.h"
#include "image/row_finish.h"
#include "image/webp_chunks.h"

#include <string.h>

#include <webp/decode.h>

#define FORMAT_LOSSY 1

struct webp_picture {
	struct webp_chunks chunks;
	size_t width, height;		  /* of the canvas */
	size_t frame_width, frame_height; /* lies inside the canvas */
	size_t samples;			  /* a pixel that is decoded: 3, with alpha 4 */
	bool lossless;
};

static int webp_failed(VP8StatusCode status, struct error *err)
{
	switch (status) {
	case VP8_STATUS_OUT_OF_MEMORY:
		return error_set(err, ERR_NOMEM, "WebP: no memory for the decoder");
	case VP8_STATUS_NOT_ENOUGH_DATA:
	case VP8_STATUS_SUSPENDED:
		return error_data(err, "truncated", "WebP ends inside its picture");
	case VP8_STATUS_UNSUPPORTED_FEATURE:
		return error_data(err, "unsupported", "WebP with features that libwebp lacks");
	default:
		return error_data(err, "corrupt", "WebP: damaged picture");
	}
}

static int frame_mismatch(const struct webp_picture *p, struct error *err)
{
	return error_data(err, "corrupt", "WebP: a frame of %zu x %zu pixels in a place of others",
			  p->frame_width, p->frame_height);
}

static int webp_picture_open(struct webp_picture *p, const uint8_t *bytes, size_t size,
			     struct error *err)
{
	struct webp_chunks *c = &p->chunks;
	WebPBitstreamFeatures features;
	VP8StatusCode status;

	if (webp_chunks_scan(bytes, size, c, err) < 0)
		return -1;
	status = WebPGetFeatures(c->frame.data, c->frame.size, &features);
	if (status != VP8_STATUS_OK)
		return webp_failed(status, err);
	p->frame_width = (size_t)features.width;
	p->frame_height = (size_t)features.height;
	p->lossless = features.format != FORMAT_LOSSY;
	p->samples = (c->animated ? c->alpha : features.has_alpha != 0) ? 4 : 3;
	p->width = c->extended ? c->width : p->frame_width;
	p->height = c->extended ? c->height : p->frame_height;
	if (c->animated ? p->frame_width != c->frame_width || p->frame_height != c->frame_height
			: p->frame_width != p->width || p->frame_height != p->height)
		return frame_mismatch(p, err);
	return 0;
}

/*
 * The frame; for lossless pictures libwebp's own copy of it, for lossy ones the alpha plane and its
 * decoder's picture; rows in flight; a profile and lcms's copy.
 */
static bool decoder_bytes(const struct webp_picture *p, size_t *bytes)
{
	size_t per_pixel = p->samples, pixels;

	if (p->lossless)
		per_pixel += 4;
	else if (p->samples == 4)
		per_pixel += 2;
	return size_mul(p->frame_width, p->frame_height, &pixels) &&
	       size_mul(pixels, per_pixel, bytes) &&
	       size_add(*bytes, p->width * 128 + color_profile_bytes(p->chunks.profile.size),
			bytes) &&
	       size_add(*bytes, 4u << 20, bytes);
}

int decode_webp_header(const uint8_t *bytes, size_t size, struct image_header *header,
		       struct error *err)
{
	struct webp_picture p;
	size_t decoder;

	if (webp_picture_open(&p, bytes, size, err) < 0)
		return -1;
	if (!decoder_bytes(&p, &decoder))
		return error_data(err, "too_large", "WebP of %zu x %zu pixels", p.width, p.height);
	*header = (struct image_header){
	    .format = IMAGE_WEBP,
	    .width = p.width,
	    .height = p.height,
	    .orientation =
		p.chunks.exif.data ? exif_orientation(p.chunks.exif.data, p.chunks.exif.size) : 1,
	    .decode_bytes = decoder,
	};
	return 0;
}

/* @out: [frame_height][frame_width][samples] */
static int decode_frame(const struct webp_picture *p, uint8_t *out, struct error *err)
{
	WebPDecoderConfig config;
	VP8StatusCode status;

	if (!WebPInitDecoderConfig(&config))
		return error_set(err, ERR_BUG, "libwebp is of another version than its header");
	config.output.colorspace = p->samples == 4 ? MODE_RGBA : MODE_RGB;
	config.output.is_external_memory = 1;
	config.output.u.RGBA.rgba = out;
	config.output.u.RGBA.stride = (int)(p->frame_width * p->samples);
	config.output.u.RGBA.size = p->frame_width * p->frame_height * p->samples;
	status = WebPDecode(p->chunks.frame.data, p->chunks.frame.size, &config);
	WebPFreeDecBuffer(&config.output);
	return status == VP8_STATUS_OK ? 0 : webp_failed(status, err);
}

/* @row: [width][samples], room for one of the canvas */
static void put_canvas(const struct webp_picture *p, const uint8_t *frame, uint8_t *row,
		       struct row_finish *finish)
{
	size_t stride = p->frame_width * p->samples, row_bytes = p->width * p->samples;
	size_t top = p->chunks.top, end = top + p->frame_height;

	memset(row, 0, row_bytes);
	for (size_t y = 0; y < p->height; y++) {
		if (y >= top && y < end)
			memcpy(row + p->chunks.left * p->samples, frame + (y - top) * stride,
			       stride);
		else if (y == end)
			memset(row, 0, row_bytes);
		row_finish_put(finish, y, row);
	}
}

int decode_webp_rows(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		     struct pixel_sink *sink, struct error *err)
{
	cleanup_row_finish struct row_finish finish = ROW_FINISH_INIT;
	cleanup_free uint8_t *frame = NULL, *row = NULL;
	struct webp_picture p;
	size_t frame_bytes;

	if (webp_picture_open(&p, bytes, size, err) < 0)
		return -1;
	if (p.chunks.cut)
		return error_data(err, "truncated", "WebP ends at byte %zu, before its last chunk",
				  size);
	if (size_mul3(p.frame_width, p.frame_height, p.samples, &frame_bytes))
		frame = malloc(frame_bytes);
	row = malloc(p.width * p.samples);
	if (!frame || !row)
		return error_set(err, ERR_NOMEM, "no memory for %zu x %zu pixels", p.width,
				 p.height);
	if (decode_frame(&p, frame, err) < 0 ||
	    row_finish_init(&finish, sink, policy, COLOR_SPACE_RGB, p.samples == 4,
			    p.chunks.profile.data, p.chunks.profile.size, err) < 0)
		return -1;
	put_canvas(&p, frame, row, &finish);
	return 0;
}

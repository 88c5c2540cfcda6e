/*
 * The door: what comes in is checked here (kind, file size, picture size) before a decoder sees
 * more than the header.
 */
#include "image/decode.h"

#include "base/checked.h"
#include "image/decode_avif.h"
#include "image/decode_bmp.h"
#include "image/decode_gif.h"
#include "image/decode_jpeg.h"
#include "image/decode_jxl.h"
#include "image/decode_png.h"
#include "image/decode_webp.h"
#include "image/orientation.h"
#include "image/pixel_sink.h"
#include "image/sniff.h"

/* One that is not built has a name only. */
static const struct decoder {
	const char *name;
	int (*header)(const uint8_t *bytes, size_t size, struct image_header *header,
		      struct error *err);
	int (*rows)(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		    struct pixel_sink *sink, struct error *err);
} decoders[] = {
    [IMAGE_JPEG] = {"JPEG", decode_jpeg_header, decode_jpeg_rows},
    [IMAGE_PNG] = {"PNG", decode_png_header, decode_png_rows},
    [IMAGE_WEBP] = {"WebP", decode_webp_header, decode_webp_rows},
    [IMAGE_GIF] = {"GIF", decode_gif_header, decode_gif_rows},
    [IMAGE_BMP] = {"BMP", decode_bmp_header, decode_bmp_rows},
#ifdef LATENTD_AVIF
    [IMAGE_AVIF] = {"AVIF", decode_avif_header, decode_avif_rows},
#else
    [IMAGE_AVIF] = {"AVIF", NULL, NULL},
#endif
#ifdef LATENTD_JXL
    [IMAGE_JXL] = {"JPEG XL", decode_jxl_header, decode_jxl_rows},
#else
    [IMAGE_JXL] = {"JPEG XL", NULL, NULL},
#endif
};

const char *image_format_name(enum image_format format)
{
	return decoders[format].name;
}

bool image_format_built(enum image_format format)
{
	return decoders[format].header != NULL;
}

void image_oriented_size(const struct image_header *header, size_t *width, size_t *height)
{
	bool swaps = orientation_swaps(header->orientation);

	*width = swaps ? header->height : header->width;
	*height = swaps ? header->width : header->height;
}

size_t image_decode_bytes_max(size_t width, size_t height)
{
	size_t planes, edges;

	if (!size_mul3(width, height, 64, &planes) || !size_add(width, height, &edges) ||
	    !size_mul(edges, 2048, &edges) || !size_add(planes, edges, &planes) ||
	    !size_add(planes, (size_t)192 << 20, &planes))
		return SIZE_MAX;
	return planes;
}

static int too_large(const struct image_header *h, size_t limit, const char *what,
		     struct error *err)
{
	return error_data(err, "too_large", "%s of %zu x %zu pixels is over the limit of %zu %s",
			  image_format_name(h->format), h->width, h->height, limit, what);
}

static int check_size(const struct image_header *h, const struct image_limits *limits,
		      struct error *err)
{
	size_t pixels;

	if (h->width > limits->max_side || h->height > limits->max_side)
		return too_large(h, limits->max_side, "a side", err);
	if (!size_mul(h->width, h->height, &pixels) || pixels > limits->max_pixels)
		return too_large(h, limits->max_pixels, "pixels", err);
	if (h->decode_bytes > image_decode_bytes_max(h->width, h->height))
		return error_data(err, "too_large", "%s that takes %zu bytes to decode",
				  image_format_name(h->format), h->decode_bytes);
	return 0;
}

int image_read_header(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		      struct image_header *header, struct error *err)
{
	struct image_header found;
	enum image_format format;

	if (size > limits->max_file_bytes)
		return error_data(err, "too_large", "%zu bytes are over the limit of %zu", size,
				  limits->max_file_bytes);
	if (sniff_format(bytes, size, &format, err) < 0)
		return -1;
	if (!image_format_built(format))
		return error_data(err, "unsupported", "%s is not read by this build",
				  image_format_name(format));
	if (decoders[format].header(bytes, size, &found, err) < 0 ||
	    check_size(&found, limits, err) < 0)
		return -1;
	*header = found;
	return 0;
}

int image_decode_rows(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		      const struct image_policy *policy, struct pixel_sink *sink, struct error *err)
{
	struct image_header header;

	if (image_read_header(bytes, size, limits, &header, err) < 0)
		return -1;
	return decoders[header.format].rows(bytes, size, policy, sink, err);
}

/* All rows side by side in an image. */
struct image_sink {
	struct pixel_sink base;
	struct image *image;
};

static uint8_t *image_row(struct pixel_sink *sink, size_t y)
{
	const struct image *image = ((struct image_sink *)sink)->image;

	return image->pixels + y * image->width * 3;
}

static void image_row_done(struct pixel_sink *sink, size_t y)
{
	(void)sink;
	(void)y;
}

int image_decode(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		 const struct image_policy *policy, struct image *out, struct error *err)
{
	cleanup_image struct image image = IMAGE_INIT;
	struct image_header header;
	struct image_sink sink = {.base = {0, 0, image_row, image_row_done}, .image = &image};

	if (image_read_header(bytes, size, limits, &header, err) < 0 ||
	    image_alloc(&image, header.width, header.height, err) < 0)
		return -1;
	sink.base.width = header.width;
	sink.base.height = header.height;
	if (decoders[header.format].rows(bytes, size, policy, &sink.base, err) < 0)
		return -1;
	if (policy->apply_exif && orientation_apply(&image, header.orientation, err) < 0)
		return -1;
	*out = image;
	image = (struct image)IMAGE_INIT;
	return 0;
}

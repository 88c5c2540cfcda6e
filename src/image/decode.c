/*
 * The door: what comes in is checked here (kind, file size, picture size) before a decoder sees
 * more than the header.
 */
#include "image/decode.h"

#include "base/checked.h"
#include "image/decode_jpeg.h"
#include "image/decode_png.h"
#include "image/orientation.h"
#include "image/sniff.h"

static const struct decoder {
	const char *name;
	int (*header)(const uint8_t *bytes, size_t size, struct image_header *header,
		      struct error *err);
	int (*pixels)(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		      struct image *out, struct error *err);
} decoders[] = {
    [IMAGE_JPEG] = {"JPEG", decode_jpeg_header, decode_jpeg_pixels},
    [IMAGE_PNG] = {"PNG", decode_png_header, decode_png_pixels},
};

const char *image_format_name(enum image_format format)
{
	return decoders[format].name;
}

void image_oriented_size(const struct image_header *header, size_t *width, size_t *height)
{
	bool swaps = orientation_swaps(header->orientation);

	*width = swaps ? header->height : header->width;
	*height = swaps ? header->width : header->height;
}

static int too_large(const struct image_header *h, size_t limit, const char *what,
		     struct error *err)
{
	return error_data(err, "too_large", "%s of %zu x %zu pixels is over the limit of %zu %s",
			  image_format_name(h->format), h->width, h->height, limit, what);
}

/*
 * Holds the limits, and turns what the decoder needs into the peak: the decoder beside the pixels,
 * or later, when it is gone, the pixels beside their turned copy.
 */
static int check_size(struct image_header *h, const struct image_limits *limits, struct error *err)
{
	size_t pixels, bytes, decoding, turning;

	if (h->width > limits->max_side || h->height > limits->max_side)
		return too_large(h, limits->max_side, "a side", err);
	if (!size_mul(h->width, h->height, &pixels) || pixels > limits->max_pixels)
		return too_large(h, limits->max_pixels, "pixels", err);
	if (!size_mul(pixels, 3, &bytes) || !size_add(bytes, h->decode_bytes, &decoding) ||
	    !size_mul(bytes, h->orientation == 1 ? 1 : 2, &turning))
		return too_large(h, SIZE_MAX, "bytes", err);
	h->decode_bytes = decoding > turning ? decoding : turning;
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
	if (sniff_format(bytes, size, &format, err) < 0 ||
	    decoders[format].header(bytes, size, &found, err) < 0 ||
	    check_size(&found, limits, err) < 0)
		return -1;
	*header = found;
	return 0;
}

int image_decode(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		 const struct image_policy *policy, struct image *out, struct error *err)
{
	cleanup_image struct image image = IMAGE_INIT;
	struct image_header header;

	if (image_read_header(bytes, size, limits, &header, err) < 0 ||
	    decoders[header.format].pixels(bytes, size, policy, &image, err) < 0)
		return -1;
	if (policy->apply_exif && orientation_apply(&image, header.orientation, err) < 0)
		return -1;
	*out = image;
	image = (struct image)IMAGE_INIT;
	return 0;
}

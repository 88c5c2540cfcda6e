/*
 * As Pillow: of the strict rules libavif has, those on clean aperture and on a missing pixi are not
 * held against a file, and the crop of a clean aperture is not made.
 */
#include "image/decode_avif.h"

#include "base/checked.h"
#include "image/row_finish.h"

#include <string.h>

#include <avif/avif.h>

struct avif_picture {
	avifDecoder *decoder;
	bool cut; /* the file ends early */
	size_t width, height;
	size_t samples; /* a pixel: 3, with alpha 4 */
};

static void avif_picture_release(struct avif_picture *p)
{
	if (p->decoder)
		avifDecoderDestroy(p->decoder);
}

#define cleanup_avif_picture cleanup_with(avif_picture_release)

static uint64_t get_be(const uint8_t *p, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes; i++)
		value = value << 8 | p[i];
	return value;
}

/*
 * libavif calls most cut files invalid; that they are cut shows in the lengths of their outer boxes,
 * of which that of the pixels comes last.
 */
static bool is_cut(const uint8_t *bytes, size_t size)
{
	size_t at = 0;
	bool pixels = false;

	while (size - at >= 8) {
		uint64_t length = get_be(bytes + at, 4);

		if (length == 0) /* up to the end */
			return false;
		if (length == 1 && size - at >= 16)
			length = get_be(bytes + at + 8, 8);
		if (length > size - at)
			return true;
		if (length < 8)
			return false;
		pixels = pixels || memcmp(bytes + at + 4, "mdat", 4) == 0;
		at += length;
	}
	return at < size || !pixels;
}

static int avif_failed(const struct avif_picture *p, avifResult result, struct error *err)
{
	const avifDecoder *decoder = p->decoder;
	const char *text =
	    decoder->diag.error[0] ? decoder->diag.error : avifResultToString(result);
	const char *reason = p->cut ? "truncated" : "corrupt";

	switch (result) {
	case AVIF_RESULT_OUT_OF_MEMORY:
		return error_set(err, ERR_NOMEM, "AVIF: no memory for the decoder");
	case AVIF_RESULT_TRUNCATED_DATA:
	case AVIF_RESULT_IO_ERROR:
	case AVIF_RESULT_WAITING_ON_IO:
		reason = "truncated";
		break;
	case AVIF_RESULT_NOT_IMPLEMENTED:
	case AVIF_RESULT_NO_CODEC_AVAILABLE:
	case AVIF_RESULT_UNSUPPORTED_DEPTH:
		reason = "unsupported";
		break;
	default:
		break;
	}
	return error_data(err, reason, "AVIF: %s", text);
}

/* Reads the boxes, no AV1. @p is to be released, whatever is returned. */
static int avif_picture_open(struct avif_picture *p, const uint8_t *bytes, size_t size,
			     struct error *err)
{
	avifDecoder *d = avifDecoderCreate();
	avifResult result;

	if (!d)
		return error_set(err, ERR_NOMEM, "AVIF: no memory for the decoder");
	p->decoder = d;
	p->cut = is_cut(bytes, size);
	d->maxThreads = 1;
	d->ignoreExif = AVIF_TRUE;
	d->ignoreXMP = AVIF_TRUE;
	d->strictFlags &= ~(avifStrictFlags)(AVIF_STRICT_CLAP_VALID | AVIF_STRICT_PIXI_REQUIRED);
	/* 0: no limit beside that of 2^28 pixels, which libavif does not let one lift */
	d->imageDimensionLimit = 0;
	result = avifDecoderSetIOMemory(d, bytes, size);
	if (result == AVIF_RESULT_OK)
		result = avifDecoderParse(d);
	if (result != AVIF_RESULT_OK)
		return avif_failed(p, result, err);
	p->width = d->image->width;
	p->height = d->image->height;
	p->samples = d->alphaPresent ? 4 : 3;
	if (p->width == 0 || p->height == 0)
		return error_data(err, "corrupt", "AVIF of %zu x %zu pixels", p->width, p->height);
	return 0;
}

/* irot turns anticlockwise, imir then swaps top and bottom (0) or left and right (1). */
static unsigned orientation_of(const avifImage *image)
{
	static const unsigned turned[4] = {1, 8, 3, 6};
	static const unsigned mirrored[2][4] = {{4, 5, 2, 7}, {2, 7, 4, 5}};
	unsigned angle = image->transformFlags & AVIF_TRANSFORM_IROT ? image->irot.angle & 3u : 0;

	if (!(image->transformFlags & AVIF_TRANSFORM_IMIR))
		return turned[angle];
#if AVIF_VERSION >= 1000000
	return mirrored[image->imir.axis & 1u][angle];
#else
	return mirrored[image->imir.mode & 1u][angle];
#endif
}

/*
 * The pixels as RGB; planes, of which the AV1 decoder may keep some pictures (measured with dav1d: less
 * than two); what it needs for itself.
 */
static bool decoder_bytes(const struct avif_picture *p, size_t *bytes)
{
	const avifImage *image = p->decoder->image;
	size_t planes = p->samples * (image->depth > 8 ? 2 : 1), pixels;

	return size_mul(p->width, p->height, &pixels) &&
	       size_mul(pixels, p->samples + 3 * planes, bytes) &&
	       size_add(*bytes, p->width * 1024 + color_profile_bytes(image->icc.size), bytes) &&
	       size_add(*bytes, 16u << 20, bytes);
}

int decode_avif_header(const uint8_t *bytes, size_t size, struct image_header *header,
		       struct error *err)
{
	cleanup_avif_picture struct avif_picture p = {.decoder = NULL};
	size_t decoder;

	if (avif_picture_open(&p, bytes, size, err) < 0)
		return -1;
	if (!decoder_bytes(&p, &decoder))
		return error_data(err, "too_large", "AVIF of %zu x %zu pixels", p.width, p.height);
	*header = (struct image_header){
	    .format = IMAGE_AVIF,
	    .width = p.width,
	    .height = p.height,
	    .orientation = orientation_of(p.decoder->image),
	    .decode_bytes = decoder,
	};
	return 0;
}

/* @out: [height][width][samples] */
static int decode_first(const struct avif_picture *p, uint8_t *out, struct error *err)
{
	avifDecoder *d = p->decoder;
	avifRGBImage rgb;
	avifResult result;

	d->imageSizeLimit = (uint32_t)(p->width * p->height);
	result = avifDecoderNextImage(d);
	if (result != AVIF_RESULT_OK)
		return avif_failed(p, result, err);
	if (d->image->width != p->width || d->image->height != p->height)
		return error_data(err, "corrupt",
				  "AVIF: the picture is %u x %u, its header says "
				  "%zu x %zu",
				  d->image->width, d->image->height, p->width, p->height);
	avifRGBImageSetDefaults(&rgb, d->image);
	rgb.format = p->samples == 4 ? AVIF_RGB_FORMAT_RGBA : AVIF_RGB_FORMAT_RGB;
	rgb.depth = 8;
	rgb.pixels = out;
	rgb.rowBytes = (uint32_t)(p->width * p->samples);
	result = avifImageYUVToRGB(d->image, &rgb);
	return result == AVIF_RESULT_OK ? 0 : avif_failed(p, result, err);
}

int decode_avif_rows(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		     struct pixel_sink *sink, struct error *err)
{
	cleanup_avif_picture struct avif_picture p = {.decoder = NULL};
	cleanup_row_finish struct row_finish finish = ROW_FINISH_INIT;
	cleanup_free uint8_t *pixels = NULL;
	size_t total;

	if (avif_picture_open(&p, bytes, size, err) < 0)
		return -1;
	if (size_mul3(p.width, p.height, p.samples, &total))
		pixels = malloc(total);
	if (!pixels)
		return error_set(err, ERR_NOMEM, "no memory for %zu x %zu pixels", p.width,
				 p.height);
	if (decode_first(&p, pixels, err) < 0 ||
	    row_finish_init(&finish, sink, policy, COLOR_SPACE_RGB, p.samples == 4,
			    p.decoder->image->icc.data, p.decoder->image->icc.size, err) < 0)
		return -1;
	for (size_t y = 0; y < p.height; y++)
		row_finish_put(&finish, y, pixels + y * p.width * p.samples);
	return 0;
}

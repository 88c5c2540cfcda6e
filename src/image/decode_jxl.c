/*
 * libjxl is an automaton that is asked for the next event. Without a runner it decodes in the
 * caller's thread. Pixels come in the colours that the file declares; what is not sRGB has an ICC
 * profile, if need be one that libjxl makes.
 */
#include "image/decode_jxl.h"

#include "base/checked.h"
#include "image/row_finish.h"

#include <jxl/decode.h>
#include <jxl/version.h>

/* Dropped in 0.9: an argument that never had a meaning. */
#if JPEGXL_NUMERIC_VERSION >= JPEGXL_COMPUTE_NUMERIC_VERSION(0, 9, 0)
#define PROFILE_ARGUMENTS(dec) (dec), JXL_COLOR_PROFILE_TARGET_DATA
#else
#define PROFILE_ARGUMENTS(dec) (dec), NULL, JXL_COLOR_PROFILE_TARGET_DATA
#endif

/* Its size is not in the header, where the memory is announced: room for this much is always counted. */
#define JXL_PROFILE_MAX (4u << 20)

struct jxl_picture {
	JxlDecoder *decoder;
	JxlBasicInfo info;
	size_t width, height;
	enum color_space space;
	size_t samples; /* a pixel: 1 or 3, with alpha one more */
	bool want_profile;
	uint8_t *profile; /* NULL: sRGB */
	size_t profile_size;
	uint8_t *pixels; /* [height][width][samples] */
};

static void jxl_picture_release(struct jxl_picture *p)
{
	if (p->decoder)
		JxlDecoderDestroy(p->decoder);
	free(p->profile);
	free(p->pixels);
}

#define cleanup_jxl_picture cleanup_with(jxl_picture_release)

static int jxl_corrupt(struct error *err)
{
	return error_data(err, "corrupt", "JPEG XL: libjxl refuses its contents");
}

static int jxl_start(struct jxl_picture *p, const uint8_t *bytes, size_t size, int events,
		     struct error *err)
{
	p->decoder = JxlDecoderCreate(NULL);
	if (!p->decoder)
		return error_set(err, ERR_NOMEM, "JPEG XL: no memory for the decoder");
	if (JxlDecoderSubscribeEvents(p->decoder, events) != JXL_DEC_SUCCESS ||
	    JxlDecoderSetKeepOrientation(p->decoder, JXL_TRUE) != JXL_DEC_SUCCESS ||
	    JxlDecoderSetUnpremultiplyAlpha(p->decoder, JXL_TRUE) != JXL_DEC_SUCCESS ||
	    JxlDecoderSetInput(p->decoder, bytes, size) != JXL_DEC_SUCCESS)
		return error_set(err, ERR_BUG, "JPEG XL: libjxl does not start");
	/* The input is not closed: a cut file then asks for more, where it would be an error. */
	return 0;
}

/* CMYK is RGB with one more channel, which nobody would see is missing. */
static int refuse_black(const struct jxl_picture *p, struct error *err)
{
	for (uint32_t i = 0; i < p->info.num_extra_channels; i++) {
		JxlExtraChannelInfo extra;

		if (JxlDecoderGetExtraChannelInfo(p->decoder, i, &extra) != JXL_DEC_SUCCESS)
			return jxl_corrupt(err);
		if (extra.type == JXL_CHANNEL_BLACK)
			return error_data(err, "unsupported", "JPEG XL in CMYK");
	}
	return 0;
}

static int take_info(struct jxl_picture *p, struct error *err)
{
	if (JxlDecoderGetBasicInfo(p->decoder, &p->info) != JXL_DEC_SUCCESS)
		return jxl_corrupt(err);
	p->width = p->info.xsize;
	p->height = p->info.ysize;
	p->space = p->info.num_color_channels == 1 ? COLOR_SPACE_GREY : COLOR_SPACE_RGB;
	p->samples = color_space_samples(p->space) + (p->info.alpha_bits > 0 ? 1 : 0);
	return refuse_black(p, err);
}

static bool is_srgb(const JxlDecoder *decoder)
{
	JxlColorEncoding c;

	if (JxlDecoderGetColorAsEncodedProfile(PROFILE_ARGUMENTS(decoder), &c) != JXL_DEC_SUCCESS)
		return false;
	return c.transfer_function == JXL_TRANSFER_FUNCTION_SRGB &&
	       c.white_point == JXL_WHITE_POINT_D65 &&
	       (c.color_space == JXL_COLOR_SPACE_GRAY ||
		(c.color_space == JXL_COLOR_SPACE_RGB && c.primaries == JXL_PRIMARIES_SRGB));
}

/* A profile that is too large or not to be had is none. */
static int take_profile(struct jxl_picture *p, struct error *err)
{
	size_t size = 0;

	if (!p->want_profile || is_srgb(p->decoder) ||
	    JxlDecoderGetICCProfileSize(PROFILE_ARGUMENTS(p->decoder), &size) != JXL_DEC_SUCCESS ||
	    size == 0 || size > JXL_PROFILE_MAX)
		return 0;
	p->profile = malloc(size);
	if (!p->profile)
		return error_set(err, ERR_NOMEM, "no memory for a profile of %zu bytes", size);
	p->profile_size = size;
	if (JxlDecoderGetColorAsICCProfile(PROFILE_ARGUMENTS(p->decoder), p->profile, size) !=
	    JXL_DEC_SUCCESS)
		return jxl_corrupt(err);
	return 0;
}

static int give_buffer(struct jxl_picture *p, struct error *err)
{
	const JxlPixelFormat format = {(uint32_t)p->samples, JXL_TYPE_UINT8, JXL_NATIVE_ENDIAN, 0};
	size_t total = 0;

	if (!p->pixels && size_mul3(p->width, p->height, p->samples, &total))
		p->pixels = malloc(total);
	if (!p->pixels)
		return error_set(err, ERR_NOMEM, "no memory for %zu x %zu pixels", p->width,
				 p->height);
	if (JxlDecoderSetImageOutBuffer(p->decoder, &format, p->pixels, total) != JXL_DEC_SUCCESS)
		return jxl_corrupt(err);
	return 0;
}

/* Until @last has happened. */
static int jxl_run(struct jxl_picture *p, JxlDecoderStatus last, struct error *err)
{
	for (;;) {
		JxlDecoderStatus status = JxlDecoderProcessInput(p->decoder);
		int result = 0;

		switch (status) {
		case JXL_DEC_BASIC_INFO:
			result = take_info(p, err);
			break;
		case JXL_DEC_COLOR_ENCODING:
			result = take_profile(p, err);
			break;
		case JXL_DEC_NEED_IMAGE_OUT_BUFFER:
			result = give_buffer(p, err);
			break;
		case JXL_DEC_FULL_IMAGE:
			break;
		case JXL_DEC_NEED_MORE_INPUT:
			return error_data(err, "truncated", "JPEG XL ends inside its picture");
		default:
			return jxl_corrupt(err);
		}
		if (result < 0 || status == last)
			return result;
	}
}

/*
 * The pixels; libjxl's own, floats or 32-bit integers of every channel at several stages (measured
 * with 0.7: 5 bytes a pixel for most, 50 for an animation with alpha); what it needs for itself; a profile.
 * Channels beyond alpha (depth, spot colours) do not count, their number is the file's to say.
 */
static bool decoder_bytes(const struct jxl_picture *p, size_t *bytes)
{
	size_t per_pixel = p->info.alpha_bits > 0 ? 64 : 48;

	return size_mul3(p->width, p->height, per_pixel, bytes) &&
	       size_add(*bytes,
			(32u << 20) + JXL_PROFILE_MAX + color_profile_bytes(JXL_PROFILE_MAX),
			bytes);
}

int decode_jxl_header(const uint8_t *bytes, size_t size, struct image_header *header,
		      struct error *err)
{
	cleanup_jxl_picture struct jxl_picture p = {.decoder = NULL};
	size_t decoder;

	if (jxl_start(&p, bytes, size, JXL_DEC_BASIC_INFO, err) < 0 ||
	    jxl_run(&p, JXL_DEC_BASIC_INFO, err) < 0)
		return -1;
	if (!decoder_bytes(&p, &decoder))
		return error_data(err, "too_large", "JPEG XL of %zu x %zu pixels", p.width,
				  p.height);
	*header = (struct image_header){
	    .format = IMAGE_JXL,
	    .width = p.width,
	    .height = p.height,
	    .orientation = (unsigned)p.info.orientation,
	    .decode_bytes = decoder,
	};
	return 0;
}

int decode_jxl_rows(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		    struct pixel_sink *sink, struct error *err)
{
	cleanup_row_finish struct row_finish finish = ROW_FINISH_INIT;
	cleanup_jxl_picture struct jxl_picture p = {
	    .want_profile = policy->color == COLOR_SRGB,
	};

	if (jxl_start(&p, bytes, size,
		      JXL_DEC_BASIC_INFO | JXL_DEC_COLOR_ENCODING | JXL_DEC_FULL_IMAGE, err) < 0 ||
	    jxl_run(&p, JXL_DEC_FULL_IMAGE, err) < 0)
		return -1;
	if (row_finish_init(&finish, sink, policy, p.space, p.info.alpha_bits > 0, p.profile,
			    p.profile_size, err) < 0)
		return -1;
	for (size_t y = 0; y < p.height; y++)
		row_finish_put(&finish, y, p.pixels + y * p.width * p.samples);
	return 0;
}

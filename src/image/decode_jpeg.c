/*
 * libjpeg reports errors by not returning. Everything that may call it runs as a `step` under
 * guarded(), owns nothing on its stack, and keeps what must be freed in struct jpeg_reader: the one
 * jump target is the one setjmp there.
 *
 * Warnings that mean damaged picture data are errors here: libjpeg would fill the rest with grey,
 * and a grey latent is worse than a quarantined file.
 */
#include "image/decode_jpeg.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "image/color.h"
#include "image/exif.h"

#include <assert.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* Against progressive files that cost seconds a kilobyte; real ones have about ten scans. */
#define MAX_SCANS 100

#define EXIF_MARKER	(JPEG_APP0 + 1)
#define EXIF_SIGNATURE	"Exif\0\0"
#define ICC_MARKER	(JPEG_APP0 + 2)
#define ICC_SIGNATURE	"ICC_PROFILE\0"
#define ICC_HEADER_SIZE 14 /* the signature, number of the part from 1, number of parts */
#define ICC_MAX_PARTS	255

/* A piece of the file in memory. */
struct span {
	const uint8_t *data;
	size_t size;
};

struct jpeg_reader {
	struct jpeg_decompress_struct cinfo;
	struct jpeg_error_mgr errors;
	struct jpeg_progress_mgr progress;
	jmp_buf escape;
	struct error *err;

	struct span file;
	struct span exif;
	struct span icc[ICC_MAX_PARTS + 1]; /* by number, from 1 */
	size_t icc_parts;		    /* as the file says; 0: no profile, or a broken one */

	enum color_space space;
	struct color_converter *converter;
	uint8_t *rows; /* memory of the next */
	uint8_t *row;  /* [width][samples], at an odd address */
	struct pixel_sink *sink;
};

static void jpeg_reader_release(struct jpeg_reader *r)
{
	jpeg_destroy_decompress(&r->cinfo);
	color_converter_free(r->converter);
	free(r->rows);
}

static struct jpeg_reader *reader_of(j_common_ptr cinfo)
{
	return cinfo->client_data;
}

/* DHP and EXP of hierarchical files, JPEG-LS and other extensions. */
static bool marker_of_another_kind(int marker)
{
	return marker == 0xde || marker == 0xdf || (marker >= 0xf0 && marker <= 0xfd);
}

static const char *reason_of(const struct jpeg_error_mgr *error)
{
	switch (error->msg_code) {
	case JERR_IMAGE_TOO_BIG:
	case JERR_WIDTH_OVERFLOW:
		return "too_large";
	case JERR_BAD_PRECISION:
	case JERR_SOF_UNSUPPORTED:
	case JERR_CONVERSION_NOTIMPL:
	case JERR_FRACT_SAMPLE_NOTIMPL:
#if JPEG_LIB_VERSION < 70 /* later ABIs (Ubuntu's) have no such code */
	case JERR_ARITH_NOTIMPL:
#endif
		return "unsupported";
	case JERR_INPUT_EOF:
	case JWRN_JPEG_EOF:
		return "truncated";
	case JERR_UNKNOWN_MARKER:
		return marker_of_another_kind(error->msg_parm.i[0]) ? "unsupported" : "corrupt";
	default:
		return "corrupt";
	}
}

static void on_error(j_common_ptr cinfo)
{
	struct jpeg_reader *r = reader_of(cinfo);
	char text[JMSG_LENGTH_MAX];

	cinfo->err->format_message(cinfo, text);
	if (cinfo->err->msg_code == JERR_OUT_OF_MEMORY)
		error_set(r->err, ERR_NOMEM, "JPEG: %s", text);
	else
		error_data(r->err, reason_of(cinfo->err), "JPEG: %s", text);
	longjmp(r->escape, 1);
}

static void on_message(j_common_ptr cinfo, int level)
{
	if (level >= 0)
		return;
	switch (cinfo->err->msg_code) {
	case JWRN_JPEG_EOF:
	case JWRN_HIT_MARKER:
	case JWRN_HUFF_BAD_CODE:
	case JWRN_ARITH_BAD_CODE:
	case JWRN_MUST_RESYNC:
		on_error(cinfo);
	}
}

static void on_progress(j_common_ptr cinfo)
{
	struct jpeg_reader *r = reader_of(cinfo);

	if (r->cinfo.input_scan_number <= MAX_SCANS)
		return;
	error_data(r->err, "bomb", "JPEG has more than %d scans", MAX_SCANS);
	longjmp(r->escape, 1);
}

static int guarded(struct jpeg_reader *r, void (*step)(struct jpeg_reader *r))
{
	if (setjmp(r->escape))
		return -1;
	step(r);
	return 0;
}

/*
 * The contents of the marker that libjpeg has just met, without a copy: its source is the whole
 * file in memory.
 */
static struct span take_marker(j_decompress_ptr cinfo)
{
	struct jpeg_source_mgr *src = cinfo->src;
	struct span span;
	size_t length;

	if (src->bytes_in_buffer < 2)
		ERREXIT(cinfo, JERR_INPUT_EOF);
	length = (size_t)src->next_input_byte[0] << 8 | src->next_input_byte[1];
	if (length < 2)
		ERREXIT(cinfo, JERR_BAD_LENGTH);
	if (length > src->bytes_in_buffer)
		ERREXIT(cinfo, JERR_INPUT_EOF);
	span = (struct span){src->next_input_byte + 2, length - 2};
	src->next_input_byte += length;
	src->bytes_in_buffer -= length;
	return span;
}

static boolean on_exif_marker(j_decompress_ptr cinfo)
{
	struct jpeg_reader *r = reader_of((j_common_ptr)cinfo);
	struct span span = take_marker(cinfo);

	if (!r->exif.data && span.size >= sizeof(EXIF_SIGNATURE) - 1 &&
	    memcmp(span.data, EXIF_SIGNATURE, sizeof(EXIF_SIGNATURE) - 1) == 0)
		r->exif = span;
	return TRUE;
}

static boolean on_icc_marker(j_decompress_ptr cinfo)
{
	struct jpeg_reader *r = reader_of((j_common_ptr)cinfo);
	struct span span = take_marker(cinfo);
	size_t number;

	if (span.size < ICC_HEADER_SIZE ||
	    memcmp(span.data, ICC_SIGNATURE, sizeof(ICC_SIGNATURE) - 1) != 0)
		return TRUE;
	number = span.data[ICC_HEADER_SIZE - 2];
	r->icc_parts = span.data[ICC_HEADER_SIZE - 1];
	r->icc[number].data = span.data + ICC_HEADER_SIZE;
	r->icc[number].size = span.size - ICC_HEADER_SIZE;
	return TRUE;
}

static void step_header(struct jpeg_reader *r)
{
	jpeg_create_decompress(&r->cinfo);
	r->cinfo.progress = &r->progress;
	jpeg_mem_src(&r->cinfo, r->file.data, r->file.size);
	jpeg_set_marker_processor(&r->cinfo, EXIF_MARKER, on_exif_marker);
	jpeg_set_marker_processor(&r->cinfo, ICC_MARKER, on_icc_marker);
	jpeg_read_header(&r->cinfo, TRUE);
}

/* Reads up to the first scan. The space is decided by the number of components, as Pillow does. */
static int reader_open(struct jpeg_reader *r, const uint8_t *bytes, size_t size, struct error *err)
{
	r->err = err;
	r->file = (struct span){bytes, size};
	r->cinfo.err = jpeg_std_error(&r->errors);
	r->cinfo.client_data = r;
	r->errors.error_exit = on_error;
	r->errors.emit_message = on_message;
	r->progress.progress_monitor = on_progress;
	if (guarded(r, step_header) < 0)
		return -1;
	/* libjpeg-turbo 3 opens 12 and 16 bits, which have functions of their own */
	if (r->cinfo.data_precision != BITS_IN_JSAMPLE)
		return error_data(err, "unsupported", "JPEG of %d bits a sample",
				  r->cinfo.data_precision);
	switch (r->cinfo.num_components) {
	case 1:
		r->space = COLOR_SPACE_GREY;
		r->cinfo.out_color_space = JCS_GRAYSCALE;
		return 0;
	case 3:
		r->space = COLOR_SPACE_RGB;
		r->cinfo.out_color_space = JCS_RGB;
		return 0;
	case 4:
		r->space = COLOR_SPACE_CMYK;
		r->cinfo.out_color_space = JCS_CMYK;
		return 0;
	default:
		return error_data(err, "unsupported", "JPEG with %d components",
				  r->cinfo.num_components);
	}
}

/* One component's samples, rounded up to whole blocks and sampling factors. */
static bool component_samples(const jpeg_component_info *c, size_t *samples)
{
	size_t across = (size_t)c->width_in_blocks + (size_t)c->h_samp_factor;
	size_t down = (size_t)c->height_in_blocks + (size_t)c->v_samp_factor;

	return size_mul3(across, down, DCTSIZE2, samples);
}

/* Of all parts together; 0 if there is none, a part is missing, or they are too large to be looked at. */
static size_t profile_size(const struct jpeg_reader *r)
{
	size_t size = 0;

	for (size_t i = 1; i <= r->icc_parts; i++) {
		if (!r->icc[i].data)
			return 0;
		size += r->icc[i].size;
	}
	return size <= COLOR_PROFILE_MAX ? size : 0;
}

/*
 * What libjpeg allocates: the coefficients of the whole picture if it comes in several scans, and
 * some hundred bytes a column for the rows in flight. And the profile, with what lcms makes of it.
 */
static bool decoder_bytes(struct jpeg_reader *r, size_t *bytes)
{
	size_t total, samples, coefficients, profile = profile_size(r);

	if (!size_mul(r->cinfo.image_width, 512, &total) || !size_add(total, 4u << 20, &total))
		return false;
	for (int i = 0; i < r->cinfo.num_components && jpeg_has_multiple_scans(&r->cinfo); i++)
		if (!component_samples(&r->cinfo.comp_info[i], &samples) ||
		    !size_mul(samples, sizeof(JCOEF), &coefficients) ||
		    !size_add(total, coefficients, &total))
			return false;
	return size_add(total, profile + color_profile_bytes(profile), bytes);
}

static int header_fill(struct jpeg_reader *r, struct image_header *header, struct error *err)
{
	size_t width = r->cinfo.image_width, height = r->cinfo.image_height, bytes;

	if (!decoder_bytes(r, &bytes))
		return error_data(err, "too_large", "JPEG of %zu x %zu pixels", width, height);
	*header = (struct image_header){
	    .format = IMAGE_JPEG,
	    .width = width,
	    .height = height,
	    .orientation = r->exif.data ? exif_orientation(r->exif.data, r->exif.size) : 1,
	    .decode_bytes = bytes,
	};
	return 0;
}

int decode_jpeg_header(const uint8_t *bytes, size_t size, struct image_header *header,
		       struct error *err)
{
	struct jpeg_reader *r = xcalloc(1, sizeof(*r));
	int result = reader_open(r, bytes, size, err);

	if (result == 0)
		result = header_fill(r, header, err);
	jpeg_reader_release(r);
	free(r);
	return result;
}

/* The profile put together from its parts. */
static int profile_join(const struct jpeg_reader *r, struct buffer *out, struct error *err)
{
	size_t size = profile_size(r);

	if (buffer_reserve(out, size, err) < 0)
		return -1;
	for (size_t i = 1; size > 0 && i <= r->icc_parts; i++)
		buffer_append(out, r->icc[i].data, r->icc[i].size);
	return 0;
}

/*
 * libjpeg-turbo's vector code writes rows at aligned addresses past the cache, and reading them again
 * at once then costs 3 ns a pixel. Hence a row of our own, at an odd address.
 */
static int reader_prepare(struct jpeg_reader *r, const struct image_policy *policy)
{
	cleanup_buffer struct buffer profile = BUFFER_INIT;

	if (policy->color == COLOR_SRGB && profile_join(r, &profile, r->err) < 0)
		return -1;
	r->converter =
	    color_converter_new(r->space, profile.size > 0 ? profile.data : NULL, profile.size);
	r->rows = xmalloc(1 + r->sink->width * color_space_samples(r->space));
	r->row = r->rows + 1;
	return 0;
}

/* Adobe stores ink inverted and Pillow takes every CMYK JPEG for Adobe's. */
static void invert(uint8_t *samples, size_t n)
{
	for (size_t i = 0; i < n; i++)
		samples[i] = (uint8_t)(255 - samples[i]);
}

/* The reduction that gives the sink's size: 1, 2, 4 or 8. */
static unsigned scale_of(const struct jpeg_reader *r)
{
	unsigned scale = 1;

	while (scale < 8 && (r->sink->width != (r->cinfo.image_width + scale - 1) / scale ||
			     r->sink->height != (r->cinfo.image_height + scale - 1) / scale))
		scale *= 2;
	return scale;
}

static void step_rows(struct jpeg_reader *r)
{
	size_t width = r->sink->width;

	r->cinfo.scale_num = 1;
	r->cinfo.scale_denom = scale_of(r);
	jpeg_start_decompress(&r->cinfo);
	assert(r->cinfo.output_width == width && r->cinfo.output_height == r->sink->height);
	for (size_t y = 0; y < r->sink->height; y++) {
		jpeg_read_scanlines(&r->cinfo, &r->row, 1);
		if (r->space == COLOR_SPACE_CMYK)
			invert(r->row, width * 4);
		color_convert(r->converter, r->row, r->sink->row(r->sink, y), width);
		r->sink->done(r->sink, y);
	}
}

int decode_jpeg_rows(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		     struct pixel_sink *sink, struct error *err)
{
	struct jpeg_reader *r = xcalloc(1, sizeof(*r));
	int result = -1;

	r->sink = sink;
	if (reader_open(r, bytes, size, err) == 0 && reader_prepare(r, policy) == 0)
		result = guarded(r, step_rows);
	jpeg_reader_release(r);
	free(r);
	return result;
}

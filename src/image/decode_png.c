/*
 * libpng reports errors by not returning. Everything that may call it runs as a `step` under
 * guarded(), owns nothing on its stack, and keeps what must be freed in struct png_reader.
 *
 * libpng expands every kind of PNG to 8-bit grey or RGB, with or without alpha; colour is converted
 * first and composited then, so the background is always sRGB. 16 bits are cut to the high byte, as
 * Pillow does for RGB. (For 16-bit grey Pillow clips instead, which leaves white pictures; we do
 * not.) An APNG is its default image: chunks of other frames mean nothing to libpng.
 */
#include "image/decode_png.h"

#include "base/checked.h"
#include "image/exif.h"
#include "image/png_chunks.h"
#include "image/row_finish.h"

#include <assert.h>
#include <setjmp.h>
#include <string.h>

#include <png.h>

struct png_reader {
	png_structp png;
	png_infop info;
	jmp_buf escape;
	struct error *err;
	bool no_memory;

	const uint8_t *bytes;
	size_t size, at;

	enum color_space space;
	bool alpha;
	size_t passes, row_bytes;
	struct row_finish finish;
	uint8_t *rows; /* as libpng gives them; all of them when interlaced, else one */
	const struct image_policy *policy;
	struct pixel_sink *sink;
};

static void png_reader_release(struct png_reader *r)
{
	png_destroy_read_struct(&r->png, &r->info, NULL);
	row_finish_release(&r->finish);
	free(r->rows);
}

static void on_error(png_structp png, png_const_charp message)
{
	struct png_reader *r = png_get_error_ptr(png);

	if (r->no_memory)
		error_set(r->err, ERR_NOMEM, "PNG: %s", message);
	else
		error_data(r->err, "corrupt", "PNG: %s", message);
	longjmp(r->escape, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
	(void)png;
	(void)message;
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t size)
{
	struct png_reader *r = png_get_mem_ptr(png);
	void *p = malloc(size);

	if (!p)
		r->no_memory = true;
	return p;
}

static void on_free(png_structp png, png_voidp p)
{
	(void)png;
	free(p);
}

static void on_read(png_structp png, png_bytep out, size_t size)
{
	struct png_reader *r = png_get_io_ptr(png);

	if (size > r->size - r->at) {
		error_data(r->err, "truncated", "PNG ends at byte %zu, inside its picture",
			   r->size);
		longjmp(r->escape, 1);
	}
	memcpy(out, r->bytes + r->at, size);
	r->at += size;
}

static int guarded(struct png_reader *r, void (*step)(struct png_reader *r))
{
	if (setjmp(r->escape))
		return -1;
	step(r);
	return 0;
}

/*
 * Chunks that decide nothing are skipped unread. gAMA, cHRM and sRGB are among them: only an ICC
 * profile is converted, and libpng would drop a profile that they contradict.
 */
static void skip_chunks(struct png_reader *r)
{
	static const png_byte skipped[][5] = {"bKGD", "cHRM", "eXIf", "gAMA", "hIST", "iTXt",
					      "oFFs", "pCAL", "pHYs", "sBIT", "sCAL", "sPLT",
					      "sRGB", "tEXt", "tIME", "zTXt"};

	for (size_t i = 0; i < ARRAY_SIZE(skipped); i++)
		png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, skipped[i], 1);
	if (r->policy->color == COLOR_IGNORE)
		png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER,
					    (png_const_bytep) "iCCP", 1);
}

/* Reads up to the pixels and asks for 8-bit grey or RGB. */
static void step_open(struct png_reader *r)
{
	r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, on_error, on_warning, r,
					  on_malloc, on_free);
	r->info = r->png ? png_create_info_struct(r->png) : NULL;
	if (!r->info) {
		error_set(r->err, ERR_NOMEM, "PNG: no memory for the decoder");
		longjmp(r->escape, 1);
	}
	png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
	png_set_chunk_malloc_max(r->png, COLOR_PROFILE_MAX);
	png_set_chunk_cache_max(r->png, 16);
	/* as Pillow: a damaged tRNS must not give an opaque picture */
	png_set_crc_action(r->png, PNG_CRC_DEFAULT, PNG_CRC_ERROR_QUIT);
	skip_chunks(r);
	png_set_read_fn(r->png, r, on_read);
	png_read_info(r->png, r->info);

	png_set_expand(r->png);
	png_set_strip_16(r->png);
	r->passes = (size_t)png_set_interlace_handling(r->png);
	png_read_update_info(r->png, r->info);
	r->row_bytes = png_get_rowbytes(r->png, r->info);
	r->alpha = (png_get_color_type(r->png, r->info) & PNG_COLOR_MASK_ALPHA) != 0;
	r->space = png_get_color_type(r->png, r->info) & PNG_COLOR_MASK_COLOR ? COLOR_SPACE_RGB
									      : COLOR_SPACE_GREY;
}

static int reader_prepare(struct png_reader *r, struct error *err)
{
	size_t width = r->sink->width, height = r->sink->height, bytes;
	png_charp name = NULL;
	png_bytep profile = NULL;
	png_uint_32 profile_size = 0;
	int method = 0;

	assert(png_get_image_width(r->png, r->info) == width &&
	       png_get_image_height(r->png, r->info) == height);

	if (!size_mul(r->row_bytes, r->passes > 1 ? height : 1, &bytes))
		return error_data(err, "too_large", "PNG of %zu x %zu pixels", width, height);
	if (!png_get_iCCP(r->png, r->info, &name, &method, &profile, &profile_size))
		profile = NULL;
	r->rows = malloc(bytes);
	if (!r->rows)
		return error_set(err, ERR_NOMEM, "no memory for %zu x %zu pixels", width, height);
	return row_finish_init(&r->finish, r->sink, r->policy, r->space, r->alpha, profile,
			       profile_size, err);
}

static void step_rows(struct png_reader *r)
{
	size_t step = r->passes > 1 ? r->row_bytes : 0;

	for (size_t pass = 0; pass < r->passes; pass++) {
		for (size_t y = 0; y < r->sink->height; y++) {
			png_read_row(r->png, r->rows + y * step, NULL);
			if (pass == r->passes - 1)
				row_finish_put(&r->finish, y, r->rows + y * step);
		}
	}
}

/* A profile is inflated first, to at most 1032 times its size. */
static size_t profile_bytes(size_t compressed)
{
	size_t inflated = COLOR_PROFILE_MAX;

	if (compressed < COLOR_PROFILE_MAX / 1032)
		inflated = compressed * 1032;
	return inflated + color_profile_bytes(inflated);
}

/* Beside the pixels: some rows for libpng, the whole picture once more when it is interlaced. */
int decode_png_header(const uint8_t *bytes, size_t size, struct image_header *header,
		      struct error *err)
{
	struct png_chunks chunks;
	size_t decoder, samples;

	if (png_chunks_scan(bytes, size, &chunks, err) < 0)
		return -1;
	samples = chunks.grey ? 2 : 4;
	if (!size_mul3(chunks.width, samples, chunks.interlaced ? chunks.height : 1, &decoder) ||
	    !size_add(decoder, chunks.width * 32, &decoder) ||
	    !size_add(decoder, (4u << 20) + profile_bytes(chunks.profile_size), &decoder))
		return error_data(err, "too_large", "PNG of %zu x %zu pixels", chunks.width,
				  chunks.height);
	*header = (struct image_header){
	    .format = IMAGE_PNG,
	    .width = chunks.width,
	    .height = chunks.height,
	    .orientation = chunks.exif ? exif_orientation(chunks.exif, chunks.exif_size) : 1,
	    .decode_bytes = decoder,
	};
	return 0;
}

int decode_png_rows(const uint8_t *bytes, size_t size, const struct image_policy *policy,
		    struct pixel_sink *sink, struct error *err)
{
	struct png_reader *r = xcalloc(1, sizeof(*r));
	int result = -1;

	r->err = err;
	r->bytes = bytes;
	r->size = size;
	r->policy = policy;
	r->sink = sink;
	if (guarded(r, step_open) == 0 && reader_prepare(r, err) == 0)
		result = guarded(r, step_rows);
	png_reader_release(r);
	free(r);
	return result;
}

/* libjpeg reports errors by not returning: what must be freed is in struct jpeg_writer, and one setjmp is the way back. */
#include "image/jpeg_encode.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

struct jpeg_writer {
	struct jpeg_compress_struct cinfo;
	struct jpeg_error_mgr errors;
	jmp_buf escape;
	unsigned char *bytes; /* libjpeg's, by malloc */
	unsigned long size;
};

__attribute__((noreturn)) static void on_error(j_common_ptr cinfo)
{
	longjmp(((struct jpeg_writer *)cinfo->client_data)->escape, 1);
}

static void on_message(j_common_ptr cinfo)
{
	(void)cinfo;
}

static void write_all(struct jpeg_writer *w, const uint8_t *pixels, size_t width, size_t height)
{
	jpeg_create_compress(&w->cinfo); /* keeps err and client_data */
	w->cinfo.image_width = (JDIMENSION)width;
	w->cinfo.image_height = (JDIMENSION)height;
	jpeg_mem_dest(&w->cinfo, &w->bytes, &w->size);
	w->cinfo.input_components = 3;
	w->cinfo.in_color_space = JCS_RGB;
	jpeg_set_defaults(&w->cinfo);
	jpeg_start_compress(&w->cinfo, TRUE);
	while (w->cinfo.next_scanline < w->cinfo.image_height) {
		size_t at = (size_t)w->cinfo.next_scanline * w->cinfo.image_width * 3;
		JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + at);

		jpeg_write_scanlines(&w->cinfo, &row, 1);
	}
	jpeg_finish_compress(&w->cinfo);
}

/* False: it did not return. */
static bool guarded(struct jpeg_writer *w, const uint8_t *pixels, size_t width, size_t height)
{
	if (setjmp(w->escape) != 0)
		return false;
	write_all(w, pixels, width, height);
	return true;
}

int jpeg_encode(const uint8_t *pixels, size_t width, size_t height, struct buffer *out,
		struct error *err)
{
	struct jpeg_writer w = {.bytes = NULL};
	int r;

	buffer_reset(out);
	if (width == 0 || height == 0 || width > JPEG_SIDE_MAX || height > JPEG_SIDE_MAX)
		return error_data(err, "too_large", "%zux%zu pixels are no JPEG: 1 to %d a side",
				  width, height, JPEG_SIDE_MAX);
	w.cinfo.err = jpeg_std_error(&w.errors);
	w.cinfo.client_data = &w;
	w.errors.error_exit = on_error;
	w.errors.output_message = on_message;
	if (guarded(&w, pixels, width, height))
		r = buffer_reserve(out, w.size, err);
	else /* of sizes and pixels that were checked it needs nothing but memory */
		r = error_set(err, ERR_NOMEM, "no memory for a JPEG of %zux%zu", width, height);
	if (r == 0)
		buffer_append(out, w.bytes, w.size);
	jpeg_destroy_compress(&w.cinfo);
	free(w.bytes);
	return r;
}

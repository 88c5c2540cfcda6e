#include "base/compress.h"

#include <zstd.h>

/* Of frames with their content's size and checksum. */
static ZSTD_CCtx *frame_context(int level, struct error *err)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();

	if (!context) {
		error_set(err, ERR_NOMEM, "no memory for a zstd context");
		return NULL;
	}
	ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1);
	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	return context;
}

int compress_frame(struct buffer *out, const void *data, size_t size, int level, struct error *err)
{
	size_t bound = ZSTD_compressBound(size), written;
	ZSTD_CCtx *context;

	if (buffer_reserve(out, bound, err) < 0)
		return -1;
	context = frame_context(level, err);
	if (!context)
		return -1;
	written = ZSTD_compress2(context, out->data + out->size, bound, data, size);
	ZSTD_freeCCtx(context);
	if (ZSTD_isError(written))
		return error_set(err, ERR_BUG, "zstd: %s", ZSTD_getErrorName(written));
	out->size += written;
	out->data[out->size] = '\0';
	return 0;
}

/* @out has room for all. */
static size_t compress_parts(ZSTD_CCtx *context, ZSTD_outBuffer *out, const uint8_t *data,
			     const size_t *ends, size_t n)
{
	size_t at = 0, left = 0;

	for (size_t i = 0; i < n && !ZSTD_isError(left); i++) {
		ZSTD_inBuffer in = {.src = data + at, .size = ends[i] - at};

		left =
		    ZSTD_compressStream2(context, out, &in, i + 1 < n ? ZSTD_e_flush : ZSTD_e_end);
		at = ends[i];
	}
	return left;
}

int compress_frame_parts(struct buffer *out, const void *data, const size_t *ends, size_t n,
			 int level, struct error *err)
{
	/* a part may end in a block of its own that cannot be compressed */
	size_t bound = ZSTD_compressBound(ends[n - 1]) + 16 * n, left;
	ZSTD_outBuffer room = {.size = bound};
	ZSTD_CCtx *context;

	if (buffer_reserve(out, bound, err) < 0)
		return -1;
	context = frame_context(level, err);
	if (!context)
		return -1;
	ZSTD_CCtx_setPledgedSrcSize(context, ends[n - 1]);
	room.dst = out->data + out->size;
	left = compress_parts(context, &room, data, ends, n);
	ZSTD_freeCCtx(context);
	if (left != 0)
		return error_set(err, ERR_BUG, "zstd: %s",
				 ZSTD_isError(left) ? ZSTD_getErrorName(left) : "no room");
	out->size += room.pos;
	out->data[out->size] = '\0';
	return 0;
}

int decompress_frame(struct buffer *out, const void *frame, size_t size, size_t limit,
		     struct error *err)
{
	unsigned long long content = ZSTD_getFrameContentSize(frame, size);
	size_t frame_size, got;

	/* by its number: libzstd also takes skippable frames (as empty) and formats before 0.8 */
	if (size < 4 || get_u32le(frame) != ZSTD_MAGICNUMBER)
		return error_data(err, "zstd", "not a zstd frame");
	if (content == ZSTD_CONTENTSIZE_ERROR || content == ZSTD_CONTENTSIZE_UNKNOWN)
		return error_data(err, "zstd", "not a zstd frame with its size in the header");
	if (content > limit)
		return error_data(err, "zstd", "a frame of %llu bytes is over the limit of %zu",
				  content, limit);
	frame_size = ZSTD_findFrameCompressedSize(frame, size);
	if (ZSTD_isError(frame_size) || frame_size != size)
		return error_data(err, "zstd", "not exactly one zstd frame");
	if (buffer_reserve(out, (size_t)content, err) < 0)
		return -1;
	got = ZSTD_decompress(out->data + out->size, (size_t)content, frame, size);
	if (ZSTD_isError(got) || got != content)
		return error_data(err, "zstd", "damaged zstd frame: %s",
				  ZSTD_isError(got) ? ZSTD_getErrorName(got) : "wrong size");
	out->size += got;
	out->data[out->size] = '\0';
	return 0;
}

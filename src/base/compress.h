/*
 * One zstd frame around a block of bytes, with content size and content checksum in it, so that any
 * decoder can size its memory first and notices a flipped bit by itself.
 */
#ifndef LATENTD_BASE_COMPRESS_H
#define LATENTD_BASE_COMPRESS_H

#include "base/buffer.h"

/*
 * Level for lossless float data: higher ones gain nothing (storage-formats.md 5.2: 0.92 at levels 1
 * to 19).
 */
#define COMPRESS_LEVEL_FLOATS 1
/* For floats that are multiples of a step: 5 to 8 % smaller. */
#define COMPRESS_LEVEL_STEPS 9

/* Appends the frame to @out. The same bytes and level give the same frame with one libzstd. */
int compress_frame(struct buffer *out, const void *data, size_t size, int level, struct error *err);

/* The same, with blocks that end at each of @ends, the last of which is the size: each part gets tables of its own. */
int compress_frame_parts(struct buffer *out, const void *data, const size_t *ends, size_t n,
			 int level, struct error *err);

/*
 * Appends the contents of exactly one frame of @size bytes to @out. ERR_DATA `zstd`: no frame, more
 * than one, damaged, without content size, or larger than @limit when opened.
 */
int decompress_frame(struct buffer *out, const void *frame, size_t size, size_t limit,
		     struct error *err);

#endif

/*
 * Where things are in a WebP: a RIFF file of chunks. Read without libwebpdemux, which makes a list
 * of every chunk and frame of the file, many times the size of a hostile one.
 */
#ifndef LATENTD_IMAGE_WEBP_CHUNKS_H
#define LATENTD_IMAGE_WEBP_CHUNKS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of the file; data is NULL if there is none. */
struct webp_span {
	const uint8_t *data;
	size_t size;
};

struct webp_chunks {
	bool cut;	      /* there is less of the file than its first bytes say */
	bool extended;	      /* the canvas is known: the fields down to `alpha` count */
	size_t width, height; /* of the canvas */
	bool animated, alpha;
	size_t left, top; /* of an animation's first frame on the canvas, and its size */
	size_t frame_width, frame_height;
	struct webp_span frame; /* the first: its own chunks, as libwebp decodes them */
	struct webp_span exif, profile;
};

/*
 * @bytes starts as a WebP does; they may be the beginning of one, if that has the frame's beginning
 * and the EXIF chunk that is announced. ERR_DATA `truncated` or `corrupt`. What is inside the frame's
 * chunks is left to libwebp.
 */
int webp_chunks_scan(const uint8_t *bytes, size_t size, struct webp_chunks *out, struct error *err);

#endif

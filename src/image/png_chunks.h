/*
 * What must be known of a PNG before libpng sees it: its size (so that limits hold first), what its
 * profile may grow to, and its EXIF chunk, which may come after the pixels.
 */
#ifndef LATENTD_IMAGE_PNG_CHUNKS_H
#define LATENTD_IMAGE_PNG_CHUNKS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct png_chunks {
	size_t width, height;
	bool grey, interlaced;
	const uint8_t *exif; /* into the file; NULL if there is none */
	size_t exif_size;
	size_t profile_size; /* of the first ICC chunk, compressed; 0 if there is none */
};

/*
 * @bytes starts with the PNG signature. ERR_DATA `truncated` or `corrupt`. What follows IHDR may be
 * anything; the checksums are left to libpng.
 */
int png_chunks_scan(const uint8_t *bytes, size_t size, struct png_chunks *out, struct error *err);

#endif

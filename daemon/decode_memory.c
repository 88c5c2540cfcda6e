#include "daemon/decode_memory.h"

#include "base/checked.h"

#include <stdbool.h>

enum {
	DECODER_PIXEL_BYTES = 80, /* above image_decode_bytes_max() for large pictures */
	PICTURE_PIXEL_BYTES = 6,  /* the picture, and a turned copy */
};

/* Program and libraries (some 40 MiB), the heap of earlier images, profiles and tables. */
#define BASE ((size_t)512 << 20)

/* A file's buffer doubles while it grows. */
static bool add_file(size_t bytes, size_t *sum)
{
	size_t twice;

	return size_mul(bytes, 2, &twice) && size_add(*sum, twice, sum);
}

size_t decode_memory_working(size_t slot_bytes, size_t file_bytes, size_t render_bytes)
{
	size_t sum = BASE;

	if (!size_add(sum, slot_bytes, &sum) || !add_file(file_bytes, &sum) ||
	    !size_add(sum, render_bytes, &sum))
		return SIZE_MAX;
	return sum;
}

size_t decode_memory_most(const struct image_limits *limits, size_t slot_bytes)
{
	size_t pixels, files;

	if (!size_mul(limits->max_pixels, DECODER_PIXEL_BYTES + PICTURE_PIXEL_BYTES, &pixels) ||
	    !size_add(limits->max_file_bytes, DECODE_MEMORY_AHEAD, &files))
		return SIZE_MAX;
	return decode_memory_working(slot_bytes, files, pixels);
}

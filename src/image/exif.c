/*
 * A TIFF header (byte order, 42, offset of the first directory), then a directory: a count and
 * entries of 12 bytes (tag, type, count, value). Offsets count from the header. Only the first
 * directory is read, and only entries that lie wholly inside the block.
 */
#include "image/exif.h"

#include <stdbool.h>
#include <string.h>

#define PREFIX		"Exif\0\0"
#define PREFIX_SIZE	6
#define HEADER_SIZE	8
#define ENTRY_SIZE	12
#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT	3
#define TYPE_LONG	4

struct tiff {
	const uint8_t *data;
	size_t size;
	bool big_endian;
};

static uint32_t tiff_u16(const struct tiff *t, size_t at)
{
	const uint8_t *p = t->data + at;

	return t->big_endian ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static uint32_t tiff_u32(const struct tiff *t, size_t at)
{
	uint32_t first = tiff_u16(t, at), second = tiff_u16(t, at + 2);

	return t->big_endian ? first << 16 | second : second << 16 | first;
}

static bool tiff_open(struct tiff *t, const uint8_t *data, size_t size)
{
	if (size < HEADER_SIZE)
		return false;
	if (memcmp(data, "II", 2) != 0 && memcmp(data, "MM", 2) != 0)
		return false;
	*t = (struct tiff){data, size, data[0] == 'M'};
	return tiff_u16(t, 2) == 42;
}

/* Of an entry with that tag. A single SHORT or LONG lies left-justified in the value field. */
static unsigned orientation_of(const struct tiff *t, size_t entry)
{
	uint32_t type = tiff_u16(t, entry + 2), value;

	if (tiff_u32(t, entry + 4) != 1 || (type != TYPE_SHORT && type != TYPE_LONG))
		return 1;
	value = type == TYPE_SHORT ? tiff_u16(t, entry + 8) : tiff_u32(t, entry + 8);
	return value >= 1 && value <= 8 ? value : 1;
}

unsigned exif_orientation(const uint8_t *block, size_t size)
{
	unsigned orientation = 1;
	struct tiff t;
	size_t at, entries;

	if (size > EXIF_BLOCK_MAX)
		return 1;
	if (size >= PREFIX_SIZE && memcmp(block, PREFIX, PREFIX_SIZE) == 0) {
		block += PREFIX_SIZE;
		size -= PREFIX_SIZE;
	}
	if (!tiff_open(&t, block, size))
		return 1;
	at = tiff_u32(&t, 4);
	if (at > size || size - at < 2)
		return 1;
	entries = tiff_u16(&t, at);
	at += 2;
	for (; entries > 0 && size - at >= ENTRY_SIZE; entries--, at += ENTRY_SIZE)
		if (tiff_u16(&t, at) == TAG_ORIENTATION)
			orientation = orientation_of(&t, at);
	return orientation;
}

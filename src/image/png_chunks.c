#include "image/png_chunks.h"

#include "base/buffer.h"

#include <string.h>

#define SIGNATURE_SIZE	 8
#define IHDR_SIZE	 13
#define CHUNK_OVERHEAD	 12 /* length, type, checksum */
#define COLOR_GREY	 0
#define COLOR_GREY_ALPHA 4

/* The first of each kind; EXIF that lies wholly inside the file. */
static void find_metadata(const uint8_t *bytes, size_t size, size_t at, struct png_chunks *out)
{
	while (size - at >= CHUNK_OVERHEAD) {
		size_t length = get_u32be(bytes + at);
		const uint8_t *type = bytes + at + 4;

		/* of the beginning of a file too: it tells the memory that the whole takes */
		if (memcmp(type, "iCCP", 4) == 0 && out->profile_size == 0)
			out->profile_size = length;
		if (length > size - at - CHUNK_OVERHEAD || memcmp(type, "IEND", 4) == 0)
			return;
		if (memcmp(type, "eXIf", 4) == 0 && !out->exif) {
			out->exif = type + 4;
			out->exif_size = length;
		}
		at += CHUNK_OVERHEAD + length;
	}
}

int png_chunks_scan(const uint8_t *bytes, size_t size, struct png_chunks *out, struct error *err)
{
	const uint8_t *ihdr = bytes + SIGNATURE_SIZE + 8;
	size_t end = SIGNATURE_SIZE + CHUNK_OVERHEAD + IHDR_SIZE;
	struct png_chunks found = {0};

	if (size < end)
		return error_data(err, "truncated", "PNG ends at byte %zu, in its header", size);
	if (get_u32be(ihdr - 8) != IHDR_SIZE || memcmp(ihdr - 4, "IHDR", 4) != 0)
		return error_data(err, "corrupt", "PNG does not start with an IHDR chunk");
	found.width = get_u32be(ihdr);
	found.height = get_u32be(ihdr + 4);
	if (found.width == 0 || found.height == 0)
		return error_data(err, "corrupt", "PNG of %zu x %zu pixels", found.width,
				  found.height);
	found.grey = ihdr[9] == COLOR_GREY || ihdr[9] == COLOR_GREY_ALPHA;
	found.interlaced = ihdr[12] != 0;
	find_metadata(bytes, size, end, &found);
	*out = found;
	return 0;
}

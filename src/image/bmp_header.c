/*
 * A file header of 14 bytes ("BM", ..., offset of the pixels at 10), an info header that begins with
 * its own size, three or four masks if they are not in that header, the palette.
 */
#include "image/bmp_header.h"

#include "base/buffer.h"
#include "base/checked.h"

#include <string.h>

#define FILE_HEADER_SIZE 14
#define PIXELS_AT	 10

/* Info headers, by size. */
#define CORE_SIZE      12 /* OS/2 1: width and height of 16 bits, palette entries of 3 bytes */
#define OS2_SHORT_SIZE 16
#define INFO_SIZE      40
#define OS2_SIZE       64
#define V4_MASKS_SIZE  56 /* from here on the header has four masks, from 52 on three */
#define V3_MASKS_SIZE  52
#define V5_SIZE	       124
#define LARGEST	       V5_SIZE

/* Offsets in an info header. */
#define AT_WIDTH	4
#define AT_HEIGHT	8
#define AT_BITS		14
#define AT_COMPRESSION	16
#define AT_COLORS	32
#define AT_MASKS	40
#define AT_SPACE	56
#define AT_PROFILE	112
#define AT_PROFILE_SIZE 116

#define COMPRESSION_RAW		   0
#define COMPRESSION_RLE8	   1
#define COMPRESSION_RLE4	   2
#define COMPRESSION_BITFIELDS	   3
#define COMPRESSION_JPEG	   4
#define COMPRESSION_PNG		   5
#define COMPRESSION_ALPHABITFIELDS 6

#define SPACE_PROFILE_EMBEDDED 0x4d424544 /* "MBED" */
#define MAX_COLORS	       65536

/* What is read of the header, whichever it is; fields that it does not have are 0. */
struct raw_info {
	size_t size;
	uint8_t bytes[LARGEST];
	unsigned compression;
	size_t colors;
};

static int cut(size_t size, struct error *err)
{
	return error_data(err, "truncated", "BMP ends at byte %zu, in its header", size);
}

static int read_info(const uint8_t *bytes, size_t size, struct raw_info *info, struct error *err)
{
	if (size < FILE_HEADER_SIZE + 4)
		return cut(size, err);
	*info = (struct raw_info){.size = get_u32le(bytes + FILE_HEADER_SIZE)};
	switch (info->size) {
	case CORE_SIZE:
	case OS2_SHORT_SIZE:
	case INFO_SIZE:
	case V3_MASKS_SIZE:
	case V4_MASKS_SIZE:
	case OS2_SIZE:
	case 108:
	case V5_SIZE:
		break;
	default:
		return error_data(err, "unsupported", "BMP with a header of %zu bytes", info->size);
	}
	if (info->size > size - FILE_HEADER_SIZE)
		return cut(size, err);
	memcpy(info->bytes, bytes + FILE_HEADER_SIZE, info->size);
	info->compression = get_u32le(info->bytes + AT_COMPRESSION);
	info->colors = get_u32le(info->bytes + AT_COLORS);
	return 0;
}

/* A negative height says that the first row is the top one. */
static int take_size(const struct raw_info *info, struct bmp_header *out, struct error *err)
{
	int64_t width = (int32_t)get_u32le(info->bytes + AT_WIDTH);
	int64_t height = (int32_t)get_u32le(info->bytes + AT_HEIGHT);

	out->bits = get_u16le(info->bytes + AT_BITS);
	if (info->size == CORE_SIZE) {
		width = get_u16le(info->bytes + AT_WIDTH);
		height = get_u16le(info->bytes + AT_WIDTH + 2);
		out->bits = get_u16le(info->bytes + AT_WIDTH + 6);
	}
	out->top_down = height < 0;
	if (width <= 0 || height == 0)
		return error_data(err, "corrupt", "BMP of %lld x %lld pixels", (long long)width,
				  (long long)height);
	out->width = (size_t)width;
	out->height = (size_t)(height < 0 ? -height : height);
	return 0;
}

static int check_bits(unsigned bits, struct error *err)
{
	switch (bits) {
	case 1:
	case 2:
	case 4:
	case 8:
	case 16:
	case 24:
	case 32:
		return 0;
	default:
		return error_data(err, "unsupported", "BMP with %u bits a pixel", bits);
	}
}

static int refuse_coding(unsigned compression, bool os2, struct error *err)
{
	if (!os2 && (compression == COMPRESSION_JPEG || compression == COMPRESSION_PNG))
		return error_data(err, "unsupported", "BMP with a %s inside",
				  compression == COMPRESSION_JPEG ? "JPEG" : "PNG");
	return error_data(err, "unsupported", "BMP with compression %u%s", compression,
			  os2 ? " of OS/2" : "");
}

/* In OS/2 headers 3 and 4 mean other things than in those of Windows. */
static int take_coding(const struct raw_info *info, struct bmp_header *out, struct error *err)
{
	bool os2 = info->size == OS2_SIZE || info->size == OS2_SHORT_SIZE;
	unsigned c = info->compression;

	out->coding = BMP_RAW;
	switch (c) {
	case COMPRESSION_RAW:
		return check_bits(out->bits, err);
	case COMPRESSION_RLE8:
	case COMPRESSION_RLE4:
		if (out->bits != (c == COMPRESSION_RLE8 ? 8 : 4))
			return error_data(err, "corrupt", "BMP: RLE%d of %u bits a pixel",
					  c == COMPRESSION_RLE8 ? 8 : 4, out->bits);
		out->coding = c == COMPRESSION_RLE8 ? BMP_RLE8 : BMP_RLE4;
		return 0;
	case COMPRESSION_BITFIELDS:
	case COMPRESSION_ALPHABITFIELDS:
		return os2 || out->bits < 16 ? refuse_coding(c, os2, err)
					     : check_bits(out->bits, err);
	default:
		return refuse_coding(c, os2, err);
	}
}

static int take_mask(uint32_t mask, unsigned bits, struct bmp_channel *out, struct error *err)
{
	unsigned shift = mask ? (unsigned)__builtin_ctz(mask) : 0;
	uint32_t max = mask >> shift;

	if ((max & (max + 1)) != 0 || (bits == 16 && mask > 0xffff) ||
	    (bits == 24 && mask > 0xffffff))
		return error_data(err, "unsupported", "BMP with the mask %#x in %u bits", mask,
				  bits);
	*out = (struct bmp_channel){shift, max};
	return 0;
}

static bool is_masked(const struct raw_info *info)
{
	return info->compression == COMPRESSION_BITFIELDS ||
	       info->compression == COMPRESSION_ALPHABITFIELDS;
}

/* The masks of the header, or those behind it; what is not given is as Windows has it. */
static int take_masks(const uint8_t *bytes, size_t size, const struct raw_info *info, size_t *at,
		      struct bmp_header *out, struct error *err)
{
	uint32_t masks[4] = {0xff0000, 0xff00, 0xff, 0};
	size_t given = 0;

	if (is_masked(info)) {
		given =
		    info->size >= V4_MASKS_SIZE || info->compression == COMPRESSION_ALPHABITFIELDS
			? 4
			: 3;
		if (info->size < V3_MASKS_SIZE)
			*at += given * 4;
		if (FILE_HEADER_SIZE + AT_MASKS + given * 4 > size)
			return cut(size, err);
		/* behind a header of 40 bytes lies what larger ones have inside, at the same place */
		for (size_t i = 0; i < given; i++)
			masks[i] = get_u32le(bytes + FILE_HEADER_SIZE + AT_MASKS + i * 4);
		if (out->bits == 32 && !masks[0] && !masks[1] && !masks[2] && !masks[3])
			memcpy(masks, (uint32_t[]){0xff0000, 0xff00, 0xff, 0xff000000},
			       sizeof(masks));
	} else if (out->bits == 16) {
		memcpy(masks, (uint32_t[]){0x7c00, 0x3e0, 0x1f, 0}, sizeof(masks));
	}
	if (!(masks[0] | masks[1] | masks[2]))
		return error_data(err, "unsupported", "BMP without masks for its colours");
	for (size_t i = 0; i < 4; i++)
		if (take_mask(masks[i], out->bits, &out->channels[i], err) < 0)
			return -1;
	return 0;
}

static int take_palette(const uint8_t *bytes, size_t size, const struct raw_info *info, size_t *at,
			struct bmp_header *out, struct error *err)
{
	size_t entry = info->size == CORE_SIZE ? 3 : 4;
	size_t colors = info->colors ? info->colors : (size_t)1 << out->bits;

	if (colors > MAX_COLORS)
		return error_data(err, "corrupt", "BMP with a palette of %zu colours", colors);
	for (size_t i = 0; i < colors && i < ARRAY_SIZE(out->palette); i++) {
		const uint8_t *bgr;

		if (*at + (i + 1) * entry > size)
			return cut(size, err);
		bgr = bytes + *at + i * entry;
		out->palette[i][0] = bgr[2];
		out->palette[i][1] = bgr[1];
		out->palette[i][2] = bgr[0];
	}
	*at += colors * entry;
	return 0;
}

static void take_profile(const uint8_t *bytes, size_t size, const struct raw_info *info,
			 struct bmp_header *out)
{
	size_t at = FILE_HEADER_SIZE + (size_t)get_u32le(info->bytes + AT_PROFILE);
	size_t length = get_u32le(info->bytes + AT_PROFILE_SIZE);

	if (info->size < V5_SIZE || get_u32le(info->bytes + AT_SPACE) != SPACE_PROFILE_EMBEDDED ||
	    length == 0 || at > size || length > size - at)
		return;
	out->profile = bytes + at;
	out->profile_size = length;
}

int bmp_header_read(const uint8_t *bytes, size_t size, struct bmp_header *out, struct error *err)
{
	struct bmp_header found = {0};
	struct raw_info info;
	size_t at, said;
	int result = 0;

	if (read_info(bytes, size, &info, err) < 0 || take_size(&info, &found, err) < 0 ||
	    take_coding(&info, &found, err) < 0)
		return -1;
	at = FILE_HEADER_SIZE + info.size;
	said = get_u32le(bytes + PIXELS_AT);
	result = found.bits <= 8 ? take_palette(bytes, size, &info, &at, &found, err)
				 : take_masks(bytes, size, &info, &at, &found, err);
	if (result < 0)
		return -1;
	/* Some writers give the place of the palette for that of the pixels, or none. */
	found.pixels = said;
	if (said == 0 || (found.bits <= 8 && said == FILE_HEADER_SIZE + info.size))
		found.pixels = at;
	if (!size_mul(found.width, found.bits, &found.stride))
		return error_data(err, "too_large", "BMP of %zu x %zu pixels", found.width,
				  found.height);
	found.stride = (found.stride + 31) / 32 * 4;
	take_profile(bytes, size, &info, &found);
	*out = found;
	return 0;
}

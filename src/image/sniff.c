#include "image/sniff.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/text.h"

#include <string.h>

/* What latentd knows how to read has a format; what is only known by name has -1. */
static const struct signature {
	const char *name;
	int format;
	size_t offset, size;
	const char *bytes;
} signatures[] = {
    {"JPEG", IMAGE_JPEG, 0, 3, "\xff\xd8\xff"},
    {"PNG", IMAGE_PNG, 0, 8, "\x89PNG\r\n\x1a\n"},
    {"GIF", IMAGE_GIF, 0, 6, "GIF87a"},
    {"GIF", IMAGE_GIF, 0, 6, "GIF89a"},
    {"AVIF", IMAGE_AVIF, 4, 8, "ftypavif"},
    {"AVIF", IMAGE_AVIF, 4, 8, "ftypavis"},
    {"JPEG XL", IMAGE_JXL, 0, 2, "\xff\x0a"},
    {"JPEG XL", IMAGE_JXL, 0, 12, "\0\0\0\x0cJXL \r\n\x87\n"},
    {"TIFF", -1, 0, 4, "II*\0"},
    {"TIFF", -1, 0, 4, "MM\0*"},
    {"TIFF", -1, 0, 4, "II+\0"},
    {"TIFF", -1, 0, 4, "MM\0+"},
    {"HEIC", -1, 4, 7, "ftyphei"},
    {"HEIC", -1, 4, 7, "ftyphev"},
    {"HEIF", -1, 4, 8, "ftypmif1"},
    {"HEIF", -1, 4, 8, "ftypmsf1"},
    {"JPEG 2000", -1, 0, 12, "\0\0\0\x0cjP  \r\n\x87\n"},
    {"JPEG 2000", -1, 0, 4, "\xff\x4f\xff\x51"},
    {"Photoshop", -1, 0, 4, "8BPS"},
};

static bool is_webp(const uint8_t *bytes, size_t size)
{
	return size >= 15 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBPVP8", 7) == 0;
}

/* "BM" starts many texts; what follows the file header must be the size of a known info header. */
static bool is_bmp(const uint8_t *bytes, size_t size)
{
	static const uint32_t info_sizes[] = {12, 16, 40, 52, 56, 64, 108, 124};

	if (size < 18 || memcmp(bytes, "BM", 2) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(info_sizes); i++)
		if (get_u32le(bytes + 14) == info_sizes[i])
			return true;
	return false;
}

/* A file of the general brands mif1 or msf1 is AVIF if it says so further on in the same box. */
static bool is_general_avif(const uint8_t *bytes, size_t size)
{
	size_t end = size < 256 ? size : 256;

	if (size < 16 ||
	    (memcmp(bytes + 4, "ftypmif1", 8) != 0 && memcmp(bytes + 4, "ftypmsf1", 8) != 0))
		return false;
	if (bytes[0] == 0 && bytes[1] == 0 && bytes[2] == 0 && bytes[3] < end)
		end = bytes[3];
	for (size_t at = 16; at + 4 <= end; at += 4)
		if (memcmp(bytes + at, "avif", 4) == 0 || memcmp(bytes + at, "avis", 4) == 0)
			return true;
	return false;
}

static int refuse_unknown(const uint8_t *bytes, size_t size, struct error *err)
{
	char start[17] = "", quoted[TEXT_QUOTE_SIZE];

	memcpy(start, bytes, size < 16 ? size : 16);
	if (start[0] == '\0')
		return error_data(err, "unsupported",
				  "not an image file (starts with a zero byte)");
	return error_data(err, "unsupported", "not an image file (starts with %s)",
			  text_quote(start, quoted));
}

static const struct signature *find_signature(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		const struct signature *s = &signatures[i];

		if (size >= s->offset + s->size &&
		    memcmp(bytes + s->offset, s->bytes, s->size) == 0)
			return s;
	}
	return NULL;
}

int sniff_format(const uint8_t *bytes, size_t size, enum image_format *format, struct error *err)
{
	const struct signature *s = find_signature(bytes, size);

	if (size == 0)
		return error_data(err, "empty", "the file is empty");
	if (is_webp(bytes, size))
		*format = IMAGE_WEBP;
	else if (is_bmp(bytes, size))
		*format = IMAGE_BMP;
	else if (is_general_avif(bytes, size))
		*format = IMAGE_AVIF;
	else if (s && s->format >= 0)
		*format = (enum image_format)s->format;
	else if (s)
		return error_data(err, "unsupported", "%s is not read", s->name);
	else
		return refuse_unknown(bytes, size, err);
	return 0;
}

#include "image/sniff.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/text.h"

#include <string.h>

/* What is read has a format; what is only known by name has -1. */
static const struct signature {
	const char *name;
	int format;
	size_t offset, size;
	const char *bytes;
} signatures[] = {
    {"JPEG", IMAGE_JPEG, 0, 3, "\xff\xd8\xff"},
    {"PNG", IMAGE_PNG, 0, 8, "\x89PNG\r\n\x1a\n"},
    {"WebP", -1, 8, 7, "WEBPVP8"},
    {"GIF", -1, 0, 6, "GIF87a"},
    {"GIF", -1, 0, 6, "GIF89a"},
    {"TIFF", -1, 0, 4, "II*\0"},
    {"TIFF", -1, 0, 4, "MM\0*"},
    {"TIFF", -1, 0, 4, "II+\0"},
    {"TIFF", -1, 0, 4, "MM\0+"},
    {"AVIF", -1, 4, 8, "ftypavif"},
    {"AVIF", -1, 4, 8, "ftypavis"},
    {"HEIC", -1, 4, 7, "ftyphei"},
    {"HEIC", -1, 4, 7, "ftyphev"},
    {"HEIF", -1, 4, 8, "ftypmif1"},
    {"HEIF", -1, 4, 8, "ftypmsf1"},
    {"JPEG XL", -1, 0, 2, "\xff\x0a"},
    {"JPEG XL", -1, 0, 12, "\0\0\0\x0cJXL \r\n\x87\n"},
    {"JPEG 2000", -1, 0, 12, "\0\0\0\x0cjP  \r\n\x87\n"},
    {"JPEG 2000", -1, 0, 4, "\xff\x4f\xff\x51"},
    {"Photoshop", -1, 0, 4, "8BPS"},
};

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

static int refuse(const char *name, struct error *err)
{
	return error_data(err, "unsupported", "%s is not read by this build", name);
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

int sniff_format(const uint8_t *bytes, size_t size, enum image_format *format, struct error *err)
{
	if (size == 0)
		return error_data(err, "empty", "the file is empty");
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		const struct signature *s = &signatures[i];

		if (size < s->offset + s->size || memcmp(bytes + s->offset, s->bytes, s->size) != 0)
			continue;
		if (s->format < 0)
			return refuse(s->name, err);
		*format = (enum image_format)s->format;
		return 0;
	}
	if (is_bmp(bytes, size))
		return refuse("BMP", err);
	return refuse_unknown(bytes, size, err);
}

#include "daemon/picture_file.h"

#include "base/atomic_file.h"
#include "base/text.h"
#include "image/png_encode.h"

#include <string.h>
#include <strings.h>

int picture_file_check(const char *path, struct error *err)
{
	const char *dot = path ? strrchr(path, '.') : NULL;
	char quoted[TEXT_QUOTE_SIZE];

	if (!path)
		return error_set(err, ERR_CONFIG, "--out is missing: the picture to write, a .png");
	if (!dot || strcasecmp(dot, ".png") != 0)
		return error_set(err, ERR_CONFIG, "--out %s: expected a name that ends in .png",
				 text_quote(path, quoted));
	return 0;
}

int picture_file_write(const char *path, const struct image *image, struct error *err)
{
	cleanup_buffer struct buffer png = BUFFER_INIT;
	struct png_encoder *encoder = png_encoder_new();
	int r = png_encode(encoder, image->pixels, image->width, image->height, &png, err);

	png_encoder_free(encoder);
	return r < 0 ? -1 : atomic_file_write(path, png.data, png.size, err);
}

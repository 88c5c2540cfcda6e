#include "image/image.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

int image_alloc(struct image *image, size_t width, size_t height, struct error *err)
{
	size_t bytes;
	uint8_t *pixels;

	if (!size_mul3(width, height, 3, &bytes) || bytes > PTRDIFF_MAX)
		return error_data(err, "too_large", "%zu x %zu pixels", width, height);
	pixels = malloc(bytes > 0 ? bytes : 1);
	if (!pixels)
		return error_set(err, ERR_NOMEM, "no memory for %zu x %zu pixels", width, height);
	*image = (struct image){width, height, pixels};
	return 0;
}

void image_release(struct image *image)
{
	free(image->pixels);
	*image = (struct image)IMAGE_INIT;
}

size_t image_bytes(const struct image *image)
{
	return image->width * image->height * 3;
}

void image_mirror(struct image *image)
{
	for (size_t y = 0; y < image->height; y++) {
		uint8_t *row = image->pixels + y * image->width * 3;

		for (size_t x = 0; x < image->width / 2; x++) {
			uint8_t *a = row + 3 * x, *b = row + 3 * (image->width - 1 - x), kept[3];

			memcpy(kept, a, 3);
			memcpy(a, b, 3);
			memcpy(b, kept, 3);
		}
	}
}

/*
 * Any bytes as an image file: the header, and the pixels when there are few enough for a fast run.
 */
#include "base/error.h"
#include "image/decode.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct image_limits limits = {1u << 20, 1u << 16, 4096};
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	struct image_header header;
	size_t width, height;

	for (int color = COLOR_SRGB; color <= COLOR_IGNORE; color++) {
		cleanup_image struct image image = IMAGE_INIT;
		struct error err = ERROR_INIT;

		if (image_read_header(data, size, &limits, &header, &err) < 0)
			return 0;
		policy.color = (enum image_color)color;
		image_oriented_size(&header, &width, &height);
		if (image_decode(data, size, &limits, &policy, &image, &err) < 0)
			continue;
		if (image.width != width || image.height != height)
			abort();
	}
	return 0;
}

#include "image/render.h"

#include "base/checked.h"
#include "image/orientation.h"

int image_render(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		 const struct image_policy *policy, const struct render_geometry *geometry,
		 uint8_t *out, struct error *err)
{
	cleanup_image struct image image = IMAGE_INIT;
	struct resample_plan plan;

	if (image_decode(bytes, size, limits, policy, &image, err) < 0)
		return -1;
	plan =
	    resample_whole(&image, geometry->full_width, geometry->full_height, geometry->filter);
	plan.left = geometry->left;
	plan.top = geometry->top;
	plan.width = geometry->width;
	plan.height = geometry->height;
	return resample(&image, &plan, out, err);
}

/* The decoder beside the pixels; then, when it is gone, the pixels beside their turned copy. */
size_t image_render_bytes(const struct image_header *header, const struct image_policy *policy,
			  const struct render_geometry *geometry)
{
	bool turns = policy->apply_exif && header->orientation != 1;
	size_t image, decoding, turning;

	(void)geometry;
	if (!size_mul3(header->width, header->height, 3, &image) ||
	    !size_add(image, header->decode_bytes, &decoding) ||
	    !size_mul(image, turns ? 2 : 1, &turning))
		return SIZE_MAX;
	return decoding > turning ? decoding : turning;
}

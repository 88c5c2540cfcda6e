#include "image/color.h"

#include "base/checked.h"

#include <stdbool.h>
#include <string.h>

#include <lcms2.h>

struct color_converter {
	enum color_space space;
	cmsHTRANSFORM transform; /* NULL: no usable profile */
};

size_t color_space_samples(enum color_space space)
{
	static const size_t samples[] = {1, 3, 4};

	return samples[space];
}

/*
 * The profile describes how samples look: it is no device link, no abstract or named-colour
 * profile. One for other samples (grey in an RGB file) is refused by cmsCreateTransform.
 */
static bool describes_samples(cmsHPROFILE profile)
{
	cmsProfileClassSignature class = cmsGetDeviceClass(profile);

	return class == cmsSigInputClass || class == cmsSigDisplayClass ||
	       class == cmsSigOutputClass || class == cmsSigColorSpaceClass;
}

static cmsHTRANSFORM transform_new(cmsHPROFILE from, enum color_space space)
{
	static const cmsUInt32Number formats[] = {TYPE_GRAY_8, TYPE_RGB_8, TYPE_CMYK_8};
	cmsHPROFILE to = cmsCreate_sRGBProfile();
	cmsHTRANSFORM transform = NULL;

	if (to) {
		transform = cmsCreateTransform(from, formats[space], to, TYPE_RGB_8,
					       INTENT_RELATIVE_COLORIMETRIC,
					       cmsFLAGS_BLACKPOINTCOMPENSATION);
		cmsCloseProfile(to);
	}
	return transform;
}

struct color_converter *color_converter_new(enum color_space space, const uint8_t *profile,
					    size_t size)
{
	struct color_converter *c = xcalloc(1, sizeof(*c));
	cmsHPROFILE from;

	c->space = space;
	if (!profile || size > COLOR_PROFILE_MAX)
		return c;
	from = cmsOpenProfileFromMem(profile, (cmsUInt32Number)size);
	if (!from)
		return c;
	if (describes_samples(from))
		c->transform = transform_new(from, space);
	cmsCloseProfile(from);
	return c;
}

void color_converter_free(struct color_converter *c)
{
	if (!c)
		return;
	if (c->transform)
		cmsDeleteTransform(c->transform);
	free(c);
}

static void grey_to_rgb(const uint8_t *in, uint8_t *out, size_t pixels)
{
	for (size_t i = 0; i < pixels; i++, out += 3)
		out[0] = out[1] = out[2] = in[i];
}

/* Pillow cmyk2rgb: what the ink leaves of what the black leaves, divided by 255 with rounding. */
static void cmyk_to_rgb(const uint8_t *in, uint8_t *out, size_t pixels)
{
	for (size_t i = 0; i < pixels; i++, in += 4, out += 3) {
		uint32_t white = 255u - in[3];

		for (size_t c = 0; c < 3; c++) {
			uint32_t t = in[c] * white + 128;

			out[c] = (uint8_t)(white - ((t + (t >> 8)) >> 8));
		}
	}
}

void color_convert(const struct color_converter *c, const uint8_t *in, uint8_t *out, size_t pixels)
{
	if (c->transform)
		cmsDoTransform(c->transform, in, out, (cmsUInt32Number)pixels);
	else if (c->space == COLOR_SPACE_GREY)
		grey_to_rgb(in, out, pixels);
	else if (c->space == COLOR_SPACE_CMYK)
		cmyk_to_rgb(in, out, pixels);
	else if (in != out)
		memcpy(out, in, pixels * 3);
}

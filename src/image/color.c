/*
 * Making a transform costs milliseconds (of CMYK tens) and pictures of one folder carry the same
 * profile: the last converter is kept, and shared by those who ask for the same one again. It does
 * not change once it is made.
 */
#include "image/color.h"

#include "base/checked.h"
#include "base/hash.h"
#include "image/color_channels.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include <lcms2.h>

struct color_converter {
	enum color_space space;
	cmsHTRANSFORM transform; /* NULL: no usable profile */
	bool by_channel;
	struct color_channels channels;

	struct hash128 profile;
	size_t profile_size; /* 0: none */
	size_t users;
};

/* The converter made last is one of its users' own; this is one more user. */
static struct {
	pthread_mutex_t lock;
	struct color_converter *converter;
} last = {PTHREAD_MUTEX_INITIALIZER, NULL};

size_t color_space_samples(enum color_space space)
{
	static const size_t samples[] = {1, 3, 4};

	return samples[space];
}

/*
 * Measured with lcms 2.14, tables of 8 bits in RGB and CMYK up to 16 MiB: a copy of the profile, and three
 * of its table, which has 16 bits in memory; for CMYK 1.8 MiB beside that. (test_render_memory)
 */
size_t color_profile_bytes(size_t size)
{
	return size > 0 && size <= COLOR_PROFILE_MAX ? 7 * size + (2u << 20) : 0;
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

/* cmsDoTransform() changes nothing of the transform: its cache is a copy for each call. */
static void transform_run(void *transform, const uint8_t *in, uint8_t *out, size_t pixels)
{
	cmsDoTransform(transform, in, out, (cmsUInt32Number)pixels);
}

/* Curves that rise or fall, a matrix, and no table that lcms would take instead. */
static bool is_monotonic(cmsHPROFILE profile)
{
	static const cmsTagSignature curves[] = {cmsSigRedTRCTag, cmsSigGreenTRCTag,
						 cmsSigBlueTRCTag};
	static const cmsTagSignature tables[] = {cmsSigAToB0Tag, cmsSigAToB1Tag, cmsSigAToB2Tag,
						 cmsSigDToB0Tag, cmsSigDToB1Tag, cmsSigDToB2Tag,
						 cmsSigDToB3Tag};

	if (!cmsIsMatrixShaper(profile))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (cmsIsTag(profile, tables[i]))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
		const cmsToneCurve *curve = cmsReadTag(profile, curves[i]);

		if (!curve || !cmsIsToneCurveMonotonic(curve))
			return false;
	}
	return true;
}

static void read_profile(struct color_converter *c, const uint8_t *profile, size_t size)
{
	cmsHPROFILE from = cmsOpenProfileFromMem(profile, (cmsUInt32Number)size);

	if (!from)
		return;
	if (describes_samples(from))
		c->transform = transform_new(from, c->space);
	c->by_channel = c->transform && c->space == COLOR_SPACE_RGB && is_monotonic(from) &&
			color_channels_probe(&c->channels, transform_run, c->transform);
	cmsCloseProfile(from);
}

/* Under the lock. */
static void drop(struct color_converter *c)
{
	if (!c || --c->users > 0)
		return;
	if (c->transform)
		cmsDeleteTransform(c->transform);
	free(c);
}

static struct color_converter *take_last(enum color_space space, const struct hash128 *profile,
					 size_t size)
{
	struct color_converter *found = NULL;

	pthread_mutex_lock(&last.lock);
	if (last.converter && last.converter->space == space &&
	    last.converter->profile_size == size &&
	    hash128_equal(&last.converter->profile, profile)) {
		found = last.converter;
		found->users++;
	}
	pthread_mutex_unlock(&last.lock);
	return found;
}

static void keep_as_last(struct color_converter *c)
{
	pthread_mutex_lock(&last.lock);
	drop(last.converter);
	last.converter = c;
	c->users++;
	pthread_mutex_unlock(&last.lock);
}

struct color_converter *color_converter_new(enum color_space space, const uint8_t *profile,
					    size_t size)
{
	bool usable = profile && size > 0 && size <= COLOR_PROFILE_MAX;
	struct hash128 hash = {{0}};
	struct color_converter *c;

	if (usable) {
		hash = hash128_of(profile, size);
		c = take_last(space, &hash, size);
		if (c)
			return c;
	}
	c = xcalloc(1, sizeof(*c));
	c->space = space;
	c->users = 1;
	if (usable) {
		c->profile = hash;
		c->profile_size = size;
		read_profile(c, profile, size);
		keep_as_last(c);
	}
	return c;
}

void color_converter_free(struct color_converter *c)
{
	pthread_mutex_lock(&last.lock);
	drop(c);
	pthread_mutex_unlock(&last.lock);
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
	if (c->by_channel)
		color_channels_convert(&c->channels, transform_run, c->transform, in, out, pixels);
	else if (c->transform)
		transform_run(c->transform, in, out, pixels);
	else if (c->space == COLOR_SPACE_GREY)
		grey_to_rgb(in, out, pixels);
	else if (c->space == COLOR_SPACE_CMYK)
		cmyk_to_rgb(in, out, pixels);
	else if (in != out)
		memcpy(out, in, pixels * 3);
}

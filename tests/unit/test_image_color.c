/*
 * Profiles that cannot be used are ignored, the short way through a profile gives what lcms gives,
 * a background is under transparent pixels. (That profiles are used rightly, test_image_golden says.)
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "image/color.h"
#include "image/decode.h"

#include <stdio.h>
#include <string.h>

#include <lcms2.h>

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

static struct image decode_bytes(const struct buffer *file, const struct image_policy *policy)
{
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	assert_ok(image_decode(file->data, file->size, &limits, policy, &image, &err), &err);
	return image;
}

static struct buffer golden_image(const char *name)
{
	cleanup_free char *folder = testing_golden("images");
	cleanup_free char *path = testing_path(folder, name);

	return testing_read(path);
}

static void expect_same_under_both_policies(const struct buffer *file, bool same)
{
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	cleanup_image struct image srgb = decode_bytes(file, &policy), ignored = IMAGE_INIT;

	policy.color = COLOR_IGNORE;
	ignored = decode_bytes(file, &policy);
	assert_int_equal(image_bytes(&srgb), image_bytes(&ignored));
	assert_true((memcmp(srgb.pixels, ignored.pixels, image_bytes(&srgb)) == 0) == same);
}

static void a_profile_that_is_damaged_is_ignored(void **state)
{
	cleanup_buffer struct buffer file = golden_image("rocket.jpg");
	uint8_t *profile = memmem(file.data, file.size, "ICC_PROFILE", 11);

	(void)state;
	assert_non_null(profile);
	expect_same_under_both_policies(&file, false);
	profile[13]++; /* two parts are announced, one is there */
	expect_same_under_both_policies(&file, true);
	profile[13]--;
	memset(profile + 14, 0x55, 128);
	expect_same_under_both_policies(&file, true);
}

static void a_profile_of_another_colour_space_is_ignored(void **state)
{
	cleanup_buffer struct buffer file = golden_image("rgb_with_grey_icc.jpg");

	(void)state;
	expect_same_under_both_policies(&file, true);
}

static void a_profile_cut_short_is_ignored(void **state)
{
	cleanup_buffer struct buffer icc = golden_image("grey_raised_black.icc");
	const uint8_t grey[2] = {0, 100};
	uint8_t out[6];

	(void)state;
	for (size_t size = 0; size < icc.size; size += 7) {
		cleanup_free uint8_t *part = xmalloc(size + 1);
		struct color_converter *c;

		memcpy(part, icc.data, size);
		c = color_converter_new(COLOR_SPACE_GREY, part, size);
		color_convert(c, grey, out, 2);
		color_converter_free(c);
		assert_int_equal(out[0], 0);
	}
}

#define COLOURS ((size_t)1 << 24)

/* Every colour there is, through our converter and through lcms. */
static void expect_the_bytes_of_lcms(const struct buffer *icc)
{
	cmsHPROFILE from = cmsOpenProfileFromMem(icc->data, (cmsUInt32Number)icc->size);
	cmsHPROFILE to = cmsCreate_sRGBProfile();
	cmsHTRANSFORM transform =
	    cmsCreateTransform(from, TYPE_RGB_8, to, TYPE_RGB_8, INTENT_RELATIVE_COLORIMETRIC,
			       cmsFLAGS_BLACKPOINTCOMPENSATION);
	cleanup_color_converter struct color_converter *c =
	    color_converter_new(COLOR_SPACE_RGB, icc->data, icc->size);
	uint8_t in[256][3], want[256][3], got[256][3];

	assert_non_null(transform);
	for (size_t i = 0; i < COLOURS; i += 256) {
		for (size_t k = 0; k < 256; k++) {
			in[k][0] = (uint8_t)(i >> 8);
			in[k][1] = (uint8_t)(i >> 16);
			in[k][2] = (uint8_t)k;
		}
		cmsDoTransform(transform, in, want, 256);
		color_convert(c, in[0], got[0], 256);
		assert_memory_equal(got, want, sizeof(want));
		color_convert(c, in[0], in[0], 256);
		assert_memory_equal(in, want, sizeof(want));
	}
	cmsDeleteTransform(transform);
	cmsCloseProfile(to);
	cmsCloseProfile(from);
}

static void the_usual_srgb_profile_gives_what_lcms_gives_for_every_colour(void **state)
{
	cleanup_free char *path = testing_golden("render/srgb_iec61966.icc");
	cleanup_buffer struct buffer icc = testing_read(path);

	(void)state;
	expect_the_bytes_of_lcms(&icc);
}

/*
 * The usual profile, but its green reaches only three quarters, where it does not yet move dark reds;
 * except for one value in the middle, which does.
 */
static struct buffer profile_with_a_spike(void)
{
	cleanup_free char *path = testing_golden("render/srgb_iec61966.icc");
	cleanup_buffer struct buffer base = testing_read(path);
	cmsHPROFILE profile = cmsOpenProfileFromMem(base.data, (cmsUInt32Number)base.size);
	const cmsToneCurve *usual = cmsReadTag(profile, cmsSigRedTRCTag);
	cmsToneCurve *curve;
	struct buffer b = BUFFER_INIT;
	struct error err = ERROR_INIT;
	cmsUInt32Number size = 0;
	uint16_t green[256];

	for (uint32_t i = 0; i < 256; i++)
		green[i] = (uint16_t)(cmsEvalToneCurve16(usual, (uint16_t)(i * 257)) * 3 / 4);
	green[128] = 65535;
	curve = cmsBuildTabulatedToneCurve16(NULL, 256, green);
	assert_true(cmsWriteTag(profile, cmsSigGreenTRCTag, curve));
	assert_true(cmsSaveProfileToMem(profile, NULL, &size));
	assert_ok(buffer_reserve(&b, size, &err), &err);
	assert_true(cmsSaveProfileToMem(profile, b.data, &size));
	b.size = size;
	cmsCloseProfile(profile);
	cmsFreeToneCurve(curve);
	return b;
}

static void a_profile_with_a_spike_gives_what_lcms_gives_for_every_colour(void **state)
{
	cleanup_buffer struct buffer icc = profile_with_a_spike();

	(void)state;
	expect_the_bytes_of_lcms(&icc);
}

static void the_profile_before_is_not_taken_for_this_one(void **state)
{
	cleanup_buffer struct buffer spike = profile_with_a_spike();
	cleanup_free char *path = testing_golden("render/srgb_iec61966.icc");
	cleanup_buffer struct buffer srgb = testing_read(path);
	const uint8_t colour[3] = {90, 200, 30};
	uint8_t first[3], second[3], again[3], none[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct color_converter *a =
		    color_converter_new(COLOR_SPACE_RGB, srgb.data, srgb.size);
		struct color_converter *b =
		    color_converter_new(COLOR_SPACE_RGB, spike.data, spike.size);
		struct color_converter *b2 =
		    color_converter_new(COLOR_SPACE_RGB, spike.data, spike.size);
		struct color_converter *grey =
		    color_converter_new(COLOR_SPACE_GREY, spike.data, spike.size);
		struct color_converter *c = color_converter_new(COLOR_SPACE_RGB, NULL, 0);

		color_convert(a, colour, first, 1);
		color_convert(b, colour, second, 1);
		color_converter_free(b);
		color_convert(b2, colour, again, 1);
		color_converter_free(b2);
		assert_memory_equal(first, colour, 3);
		assert_memory_not_equal(second, colour, 3);
		assert_memory_equal(again, second, 3);
		color_convert(grey, colour, none, 1);
		assert_memory_equal(none, ((const uint8_t[]){90, 90, 90}), 3);
		color_convert(c, colour, none, 1);
		assert_memory_equal(none, colour, 3);
		color_converter_free(a);
		color_converter_free(grey);
		color_converter_free(c);
	}
}

static void the_background_shows_where_a_pixel_is_transparent(void **state)
{
	cleanup_buffer struct buffer file = golden_image("grey_alpha_interlaced.png");
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	cleanup_image struct image image = IMAGE_INIT;

	(void)state;
	memcpy(policy.background, "\x0a\x14\x1e", 3);
	image = decode_bytes(&file, &policy);
	assert_memory_equal(image.pixels, policy.background, 3); /* alpha is 0 at the corner */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_profile_that_is_damaged_is_ignored),
	    cmocka_unit_test(a_profile_of_another_colour_space_is_ignored),
	    cmocka_unit_test(a_profile_cut_short_is_ignored),
	    cmocka_unit_test(the_usual_srgb_profile_gives_what_lcms_gives_for_every_colour),
	    cmocka_unit_test(a_profile_with_a_spike_gives_what_lcms_gives_for_every_colour),
	    cmocka_unit_test(the_profile_before_is_not_taken_for_this_one),
	    cmocka_unit_test(the_background_shows_where_a_pixel_is_transparent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

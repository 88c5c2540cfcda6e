/*
 * Decoding, colour and resampling against what Pillow and LittleCMS gave
 * (tests/golden/images/README.md, shared/goldens/README.md): every byte must be the same.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/hash.h"
#include "image/decode.h"
#include "image/resample.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

/* What lcms of another version may differ by: this share of the samples, by one. */
struct tally {
	size_t checked, wrong;
};

static struct sha256 rgb_sha256(const uint8_t *pixels, size_t width, size_t height)
{
	return sha256_of(pixels, width * height * 3);
}

static void expect(struct tally *tally, const char *what, struct sha256 got, const char *want)
{
	char hex[SHA256_HEX_SIZE];

	sha256_hex(&got, hex);
	tally->checked++;
	if (strcmp(hex, want) == 0)
		return;
	tally->wrong++;
	print_error("%s: sha256 %s, expected %s\n", what, hex, want);
}

static struct image decode(const char *path, enum image_color color)
{
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer bytes = testing_read(path);

	policy.color = color;
	if (image_decode(bytes.data, bytes.size, &limits, &policy, &image, &err) < 0)
		fail_msg("%s: %s", path, err.message);
	return image;
}

static size_t size_at(const json_t *array, size_t index)
{
	return (size_t)json_integer_value(json_array_get(array, index));
}

static void check_resized(struct tally *tally, const char *name, const struct image *image,
			  const json_t *row)
{
	const json_t *size = json_object_get(row, "size"), *box = json_object_get(row, "box");
	const json_t *crop = json_object_get(row, "crop");
	const char *filter = json_string_value(json_object_get(row, "filter"));
	int parsed = resample_filter_parse(filter);
	cleanup_free uint8_t *out = NULL;
	cleanup_free char *what = NULL;
	struct error err = ERROR_INIT;
	struct resample_plan plan;

	assert_true(parsed >= 0);
	plan =
	    resample_whole(image, size_at(size, 0), size_at(size, 1), (enum resample_filter)parsed);
	for (size_t i = 0; box && i < 4; i++)
		plan.box[i] = json_number_value(json_array_get(box, i));
	if (crop) {
		plan.left = size_at(crop, 0);
		plan.top = size_at(crop, 1);
		plan.width = size_at(crop, 2);
		plan.height = size_at(crop, 3);
	}
	out = xmalloc(plan.width * plan.height * 3);
	assert_ok(resample(image, &plan, out, &err), &err);
	what = xasprintf("%s %s to %zux%zu%s%s", name, filter, plan.full_width, plan.full_height,
			 box ? " of a box" : "", crop ? ", cropped" : "");
	expect(tally, what, rgb_sha256(out, plan.width, plan.height),
	       json_string_value(json_object_get(row, "sha256")));
}

static void check_srgb(struct tally *tally, const char *name, const char *path, const char *want)
{
	cleanup_free char *what = xasprintf("%s as sRGB", name);
	cleanup_image struct image srgb = decode(path, COLOR_SRGB);

	expect(tally, what, rgb_sha256(srgb.pixels, srgb.width, srgb.height), want);
}

static void check_row(struct tally *tally, const char *folder, const json_t *row)
{
	const char *name = json_string_value(json_object_get(row, "file"));
	const json_t *rgb = json_object_get(row, "rgb_sha256");
	const json_t *srgb = json_object_get(row, "srgb_sha256");
	const json_t *oriented = json_object_get(row, "oriented_size"), *resized;
	cleanup_free char *path = testing_path(folder, name);
	cleanup_image struct image image = decode(path, COLOR_IGNORE);
	size_t i;

	if (image.width != size_at(oriented, 0) || image.height != size_at(oriented, 1))
		fail_msg("%s: %zu x %zu", name, image.width, image.height);
	if (rgb)
		expect(tally, name, rgb_sha256(image.pixels, image.width, image.height),
		       json_string_value(rgb));
	if (srgb)
		check_srgb(tally, name, path, json_string_value(srgb));
	json_array_foreach(json_object_get(row, "resized"), i, resized)
	    check_resized(tally, name, &image, resized);
}

static bool readable(const json_t *row)
{
	const char *format = json_string_value(json_object_get(row, "format"));

	return format && (strcmp(format, "JPEG") == 0 || strcmp(format, "PNG") == 0 ||
			  strcmp(format, "WEBP") == 0);
}

static void check_all(const char *list, const char *folder, size_t at_least)
{
	struct tally tally = {0, 0};
	json_t *root = json_load_file(list, 0, NULL), *row;
	size_t i;

	assert_non_null(root);
	json_array_foreach(json_object_get(root, "rows"), i, row) if (readable(row))
	    check_row(&tally, folder, row);
	json_decref(root);
	print_message("%zu hashes compared\n", tally.checked);
	assert_int_equal(tally.wrong, 0);
	assert_true(tally.checked >= at_least);
}

static void every_small_image_has_the_bytes_that_pillow_gives(void **state)
{
	cleanup_free char *folder = testing_golden("images");
	cleanup_free char *list = testing_path(folder, "images.json");

	(void)state;
	check_all(list, folder, 280);
}

static void every_shared_photograph_has_the_bytes_that_pillow_gives(void **state)
{
	cleanup_free char *list = testing_shared("goldens/images.json");
	cleanup_free char *folder = list ? testing_shared("photos") : NULL;

	(void)state;
	if (!folder)
		skip();
	check_all(list, folder, 260);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_small_image_has_the_bytes_that_pillow_gives),
	    cmocka_unit_test(every_shared_photograph_has_the_bytes_that_pillow_gives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

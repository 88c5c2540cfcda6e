/*
 * Rendering against what Pillow makes of JPEGs of every kind, shrunk by its decoder first or not
 * (tests/golden/render/README.md).
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/hash.h"
#include "image/render.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;

static size_t number(const json_t *array, size_t index)
{
	return (size_t)json_integer_value(json_array_get(array, index));
}

static struct render_geometry whole(size_t width, size_t height, enum resample_filter filter)
{
	return (struct render_geometry){width, height, 0, 0, width, height, filter};
}

static struct buffer golden_image(const char *name)
{
	cleanup_free char *path = xasprintf("render/%s", name);
	cleanup_free char *full = testing_golden(path);

	return testing_read(full);
}

/* The pixels, to be freed. */
static uint8_t *render(const struct buffer *file, const struct image_policy *policy,
		       const struct render_geometry *g)
{
	uint8_t *out = xmalloc(g->width * g->height * 3);
	struct error err = ERROR_INIT;

	assert_ok(image_render(file->data, file->size, &limits, policy, g, out, &err), &err);
	return out;
}

static bool row_agrees(const json_t *row)
{
	const char *name = json_string_value(json_object_get(row, "file"));
	const char *filter = json_string_value(json_object_get(row, "filter"));
	const json_t *size = json_object_get(row, "size"), *crop = json_object_get(row, "crop");
	struct render_geometry g = whole(number(size, 0), number(size, 1),
					 (enum resample_filter)resample_filter_parse(filter));
	cleanup_buffer struct buffer file = golden_image(name);
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	cleanup_free uint8_t *out = NULL;
	char hex[SHA256_HEX_SIZE];
	struct sha256 hash;

	if (crop) {
		g.left = number(crop, 0);
		g.top = number(crop, 1);
		g.width = number(crop, 2);
		g.height = number(crop, 3);
	}
	policy.jpeg_scaling = json_is_true(json_object_get(row, "scaling"));
	out = render(&file, &policy, &g);
	hash = sha256_of(out, g.width * g.height * 3);
	sha256_hex(&hash, hex);
	if (strcmp(hex, json_string_value(json_object_get(row, "sha256"))) == 0)
		return true;
	print_error("%s to %zux%zu %s%s: other bytes\n", name, g.full_width, g.full_height, filter,
		    policy.jpeg_scaling ? ", scaled" : "");
	return false;
}

static void every_jpeg_is_rendered_to_the_bytes_that_pillow_gives(void **state)
{
	cleanup_free char *path = testing_golden("render/render.json");
	json_t *root = json_load_file(path, 0, NULL), *row;
	size_t i, wrong = 0, checked = 0;

	(void)state;
	assert_non_null(root);
	json_array_foreach(json_object_get(root, "rows"), i, row)
	{
		wrong += !row_agrees(row);
		checked++;
	}
	json_decref(root);
	assert_int_equal(wrong, 0);
	assert_true(checked >= 540);
}

static void expect_scaling_changes_nothing(const struct buffer *file,
					   const struct render_geometry *g)
{
	struct image_policy plain = IMAGE_POLICY_DEFAULT, scaled = IMAGE_POLICY_DEFAULT;
	cleanup_free uint8_t *want = render(file, &plain, g), *got = NULL;

	scaled.jpeg_scaling = true;
	got = render(file, &scaled, g);
	assert_memory_equal(got, want, g->width * g->height * 3);
}

static void scaling_is_for_jpeg_and_filters_that_take_a_box(void **state)
{
	cleanup_free char *path = testing_golden("images/rgb_interlaced.png");
	cleanup_buffer struct buffer png = testing_read(path), jpeg = golden_image("s420.jpg");
	const struct render_geometry small = whole(8, 6, FILTER_LANCZOS);
	const struct render_geometry nearest = whole(8, 6, FILTER_NEAREST);
	const struct render_geometry kohya = whole(8, 6, FILTER_KOHYA);

	(void)state;
	expect_scaling_changes_nothing(&png, &small);
	expect_scaling_changes_nothing(&jpeg, &nearest);
	expect_scaling_changes_nothing(&jpeg, &kohya);
}

/* Orientations whose rows come in order, mirrored or not, and one that is turned. */
static void several_of_one_decoding_are_what_each_is_alone(void **state)
{
	static const char *const files[] = {"images/rocket.jpg", "images/icc.png",
					    "images/exif6.webp"};
	struct render_geometry g[RENDERS_MAX] = {whole(64, 48, FILTER_LANCZOS),
						 whole(120, 90, FILTER_BICUBIC),
						 whole(33, 70, FILTER_KOHYA),
						 {90, 90, 10, 20, 64, 32, FILTER_LANCZOS}};
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	size_t all, one;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		cleanup_free char *path = testing_golden(files[i]);
		cleanup_buffer struct buffer file = testing_read(path);
		cleanup_free uint8_t *out = NULL;
		struct error err = ERROR_INIT;
		const uint8_t *at;
		int64_t ns = 0;

		assert_true(render_pixel_bytes(g, RENDERS_MAX, &all));
		at = out = xmalloc(all);
		assert_ok(image_render_many(file.data, file.size, &limits, &policy, g, RENDERS_MAX,
					    out, &ns, &err),
			  &err);
		for (size_t k = 0; k < RENDERS_MAX; k++) {
			cleanup_free uint8_t *want = render(&file, &policy, &g[k]);

			assert_true(render_pixel_bytes(&g[k], 1, &one));
			assert_memory_equal(at, want, one);
			at += one;
		}
	}
}

static void an_ignored_orientation_turns_nothing(void **state)
{
	cleanup_buffer struct buffer turned = golden_image("orientation_6.jpg");
	cleanup_buffer struct buffer upright = golden_image("orientation_1.jpg");
	const struct render_geometry g = whole(20, 15, FILTER_BICUBIC);
	struct image_policy policy = IMAGE_POLICY_DEFAULT;

	(void)state;
	for (int scaling = 0; scaling < 2; scaling++) {
		cleanup_free uint8_t *got = NULL, *want = NULL;

		policy.apply_exif = false;
		policy.jpeg_scaling = scaling;
		got = render(&turned, &policy, &g);
		want = render(&upright, &policy, &g);
		assert_memory_equal(got, want, g.width * g.height * 3);
	}
}

static void a_crop_that_leaves_its_frame_is_a_bug(void **state)
{
	const char *const names[] = {"orientation_1.jpg", "orientation_6.jpg"};
	const struct render_geometry beyond = {20, 15, 1, 0, 20, 15, FILTER_LANCZOS};
	const struct render_geometry nothing = {0, 0, 0, 0, 0, 0, FILTER_LANCZOS};
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	uint8_t out[20 * 15 * 3];

	(void)state;
	policy.jpeg_scaling = true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_buffer struct buffer file = golden_image(names[i]);
		struct error err = ERROR_INIT, err2 = ERROR_INIT;

		assert_error(
		    image_render(file.data, file.size, &limits, &policy, &beyond, out, &err), &err,
		    ERR_BUG);
		assert_error(
		    image_render(file.data, file.size, &limits, &policy, &nothing, out, &err2),
		    &err2, ERR_BUG);
	}
}

static void a_file_cut_short_is_truncated_when_rendered_too(void **state)
{
	const struct render_geometry g = whole(9, 6, FILTER_LANCZOS);
	struct image_policy policy = IMAGE_POLICY_DEFAULT;
	uint8_t out[9 * 6 * 3];

	(void)state;
	policy.jpeg_scaling = true;
	for (unsigned orientation = 1; orientation <= 8; orientation++) {
		cleanup_free char *name = xasprintf("orientation_%u.jpg", orientation);
		cleanup_buffer struct buffer file = golden_image(name);
		struct error err = ERROR_INIT;

		assert_error(
		    image_render(file.data, file.size * 3 / 4, &limits, &policy, &g, out, &err),
		    &err, ERR_DATA);
		assert_string_equal(err.reason, "truncated");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_jpeg_is_rendered_to_the_bytes_that_pillow_gives),
	    cmocka_unit_test(scaling_is_for_jpeg_and_filters_that_take_a_box),
	    cmocka_unit_test(several_of_one_decoding_are_what_each_is_alone),
	    cmocka_unit_test(an_ignored_orientation_turns_nothing),
	    cmocka_unit_test(a_crop_that_leaves_its_frame_is_a_bug),
	    cmocka_unit_test(a_file_cut_short_is_truncated_when_rendered_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

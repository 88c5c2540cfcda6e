#include "daemon/latent_colors.h"

#include "tests/testing.h"

#include "base/checked.h"

#include <math.h>

enum { SIDE = 8 };

/* Two channels that rise along x and y, and the picture that is linear in them. */
static void make(struct ndarray *raw, struct image *picture)
{
	const size_t shape[3] = {2, SIDE, SIDE};
	struct error err = ERROR_INIT;
	float *z;

	assert_ok(ndarray_alloc(raw, DTYPE_F32, 3, shape, &err), &err);
	assert_ok(image_alloc(picture, SIDE, SIDE, &err), &err);
	z = raw->data;
	for (size_t i = 0; i < SIDE * SIDE; i++) {
		z[i] = (float)(i % SIDE);
		z[SIDE * SIDE + i] = (float)(i / SIDE);
		picture->pixels[3 * i] = (uint8_t)(20 * (i % SIDE));
		picture->pixels[3 * i + 1] = (uint8_t)(30 * (i / SIDE));
		picture->pixels[3 * i + 2] = 99;
	}
}

static void numbers_that_are_none_are_dark_and_teach_nothing(void **state)
{
	struct latent_colors *colors = xcalloc(1, sizeof(*colors));
	cleanup_ndarray struct ndarray raw = NDARRAY_INIT;
	cleanup_image struct image picture = IMAGE_INIT, painted = IMAGE_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	make(&raw, &picture);
	((float *)raw.data)[0] = NAN;
	((float *)raw.data)[1] = INFINITY;
	colors->channels = 2;
	assert_ok(latent_colors_learn(colors, &raw, &picture, &err), &err);
	latent_colors_fit(colors);
	assert_true(colors->fitted);
	assert_ok(latent_colors_paint(colors, &raw, &painted, &err), &err);
	assert_int_equal(painted.pixels[0], 0);
	for (size_t i = 3 * 2; i < 3 * SIDE * SIDE; i++)
		assert_in_range(painted.pixels[i] + 1, picture.pixels[i], picture.pixels[i] + 2);
	free(colors);
}

static void without_pictures_colours_are_false_ones(void **state)
{
	struct latent_colors *colors = xcalloc(1, sizeof(*colors));
	cleanup_ndarray struct ndarray raw = NDARRAY_INIT;
	cleanup_image struct image picture = IMAGE_INIT, painted = IMAGE_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	make(&raw, &picture);
	((float *)raw.data)[0] = NAN;
	colors->channels = 2;
	assert_ok(latent_colors_learn(colors, &raw, NULL, &err), &err);
	latent_colors_fit(colors);
	assert_false(colors->fitted);
	assert_ok(latent_colors_paint(colors, &raw, &painted, &err), &err);
	for (size_t i = 2; i < SIDE; i++)
		assert_true(painted.pixels[3 * i] > painted.pixels[3 * (i - 1)]);
	free(colors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_that_are_none_are_dark_and_teach_nothing),
	    cmocka_unit_test(without_pictures_colours_are_false_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

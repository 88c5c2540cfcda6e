/*
 * The filter `kohya` against what OpenCV and Pillow made of the same pictures, on every set of
 * instructions that this machine has (tests/golden/resample/make_kohya.py).
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/hash.h"
#include "image/resample.h"

#include <stdio.h>
#include <string.h>

/* The same formula as in make_kohya.py. */
static struct image noise(size_t width, size_t height)
{
	struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;

	assert_ok(image_alloc(&image, width, height, &err), &err);
	for (size_t i = 0; i < image_bytes(&image); i++) {
		uint32_t v = (uint32_t)i * 2654435761u;

		v ^= v >> 15;
		v *= 2246822519u;
		image.pixels[i] = (uint8_t)(v >> 24);
	}
	return image;
}

struct row {
	size_t width, height;
	struct resample_plan plan;
	char sha256[SHA256_HEX_SIZE];
};

static bool next_row(const char **text, struct row *row)
{
	struct resample_plan *p = &row->plan;
	int used = 0;

	*p = (struct resample_plan){.filter = FILTER_KOHYA};
	if (sscanf(*text, "%zu %zu %zu %zu %zu %zu %zu %zu %64[0-9a-f]\n%n", &row->width,
		   &row->height, &p->full_width, &p->full_height, &p->left, &p->top, &p->width,
		   &p->height, row->sha256, &used) != 9)
		return false;
	p->box[2] = (double)row->width;
	p->box[3] = (double)row->height;
	*text += used;
	return true;
}

static bool equals_the_golden(const struct row *row)
{
	cleanup_image struct image source = noise(row->width, row->height);
	size_t bytes = row->plan.width * row->plan.height * 3;
	cleanup_free uint8_t *out = xmalloc(bytes);
	struct error err = ERROR_INIT;
	char hex[SHA256_HEX_SIZE];
	struct sha256 sum;

	assert_ok(resample(&source, &row->plan, out, &err), &err);
	sum = sha256_of(out, bytes);
	sha256_hex(&sum, hex);
	if (strcmp(hex, row->sha256) == 0)
		return true;
	print_error("%zu x %zu to %zu x %zu differs on %s\n", row->width, row->height,
		    row->plan.full_width, row->plan.full_height, resample_isa());
	return false;
}

static void check_all(const char *isa)
{
	cleanup_free char *path = testing_golden("resample/kohya.tsv");
	cleanup_buffer struct buffer text = testing_read(path);
	const char *at = (const char *)text.data;
	size_t rows = 0, wrong = 0;
	struct row row;

	assert_int_equal(setenv("LATENTD_ISA", isa, 1), 0);
	if (strcmp(resample_isa(), isa) != 0) {
		print_message("SKIPPED: this machine does not run %s\n", isa);
		skip();
	}
	for (; next_row(&at, &row); rows++)
		wrong += !equals_the_golden(&row);
	assert_int_equal(*at, '\0');
	assert_int_equal(wrong, 0);
	assert_true(rows > 300);
}

static void portable_kohya_has_the_bytes_of_opencv_and_pillow(void **state)
{
	(void)state;
	check_all("portable");
}

static void avx2_kohya_has_the_bytes_of_opencv_and_pillow(void **state)
{
	(void)state;
	check_all("avx2");
}

static void avx512_kohya_has_the_bytes_of_opencv_and_pillow(void **state)
{
	(void)state;
	check_all("avx512");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(portable_kohya_has_the_bytes_of_opencv_and_pillow),
	    cmocka_unit_test(avx2_kohya_has_the_bytes_of_opencv_and_pillow),
	    cmocka_unit_test(avx512_kohya_has_the_bytes_of_opencv_and_pillow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

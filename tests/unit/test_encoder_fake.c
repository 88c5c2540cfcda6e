#include "tests/testing.h"

#include "base/checked.h"
#include "encoder/encoder_fake.h"

#include <math.h>
#include <string.h>

enum { CHANNELS = 4, PIXELS = 64 * 64, HALF = CHANNELS * PIXELS };

static void moments_are_finite_and_within_their_bounds(void **state)
{
	cleanup_free float *moments = xmalloc(2 * HALF * sizeof(float));

	(void)state;
	for (uint32_t image = 0; image < 20; image++) {
		struct hash128 content = hash128_of(&image, sizeof(image));
		double sum = 0;

		encoder_fake_moments(&content, CHANNELS, PIXELS, moments);
		for (size_t i = 0; i < HALF; i++) {
			assert_true(moments[i] >= -4.0f && moments[i] <= 4.0f);
			assert_true(moments[HALF + i] >= -20.0f && moments[HALF + i] <= 2.0f);
			sum += moments[i];
		}
		/* uniform over [-4, 4]: the mean of 16,384 has a deviation of 0.018 */
		assert_true(fabs(sum / HALF) < 0.1);
	}
}

static void each_half_of_the_hash_counts_and_no_two_values_repeat(void **state)
{
	struct hash128 base = hash128_of("x", 1), other;
	float a[16], b[16];

	(void)state;
	encoder_fake_moments(&base, 2, 4, a);
	for (size_t i = 0; i < 16; i++) {
		for (size_t j = 0; j < i; j++)
			assert_true(a[i] != a[j]);
	}
	for (size_t byte = 0; byte < 16; byte++) {
		other = base;
		other.bytes[byte] ^= 1;
		encoder_fake_moments(&other, 2, 4, b);
		for (size_t i = 0; i < 16; i++)
			assert_true(a[i] != b[i]);
	}
}

static bool is_poisoned(const struct hash128 *content)
{
	struct hash128 poison = hash128_of("poison", 6);

	return hash128_equal(content, &poison);
}

static void a_poisoned_image_fails_alone(void **state)
{
	static const uint8_t pixels[16 * 16 * 3];
	static const char *const contents[] = {"first", "poison", "last"};
	const struct encoder_fake_options options = {.poison = is_poisoned};
	struct encode_batch *batch = encode_batch_new(3), *done = NULL;
	struct encoder *e = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	batch->width = batch->height = 16;
	for (size_t i = 0; i < 3; i++) {
		batch->items[i].pixels = pixels;
		batch->items[i].content = hash128_of(contents[i], strlen(contents[i]));
	}
	assert_ok(encoder_fake_open(&options, &e, &err), &err);
	assert_ok(encoder_submit(e, batch, &err), &err);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	assert_int_equal(batch->items[0].error.code, ERR_NONE);
	assert_int_equal(batch->items[1].error.code, ERR_DATA);
	assert_string_equal(batch->items[1].error.reason, "non_finite");
	assert_int_equal(batch->items[2].error.code, ERR_NONE);
	encode_batch_free(batch);
	encoder_close(e);
}

static void a_mean_is_the_first_half_of_the_moments(void **state)
{
	static const uint8_t pixels[16 * 32 * 3];
	const struct encoder_fake_options options = {.latent_channels = 16, .downscale = 16};
	struct encode_batch *batch = encode_batch_new(1), *done = NULL;
	float moments[2 * 16 * 2];
	struct encoder *e = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	batch->width = 32;
	batch->height = 16;
	batch->items[0].pixels = pixels;
	batch->items[0].content = hash128_of("x", 1);
	assert_ok(encoder_fake_open(&options, &e, &err), &err);
	assert_ok(encoder_submit(e, batch, &err), &err);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	encoder_fake_moments(&batch->items[0].content, 16, 2, moments);
	assert_int_equal(batch->items[0].latent.bytes, sizeof(moments) / 2);
	assert_memory_equal(batch->items[0].latent.data, moments, sizeof(moments) / 2);
	encode_batch_free(batch);
	encoder_close(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(moments_are_finite_and_within_their_bounds),
	    cmocka_unit_test(each_half_of_the_hash_counts_and_no_two_values_repeat),
	    cmocka_unit_test(a_poisoned_image_fails_alone),
	    cmocka_unit_test(a_mean_is_the_first_half_of_the_moments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is known of a VAE that is only declared, and what people are told of endpoints. */
#include "daemon/encode_model.h"
#include "daemon/encode_remote.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>

static const struct remote_model nothing = {.name = NULL};

static void a_preset_brings_its_numbers(void **state)
{
	static const struct {
		const char *name;
		size_t channels, multiple, resolution;
		double scaling, shift;
	} cases[] = {
	    {"sd15", 4, 8, 512, 0.18215, 0},
	    {"sdxl-fp16-fix", 4, 8, 1024, 0.13025, 0},
	    {"flux1", 16, 16, 1024, 0.3611, 0.1159},
	    {"sd3", 16, 8, 1024, 1.5305, 0.0609},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		struct encode_model m;

		assert_ok(encode_model_declared(cases[i].name, &nothing, &m, &err), &err);
		assert_string_equal(m.declared, cases[i].name);
		assert_int_equal(m.vae.latent_channels, cases[i].channels);
		assert_int_equal(vae_config_downscale(&m.vae), 8);
		assert_int_equal(m.multiple, cases[i].multiple);
		assert_int_equal(m.resolution, cases[i].resolution);
		assert_true(m.vae.scaling_factor == cases[i].scaling);
		assert_true(m.vae.shift_factor == cases[i].shift);
		assert_int_equal(m.vae.has_shift_factor, cases[i].shift != 0);
	}
}

static void any_other_name_needs_numbers(void **state)
{
	const struct remote_model mine = {.name = "mine",
					  .latent_channels = 8,
					  .scaling_factor = 0.5,
					  .shift_factor = 0.25,
					  .size_multiple = 32};
	struct error err = ERROR_INIT, unknown = ERROR_INIT, other = ERROR_INIT;
	struct encode_model m;

	(void)state;
	assert_ok(encode_model_declared("mine", &mine, &m, &err), &err);
	assert_int_equal(m.vae.latent_channels, 8);
	assert_int_equal(m.multiple, 32);
	assert_int_equal(m.resolution, 0);
	assert_true(m.vae.has_shift_factor);
	assert_error(encode_model_declared("mine", &nothing, &m, &unknown), &unknown, ERR_CONFIG);
	assert_non_null(strstr(unknown.message, "latentctl model list"));
	assert_error(encode_model_declared("yours", &mine, &m, &other), &other, ERR_CONFIG);
}

static void statistics_that_are_in_the_weights_cannot_be_declared(void **state)
{
	struct error err = ERROR_INIT;
	struct encode_model m;

	(void)state;
	assert_error(encode_model_declared("flux2", &nothing, &m, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "statistics"));
}

static void models_with_other_numbers_are_others(void **state)
{
	struct error err = ERROR_INIT;
	struct encode_model a, b;

	(void)state;
	assert_ok(encode_model_declared("sdxl", &nothing, &a, &err), &err);
	b = a;
	assert_true(encode_model_same(&a, &b));
	b.declared[0] = '\0';
	assert_false(encode_model_same(&a, &b));
	b = a;
	b.weights.bytes[3]++;
	assert_false(encode_model_same(&a, &b));
}

static void what_suits_all_encoders_is_the_smallest_batch(void **state)
{
	const struct encode_model large = {.name = "m", .best_batch = 8, .tiles = true};
	const struct encode_model small = {.name = "m", .best_batch = 1};
	struct encode_model all = {.name = ""};

	(void)state;
	encode_model_add(&all, &large, true);
	assert_int_equal(all.best_batch, 8);
	encode_model_add(&all, &small, false);
	assert_int_equal(all.best_batch, 1);
	assert_true(all.tiles);
	assert_string_equal(all.name, "m");
}

static void what_passes_within_seconds_is_no_news(void **state)
{
	struct encode_remote_told told = {0};

	(void)state;
	assert_false(encode_remote_is_news(&told, ENCODE_REMOTE_FINE, 1000));
	assert_false(encode_remote_is_news(&told, ENCODE_REMOTE_WAITS, 2000));
	assert_false(encode_remote_is_news(&told, ENCODE_REMOTE_FINE, 3000));
	assert_false(encode_remote_is_news(&told, ENCODE_REMOTE_WAITS, 4000));
	assert_false(encode_remote_is_news(&told, ENCODE_REMOTE_WAITS, 6999));
	assert_true(encode_remote_is_news(&told, ENCODE_REMOTE_WAITS, 7000));
	assert_false(encode_remote_is_news(&told, ENCODE_REMOTE_WAITS, 20000));
	assert_true(encode_remote_is_news(&told, ENCODE_REMOTE_FINE, 20001));
	assert_true(encode_remote_is_news(&told, ENCODE_REMOTE_STOPPED, 20002));
	assert_true(encode_remote_is_news(&told, ENCODE_REMOTE_GUARDED, 20003));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_preset_brings_its_numbers),
	    cmocka_unit_test(any_other_name_needs_numbers),
	    cmocka_unit_test(statistics_that_are_in_the_weights_cannot_be_declared),
	    cmocka_unit_test(models_with_other_numbers_are_others),
	    cmocka_unit_test(what_suits_all_encoders_is_the_smallest_batch),
	    cmocka_unit_test(what_passes_within_seconds_is_no_news),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

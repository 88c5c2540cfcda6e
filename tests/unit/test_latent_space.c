/*
 * What records say of a latent's numbers: read, undone and applied.
 */
#include "daemon/latent_space.h"

#include "tests/golden/kl_testing.h"
#include "tests/testing.h"

#include "base/checked.h"
#include "base/half.h"
#include "vae/vae_model.h"

#include <math.h>
#include <string.h>

#define HASH "\"00000000000000000000000000000000\""
#define RECORD(latent)                                                                             \
	"{\"v\":1,\"key\":\"cat\",\"source\":\"cat.jpg\",\"content_xxh3_128\":" HASH               \
	",\"recipe_id\":" HASH ",\"vae_sha256\":null,\"variant\":0,\"target_size\":[16,8],"        \
	"\"caption\":null,\"latent\":{\"dtype\":\"float32\",\"scaled\":false,\"xxh3_128\":" HASH   \
	"," latent "}}"

static int read_space(const char *json, struct latent_space *space, struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts facts;

	assert_ok(record_init(&record, "cat", "", err), err);
	assert_ok(record_add(&record, "json", json, strlen(json), err), err);
	assert_ok(record_facts_read(&record, &facts, err), err);
	return latent_space_read(&record, &facts, space, err);
}

static void factors_and_statistics_are_read(void **state)
{
	struct error err = ERROR_INIT;
	struct latent_space s;

	(void)state;
	assert_ok(read_space(RECORD("\"posterior\":\"moments\",\"shape\":[8,1,2],"
				    "\"scaling_factor\":0.3611,\"shift_factor\":0.1159"),
			     &s, &err),
		  &err);
	assert_true(s.moments && !s.scaled && !s.weights_known);
	assert_int_equal(s.vae.latent_channels, 4);
	assert_true(s.vae.scaling_factor == 0.3611 && s.vae.shift_factor == 0.1159);
	assert_ok(read_space(RECORD("\"posterior\":\"mean\",\"shape\":[1,2,4],\"patch_size\":2,"
				    "\"scaling_factor\":1,\"shift_factor\":null,"
				    "\"latents_mean\":[0,1,2,3],\"latents_std\":[1,2,3,4]"),
			     &s, &err),
		  &err);
	assert_int_equal(s.vae.n_statistics, 4);
	assert_int_equal(s.vae.patch_size, 2);
}

static void records_that_do_not_say_it_are_refused(void **state)
{
	static const char *const latents[] = {
	    RECORD("\"posterior\":\"mean\",\"shape\":[4,1,2]"),
	    RECORD("\"posterior\":\"mean\",\"shape\":[4,1,2],\"scaling_factor\":0"),
	    RECORD("\"posterior\":\"mean\",\"shape\":[4,1,2],\"scaling_factor\":\"1\""),
	    RECORD("\"posterior\":\"mean\",\"shape\":[4,1,2],\"scaling_factor\":1,"
		   "\"shift_factor\":\"0\""),
	    RECORD("\"posterior\":\"moments\",\"shape\":[7,1,2],\"scaling_factor\":1"),
	    RECORD("\"posterior\":\"mean\",\"shape\":[4,1,2],\"scaling_factor\":1,"
		   "\"latents_mean\":[1,2,3,4]"),
	    RECORD("\"posterior\":\"mean\",\"shape\":[4,1,2],\"scaling_factor\":1,"
		   "\"latents_mean\":[1],\"latents_std\":[1]"),
	    RECORD("\"posterior\":\"mean\",\"shape\":[4,1,2],\"scaling_factor\":1,"
		   "\"patch_size\":3"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(latents); i++) {
		struct error err = ERROR_INIT;
		struct latent_space s;

		if (read_space(latents[i], &s, &err) == 0)
			fail_msg("case %zu was read", i);
		assert_string_equal(err.reason, "record");
	}
}

/* As kl_flux2's golden has it, which diffusers' pipeline made: patches, then batch norm. */
static void flux2_is_normalised_as_diffusers_does_patch_by_patch(void **state)
{
	char *golden = testing_golden("kl_flux2");
	struct safetensors *expected = kl_testing_open(golden, "expected.safetensors");
	struct ndarray moments = kl_testing_tensor(expected, "moments.72x48_b1");
	struct ndarray want = kl_testing_tensor(expected, "trained.72x48_b1"), raw = NDARRAY_INIT;
	struct error err = ERROR_INIT;
	struct vae_model *model = vae_model_open(golden, NULL, &err);
	size_t height = want.shape[2], width = want.shape[3];
	struct latent_space space;
	const float *z;

	(void)state;
	assert_non_null(model);
	latent_space_of(&model->config, &space);
	moments.ndim = 3;
	memmove(moments.shape, moments.shape + 1, 3 * sizeof(moments.shape[0]));
	assert_ok(latent_space_raw(&space, &moments, &raw, &err), &err); /* the mean comes first */
	latent_space_normalise(&space, &raw);
	z = raw.data;
	for (size_t i = 0; i < ndarray_count(&want); i++) {
		size_t channel = i / (height * width), y = i / width % height, x = i % width;
		size_t row = 2 * y + channel / 2 % 2, column = 2 * x + channel % 2;
		double got = (double)z[(channel / 4 * 2 * height + row) * 2 * width + column];
		double trained = (double)((const float *)want.data)[i];

		if (!(fabs(got - trained) <= 1e-5))
			fail_msg("value %zu is %g, not %g", i, got, trained);
	}
	ndarray_release(&raw);
	ndarray_release(&moments);
	ndarray_release(&want);
	vae_model_close(model);
	safetensors_close(expected);
	free(golden);
}

static void what_was_stored_scaled_is_unscaled(void **state)
{
	const float raw[] = {-3, 0.5f, 0.1159f, 7.25f};
	const size_t shape[3] = {2, 1, 2};
	struct latent_space space = {.scaled = true,
				     .vae = {.latent_channels = 2,
					     .scaling_factor = 0.3611,
					     .has_shift_factor = true,
					     .shift_factor = 0.1159,
					     .patch_size = 1}};
	struct ndarray stored = NDARRAY_INIT, got = NDARRAY_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(ndarray_alloc(&stored, DTYPE_F16, 3, shape, &err), &err);
	for (size_t i = 0; i < 4; i++)
		((uint16_t *)stored.data)[i] = half_from_float((raw[i] - 0.1159f) * 0.3611f);
	assert_ok(latent_space_raw(&space, &stored, &got, &err), &err);
	for (size_t i = 0; i < 4; i++)
		assert_true(fabsf(((const float *)got.data)[i] - raw[i]) < 0.005f);
	ndarray_release(&stored);
	ndarray_release(&got);
}

static void factors_that_are_not_the_models_are_named(void **state)
{
	struct vae_config model;
	struct latent_space s;
	char *difference;

	(void)state;
	vae_config_defaults(VAE_CLASS_KL, &model);
	latent_space_of(&model, &s);
	assert_null(latent_space_difference(&s, &model));
	s.vae.scaling_factor = 0.13025;
	difference = latent_space_difference(&s, &model);
	assert_string_equal(difference, "scaling_factor 0.13025, the model has 0.18215");
	free(difference);
	latent_space_of(&model, &s);
	s.vae.has_shift_factor = true;
	s.vae.shift_factor = 0.1159;
	difference = latent_space_difference(&s, &model);
	assert_string_equal(difference, "shift_factor 0.1159, the model has 0");
	free(difference);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(factors_and_statistics_are_read),
	    cmocka_unit_test(records_that_do_not_say_it_are_refused),
	    cmocka_unit_test(flux2_is_normalised_as_diffusers_does_patch_by_patch),
	    cmocka_unit_test(what_was_stored_scaled_is_unscaled),
	    cmocka_unit_test(factors_that_are_not_the_models_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

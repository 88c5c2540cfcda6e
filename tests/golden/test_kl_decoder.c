/*
 * The decoder against what diffusers' AutoencoderKL decodes with the same weights (kl_decoder/make_decoded.py): pictures
 * of every latent, and for one the output of every stage. A failure names the first wrong stage in graph order.
 */
#include "tests/golden/kl_testing.h"
#include "tests/testing.h"

#include "base/checked.h"
#include "vae/kl_decoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LIMIT 1e-4 /* max-abs, float32 */

struct golden {
	const char *name;
	const struct vae_engine_ops *engine;
	size_t band;
};

struct stages {
	struct safetensors *expected;
	const char *size; /* "5x9" */
	size_t seen;
	char first_wrong[96];
};

static void compare_stage(void *arg, const char *name, const float *map, size_t height,
			  size_t width, size_t channels)
{
	struct stages *s = arg;
	bool is_act = strcmp(name, "decoder.conv_act") == 0;
	const char *module = is_act ? "conv_norm_out" : name + strlen("decoder.");
	double worst = INFINITY;
	struct ndarray expected;
	char full[128];
	float *want;

	snprintf(full, sizeof(full), "stage.%s.%s", s->size, module);
	if (!safetensors_find(s->expected, full))
		return;
	s->seen++;
	expected = kl_testing_tensor(s->expected, full);
	want = kl_testing_nhwc(&expected, 0);
	for (size_t i = 0; is_act && i < ndarray_count(&expected); i++) /* SiLU is fused into it */
		want[i] = (float)((double)want[i] / (1 + exp(-(double)want[i])));
	if (expected.shape[1] == channels && expected.shape[2] == height &&
	    expected.shape[3] == width)
		worst = kl_testing_max_abs(map, want, ndarray_count(&expected));
	if (worst > LIMIT && !s->first_wrong[0])
		snprintf(s->first_wrong, sizeof(s->first_wrong), "%s", module);
	free(want);
	ndarray_release(&expected);
}

static size_t stages_of(struct safetensors *expected, const char *size)
{
	char prefix[64];
	size_t n = 0;

	snprintf(prefix, sizeof(prefix), "stage.%s.", size);
	for (size_t i = 0; i < safetensors_count(expected); i++)
		n += strncmp(safetensors_at(expected, i)->name, prefix, strlen(prefix)) == 0;
	return n;
}

static struct ndarray tensor_of(struct safetensors *file, const char *kind, const char *size)
{
	char name[96];

	snprintf(name, sizeof(name), "%s.%s", kind, size);
	return kl_testing_tensor(file, name);
}

/* The picture of the latent of @size, [3][H][W] as [H][W][3], within LIMIT of diffusers'. */
static void check_size(const struct golden *g, struct kl_decoder *vae, struct safetensors *expected,
		       const char *size)
{
	struct stages stages = {.expected = expected, .size = size};
	const struct kl_hooks hooks = {.tap = compare_stage, .tap_arg = &stages};
	bool demo = strcmp(g->name, "demo_vae") == 0; /* moments: the mean comes first */
	struct ndarray latent = tensor_of(expected, demo ? "moments" : "latent", size);
	struct ndarray decoded = tensor_of(expected, "decoded", size);
	float *want = kl_testing_nhwc(&decoded, 0);
	float *got = xcalloc(ndarray_count(&decoded), sizeof(*got));
	struct error err = ERROR_INIT;
	double worst;

	assert_ok(kl_decoder_decode(vae, latent.data, latent.shape[2], latent.shape[3], got, &hooks,
				    &err),
		  &err);
	worst = kl_testing_max_abs(got, want, ndarray_count(&decoded));
	print_message("%s %s %s: max-abs %.2g\n", g->name, g->engine->name, size, worst);
	if (stages.first_wrong[0])
		fail_msg("%s %s: the first wrong stage is %s", g->name, size, stages.first_wrong);
	if (worst > LIMIT)
		fail_msg("%s %s: max-abs %g", g->name, size, worst);
	assert_int_equal(stages.seen, stages_of(expected, size));
	free(want);
	free(got);
	ndarray_release(&latent);
	ndarray_release(&decoded);
}

static void check_all(const struct golden *g, struct kl_decoder *vae, struct safetensors *expected)
{
	for (size_t i = 0; i < safetensors_count(expected); i++) {
		const char *name = safetensors_at(expected, i)->name;

		if (strncmp(name, "decoded.", 8) == 0)
			check_size(g, vae, expected, name + 8);
	}
}

static struct safetensors *open_expected(const char *name)
{
	char *folder = testing_golden("kl_decoder"), *file = xasprintf("%s.safetensors", name);
	struct safetensors *expected = kl_testing_open(folder, file);

	free(file);
	free(folder);
	return expected;
}

static struct kl_decoder *load(const char *model, const struct vae_engine_ops *engine,
			       size_t threads)
{
	struct error err = ERROR_INIT;
	struct kl_decoder *vae = kl_decoder_load(model, engine, threads, &err);

	if (!vae)
		fail_msg("%s", err.message);
	return vae;
}

static void pictures_and_stages_are_those_of_diffusers(void **state)
{
	const struct golden *g = *state;
	char *model = kl_testing_formula_decoder(g->name, NAMES_CANONICAL);
	struct safetensors *expected = open_expected(g->name);
	struct kl_decoder *vae = load(model, g->engine, 0);

	kl_decoder_use_bands(vae, g->band);
	check_all(g, vae, expected);
	kl_decoder_free(vae);
	safetensors_close(expected);
	testing_tempdir_remove(model);
}

static void the_demo_decodes_as_diffusers_does(void **state)
{
	const struct golden *g = *state;
	char *model = testing_golden("../../models/demo"), *folder = testing_golden("demo_vae");
	struct safetensors *expected = kl_testing_open(folder, "expected.safetensors");
	struct kl_decoder *vae = load(model, g->engine, 0);

	kl_decoder_use_bands(vae, g->band);
	check_all(g, vae, expected);
	kl_decoder_free(vae);
	safetensors_close(expected);
	free(folder);
	free(model);
}

/* Among them decoder.up, which LDM numbers from the other end. */
static void every_naming_of_the_same_weights_is_the_same_decoder(void **state)
{
	static const struct {
		enum vae_testing_column column;
		enum vae_naming naming;
	} cases[] = {{NAMES_CANONICAL, VAE_NAMING_DIFFUSERS},
		     {NAMES_LDM, VAE_NAMING_LDM},
		     {NAMES_OLD, VAE_NAMING_OLD_ATTENTION}};
	struct safetensors *expected = open_expected("kl_sd");
	struct golden g = {"kl_sd", &vae_engine_winograd, 0};
	struct sha256 hash = {{0}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *folder = kl_testing_formula_decoder("kl_sd", cases[i].column);
		struct error err = ERROR_INIT;
		struct vae_model *model = vae_model_open(folder, NULL, &err);
		struct kl_decoder *vae = NULL;

		if (model)
			vae = kl_decoder_load_model(model, g.engine, 1, &err);
		if (!vae)
			fail_msg("%s", err.message);
		assert_int_equal(kl_weights_naming(model->weights), cases[i].naming);
		if (i == 0)
			hash = *kl_decoder_weights_hash(vae);
		assert_memory_equal(kl_decoder_weights_hash(vae), &hash, sizeof(hash));
		check_all(&g, vae, expected);
		kl_decoder_free(vae);
		vae_model_close(model);
		testing_tempdir_remove(folder);
	}
	safetensors_close(expected);
}

/* -- memory -------------------------------------------------------------------------------------- */

static void what_does_not_fit_is_decoded_in_bands_and_then_refused(void **state)
{
	char *model = testing_golden("../../models/demo");
	struct kl_decoder *vae = load(model, &vae_engine_winograd, 1);
	size_t whole = kl_decoder_memory(vae, 96, 96), banded;
	float *latent = xcalloc(4 * 96 * 96, sizeof(float)), *pixels;
	struct error err = ERROR_INIT;

	(void)state;
	kl_decoder_use_bands(vae, 24);
	banded = kl_decoder_memory(vae, 96, 96);
	assert_true(banded < whole * 9 / 10);
	kl_decoder_use_bands(vae, 0);
	pixels = xcalloc((size_t)96 * 8 * 96 * 8 * 3, sizeof(float));
	kl_decoder_limit_memory(vae, 2u << 20);
	assert_error(kl_decoder_decode(vae, latent, 96, 96, pixels, NULL, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_large");
	assert_non_null(strstr(err.message, "768x768 pixels take"));
	assert_non_null(strstr(err.message, "MiB to decode"));
	free(latent);
	free(pixels);
	kl_decoder_free(vae);
	free(model);
}

/* Sums of bands are added in another order: not the same bits, but the same picture. */
static void threads_change_no_bit_and_bands_no_picture(void **state)
{
	char *model = testing_golden("../../models/demo"), *folder = testing_golden("demo_vae");
	struct safetensors *expected = kl_testing_open(folder, "expected.safetensors");
	struct ndarray latent = kl_testing_tensor(expected, "moments.96x72");
	enum { VALUES = 72 * 96 * 3 };
	float *pictures[3];
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pictures); i++) {
		struct kl_decoder *vae = load(model, &vae_engine_winograd, i == 1 ? 3 : 1);

		kl_decoder_use_bands(vae, i == 2 ? 24 : 0);
		pictures[i] = xcalloc(VALUES, sizeof(float));
		assert_ok(kl_decoder_decode(vae, latent.data, 9, 12, pictures[i], NULL, &err),
			  &err);
		kl_decoder_free(vae);
	}
	assert_memory_equal(pictures[0], pictures[1], VALUES * sizeof(float));
	assert_true(kl_testing_max_abs(pictures[0], pictures[2], VALUES) < 1e-5);
	for (size_t i = 0; i < ARRAY_SIZE(pictures); i++)
		free(pictures[i]);
	ndarray_release(&latent);
	safetensors_close(expected);
	free(folder);
	free(model);
}

/* -- what is wrong ------------------------------------------------------------------------------- */

static void assert_refused(const char *folder, const char *message)
{
	struct error err = ERROR_INIT;
	struct kl_decoder *vae = kl_decoder_load(folder, &vae_engine_naive, 1, &err);

	assert_null(vae);
	assert_int_equal(err.code, ERR_CONFIG);
	if (!strstr(err.message, message))
		fail_msg("%s: there is no \"%s\" in it", err.message, message);
}

static void models_without_a_decoder_or_with_parts_of_one_are_refused(void **state)
{
	static const struct {
		const char *file, *from, *to, *message;
	} cases[] = {
	    {"diffusion_pytorch_model.safetensors", "decoder.conv_in.weight",
	     "decoder.conv_in.weigh_",
	     "this model has no decoder: there is no tensor \"decoder.conv_in.weight\""},
	    {"diffusion_pytorch_model.safetensors", "decoder.conv_out.bias",
	     "decoder.conv_out.bia_", "tensor \"decoder.conv_out.bias\" is missing"},
	    {"config.json", "\"layers_per_block\": 2", "\"layers_per_block\": 1",
	     "has no place in the network that the config describes"},
	    {"config.json", "\"latent_channels\": 4", "\"latent_channels\": 5",
	     "the config gives [64, 5, 3, 3]"},
	    {"config.json", "\"latent_channels\": 4",
	     "\"use_post_quant_conv\": false, \"latent_channels\": 4",
	     "\"post_quant_conv.bias\" has no place"},
	};
	char *encoder_only = testing_golden("kl_sd");

	(void)state;
	assert_refused(encoder_only, "this model has no decoder");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *folder = kl_testing_formula_decoder("kl_sd", NAMES_CANONICAL);

		kl_testing_edit(folder, cases[i].file, cases[i].from, cases[i].to);
		assert_refused(folder, cases[i].message);
		testing_tempdir_remove(folder);
	}
	free(encoder_only);
}

static bool no_further(void *arg)
{
	(void)arg;
	return false;
}

static void a_latent_that_is_no_number_and_a_decode_that_is_ended_say_so(void **state)
{
	const struct kl_hooks ended = {.step = {no_further, NULL}};
	char *model = testing_golden("../../models/demo");
	struct kl_decoder *vae = load(model, &vae_engine_winograd, 1);
	float latent[4 * 2 * 3] = {0}, pixels[16 * 24 * 3];
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(kl_decoder_decode(vae, latent, 2, 3, pixels, &ended, &err), &err,
		     ERR_TRANSIENT);
	error_clear(&err);
	assert_error(kl_decoder_decode(vae, latent, 0, 3, pixels, NULL, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_small");
	error_clear(&err);
	latent[5] = NAN;
	assert_error(kl_decoder_decode(vae, latent, 2, 3, pixels, NULL, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "non_finite");
	kl_decoder_free(vae);
	free(model);
}

#define GOLDEN(model, engine, band)                                                                \
	{                                                                                          \
#model "_decodes_as_diffusers_does_with_" #engine "_" #band,                       \
		    pictures_and_stages_are_those_of_diffusers, NULL, NULL, &(struct golden)       \
		{                                                                                  \
#model, &vae_engine_##engine, band                                         \
		}                                                                                  \
	}
#define DEMO(engine, band)                                                                         \
	{                                                                                          \
		"the_demo_decodes_as_diffusers_does_with_" #engine "_" #band,                      \
		    the_demo_decodes_as_diffusers_does, NULL, NULL, &(struct golden)               \
		{                                                                                  \
			"demo_vae", &vae_engine_##engine, band                                     \
		}                                                                                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    GOLDEN(kl_sd, naive, 0),
	    GOLDEN(kl_sd, onednn, 0),
	    GOLDEN(kl_sd, winograd, 0),
	    GOLDEN(kl_sd, winograd, 24),
	    GOLDEN(kl_flux, naive, 0),
	    GOLDEN(kl_flux, winograd, 0),
	    GOLDEN(kl_flux2, naive, 0),
	    GOLDEN(kl_flux2, winograd, 24),
	    GOLDEN(kl_two_blocks, naive, 0),
	    GOLDEN(kl_two_blocks, onednn, 24),
	    GOLDEN(kl_two_blocks, winograd, 0),
	    GOLDEN(kl_no_attention, winograd, 0),
	    GOLDEN(kl_sdsize, winograd, 0),
	    DEMO(winograd, 0),
	    DEMO(winograd, 24),
	    DEMO(onednn, 0),
	    cmocka_unit_test(every_naming_of_the_same_weights_is_the_same_decoder),
	    cmocka_unit_test(what_does_not_fit_is_decoded_in_bands_and_then_refused),
	    cmocka_unit_test(threads_change_no_bit_and_bands_no_picture),
	    cmocka_unit_test(models_without_a_decoder_or_with_parts_of_one_are_refused),
	    cmocka_unit_test(a_latent_that_is_no_number_and_a_decode_that_is_ended_say_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

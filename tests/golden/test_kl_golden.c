/*
 * The encoder against what diffusers' AutoencoderKL gives for the same weights: moments of every input,
 * and for one of them the output of every stage. A failure names the first wrong stage in graph order.
 */
#include "tests/golden/kl_testing.h"

#include "base/checked.h"
#include "tests/testing.h"
#include "vae/kl_encoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LIMIT 1e-4 /* max-abs, float32 */

enum model_kind {
	MODEL_HERE,	      /* tests/golden/NAME */
	MODEL_DEMO,	      /* models/demo, expectation in tests/golden/demo_vae */
	MODEL_FORMULA,	      /* config and expectation in tests/golden/NAME, weights made now */
	MODEL_LESS_ATTENTION, /* the same, weights of kl_sd without those of its attention */
};

struct golden {
	const char *name;
	enum model_kind kind;
	const struct vae_engine_ops *engine;
};

/* What the tap compares with, and what it found. */
struct stages {
	struct safetensors *expected;
	const char *input; /* "72x40_b1" */
	size_t seen;
	char first_wrong[96];
	double max_abs;
};

/* diffusers' conv_norm_out is before SiLU, which is fused into ours: conv_act is both */
static void apply_silu(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (float)((double)x[i] / (1 + exp(-(double)x[i])));
}

static void compare_stage(void *arg, const char *name, const float *map, size_t height,
			  size_t width, size_t channels)
{
	struct stages *s = arg;
	bool is_act = strcmp(name, "encoder.conv_act") == 0;
	const char *module = is_act ? "conv_norm_out" : name + strlen("encoder.");
	struct ndarray expected;
	double worst = INFINITY;
	char full[128];
	float *want;

	if (strncmp(name, "encoder.", 8) != 0)
		return;
	snprintf(full, sizeof(full), "stage.%s.%s", s->input, module);
	if (!safetensors_find(s->expected, full))
		return;
	s->seen++;
	expected = kl_testing_tensor(s->expected, full);
	want = kl_testing_nhwc(&expected, 0);
	if (is_act)
		apply_silu(want, ndarray_count(&expected));
	if (expected.shape[1] == channels && expected.shape[2] == height &&
	    expected.shape[3] == width)
		worst = kl_testing_max_abs(map, want, ndarray_count(&expected));
	if (worst > LIMIT && !s->first_wrong[0]) {
		snprintf(s->first_wrong, sizeof(s->first_wrong), "%s", module);
		s->max_abs = worst;
	}
	free(want);
	ndarray_release(&expected);
}

static size_t stages_of(struct safetensors *expected, const char *input)
{
	char prefix[64];
	size_t n = 0;

	snprintf(prefix, sizeof(prefix), "stage.%s.", input);
	for (size_t i = 0; i < safetensors_count(expected); i++)
		n += strncmp(safetensors_at(expected, i)->name, prefix, strlen(prefix)) == 0;
	return n;
}

/* Image @n of @input against moments @n; fails the test. */
static void check_image(const struct golden *g, struct kl_encoder *vae, struct stages *stages,
			const struct ndarray *input, const struct ndarray *moments, size_t n)
{
	const struct kl_hooks hooks = {.tap = compare_stage, .tap_arg = stages};
	size_t count = ndarray_count(moments) / moments->shape[0];
	float *pixels = kl_testing_nhwc(input, n), *got = xcalloc(count, sizeof(*got));
	struct error err = ERROR_INIT;
	double worst;

	assert_ok(
	    kl_encoder_encode(vae, pixels, input->shape[2], input->shape[3], got, &hooks, &err),
	    &err);
	worst = kl_testing_max_abs(got, (const float *)moments->data + n * count, count);
	print_message("%s %s %s: moments max-abs %.2g\n", g->name, g->engine->name, stages->input,
		      worst);
	if (stages->first_wrong[0])
		fail_msg("%s %s %s: the first wrong stage is %s, max-abs %g", g->name,
			 g->engine->name, stages->input, stages->first_wrong, stages->max_abs);
	if (worst > LIMIT)
		fail_msg("%s %s %s: moments of image %zu, max-abs %g", g->name, g->engine->name,
			 stages->input, n, worst);
	assert_int_equal(stages->seen, stages_of(stages->expected, stages->input));
	stages->seen = 0;
	free(pixels);
	free(got);
}

static void check_input(const struct golden *g, struct kl_encoder *vae,
			struct safetensors *expected, const char *input_name)
{
	struct stages stages = {.expected = expected, .input = input_name};
	char name[96];
	struct ndarray input, moments;

	snprintf(name, sizeof(name), "input.%s", input_name);
	input = kl_testing_tensor(expected, name);
	snprintf(name, sizeof(name), "moments.%s", input_name);
	moments = kl_testing_tensor(expected, name);
	for (size_t n = 0; n < input.shape[0]; n++)
		check_image(g, vae, &stages, &input, &moments, n);
	ndarray_release(&input);
	ndarray_release(&moments);
}

/* The inputs that have stages, which say where it went wrong; or those that have none. */
static void check_inputs(const struct golden *g, struct kl_encoder *vae,
			 struct safetensors *expected, bool with_stages)
{
	for (size_t i = 0; i < safetensors_count(expected); i++) {
		const char *name = safetensors_at(expected, i)->name;

		if (strncmp(name, "input.", 6) == 0 &&
		    (stages_of(expected, name + 6) > 0) == with_stages)
			check_input(g, vae, expected, name + 6);
	}
}

/* The folders of model and expectation. */
static void find_model(const struct golden *g, char **model, char **expected)
{
	*expected = testing_golden(g->name);
	if (g->kind == MODEL_DEMO)
		*model = testing_golden("../../models/demo");
	else if (g->kind == MODEL_FORMULA)
		*model = kl_testing_formula_model(*expected);
	else if (g->kind == MODEL_LESS_ATTENTION)
		*model = kl_testing_copy_without("kl_sd", ".attentions.", g->name);
	else
		*model = xstrdup(*expected);
}

static bool is_temporary(const struct golden *g)
{
	return g->kind == MODEL_FORMULA || g->kind == MODEL_LESS_ATTENTION;
}

static void moments_and_stages_are_those_of_diffusers(void **state)
{
	const struct golden *g = *state;
	struct error err = ERROR_INIT;
	char *model = NULL, *folder = NULL;
	struct safetensors *expected;
	struct kl_encoder *vae;

	find_model(g, &model, &folder);
	expected = kl_testing_open(folder, "expected.safetensors");
	vae = kl_encoder_load(model, g->engine, 0, &err);
	if (!vae)
		fail_msg("%s", err.message);
	check_inputs(g, vae, expected, true);
	check_inputs(g, vae, expected, false);
	kl_encoder_free(vae);
	safetensors_close(expected);
	if (is_temporary(g))
		testing_tempdir_remove(model);
	else
		free(model);
	free(folder);
}

/* What is said of the stored mean in vae_config.h makes of it what diffusers' pipeline makes of the mode. */
static void flux2_is_trained_on_normed_patches_of_the_mean(void **state)
{
	char *golden = testing_golden("kl_flux2");
	struct safetensors *expected = kl_testing_open(golden, "expected.safetensors");
	struct ndarray moments = kl_testing_tensor(expected, "moments.72x48_b1");
	struct ndarray want = kl_testing_tensor(expected, "trained.72x48_b1");
	struct error err = ERROR_INIT;
	struct kl_encoder *vae = kl_encoder_load(golden, &vae_engine_winograd, 1, &err);
	const struct vae_config *c = vae ? kl_encoder_config(vae) : NULL;
	const float *z = moments.data, *trained = want.data;
	size_t height = want.shape[2], width = want.shape[3];

	(void)state;
	assert_non_null(vae);
	assert_int_equal(c->class, VAE_CLASS_FLUX2);
	assert_int_equal(c->n_statistics, want.shape[1]);
	for (size_t i = 0; i < ndarray_count(&want); i++) {
		size_t channel = i / (height * width), y = i / width % height, x = i % width;
		size_t row = 2 * y + channel / 2 % 2, column = 2 * x + channel % 2;
		double value = (double)z[(channel / 4 * 2 * height + row) * 2 * width + column];

		value = (value - c->latents_mean[channel]) * c->scaling_factor /
			c->latents_std[channel];
		if (!(fabs(value - (double)trained[i]) <= 1e-5))
			fail_msg("value %zu is %g, not %g", i, value, (double)trained[i]);
	}
	kl_encoder_free(vae);
	ndarray_release(&moments);
	ndarray_release(&want);
	safetensors_close(expected);
	free(golden);
}

/* Largest and root mean square difference. */
static void differences(const float *got, const struct ndarray *want, double *worst, double *rms)
{
	size_t n = ndarray_count(want);
	const float *values = want->data;
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		double d = (double)got[i] - (double)values[i];

		sum += d * d;
	}
	*worst = kl_testing_max_abs(got, values, n);
	*rms = sqrt(sum / (double)n);
}

/* diffusers' own encoder in bfloat16 (0.35.1 on PyTorch 2.15, CPU) differs by so much from the same moments. */
static void bf16_is_no_further_off_than_pytorchs(void **state)
{
	static const struct {
		const char *input, *moments;
		double worst, rms;
	} cases[] = {{"input.128x128_b1", "moments.128x128_b1", 0.0374, 0.00765},
		     {"input.264x200_b1", "moments.264x200_b1", 0.0512, 0.00819}};
	struct safetensors *expected;
	struct error err = ERROR_INIT;
	struct kl_encoder *vae;
	char *golden, *model;

	(void)state;
	if (vae_engine_winograd_bf16.check(&err) < 0) {
		print_message("SKIPPED: no AVX512_BF16 here\n");
		skip();
	}
	golden = testing_golden("kl_sdsize");
	expected = kl_testing_open(golden, "expected.safetensors");
	model = kl_testing_formula_model(golden);
	vae = kl_encoder_load(model, &vae_engine_winograd_bf16, 0, &err);
	assert_non_null(vae);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ndarray input = kl_testing_tensor(expected, cases[i].input);
		struct ndarray want = kl_testing_tensor(expected, cases[i].moments);
		float *pixels = kl_testing_nhwc(&input, 0), *got = xmalloc(want.bytes);
		double worst = INFINITY, rms = INFINITY;

		assert_ok(
		    kl_encoder_encode(vae, pixels, input.shape[2], input.shape[3], got, NULL, &err),
		    &err);
		differences(got, &want, &worst, &rms);
		print_message("bf16 %s: max-abs %.3g, rms %.3g\n", cases[i].input, worst, rms);
		assert_true(worst <= cases[i].worst && rms <= cases[i].rms && rms > 1e-4);
		ndarray_release(&input);
		ndarray_release(&want);
		free(pixels);
		free(got);
	}
	kl_encoder_free(vae);
	safetensors_close(expected);
	testing_tempdir_remove(model);
	free(golden);
}

/* One bias is changed on purpose: the report must blame that stage, not an earlier or later one. */
static void the_first_wrong_stage_is_the_one_that_is_named(void **state)
{
	struct golden g = {"kl_sd", MODEL_HERE, &vae_engine_onednn};
	char *golden = testing_golden("kl_sd"), *model = kl_testing_copy_model("kl_sd");
	char *path = testing_path(model, "diffusion_pytorch_model.safetensors");
	struct safetensors *expected = kl_testing_open(golden, "expected.safetensors");
	struct safetensors *weights = kl_testing_open(model, "diffusion_pytorch_model.safetensors");
	struct buffer bytes = testing_read(path);
	struct stages stages = {.expected = expected, .input = "72x40_b1"};
	const struct kl_hooks hooks = {.tap = compare_stage, .tap_arg = &stages};
	struct ndarray input = kl_testing_tensor(expected, "input.72x40_b1");
	float *pixels = kl_testing_nhwc(&input, 0), moments[8 * 5 * 9], half = 0.5f;
	struct error err = ERROR_INIT;
	struct kl_encoder *vae;

	(void)state;
	memcpy(
	    bytes.data +
		safetensors_find(weights, "encoder.down_blocks.1.downsamplers.0.conv.bias")->offset,
	    &half, sizeof(half));
	testing_write(path, bytes.data, bytes.size);
	vae = kl_encoder_load(model, g.engine, 0, &err);
	assert_non_null(vae);
	assert_ok(kl_encoder_encode(vae, pixels, 40, 72, moments, &hooks, &err), &err);
	assert_string_equal(stages.first_wrong, "down_blocks.1");
	assert_true(stages.max_abs > 0.01);
	kl_encoder_free(vae);
	safetensors_close(expected);
	safetensors_close(weights);
	buffer_release(&bytes);
	ndarray_release(&input);
	testing_tempdir_remove(model);
	free(pixels);
	free(path);
	free(golden);
}

#define GOLDEN(model, kind, engine)                                                                \
	{                                                                                          \
#model "_is_as_diffusers_has_it_with_" #engine,                                    \
		    moments_and_stages_are_those_of_diffusers, NULL, NULL, &(struct golden)        \
		{                                                                                  \
#model, kind, &vae_engine_##engine                                         \
		}                                                                                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    GOLDEN(kl_sd, MODEL_HERE, naive),
	    GOLDEN(kl_sd, MODEL_HERE, onednn),
	    GOLDEN(kl_sd, MODEL_HERE, winograd),
	    GOLDEN(kl_two_blocks, MODEL_HERE, naive),
	    GOLDEN(kl_two_blocks, MODEL_HERE, onednn),
	    GOLDEN(kl_two_blocks, MODEL_HERE, winograd),
	    GOLDEN(kl_flux, MODEL_HERE, naive),
	    GOLDEN(kl_flux, MODEL_HERE, onednn),
	    GOLDEN(kl_flux, MODEL_HERE, winograd),
	    GOLDEN(kl_flux2, MODEL_HERE, naive),
	    GOLDEN(kl_flux2, MODEL_HERE, onednn),
	    GOLDEN(kl_flux2, MODEL_HERE, winograd),
	    cmocka_unit_test(flux2_is_trained_on_normed_patches_of_the_mean),
	    GOLDEN(kl_no_attention, MODEL_LESS_ATTENTION, naive),
	    GOLDEN(kl_no_attention, MODEL_LESS_ATTENTION, onednn),
	    GOLDEN(kl_no_attention, MODEL_LESS_ATTENTION, winograd),
	    GOLDEN(kl_sd_fp16, MODEL_HERE, onednn),
	    GOLDEN(kl_sd_fp16, MODEL_HERE, winograd),
	    GOLDEN(demo_vae, MODEL_DEMO, onednn),
	    GOLDEN(demo_vae, MODEL_DEMO, winograd),
	    GOLDEN(kl_sdsize, MODEL_FORMULA, onednn),
	    GOLDEN(kl_sdsize, MODEL_FORMULA, winograd),
	    cmocka_unit_test(bf16_is_no_further_off_than_pytorchs),
	    cmocka_unit_test(the_first_wrong_stage_is_the_one_that_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The CUDA engine's networks, computed by the host instead of a GPU: steps, folded parameters, maps that share memory and
 * bands, against the moments and pictures that diffusers gives.
 */
#include "base/checked.h"
#include "encoder/cuda/gpu_network.h"
#include "tests/golden/kl_testing.h"
#include "tests/testing.h"
#include "vae/kl_encoder.h"

#include <stdio.h>
#include <string.h>

#define LIMIT 1e-4 /* max-abs, as in test_kl_golden.c */

struct loaded {
	struct latentd_cuda_model *model;
	struct latentd_cuda_tensor *tensors;
	float **values;
	char **names;
	size_t n;
};

static struct latentd_cuda_config config_of(const struct vae_config *v, enum vae_part part)
{
	bool decoder = part == VAE_DECODER;
	struct latentd_cuda_config c = {
	    .size = sizeof(c),
	    .part = decoder ? LATENTD_CUDA_DECODER : LATENTD_CUDA_ENCODER,
	    .blocks = (uint32_t)v->blocks,
	    .layers_per_block = (uint32_t)v->layers_per_block,
	    .groups = (uint32_t)v->norm_num_groups,
	    .latent_channels = (uint32_t)v->latent_channels,
	    .quant_conv = decoder ? v->use_post_quant_conv : v->use_quant_conv,
	    .attention = v->mid_block_add_attention};

	for (size_t i = 0; i < v->blocks; i++)
		c.channels[i] = (uint32_t)v->block_out_channels[i];
	return c;
}

static void add_tensor(struct loaded *l, struct kl_weights *weights, const struct gpu_layer *layer,
		       const char *part)
{
	size_t shape[4] = {layer->out, layer->in, layer->kernel, layer->kernel};
	size_t ndim = layer->kind == GPU_NORM || strcmp(part, "bias") == 0 ? 1
		      : layer->kind == GPU_LINEAR			   ? 2
									   : 4;
	struct error err = ERROR_INIT;
	struct latentd_cuda_tensor *t = &l->tensors[l->n];

	l->names[l->n] = xasprintf("%s.%s", layer->name, part);
	assert_ok(kl_weights_read(weights, l->names[l->n], ndim, shape, &l->values[l->n], &err),
		  &err);
	*t = (struct latentd_cuda_tensor){.name = l->names[l->n],
					  .dtype = LATENTD_CUDA_F32,
					  .ndim = (uint32_t)ndim,
					  .shape = {shape[0], shape[1], shape[2], shape[3]},
					  .data = l->values[l->n]};
	l->n++;
}

static void load(const char *folder, enum vae_part part, struct loaded *l)
{
	struct error err = ERROR_INIT;
	struct latentd_cuda_error gpu_err = {0};
	struct vae_model *model = vae_model_open(folder, NULL, &err);
	struct gpu_layers layers;
	struct latentd_cuda_config config;

	if (!model)
		fail_msg("%s", err.message);
	config = config_of(&model->config, part);
	*l = (struct loaded){.n = 0};
	assert_int_equal(gpu_layers_list(&config, &layers, &gpu_err), 0);
	l->tensors = xcalloc(2 * layers.n, sizeof(*l->tensors));
	l->values = xcalloc(2 * layers.n, sizeof(*l->values));
	l->names = xcalloc(2 * layers.n, sizeof(*l->names));
	for (size_t i = 0; i < layers.n; i++) {
		add_tensor(l, model->weights, &layers.layers[i], "weight");
		add_tensor(l, model->weights, &layers.layers[i], "bias");
	}
	assert_ok(kl_weights_check_rest(model->weights, part, &err), &err);
	if (gpu_model_open(&config, l->tensors, l->n, &l->model, &gpu_err) < 0)
		fail_msg("%s", gpu_err.message);
	vae_model_close(model);
}

static void unload(struct loaded *l)
{
	gpu_model_close(l->model);
	for (size_t i = 0; i < l->n; i++) {
		free(l->names[i]);
		free(l->values[i]);
	}
	free(l->names);
	free(l->values);
	free(l->tensors);
}

/* Goldens begin with numbers, not bytes: they take the place of the first map. */
struct input {
	const struct ndarray *images;
};

static void put_input(void *arg, size_t step, void *map)
{
	const struct ndarray *images = ((struct input *)arg)->images;
	size_t pixels = images->shape[2] * images->shape[3];
	float *out = map;

	if (step != 0)
		return;
	for (size_t n = 0; n < images->shape[0]; n++) {
		float *nhwc = kl_testing_nhwc(images, n);

		for (size_t p = 0; p < pixels; p++)
			memcpy(out + (n * pixels + p) * 8, nhwc + p * 3, 3 * sizeof(float));
		free(nhwc);
	}
}

static void check(struct loaded *l, const struct ndarray *images, const struct ndarray *moments,
		  const struct gpu_steps *steps, size_t band_bytes, const char *name)
{
	struct latentd_cuda_error err = {0};
	struct gpu_device *device = device_host_open(&err);
	struct gpu_network *net = gpu_network_open(l->model, device, &err);
	struct gpu_shape shape = {(int64_t)images->shape[0], (int64_t)images->shape[2],
				  (int64_t)images->shape[3], sizeof(float), band_bytes};
	struct input input = {images};
	static struct gpu_plan plan;
	uint8_t *arena;
	double worst;

	gpu_plan_make(steps, &shape, &plan);
	arena = xmalloc(plan.arena);
	memset(arena, 0xff, plan.arena);
	memset(arena + plan.input[1], 0,
	       images->shape[0] * images->shape[2] * images->shape[3] * 3);
	gpu_network_tap(net, put_input, &input);
	if (gpu_network_prepare(net, &plan, &err) < 0 ||
	    gpu_network_run(net, &plan, arena, 1, &err) < 0)
		fail_msg("%s", err.message);
	worst = kl_testing_max_abs((const float *)(arena + plan.result[1]), moments->data,
				   ndarray_count(moments));
	print_message("%s bands of %zu bytes: max-abs %.2g, arena %.1f MB\n", name, band_bytes,
		      worst, (double)plan.arena / 1e6);
	if (worst > LIMIT)
		fail_msg("%s: max-abs %g", name, worst);
	assert_int_equal(plan.banded, band_bytes > 0);
	for (size_t i = 0; i < images->shape[0]; i++)
		assert_int_equal(((uint32_t *)(arena + plan.flags[1]))[i], 0);
	gpu_network_close(net);
	device_host_close(device);
	free(arena);
}

static void check_golden(const char *model, const char *golden, const char *input)
{
	struct safetensors *expected = kl_testing_open(golden, "expected.safetensors");
	char *name = xasprintf("input.%s", input);
	struct ndarray images = kl_testing_tensor(expected, name), moments;
	struct loaded l;

	load(model, VAE_ENCODER, &l);
	free(name);
	name = xasprintf("moments.%s", input);
	moments = kl_testing_tensor(expected, name);
	check(&l, &images, &moments, &l.model->steps, 0, name);
	check(&l, &images, &moments, &l.model->steps, 16384, name);
	if (images.shape[0] == 1)
		check(&l, &images, &moments, l.model->steps.lean, 16384, name);
	unload(&l);
	ndarray_release(&images);
	ndarray_release(&moments);
	safetensors_close(expected);
	free(name);
}

/* The largest would only take time under sanitizers. */
static bool is_small_input(const char *name)
{
	return strncmp(name, "input.", 6) == 0 && strcmp(name, "input.128x96_b1") != 0;
}

static void moments_are_those_of_diffusers_whole_and_in_bands(void **state)
{
	static const char *const goldens[] = {"kl_sd", "kl_flux", "kl_two_blocks"};

	(void)state;
	for (size_t g = 0; g < ARRAY_SIZE(goldens); g++) {
		char *folder = testing_golden(goldens[g]);
		struct safetensors *expected = kl_testing_open(folder, "expected.safetensors");

		for (size_t i = 0; i < safetensors_count(expected); i++) {
			const char *name = safetensors_at(expected, i)->name;

			if (is_small_input(name))
				check_golden(folder, folder, name + 6);
		}
		safetensors_close(expected);
		free(folder);
	}
}

static void a_model_without_attention_is_computed(void **state)
{
	char *model = kl_testing_copy_without("kl_sd", ".attentions.", "kl_no_attention");
	char *golden = testing_golden("kl_no_attention");
	struct safetensors *expected = kl_testing_open(golden, "expected.safetensors");

	(void)state;
	for (size_t i = 0; i < safetensors_count(expected); i++) {
		const char *name = safetensors_at(expected, i)->name;

		if (is_small_input(name))
			check_golden(model, golden, name + 6);
	}
	safetensors_close(expected);
	free(golden);
	testing_tempdir_remove(model);
}

/* -- in one map ------------------------------------------------------------------------------------ */

/* Moments of a picture of bytes, to be freed. */
static float *moments_of(struct loaded *l, const struct gpu_steps *steps, int64_t height,
			 int64_t width, size_t band_bytes)
{
	struct latentd_cuda_error err = {0};
	struct gpu_device *device = device_host_open(&err);
	struct gpu_network *net = gpu_network_open(l->model, device, &err);
	const struct gpu_shape shape = {1, height, width, sizeof(float), band_bytes};
	size_t floats = gpu_port_values(&steps->result, (size_t)height, (size_t)width);
	float *moments = xcalloc(floats, sizeof(*moments));
	static struct gpu_plan plan;
	uint8_t *arena;

	gpu_plan_make(steps, &shape, &plan);
	arena = xmalloc(plan.arena);
	memset(arena, 0xff, plan.arena);
	for (int64_t i = 0; i < height * width * 3; i++)
		arena[plan.input[0] + (size_t)i] = (uint8_t)(i * 31 % 251);
	if (gpu_network_prepare(net, &plan, &err) < 0 ||
	    gpu_network_run(net, &plan, arena, 0, &err) < 0)
		fail_msg("%s", err.message);
	memcpy(moments, arena + plan.result[0], floats * sizeof(*moments));
	gpu_network_close(net);
	device_host_close(device);
	free(arena);
	return moments;
}

/* Of bands of 7 rows the last has 1 and 2, so a piece without a new row and pieces shorter than a halo are among them. */
static void one_map_gives_what_two_give_wherever_the_last_band_ends(void **state)
{
	static const int64_t heights[] = {64, 72};
	char *folder = testing_golden("kl_sd");
	struct loaded l;

	(void)state;
	load(folder, VAE_ENCODER, &l);
	for (size_t i = 0; i < ARRAY_SIZE(heights); i++) {
		size_t n = (size_t)heights[i] / 8 * 9 * 8;
		float *two = moments_of(&l, &l.model->steps, heights[i], 72, 0);
		float *one = moments_of(&l, l.model->steps.lean, heights[i], 72, 16384);

		assert_true(kl_testing_max_abs(one, two, n) < 1e-5);
		free(two);
		free(one);
	}
	unload(&l);
	free(folder);
}

/* -- decoders ------------------------------------------------------------------------------------- */

/* The picture of a latent [1, C, h, w] within LIMIT of @decoded, [1, 3, H, W]. */
static void check_picture(struct loaded *l, const float *latent, const struct ndarray *decoded,
			  const struct gpu_steps *steps, size_t band_bytes, const char *name)
{
	struct latentd_cuda_error err = {0};
	struct gpu_device *device = device_host_open(&err);
	struct gpu_network *net = gpu_network_open(l->model, device, &err);
	struct gpu_shape shape = {1, (int64_t)decoded->shape[2], (int64_t)decoded->shape[3],
				  sizeof(float), band_bytes};
	float *want = kl_testing_nhwc(decoded, 0);
	static struct gpu_plan plan;
	uint8_t *arena;
	double worst;

	gpu_plan_make(steps, &shape, &plan);
	arena = xmalloc(plan.arena);
	memset(arena, 0xff, plan.arena);
	memcpy(arena + plan.input[1], latent,
	       gpu_port_values(&steps->input, decoded->shape[2], decoded->shape[3]) *
		   sizeof(float));
	if (gpu_network_prepare(net, &plan, &err) < 0 ||
	    gpu_network_run(net, &plan, arena, 1, &err) < 0)
		fail_msg("%s", err.message);
	worst = kl_testing_max_abs((const float *)(arena + plan.result[1]), want,
				   ndarray_count(decoded));
	print_message("%s bands of %zu bytes: max-abs %.2g, arena %.1f MB\n", name, band_bytes,
		      worst, (double)plan.arena / 1e6);
	if (worst > LIMIT)
		fail_msg("%s: max-abs %g", name, worst);
	/* smaller ones are within one chunk of sums */
	assert_int_equal(plan.banded, band_bytes > 0 && decoded->shape[2] >= 32);
	assert_int_equal(((uint32_t *)(arena + plan.flags[1]))[0], 0);
	gpu_network_close(net);
	device_host_close(device);
	free(want);
	free(arena);
}

static void check_decoder(const char *model, struct safetensors *expected, const char *latents,
			  const char *size)
{
	struct ndarray latent, decoded;
	struct loaded l;
	char *name = xasprintf("%s.%s", latents, size);

	latent = kl_testing_tensor(expected, name);
	free(name);
	name = xasprintf("decoded.%s", size);
	decoded = kl_testing_tensor(expected, name);
	load(model, VAE_DECODER, &l);
	check_picture(&l, latent.data, &decoded, &l.model->steps, 0, name);
	check_picture(&l, latent.data, &decoded, &l.model->steps, 16384, name);
	check_picture(&l, latent.data, &decoded, l.model->steps.lean, 16384, name);
	unload(&l);
	ndarray_release(&latent);
	ndarray_release(&decoded);
	free(name);
}

/* With post_quant_conv and without, of many channels and few, with two blocks. */
static void pictures_are_those_of_diffusers_whole_and_in_bands(void **state)
{
	static const char *const goldens[] = {"kl_sd", "kl_flux", "kl_two_blocks",
					      "kl_no_attention"};
	char *folder = testing_golden("kl_decoder");

	(void)state;
	for (size_t g = 0; g < ARRAY_SIZE(goldens); g++) {
		char *model = kl_testing_formula_decoder(goldens[g], NAMES_CANONICAL);
		char *file = xasprintf("%s.safetensors", goldens[g]);
		struct safetensors *expected = kl_testing_open(folder, file);

		for (size_t i = 0; i < safetensors_count(expected); i++) {
			const char *name = safetensors_at(expected, i)->name;

			if (strncmp(name, "decoded.", 8) == 0)
				check_decoder(model, expected, "latent", name + 8);
		}
		safetensors_close(expected);
		testing_tempdir_remove(model);
		free(file);
	}
	free(folder);
}

static void the_demo_decodes_as_diffusers_does(void **state)
{
	char *model = testing_golden("../../models/demo"), *folder = testing_golden("demo_vae");
	struct safetensors *expected = kl_testing_open(folder, "expected.safetensors");

	(void)state;
	check_decoder(model, expected, "moments", "96x72"); /* the mean comes first */
	safetensors_close(expected);
	free(folder);
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(moments_are_those_of_diffusers_whole_and_in_bands),
	    cmocka_unit_test(a_model_without_attention_is_computed),
	    cmocka_unit_test(one_map_gives_what_two_give_wherever_the_last_band_ends),
	    cmocka_unit_test(pictures_are_those_of_diffusers_whole_and_in_bands),
	    cmocka_unit_test(the_demo_decodes_as_diffusers_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

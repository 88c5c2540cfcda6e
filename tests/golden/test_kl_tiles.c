/*
 * Encodes in tiles against those of diffusers with enable_tiling(): `tiled64.128x96_b1` by 0.24, tiled.safetensors by 0.35.1
 * on PyTorch 2.15, of sizes whose last tiles are 8 pixels wide or high (152x104, tiles of 64) and 2 (58x26, of 32).
 */
#include "tests/golden/kl_testing.h"

#include "base/checked.h"
#include "tests/testing.h"
#include "vae/kl_tiles.h"

#include <string.h>

#define LIMIT 1e-4 /* max-abs, float32 */

struct tiled_golden {
	const char *model, *file, *input, *moments;
	const struct vae_engine_ops *engine;
};

static struct kl_encoder *load(const char *model, const struct vae_engine_ops *engine)
{
	char *folder = testing_golden(model);
	struct error err = ERROR_INIT;
	struct kl_encoder *vae = kl_encoder_load(folder, engine, 0, &err);

	if (!vae)
		fail_msg("%s", err.message);
	free(folder);
	return vae;
}

static struct ndarray tensor_of(const char *model, const char *file, const char *name)
{
	char *folder = testing_golden(model);
	struct safetensors *golden = kl_testing_open(folder, file);
	struct ndarray out = kl_testing_tensor(golden, name);

	safetensors_close(golden);
	free(folder);
	return out;
}

static void tiles_are_blended_as_diffusers_does(void **state)
{
	const struct tiled_golden *g = *state;
	struct ndarray input = tensor_of(g->model, g->file, g->input);
	struct ndarray want = tensor_of(g->model, g->file, g->moments);
	struct kl_encoder *vae = load(g->model, g->engine);
	float *pixels = kl_testing_nhwc(&input, 0), *got = xmalloc(want.bytes);
	struct error err = ERROR_INIT;
	double worst;

	assert_ok(kl_tiles_encode(vae, kl_encoder_config(vae)->sample_size, pixels, input.shape[2],
				  input.shape[3], got, NULL, &err),
		  &err);
	worst = kl_testing_max_abs(got, want.data, ndarray_count(&want));
	print_message("%s %s: max-abs %.2g\n", g->moments, g->engine->name, worst);
	assert_true(worst <= LIMIT);
	kl_encoder_free(vae);
	ndarray_release(&input);
	ndarray_release(&want);
	free(pixels);
	free(got);
}

/* 64 x 40 pixels of an image in one tile of 64, in memory that is exactly as large as it must be. */
static void an_image_no_larger_than_a_tile_is_encoded_whole(void **state)
{
	enum { WIDTH = 64, HEIGHT = 40, MOMENTS = 8 * (WIDTH / 8) * (HEIGHT / 8) };
	struct kl_encoder *vae = load("kl_sd", &vae_engine_winograd);
	float *pixels = xcalloc((size_t)HEIGHT * WIDTH * 3, sizeof(*pixels));
	float whole[MOMENTS], tiled[MOMENTS];
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < (size_t)HEIGHT * WIDTH * 3; i++)
		pixels[i] = (float)(i * 2654435761u % 2000) / 1000 - 1;
	assert_ok(kl_encoder_encode(vae, pixels, HEIGHT, WIDTH, whole, NULL, &err), &err);
	assert_ok(kl_tiles_encode(vae, 64, pixels, HEIGHT, WIDTH, tiled, NULL, &err), &err);
	assert_memory_equal(tiled, whole, sizeof(whole));
	kl_encoder_free(vae);
	free(pixels);
}

static bool refuse(void *arg)
{
	size_t *left = arg;

	return (*left)-- > 1;
}

/* Also in the middle of the second tile. */
static void a_hook_ends_an_encode_in_tiles(void **state)
{
	struct ndarray input = tensor_of("kl_sd", "tiled.safetensors", "input.152x104_b1");
	struct kl_encoder *vae = load("kl_sd", &vae_engine_winograd);
	float *pixels = kl_testing_nhwc(&input, 0);
	float *moments = xcalloc(ndarray_count(&input), sizeof(*moments));
	size_t left = SIZE_MAX, steps, at[2];
	struct kl_hooks hooks = {.step = {refuse, &left}};
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(kl_tiles_encode(vae, 64, pixels, 104, 152, moments, &hooks, &err), &err);
	steps = SIZE_MAX - left;
	at[0] = 1;
	at[1] = steps / 3;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		left = at[i];
		error_clear(&err);
		assert_int_equal(kl_tiles_encode(vae, 64, pixels, 104, 152, moments, &hooks, &err),
				 -1);
		assert_int_equal(err.code, ERR_TRANSIENT);
	}
	kl_encoder_free(vae);
	ndarray_release(&input);
	free(pixels);
	free(moments);
}

static void tiles_that_leave_gaps_are_refused(void **state)
{
	static const struct {
		size_t sample_size;
		bool fits;
	} cases[] = {{32, true},   {64, true},	{256, true}, {512, true},  {768, true},
		     {1024, true}, {33, true},	{40, false}, {1, false},   {7, false},
		     {8, false},   {36, false}, {96, true},  {100, false}, {520, false}};
	struct vae_config config;
	struct error err = ERROR_INIT;

	(void)state;
	vae_config_defaults(VAE_CLASS_FLUX2, &config);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		config.sample_size = cases[i].sample_size;
		error_clear(&err);
		if ((kl_tiles_check(&config, &err) == 0) != cases[i].fits)
			fail_msg("tiles of %zu", cases[i].sample_size);
		assert_int_equal(err.code, cases[i].fits ? ERR_NONE : ERR_CONFIG);
	}
}

#define TILED(model, file, size, moments, engine)                                                  \
	{                                                                                          \
		moments "_of_" #model "_with_" #engine, tiles_are_blended_as_diffusers_does, NULL, \
		    NULL, &(struct tiled_golden)                                                   \
		{                                                                                  \
#model, file ".safetensors", "input." size, moments, &vae_engine_##engine  \
		}                                                                                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TILED(kl_sd, "expected", "128x96_b1", "tiled64.128x96_b1", naive),
	    TILED(kl_sd, "expected", "128x96_b1", "tiled64.128x96_b1", onednn),
	    TILED(kl_sd, "expected", "128x96_b1", "tiled64.128x96_b1", winograd),
	    TILED(kl_sd, "tiled", "152x104_b1", "tiled.152x104_b1", winograd),
	    TILED(kl_two_blocks, "tiled", "58x26_b1", "tiled.58x26_b1", winograd),
	    cmocka_unit_test(an_image_no_larger_than_a_tile_is_encoded_whole),
	    cmocka_unit_test(a_hook_ends_an_encode_in_tiles),
	    cmocka_unit_test(tiles_that_leave_gaps_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

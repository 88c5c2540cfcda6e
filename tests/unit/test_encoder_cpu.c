/*
 * The cpu encoder from bytes to moments against diffusers: the golden model's expected.safetensors.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/thread.h"
#include "encoder/encoder_cpu.h"
#include "tests/golden/kl_testing.h"
#include "vae/safetensors.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 72, HEIGHT = 40, PLANE = WIDTH * HEIGHT };

static char *find_model(void)
{
	cleanup_free char *golden = testing_golden("kl_two_blocks"),
			  *weights = testing_path(golden, "diffusion_pytorch_model.safetensors");

	if (file_exists(weights))
		return TAKE(golden);
	return testing_shared("goldens/kl_two_blocks");
}

static struct ndarray expected(const char *model, const char *name_of_file, const char *name)
{
	cleanup_free char *path = testing_path(model, name_of_file);
	struct error err = ERROR_INIT;
	struct safetensors *file = safetensors_open(path, &err);
	struct ndarray out = NDARRAY_INIT;
	const struct safetensor *t;

	if (!file)
		fail_msg("%s", err.message);
	t = safetensors_find(file, name);
	assert_non_null(t);
	assert_ok(ndarray_alloc(&out, DTYPE_F32, t->ndim, t->shape, &err), &err);
	assert_ok(safetensors_read_f32(file, t, out.data, &err), &err);
	safetensors_close(file);
	return out;
}

/* The bytes that the golden input, [1][3][H][W] in [-1, 1], was made of. */
static uint8_t *recover_pixels(const struct ndarray *input)
{
	size_t plane = input->shape[2] * input->shape[3];
	uint8_t *pixels = xmalloc(3 * plane);
	const float *values = input->data;

	for (size_t i = 0; i < plane; i++) {
		for (size_t c = 0; c < 3; c++)
			pixels[3 * i + c] = (uint8_t)lrintf((values[c * plane + i] + 1) * 127.5f);
	}
	return pixels;
}

/* The moments of one image, in a batch that the caller frees. */
static struct encode_batch *encode(struct encoder *e, const struct ndarray *input, size_t tile)
{
	cleanup_free uint8_t *pixels = recover_pixels(input);
	struct encode_batch *batch = encode_batch_new(1), *done = NULL;
	struct error err = ERROR_INIT;

	batch->width = input->shape[3];
	batch->height = input->shape[2];
	batch->tile = tile;
	batch->posterior = POSTERIOR_MOMENTS;
	batch->items[0].pixels = pixels;
	assert_ok(encoder_submit(e, batch, &err), &err);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	if (batch->items[0].error.code != ERR_NONE)
		fail_msg("%s", batch->items[0].error.message);
	return batch;
}

static struct encoder *open_encoder_within(const char *path, size_t memory)
{
	struct error err = ERROR_INIT;
	struct encoder_cpu_options options = {.model = vae_model_open(path, NULL, &err),
					      .memory = memory};
	struct encoder *e = NULL;

	if (!options.model)
		fail_msg("%s", err.message);
	assert_ok(encoder_cpu_open(&options, &e, &err), &err);
	vae_model_close(options.model);
	return e;
}

static struct encoder *open_encoder(const char *path)
{
	return open_encoder_within(path, 0);
}

static void compare_with_diffusers(const char *model, const char *file, const char *input_name,
				   const char *moments_name, size_t tile)
{
	cleanup_ndarray struct ndarray input = expected(model, file, input_name),
				       want = expected(model, file, moments_name);
	struct encoder *e = open_encoder(model);
	struct encode_batch *batch;
	const float *got, *values = want.data;

	assert_non_null(encoder_cpu_vae(e));
	batch = encode(e, &input, tile);
	assert_int_equal(batch->items[0].latent.bytes, want.bytes);
	got = batch->items[0].latent.data;
	for (size_t i = 0; i < ndarray_count(&want); i++) {
		if (!(fabsf(got[i] - values[i]) <= 1e-4f))
			fail_msg("moment %zu is %g, not %g", i, (double)got[i], (double)values[i]);
	}
	encode_batch_free(batch);
	encoder_close(e);
}

static void bytes_become_the_moments_of_diffusers(void **state)
{
	cleanup_free char *model = find_model();

	(void)state;
	if (!model)
		skip();
	compare_with_diffusers(model, "expected.safetensors", "input.72x40_b1", "moments.72x40_b1",
			       0);
}

static void a_batch_in_tiles_is_as_diffusers_encodes_in_tiles(void **state)
{
	cleanup_free char *golden = testing_golden("kl_two_blocks");

	(void)state;
	compare_with_diffusers(golden, "tiled.safetensors", "input.58x26_b1", "tiled.58x26_b1", 32);
}

/* Rounding differs between versions and sets of instructions: a record must tell which it was. */
static void the_engine_is_named_with_its_version(void **state)
{
	cleanup_free char *model = find_model();
	struct encoder *e;
	int major = 0, minor = 0, patch = 0, end = 0;
	const char *engine;

	(void)state;
	if (!model)
		skip();
	e = open_encoder(model);
	engine = encoder_caps(e)->engine;
	sscanf(engine, "cpu/winograd-%d.%d.%d-%*s float32%n", &major, &minor, &patch, &end);
	if (end == 0 || engine[end] != '\0')
		fail_msg("the engine is \"%s\"", engine);
	encoder_close(e);
	setenv("LATENTD_CPU", "direct", 1);
	e = open_encoder(model);
	engine = encoder_caps(e)->engine;
	end = 0;
	sscanf(engine, "cpu/onednn-%d.%d.%d float32%n", &major, &minor, &patch, &end);
	if (major < 2 || end == 0 || engine[end] != '\0')
		fail_msg("the engine is \"%s\"", engine);
	encoder_close(e);
	unsetenv("LATENTD_CPU");
}

static void an_image_too_large_for_the_memory_is_the_images_fault(void **state)
{
	cleanup_free char *model = find_model();
	cleanup_free uint8_t *pixels = xcalloc(PLANE, 3);
	struct encode_batch *batch = encode_batch_new(1), *done = NULL;
	struct error err = ERROR_INIT;
	struct encoder *e;

	(void)state;
	if (!model)
		skip();
	e = open_encoder_within(model, 65536);
	batch->width = WIDTH;
	batch->height = HEIGHT;
	batch->items[0].pixels = pixels;
	assert_ok(encoder_submit(e, batch, &err), &err);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	assert_int_equal(done->items[0].error.code, ERR_DATA);
	assert_string_equal(done->items[0].error.reason, "too_large");
	encode_batch_free(done);
	encoder_close(e);
}

/* Cancels as soon as the encoder has begun to compute. */
static void *cancel_what_runs(void *arg)
{
	struct encoder *e = arg;
	uint64_t before = encoder_ticks(e);

	while (encoder_ticks(e) < before + 3)
		sched_yield();
	encoder_cancel(e);
	return NULL;
}

/* The error of one image that is cancelled while it is computed. */
static enum error_code encode_and_cancel(struct encoder *e, const uint8_t *pixels, size_t side)
{
	struct encode_batch *batch = encode_batch_new(1), *done = NULL;
	struct thread t = THREAD_INIT;
	struct error err = ERROR_INIT;
	enum error_code code;

	batch->width = batch->height = side;
	batch->posterior = POSTERIOR_MEAN;
	batch->items[0].pixels = pixels;
	assert_ok(thread_start(&t, "cancel", cancel_what_runs, e, &err), &err);
	assert_ok(encoder_submit(e, batch, &err), &err);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	thread_join(&t);
	code = done->items[0].error.code;
	assert_true(code == ERR_TRANSIENT || code == ERR_NONE);
	encode_batch_free(done);
	return code;
}

/* The other thread may come too late for some images, not for twenty. */
static void a_cancel_ends_an_image_in_its_middle(void **state)
{
	enum { SIDE = 128, ROUNDS = 20 };
	cleanup_free char *model = find_model();
	cleanup_free uint8_t *pixels = xcalloc(SIDE * SIDE, 3);
	struct encoder *e;
	size_t round = 0;

	(void)state;
	if (!model)
		skip();
	e = open_encoder(model);
	while (round < ROUNDS && encode_and_cancel(e, pixels, SIDE) != ERR_TRANSIENT)
		round++;
	assert_true(round < ROUNDS);
	encoder_close(e);
}

static void a_model_that_cannot_be_loaded_is_one_clear_line(void **state)
{
	char *dir = kl_testing_copy_model("kl_two_blocks");
	struct encoder_cpu_options options = {.model = NULL};
	struct encoder *e = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	kl_testing_edit(dir, "config.json", "\"layers_per_block\": 1", "\"layers_per_block\": 2");
	options.model = vae_model_open(dir, NULL, &err);
	assert_non_null(options.model);
	assert_error(encoder_cpu_open(&options, &e, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, dir));
	assert_null(strchr(err.message, '\n'));
	assert_null(e);
	vae_model_close(options.model);
	testing_tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_become_the_moments_of_diffusers),
	    cmocka_unit_test(a_batch_in_tiles_is_as_diffusers_encodes_in_tiles),
	    cmocka_unit_test(the_engine_is_named_with_its_version),
	    cmocka_unit_test(an_image_too_large_for_the_memory_is_the_images_fault),
	    cmocka_unit_test(a_cancel_ends_an_image_in_its_middle),
	    cmocka_unit_test(a_model_that_cannot_be_loaded_is_one_clear_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

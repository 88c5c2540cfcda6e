/* The host's side of the CUDA engine, with a plugin that computes on the processor (host_plugin.c). */
#include "base/checked.h"
#include "encoder/encoder_cpu.h"
#include "encoder/encoder_cuda.h"
#include "encoder/encoder_many.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 40, HEIGHT = 24 };

static char *plugin_path(void)
{
	return xasprintf("%s/tests/host_plugin.so", getenv("LATENTD_BUILD_DIR"));
}

static struct vae_model *model_of(const char *name)
{
	char *folder = testing_golden(name);
	struct error err = ERROR_INIT;
	struct vae_model *model = vae_model_open(folder, NULL, &err);

	if (!model)
		fail_msg("%s", err.message);
	free(folder);
	return model;
}

static struct vae_model *model_open(void)
{
	return model_of("kl_sd");
}

static int try_open(const char *plugin, struct encoder **out, struct error *err)
{
	struct encoder_cuda_options options = {.model = model_open(), .plugin = plugin};
	int r = encoder_cuda_open(&options, out, err);

	vae_model_close(options.model);
	return r;
}

static struct encoder *cuda_open(void)
{
	char *plugin = plugin_path();
	struct error err = ERROR_INIT;
	struct encoder *e = NULL;

	assert_ok(try_open(plugin, &e, &err), &err);
	free(plugin);
	return e;
}

static struct encode_batch *batch_of_size(uint8_t *pixels, size_t width, size_t height, size_t n,
					  enum posterior posterior)
{
	struct encode_batch *batch = encode_batch_new(n);

	batch->width = width;
	batch->height = height;
	batch->posterior = posterior;
	for (size_t i = 0; i < n * width * height * 3; i++)
		pixels[i] = (uint8_t)(i * 31 % 251);
	for (size_t i = 0; i < n; i++)
		batch->items[i].pixels = pixels + i * width * height * 3;
	return batch;
}

static struct encode_batch *batch_of(uint8_t *pixels, size_t n, enum posterior posterior)
{
	return batch_of_size(pixels, WIDTH, HEIGHT, n, posterior);
}

static void encode(struct encoder *e, struct encode_batch *batch)
{
	struct error err = ERROR_INIT;
	struct encode_batch *done = NULL;

	assert_ok(encoder_submit(e, batch, &err), &err);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	assert_ptr_equal(done, batch);
}

static void assert_same_latents(const struct encode_batch *a, const struct encode_batch *b)
{
	for (size_t i = 0; i < a->n; i++) {
		const float *x = a->items[i].latent.data, *y = b->items[i].latent.data;

		assert_int_equal(a->items[i].error.code, ERR_NONE);
		assert_false(a->items[i].in_float32);
		for (size_t k = 0; k < ndarray_count(&a->items[i].latent); k++)
			assert_true(fabsf(x[k] - y[k]) < 1e-4f);
	}
}

static struct encoder *cpu_open(void)
{
	struct encoder_cpu_options options = {.model = model_open(), .threads = 1};
	struct encoder *e = NULL;
	struct error err = ERROR_INIT;

	assert_ok(encoder_cpu_open(&options, &e, &err), &err);
	vae_model_close(options.model);
	return e;
}

/* Tiles of 64, which begin every 48: of 104 pixels there are tiles of 64, 56 and 8, of 112 two of 64 and one of 16. */
static void tiles_are_those_of_the_cpu_encoder(void **state)
{
	static const struct {
		size_t width, height, n;
	} cases[] = {{104, 104, 1}, {112, 40, 2}};
	struct encoder *cuda = cuda_open(), *cpu = cpu_open();
	uint8_t pixels[104 * 104 * 3];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct encode_batch *a = batch_of_size(pixels, cases[i].width, cases[i].height,
						       cases[i].n, POSTERIOR_MOMENTS);
		struct encode_batch *b = batch_of_size(pixels, cases[i].width, cases[i].height,
						       cases[i].n, POSTERIOR_MOMENTS);

		a->tile = b->tile = 64;
		encode(cuda, a);
		encode(cpu, b);
		assert_same_latents(a, b);
		encode_batch_free(a);
		encode_batch_free(b);
	}
	encoder_close(cuda);
	encoder_close(cpu);
}

/* Their tiles are four jobs each, of which the plugin has two at a time; the batch behind it waits its turn. */
static void two_batches_of_tiles_come_back_in_order(void **state)
{
	struct encoder *e = cuda_open();
	uint8_t pixels[2][72 * 72 * 3];
	struct encode_batch *batches[2], *done = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		batches[i] = batch_of_size(pixels[i], 72, 72, 1, POSTERIOR_MEAN);
		batches[i]->tile = 64;
		assert_ok(encoder_submit(e, batches[i], &err), &err);
	}
	for (size_t i = 0; i < 2; i++) {
		assert_ok(encoder_collect(e, -1, &done, &err), &err);
		assert_ptr_equal(done, batches[i]);
		assert_int_equal(done->items[0].error.code, ERR_NONE);
		encode_batch_free(done);
	}
	encoder_close(e);
}

static void cancelled_tiles_come_back_and_later_ones_are_encoded(void **state)
{
	struct encoder *e = cuda_open();
	uint8_t pixels[3][72 * 72 * 3];
	struct encode_batch *batches[3], *done = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		batches[i] = batch_of_size(pixels[i], 72, 72, 1, POSTERIOR_MEAN);
		batches[i]->tile = 64;
	}
	assert_ok(encoder_submit(e, batches[0], &err), &err);
	assert_ok(encoder_submit(e, batches[1], &err), &err);
	encoder_cancel(e);
	for (size_t i = 0; i < 2; i++) {
		assert_ok(encoder_collect(e, -1, &done, &err), &err);
		assert_ptr_equal(done, batches[i]);
		assert_int_equal(done->items[0].error.code, ERR_TRANSIENT);
	}
	encode(e, batches[2]);
	assert_int_equal(batches[2]->items[0].error.code, ERR_NONE);
	for (size_t i = 0; i < 3; i++)
		encode_batch_free(batches[i]);
	encoder_close(e);
}

static void an_image_that_overflowed_is_marked(void **state)
{
	struct encoder *e = cuda_open();
	uint8_t pixels[2 * 72 * 40 * 3];
	static const size_t tiles[] = {0, 64};

	(void)state;
	setenv("HOST_PLUGIN", "overflow", 1);
	for (size_t i = 0; i < ARRAY_SIZE(tiles); i++) {
		struct encode_batch *batch = batch_of_size(pixels, 72, 40, 2, POSTERIOR_MEAN);

		batch->tile = tiles[i];
		encode(e, batch);
		assert_true(batch->items[0].in_float32);
		assert_false(batch->items[1].in_float32);
		assert_non_null(batch->items[0].latent.data);
		encode_batch_free(batch);
	}
	unsetenv("HOST_PLUGIN");
	encoder_close(e);
}

static void latents_are_those_of_the_cpu_encoder(void **state)
{
	static const enum posterior posteriors[] = {POSTERIOR_MEAN, POSTERIOR_MOMENTS,
						    POSTERIOR_DRAW};
	struct encoder *cuda = cuda_open(), *cpu = cpu_open();
	uint8_t pixels[2 * WIDTH * HEIGHT * 3];

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(posteriors); p++) {
		struct encode_batch *a = batch_of(pixels, 2, posteriors[p]);
		struct encode_batch *b = batch_of(pixels, 2, posteriors[p]);

		encode(cuda, a);
		encode(cpu, b);
		assert_same_latents(a, b);
		encode_batch_free(a);
		encode_batch_free(b);
	}
	assert_memory_equal(encoder_cuda_weights_hash(cuda),
			    vae_encoder_weights_hash(encoder_cpu_vae(cpu)), sizeof(struct sha256));
	encoder_close(cuda);
	encoder_close(cpu);
}

static void a_plugin_that_is_not_there_is_named_with_its_remedy(void **state)
{
	struct error err = ERROR_INIT;
	struct encoder *e = NULL;

	(void)state;
	assert_error(try_open("/nowhere/latentd-cuda.so", &e, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "/nowhere/latentd-cuda.so"));
	assert_non_null(strstr(err.message, "install latentd-cuda.so"));
}

static void refuses(const char *how, enum error_code code, const char *words)
{
	char *plugin = plugin_path();
	struct error err = ERROR_INIT;
	struct encoder *e = NULL;

	setenv("HOST_PLUGIN", how, 1);
	assert_error(try_open(plugin, &e, &err), &err, code);
	unsetenv("HOST_PLUGIN");
	if (!strstr(err.message, words))
		fail_msg("'%s' is not in: %s", words, err.message);
	free(plugin);
}

static void a_plugin_of_another_version_is_refused(void **state)
{
	(void)state;
	refuses("abi", ERR_CONFIG, "of the same version");
}

static void a_driver_that_is_too_old_is_named_with_its_remedy(void **state)
{
	(void)state;
	refuses("old-driver", ERR_CONFIG, "update the NVIDIA driver");
}

static void a_lost_device_ends_the_batch_and_blames_no_image(void **state)
{
	struct encoder *e = cuda_open();
	uint8_t pixels[2 * WIDTH * HEIGHT * 3];
	struct encode_batch *batch = batch_of(pixels, 2, POSTERIOR_MEAN), *done = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(encoder_submit(e, batch, &err), &err);
	setenv("HOST_PLUGIN", "lost", 1);
	assert_error(encoder_collect(e, -1, &done, &err), &err, ERR_IO);
	unsetenv("HOST_PLUGIN");
	assert_ptr_equal(done, batch);
	assert_int_equal(batch->items[0].error.code, ERR_NONE);
	assert_non_null(batch->items[0].latent.data);
	assert_int_equal(batch->items[1].error.code, ERR_IO);
	assert_non_null(strstr(err.message, "Xid"));
	encode_batch_free(batch);
	encoder_close(e);
}

static void an_image_that_never_fits_is_too_large(void **state)
{
	struct encoder *e = cuda_open();
	uint8_t pixels[WIDTH * HEIGHT * 3];
	struct encode_batch *batch = batch_of(pixels, 1, POSTERIOR_MEAN);

	(void)state;
	setenv("HOST_PLUGIN", "no-room", 1);
	encode(e, batch);
	unsetenv("HOST_PLUGIN");
	assert_int_equal(batch->items[0].error.code, ERR_DATA);
	assert_string_equal(batch->items[0].error.reason, "too_large");
	encode_batch_free(batch);
	encoder_close(e);
}

static void memory_that_others_have_taken_is_no_image_s_fault(void **state)
{
	struct encoder *e = cuda_open();
	uint8_t pixels[WIDTH * HEIGHT * 3];
	struct encode_batch *batch = batch_of(pixels, 1, POSTERIOR_MEAN), *done = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(encoder_submit(e, batch, &err), &err);
	setenv("HOST_PLUGIN", "no-memory", 1);
	assert_error(encoder_collect(e, -1, &done, &err), &err, ERR_NOMEM);
	unsetenv("HOST_PLUGIN");
	assert_ptr_equal(done, batch);
	assert_int_equal(batch->items[0].error.code, ERR_NOMEM);
	encode_batch_free(batch);
	encoder_close(e);
}

static void an_image_that_overflows_and_does_not_fit_in_float32_is_too_large_alone(void **state)
{
	struct encoder *e = cuda_open();
	uint8_t pixels[2 * WIDTH * HEIGHT * 3];
	struct encode_batch *batch = batch_of(pixels, 2, POSTERIOR_MEAN);

	(void)state;
	setenv("HOST_PLUGIN", "overflow-no-room", 1);
	encode(e, batch);
	unsetenv("HOST_PLUGIN");
	assert_string_equal(batch->items[0].error.reason, "too_large");
	assert_int_equal(batch->items[1].error.code, ERR_NONE);
	encode_batch_free(batch);
	encoder_close(e);
}

static void what_is_cancelled_comes_back_to_be_tried_again(void **state)
{
	struct encoder *e = cuda_open();
	uint8_t pixels[WIDTH * HEIGHT * 3];
	struct encode_batch *batch = batch_of(pixels, 1, POSTERIOR_MEAN), *done = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(encoder_submit(e, batch, &err), &err);
	encoder_cancel(e);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	assert_int_equal(batch->items[0].error.code, ERR_TRANSIENT);
	encode_batch_free(batch);
	encoder_close(e);
}

/* Two GPUs as one encoder have what both have; how much they may take is known where it is configured. */
static void memory_is_what_the_engines_have_on_their_devices(void **state)
{
	cleanup_free char *plugin = plugin_path();
	struct encoder_cuda_options options = {
	    .model = model_open(), .plugin = plugin, .memory = 1 << 20};
	struct encoder_memory memory = {0, 0};
	struct encoder *each[2] = {NULL, NULL}, *both = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	each[0] = cuda_open();
	assert_true(encoder_memory(each[0], &memory));
	assert_int_equal(memory.used, 3210);
	assert_int_equal(memory.limit, 0);
	assert_ok(encoder_cuda_open(&options, &each[1], &err), &err);
	assert_true(encoder_memory(each[1], &memory));
	assert_int_equal(memory.limit, 1 << 20);
	assert_ok(encoder_many_open(each, 2, &both, &err), &err);
	assert_true(encoder_memory(both, &memory));
	assert_int_equal(memory.used, 2 * 3210);
	assert_int_equal(memory.limit, 0);
	encoder_close(both);
	vae_model_close(options.model);
}

static void a_third_batch_must_wait(void **state)
{
	struct encoder *e = cuda_open();
	uint8_t pixels[3][WIDTH * HEIGHT * 3];
	struct encode_batch *batches[3], *done = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	for (int i = 0; i < 3; i++) {
		batches[i] = batch_of(pixels[i], 1, POSTERIOR_MEAN);
		assert_int_equal(encoder_submit(e, batches[i], &err), i < 2 ? 0 : ENCODER_FULL);
	}
	assert_int_equal(encoder_capacity(e), 0);
	for (int i = 0; i < 2; i++)
		assert_ok(encoder_collect(e, -1, &done, &err), &err);
	assert_int_equal(encoder_collect(e, 0, &done, &err), ENCODER_NOTHING);
	for (int i = 0; i < 3; i++)
		encode_batch_free(batches[i]);
	encoder_close(e);
}

/* -- decoding ---------------------------------------------------------------------------------------- */

static struct encoder *decoder_open(const char *name, bool cuda)
{
	char *plugin = plugin_path();
	struct vae_model *model = model_of(name);
	struct encoder_cuda_options on_cuda = {.model = model, .plugin = plugin, .decoder = true};
	struct encoder_cpu_options on_cpu = {.model = model, .threads = 1, .decoder = true};
	struct encoder *e = NULL;
	struct error err = ERROR_INIT;

	assert_ok(cuda ? encoder_cuda_open(&on_cuda, &e, &err)
		       : encoder_cpu_open(&on_cpu, &e, &err),
		  &err);
	vae_model_close(model);
	free(plugin);
	return e;
}

static struct encode_batch *latents_of(float *values, size_t n)
{
	enum { EACH = 4 * (HEIGHT / 8) * (WIDTH / 8) };
	struct encode_batch *batch = encode_batch_new(n);

	batch->width = WIDTH;
	batch->height = HEIGHT;
	batch->decode = true;
	batch->tile = 64; /* of encodes only */
	for (size_t i = 0; i < n * EACH; i++)
		values[i] = (float)(i * 37 % 101) / 25 - 2;
	for (size_t i = 0; i < n; i++)
		batch->items[i].values = values + i * EACH;
	return batch;
}

static void pictures_are_those_of_the_cpu_decoder(void **state)
{
	struct encoder *cuda = decoder_open("../../models/demo", true);
	struct encoder *cpu = decoder_open("../../models/demo", false);
	float values[2 * 4 * HEIGHT * WIDTH];
	struct encode_batch *a = latents_of(values, 2), *b = latents_of(values, 2);

	(void)state;
	assert_true(encoder_caps(cuda)->decodes);
	encode(cuda, a);
	encode(cpu, b);
	assert_same_latents(a, b);
	assert_int_equal(a->items[0].latent.shape[0], HEIGHT);
	assert_memory_equal(encoder_cuda_weights_hash(cuda),
			    vae_encoder_weights_hash(encoder_cpu_vae(cpu)), sizeof(struct sha256));
	encode_batch_free(a);
	encode_batch_free(b);
	encoder_close(cuda);
	encoder_close(cpu);
}

/* Both engines have work at once; batches come back in their order whichever they are. */
static void encodes_and_decodes_come_back_in_order(void **state)
{
	struct encoder *e = decoder_open("../../models/demo", true);
	uint8_t pixels[2 * WIDTH * HEIGHT * 3];
	float values[2 * 4 * HEIGHT * WIDTH];
	struct error err = ERROR_INIT;

	(void)state;
	for (int order = 0; order < 2; order++) {
		struct encode_batch *batches[2], *done = NULL;

		batches[order] = batch_of(pixels, 2, POSTERIOR_MEAN);
		batches[1 - order] = latents_of(values, 2);
		for (size_t i = 0; i < 2; i++)
			assert_ok(encoder_submit(e, batches[i], &err), &err);
		for (size_t i = 0; i < 2; i++) {
			assert_ok(encoder_collect(e, -1, &done, &err), &err);
			assert_ptr_equal(done, batches[i]);
			for (size_t k = 0; k < 2; k++)
				assert_int_equal(done->items[k].error.code, ERR_NONE);
		}
		encode_batch_free(batches[0]);
		encode_batch_free(batches[1]);
	}
	encoder_close(e);
}

static void a_model_without_a_decoder_encodes_only(void **state)
{
	struct encoder *e = decoder_open("kl_sd", true);
	float values[4 * HEIGHT * WIDTH];
	struct encode_batch *batch = latents_of(values, 1);
	struct error err = ERROR_INIT;

	(void)state;
	assert_false(encoder_caps(e)->decodes);
	assert_error(encoder_submit(e, batch, &err), &err, ERR_CONFIG);
	encode_batch_free(batch);
	encoder_close(e);
}

static void a_decode_that_is_cancelled_or_whose_gpu_is_lost_says_so(void **state)
{
	struct encoder *e = decoder_open("../../models/demo", true);
	float values[2 * 4 * HEIGHT * WIDTH];
	struct encode_batch *batch = latents_of(values, 1), *lost = latents_of(values, 2);
	struct encode_batch *done = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(encoder_submit(e, batch, &err), &err);
	encoder_cancel(e);
	assert_ok(encoder_collect(e, -1, &done, &err), &err);
	assert_int_equal(batch->items[0].error.code, ERR_TRANSIENT);
	assert_ok(encoder_submit(e, lost, &err), &err);
	setenv("HOST_PLUGIN", "lost", 1);
	assert_error(encoder_collect(e, -1, &done, &err), &err, ERR_IO);
	unsetenv("HOST_PLUGIN");
	assert_int_equal(lost->items[0].error.code, ERR_NONE);
	assert_int_equal(lost->items[1].error.code, ERR_IO);
	encode_batch_free(batch);
	encode_batch_free(lost);
	encoder_close(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(latents_are_those_of_the_cpu_encoder),
	    cmocka_unit_test(tiles_are_those_of_the_cpu_encoder),
	    cmocka_unit_test(two_batches_of_tiles_come_back_in_order),
	    cmocka_unit_test(cancelled_tiles_come_back_and_later_ones_are_encoded),
	    cmocka_unit_test(an_image_that_overflowed_is_marked),
	    cmocka_unit_test(a_plugin_that_is_not_there_is_named_with_its_remedy),
	    cmocka_unit_test(a_plugin_of_another_version_is_refused),
	    cmocka_unit_test(a_driver_that_is_too_old_is_named_with_its_remedy),
	    cmocka_unit_test(a_lost_device_ends_the_batch_and_blames_no_image),
	    cmocka_unit_test(an_image_that_never_fits_is_too_large),
	    cmocka_unit_test(memory_that_others_have_taken_is_no_image_s_fault),
	    cmocka_unit_test(
		an_image_that_overflows_and_does_not_fit_in_float32_is_too_large_alone),
	    cmocka_unit_test(what_is_cancelled_comes_back_to_be_tried_again),
	    cmocka_unit_test(memory_is_what_the_engines_have_on_their_devices),
	    cmocka_unit_test(a_third_batch_must_wait),
	    cmocka_unit_test(pictures_are_those_of_the_cpu_decoder),
	    cmocka_unit_test(encodes_and_decodes_come_back_in_order),
	    cmocka_unit_test(a_model_without_a_decoder_encodes_only),
	    cmocka_unit_test(a_decode_that_is_cancelled_or_whose_gpu_is_lost_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

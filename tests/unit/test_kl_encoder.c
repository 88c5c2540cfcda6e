/*
 * Loading (what is refused, and what the one line says), identity of the weights, memory, and that an
 * image's moments do not depend on what came before it. That they are right: test_kl_golden.c.
 */
#include "vae/kl_encoder.h"

#include "base/checked.h"
#include "base/thread.h"
#include "tests/golden/kl_testing.h"
#include "tests/testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define WEIGHTS "diffusion_pytorch_model.safetensors"

/* -- memory that is counted: linked with --wrap=aligned_alloc,free ------------------------------- */

void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *p);

static struct {
	void *p;
	size_t size;
} live[1024];
static size_t live_bytes, peak_bytes;

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	void *p = __real_aligned_alloc(alignment, size);

	for (size_t i = 0; p && i < ARRAY_SIZE(live); i++) {
		if (live[i].p)
			continue;
		live[i].p = p;
		live[i].size = size;
		live_bytes += size;
		if (live_bytes > peak_bytes)
			peak_bytes = live_bytes;
		break;
	}
	return p;
}

void __wrap_free(void *p)
{
	for (size_t i = 0; p && i < ARRAY_SIZE(live); i++) {
		if (live[i].p == p) {
			live[i].p = NULL;
			live_bytes -= live[i].size;
		}
	}
	__real_free(p);
}

/* -- helpers ------------------------------------------------------------------------------------- */

/* Encodes a picture of waves; the moments are to be freed. */
static float *encode(struct kl_encoder *vae, size_t height, size_t width, size_t *count)
{
	float *pixels = xcalloc(height * width * 3, sizeof(float)), *moments;
	struct error err = ERROR_INIT;
	size_t h, w;

	for (size_t i = 0; i < height * width * 3; i++)
		pixels[i] = sinf((float)i * 0.37f);
	kl_encoder_latent_size(vae, height, width, &h, &w);
	*count = 2 * kl_encoder_config(vae)->latent_channels * h * w;
	moments = xcalloc(*count, sizeof(float));
	assert_ok(kl_encoder_encode(vae, pixels, height, width, moments, NULL, &err), &err);
	free(pixels);
	return moments;
}

static struct kl_encoder *load(const char *folder, const struct vae_engine_ops *engine)
{
	struct error err = ERROR_INIT;
	struct kl_encoder *vae = kl_encoder_load(folder, engine, 2, &err);

	if (!vae)
		fail_msg("%s", err.message);
	return vae;
}

static struct kl_encoder *load_golden(const char *name)
{
	char *folder = testing_golden(name);
	struct kl_encoder *vae = load(folder, &vae_engine_winograd);

	free(folder);
	return vae;
}

/* Loading @folder fails with ERR_CONFIG in one line that has both @says. */
static void assert_no_model(const char *folder, const char *says, const char *says_too)
{
	struct error err = ERROR_INIT;

	assert_null(kl_encoder_load(folder, &vae_engine_onednn, 1, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	assert_null(strchr(err.message, '\n'));
	if (!strstr(err.message, says) || !strstr(err.message, says_too))
		fail_msg("expected '%s' and '%s': %s", says, says_too, err.message);
}

/* -- loading ------------------------------------------------------------------------------------- */

static void a_folder_that_is_no_model_is_refused(void **state)
{
	char *dir = testing_tempdir(), *missing = testing_path(dir, "missing");
	char *config = testing_path(dir, "config.json"), *weights = testing_path(dir, WEIGHTS);

	(void)state;
	assert_no_model(missing, "missing", "no such file or folder");
	assert_no_model(dir, dir, "no config.json");
	testing_write(config, "{}", 2);
	assert_no_model(config, "config.json", "too short");
	assert_no_model(dir, "config.json", "_class_name");
	testing_write(config, "{\"_class_name\":\"AutoencoderKL\"}", 31);
	assert_no_model(dir, dir, WEIGHTS);
	testing_write(weights, "", 0);
	assert_no_model(dir, WEIGHTS, "too short");
	free(missing);
	free(config);
	free(weights);
	testing_tempdir_remove(dir);
}

static void truncated_weights_are_refused_wherever_they_end(void **state)
{
	char *dir = kl_testing_copy_model("kl_two_blocks"), *path = testing_path(dir, WEIGHTS);
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 1), 0);
	assert_no_model(dir, WEIGHTS, "truncated");
	assert_int_equal(truncate(path, 500), 0);
	assert_no_model(dir, WEIGHTS, "truncated");
	assert_int_equal(truncate(path, 5), 0);
	assert_no_model(dir, WEIGHTS, "too short");
	free(path);
	testing_tempdir_remove(dir);
}

/* One edit of a good model, and what the line must name. */
static void weights_that_do_not_fit_the_config_are_named(void **state)
{
	static const struct {
		const char *file, *from, *to, *says, *says_too;
	} cases[] = {
	    {WEIGHTS, "encoder.conv_out.bias", "encoder.conv_out.bia_", "encoder.conv_out.bias",
	     "is missing"},
	    {WEIGHTS, "mid_block.attentions.0.to_k.weight", "mid_block.attentions.0.to_x.weight",
	     "attentions.0.to_k.weight", "is missing"},
	    {WEIGHTS, "[64,32,3,3]", "[32,64,3,3]", "resnets.0.conv1.weight",
	     "has shape [32, 64, 3, 3], the config gives [64, 32, 3, 3]"},
	    {"config.json", "\"latent_channels\": 4", "\"latent_channels\": 5",
	     "encoder.conv_out.weight", "the config gives [10, 64, 3, 3]"},
	    {"config.json", "\"layers_per_block\": 1", "\"layers_per_block\": 2",
	     "encoder.down_blocks.0.resnets.1.norm1.weight", "is missing"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *dir = kl_testing_copy_model("kl_two_blocks");

		kl_testing_edit(dir, cases[i].file, cases[i].from, cases[i].to);
		assert_no_model(dir, cases[i].says, cases[i].says_too);
		assert_no_model(dir, cases[i].says, WEIGHTS);
		testing_tempdir_remove(dir);
	}
}

static void a_tensor_that_is_no_float_is_named(void **state)
{
	char *dir = kl_testing_copy_model("kl_two_blocks");

	(void)state;
	kl_testing_edit(dir, WEIGHTS, "\"F32\"", "\"I32\"");
	assert_no_model(dir, WEIGHTS, "dtype");
	testing_tempdir_remove(dir);
}

/* -- identity ------------------------------------------------------------------------------------ */

static void assert_hash(const char *folder, const char *want)
{
	struct kl_encoder *vae = load(folder, &vae_engine_naive);
	char hex[SHA256_HEX_SIZE];

	sha256_hex(kl_encoder_weights_hash(vae), hex);
	assert_string_equal(hex, want);
	kl_encoder_free(vae);
}

/* Hashes made by a program in Python after the definition in kl_encoder.h. */
static const char kl_sd_hash[] = "ae3f64d93a00fd7b0ed20a760ed6830010a308dd1a0b3d511dea484b80390fb1";

static void the_weights_hash_is_as_defined(void **state)
{
	char *sd = testing_golden("kl_sd"), *two = testing_golden("kl_two_blocks");
	char *demo = testing_golden("../../models/demo");

	(void)state;
	assert_hash(sd, kl_sd_hash);
	assert_hash(two, "68aea840c5dfb74d357c0d91073511b7e7f41e70d74a1631ff7cd801e32c1ed8");
	/* float16 in the file, and a decoder that does not count */
	assert_hash(demo, "94f657bc4c1b20f7fcbf4f17c40722d99816b27a5319b7ec728ee39a42f2ff0d");
	free(sd);
	free(two);
	free(demo);
}

static void older_names_of_attention_are_the_same_weights(void **state)
{
	char *folder = testing_shared("goldens/kl_sd_legacy_attention");

	(void)state;
	if (!folder)
		skip();
	assert_hash(folder, kl_sd_hash);
	free(folder);
}

/* sd-vae-ft-mse has them so: [c, c, 1, 1] in old conversions */
static void trailing_dimensions_of_one_are_the_same_weights(void **state)
{
	char *plain = testing_golden("kl_sd"), *dir = testing_tempdir();
	char *path = testing_path(dir, WEIGHTS), *config = testing_path(plain, "config.json");
	char *config_copy = testing_path(dir, "config.json");
	struct safetensors *file = kl_testing_open(plain, WEIGHTS);
	struct buffer text = testing_read(config);
	size_t n = safetensors_count(file);
	struct ndarray *arrays = xcalloc(n, sizeof(*arrays));
	struct safetensors_entry *entries = xcalloc(n, sizeof(*entries));
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		entries[i].name = safetensors_at(file, i)->name;
		entries[i].array = &arrays[i];
		arrays[i] = kl_testing_tensor(file, entries[i].name);
		if (strstr(entries[i].name, ".to_q.weight")) {
			arrays[i].shape[2] = arrays[i].shape[3] = 1;
			arrays[i].ndim = 4;
		}
	}
	assert_ok(safetensors_write(path, entries, n, &err), &err);
	testing_write(config_copy, text.data, text.size);
	assert_hash(dir, kl_sd_hash);
	for (size_t i = 0; i < n; i++)
		ndarray_release(&arrays[i]);
	free(arrays);
	free(entries);
	buffer_release(&text);
	safetensors_close(file);
	free(path);
	free(config);
	free(config_copy);
	free(plain);
	testing_tempdir_remove(dir);
}

/* -- encoding ------------------------------------------------------------------------------------ */

static void encoding_holds_no_more_than_it_planned(void **state)
{
	static const char *const models[] = {"kl_sd", "kl_two_blocks"};
	static const struct vae_engine_ops *const engines[] = {&vae_engine_onednn,
							       &vae_engine_winograd};
	enum { HEIGHT = 200, WIDTH = 328, MAPS = 2 * HEIGHT * WIDTH * 32 * sizeof(float) };

	(void)state;
	for (size_t i = 0; i < 4 * ARRAY_SIZE(models); i++) {
		char *folder = testing_golden(models[i / 4]);
		struct kl_encoder *vae = load(folder, engines[i % 2]);
		size_t count, before, planned;

		kl_encoder_use_bands(vae, i % 4 / 2 * 24);
		free(encode(vae, 8, 8, &count)); /* what is kept of weights from now on */
		planned = kl_encoder_memory(vae, HEIGHT, WIDTH);
		before = peak_bytes = live_bytes;
		free(encode(vae, HEIGHT, WIDTH, &count));
		if (peak_bytes - before > planned)
			fail_msg("%s: %zu bytes, planned %zu", models[i / 4], peak_bytes - before,
				 planned);
		assert_true(peak_bytes - before >= (i % 4 < 2 ? MAPS : MAPS / 2) - 65536);
		if (planned > (peak_bytes - before) * 3 / 2 + (4 << 20))
			fail_msg("%s: %zu bytes of %zu planned", models[i / 4], peak_bytes - before,
				 planned);
		kl_encoder_free(vae);
		free(folder);
	}
}

static void an_encode_in_bands_is_the_whole_one(void **state)
{
	static const struct vae_engine_ops *const engines[] = {&vae_engine_onednn,
							       &vae_engine_winograd};
	static const size_t sizes[][2] = {{41, 56}, {64, 24}, {17, 90}}, bands[] = {1, 5, 24};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(engines) * ARRAY_SIZE(sizes); i++) {
		const size_t *size = sizes[i / 2];
		char *folder = testing_golden("kl_sd");
		struct kl_encoder *vae = load(folder, engines[i % 2]);
		size_t count;
		float *whole = encode(vae, size[0], size[1], &count);

		for (size_t b = 0; b < ARRAY_SIZE(bands); b++) {
			double worst;
			float *got;

			kl_encoder_use_bands(vae, bands[b]);
			got = encode(vae, size[0], size[1], &count);
			worst = kl_testing_max_abs(got, whole, count);
			if (!(worst <= 1e-5))
				fail_msg("%s, %zux%zu, bands of %zu: max-abs %g",
					 engines[i % 2]->name, size[1], size[0], bands[b], worst);
			free(got);
		}
		free(whole);
		kl_encoder_free(vae);
		free(folder);
	}
}

static void a_limit_of_memory_decides_for_bands_or_says_too_large(void **state)
{
	char *folder = testing_golden("kl_sd");
	struct kl_encoder *vae = load(folder, &vae_engine_winograd);
	size_t whole = kl_encoder_memory(vae, 512, 512), bands, count;
	float *pixels = xcalloc(512 * 512 * 3, sizeof(float)),
	      *moments = encode(vae, 40, 64, &count);
	struct error err = ERROR_INIT;

	(void)state;
	/* the weights of this model are 4 MB, transformed ones four times that */
	kl_encoder_limit_memory(vae, whole);
	bands = kl_encoder_memory(vae, 512, 512);
	assert_true(bands < whole * 7 / 10);
	kl_encoder_limit_memory(vae, 2 * whole);
	assert_int_equal(kl_encoder_memory(vae, 512, 512), whole);
	kl_encoder_limit_memory(vae, bands / 2);
	assert_error(kl_encoder_encode(vae, pixels, 512, 512, moments, NULL, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_large");
	assert_non_null(strstr(err.message, "512x512"));
	free(moments);
	/* sizes that fit are encoded as before */
	moments = encode(vae, 40, 64, &count);
	free(moments);
	free(pixels);
	kl_encoder_free(vae);
	free(folder);
}

static void a_size_that_overflows_cannot_be_planned(void **state)
{
	struct kl_encoder *vae = load_golden("kl_two_blocks");
	struct error err = ERROR_INIT;
	float one = 0;

	(void)state;
	assert_true(kl_encoder_memory(vae, SIZE_MAX / 2, 64) == SIZE_MAX);
	assert_error(kl_encoder_encode(vae, &one, SIZE_MAX / 2, 64, &one, NULL, &err), &err,
		     ERR_NOMEM);
	kl_encoder_free(vae);
}

/* More sizes than the engine keeps kernels for, larger and smaller ones. */
static void moments_do_not_depend_on_what_was_encoded_before(void **state)
{
	struct kl_encoder *vae = load_golden("kl_two_blocks");
	size_t count, other;
	float *first = encode(vae, 33, 17, &count), *again;

	(void)state;
	for (size_t i = 0; i < 12; i++)
		free(encode(vae, 16 + 5 * i, 80 - 3 * i, &other));
	again = encode(vae, 33, 17, &other);
	assert_int_equal(count, other);
	assert_memory_equal(first, again, count * sizeof(float));
	free(first);
	free(again);
	kl_encoder_free(vae);
}

static void all_engines_agree_at_odd_and_tiny_sizes(void **state)
{
	static const struct vae_engine_ops *const engines[] = {&vae_engine_onednn,
							       &vae_engine_winograd};
	static const size_t sizes[][2] = {{8, 8}, {9, 15}, {31, 8}, {23, 41}};
	char *folder = testing_golden("kl_sd");
	struct kl_encoder *slow = load(folder, &vae_engine_naive);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t count;
		float *b = encode(slow, sizes[i][0], sizes[i][1], &count);

		assert_int_equal(count, 8 * (sizes[i][0] / 8) * (sizes[i][1] / 8));
		for (size_t e = 0; e < ARRAY_SIZE(engines); e++) {
			struct kl_encoder *fast = load(folder, engines[e]);
			float *a = encode(fast, sizes[i][0], sizes[i][1], &count);

			assert_true(kl_testing_max_abs(a, b, count) < 1e-4);
			free(a);
			kl_encoder_free(fast);
		}
		free(b);
	}
	kl_encoder_free(slow);
	free(folder);
}

/* The attention is at full size there, and its maps are the largest: the plan must know (assert). */
static void an_encoder_of_one_block_has_room_for_its_attention(void **state)
{
	static const char config[] = "{\"_class_name\": \"AutoencoderKL\", "
				     "\"block_out_channels\": [24], \"norm_num_groups\": 8}";
	char *dir = testing_tempdir(), *path = testing_path(dir, "config.json");
	struct kl_encoder *fast, *slow;
	float *a, *b;
	size_t count;

	(void)state;
	testing_write(path, config, strlen(config));
	kl_testing_formula_weights(dir);
	fast = load(dir, &vae_engine_winograd);
	slow = load(dir, &vae_engine_naive);
	a = encode(fast, 13, 11, &count);
	b = encode(slow, 13, 11, &count);
	assert_int_equal(count, 8 * 13 * 11);
	assert_true(kl_testing_max_abs(a, b, count) < 1e-4);
	free(a);
	free(b);
	free(path);
	kl_encoder_free(fast);
	kl_encoder_free(slow);
	testing_tempdir_remove(dir);
}

/* A step hook: the encode may take so many steps, and is ended then. */
static bool step_down(void *arg)
{
	size_t *left = arg;

	if (*left == 0)
		return false;
	--*left;
	return true;
}

static void a_hook_ends_an_encode_at_any_step_and_the_next_one_is_whole(void **state)
{
	static const struct vae_engine_ops *const engines[] = {
	    &vae_engine_winograd, &vae_engine_onednn, &vae_engine_naive};
	char *folder = testing_golden("kl_two_blocks");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		struct kl_encoder *vae = load(folder, engines[i]);
		size_t count, left = SIZE_MAX, steps;
		float *pixels = xcalloc(24 * 40 * 3, sizeof(float));
		float *want = encode(vae, 24, 40, &count), *got = xcalloc(count, sizeof(float));
		const struct kl_hooks hooks = {.step = {step_down, &left}};
		struct error err = ERROR_INIT;

		for (size_t p = 0; p < 24 * 40 * 3; p++)
			pixels[p] = sinf((float)p * 0.37f);
		assert_ok(kl_encoder_encode(vae, pixels, 24, 40, got, &hooks, &err), &err);
		steps = SIZE_MAX - left;
		assert_true(steps > 10);
		for (size_t s = 0; s < steps; s += 1 + steps / 9) {
			left = s;
			assert_error(kl_encoder_encode(vae, pixels, 24, 40, got, &hooks, &err),
				     &err, ERR_TRANSIENT);
			error_clear(&err);
		}
		assert_ok(kl_encoder_encode(vae, pixels, 24, 40, got, NULL, &err), &err);
		assert_memory_equal(want, got, count * sizeof(float));
		free(pixels);
		free(want);
		free(got);
		kl_encoder_free(vae);
	}
	free(folder);
}

static void *encode_elsewhere(void *arg)
{
	size_t count;

	return encode(arg, 40, 24, &count);
}

static void another_thread_than_the_loader_may_encode(void **state)
{
	struct kl_encoder *vae = load_golden("kl_two_blocks");
	size_t count;
	float *here = encode(vae, 40, 24, &count);
	void *there = NULL;
	pthread_t id;

	(void)state;
	assert_int_equal(pthread_create(&id, NULL, encode_elsewhere, vae), 0);
	assert_int_equal(pthread_join(id, &there), 0);
	assert_memory_equal(here, there, count * sizeof(float));
	free(here);
	free(there);
	kl_encoder_free(vae);
}

static void an_image_smaller_than_a_latent_is_too_small(void **state)
{
	struct kl_encoder *vae = load_golden("kl_sd");
	struct error err = ERROR_INIT;
	float pixels[7 * 64 * 3] = {0}, moments[8];

	(void)state;
	assert_error(kl_encoder_encode(vae, pixels, 7, 64, moments, NULL, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_small");
	kl_encoder_free(vae);
}

static void moments_that_are_not_finite_are_refused(void **state)
{
	struct kl_encoder *vae = load_golden("kl_sd");
	struct error err = ERROR_INIT;
	float pixels[16 * 16 * 3] = {0}, moments[8 * 4] = {7};

	(void)state;
	pixels[100] = INFINITY;
	assert_error(kl_encoder_encode(vae, pixels, 16, 16, moments, NULL, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "non_finite");
	assert_true(moments[0] == 7);
	kl_encoder_free(vae);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_folder_that_is_no_model_is_refused),
	    cmocka_unit_test(truncated_weights_are_refused_wherever_they_end),
	    cmocka_unit_test(weights_that_do_not_fit_the_config_are_named),
	    cmocka_unit_test(a_tensor_that_is_no_float_is_named),
	    cmocka_unit_test(the_weights_hash_is_as_defined),
	    cmocka_unit_test(older_names_of_attention_are_the_same_weights),
	    cmocka_unit_test(trailing_dimensions_of_one_are_the_same_weights),
	    cmocka_unit_test(encoding_holds_no_more_than_it_planned),
	    cmocka_unit_test(an_encode_in_bands_is_the_whole_one),
	    cmocka_unit_test(a_limit_of_memory_decides_for_bands_or_says_too_large),
	    cmocka_unit_test(a_size_that_overflows_cannot_be_planned),
	    cmocka_unit_test(moments_do_not_depend_on_what_was_encoded_before),
	    cmocka_unit_test(all_engines_agree_at_odd_and_tiny_sizes),
	    cmocka_unit_test(an_encoder_of_one_block_has_room_for_its_attention),
	    cmocka_unit_test(a_hook_ends_an_encode_at_any_step_and_the_next_one_is_whole),
	    cmocka_unit_test(another_thread_than_the_loader_may_encode),
	    cmocka_unit_test(an_image_smaller_than_a_latent_is_too_small),
	    cmocka_unit_test(moments_that_are_not_finite_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

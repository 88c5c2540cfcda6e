/*
 * AutoencoderTiny against diffusers' (tiny/make_tiny.py: weights from a formula), and, where they are at hand, against the
 * reference's outputs with real weights: TAEF2 with its pool branch, TAESANA's encoder.
 */
#include "tests/golden/kl_testing.h"
#include "tests/testing.h"

#include "base/checked.h"
#include "vae/tiny_vae.h"
#include "vae/tiny_weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LIMIT 1e-4

enum { WIDE = 1024 };

enum naming { DIFFUSERS, WITH_PREFIX, ALONE };

/* "decoder.layers.2.conv.0.weight" as the original files have it, to be freed; NULL: not of @part. */
static char *original(const char *name, enum naming naming, enum vae_part part)
{
	const char *is = vae_part_name(part), *rest = name + strlen(is) + strlen(".layers.");
	size_t number;

	if (strncmp(name, is, strlen(is)) != 0)
		return NULL;
	number = strtoul(rest, (char **)(uintptr_t)&rest, 10) + (part == VAE_DECODER);
	return naming == ALONE ? xasprintf("%zu%s", number, rest)
			       : xasprintf("%s.%zu%s", is, number, rest);
}

/* A folder with a model of formula weights under that naming; alone: of @part only. */
static char *model(enum naming naming, enum vae_part part)
{
	char *folder = kl_testing_formula_tiny();
	char *path = testing_path(folder, "diffusion_pytorch_model.safetensors");
	struct safetensors *file = kl_testing_open(folder, "diffusion_pytorch_model.safetensors");
	size_t n = 0, count = safetensors_count(file);
	struct safetensors_entry *entries = xcalloc(count, sizeof(*entries));
	struct ndarray *arrays = xcalloc(count, sizeof(*arrays));
	struct error err = ERROR_INIT;

	for (size_t i = 0; naming != DIFFUSERS && i < count; i++) {
		const char *was = safetensors_at(file, i)->name;
		enum vae_part its = was[0] == 'e' ? VAE_ENCODER : VAE_DECODER;
		char *name = naming == ALONE && its != part ? NULL : original(was, naming, its);

		if (!name)
			continue;
		arrays[n] = kl_testing_tensor(file, was);
		entries[n] = (struct safetensors_entry){name, &arrays[n]};
		n++;
	}
	safetensors_close(file);
	if (naming != DIFFUSERS)
		assert_ok(safetensors_write(path, entries, n, &err), &err);
	for (size_t i = 0; i < n; i++) {
		free((char *)(uintptr_t)entries[i].name);
		ndarray_release(&arrays[i]);
	}
	free(arrays);
	free(entries);
	free(path);
	return folder;
}

/* Largest difference over the deviation of what is wanted. */
static double difference(const float *got, const struct ndarray *want)
{
	const float *values = want->data;
	size_t n = ndarray_count(want);
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)values[i] * (double)values[i] / (double)n;
	return kl_testing_max_abs(got, values, n) / fmax(1, sqrt(sum));
}

static void check_encoded(struct tiny_vae *vae, struct safetensors *expected, const char *size,
			  bool unsigned_range, const char *to)
{
	char name[64];
	struct ndarray input, want;
	struct error err = ERROR_INIT;
	float *pixels, *got;
	double worst;

	snprintf(name, sizeof(name), "input.%s", size);
	input = kl_testing_tensor(expected, name);
	snprintf(name, sizeof(name), "%s.%s", to, size);
	want = kl_testing_tensor(expected, name);
	pixels = kl_testing_nhwc(&input, 0);
	for (size_t i = 0; unsigned_range && i < ndarray_count(&input); i++)
		pixels[i] = pixels[i] * 2 - 1;
	got = xcalloc(ndarray_count(&want), sizeof(*got));
	assert_ok(tiny_vae_encode(vae, pixels, input.shape[2], input.shape[3], got, NULL, &err),
		  &err);
	worst = difference(got, &want);
	print_message("encode %s: %.2g\n", size, worst);
	assert_true(worst < LIMIT);
	free(pixels);
	free(got);
	ndarray_release(&input);
	ndarray_release(&want);
}

static void check_decoded(struct tiny_vae *vae, struct safetensors *expected, const char *size,
			  bool unsigned_range)
{
	struct ndarray latent, want;
	struct error err = ERROR_INIT;
	float *chw, *got;
	size_t n, plane;
	char name[64];
	double worst;

	snprintf(name, sizeof(name), "latent.%s", size);
	latent = kl_testing_tensor(expected, name);
	snprintf(name, sizeof(name), "decoded.%s", size);
	want = kl_testing_tensor(expected, name);
	n = ndarray_count(&want);
	plane = n / 3;
	got = xcalloc(n, sizeof(*got));
	chw = xcalloc(n, sizeof(*chw));
	assert_ok(
	    tiny_vae_decode(vae, latent.data, latent.shape[2], latent.shape[3], got, NULL, &err),
	    &err);
	for (size_t i = 0; i < n; i++) {
		float value = got[i % plane * 3 + i / plane];

		chw[i] = unsigned_range ? value * 0.5f + 0.5f : value;
	}
	worst = difference(chw, &want);
	print_message("decode %s: %.2g\n", size, worst);
	assert_true(worst < LIMIT);
	free(got);
	free(chw);
	ndarray_release(&latent);
	ndarray_release(&want);
}

static struct tiny_vae *load(const char *path, enum vae_part part,
			     const struct vae_engine_ops *engine)
{
	struct error err = ERROR_INIT;
	struct tiny_vae *vae = tiny_vae_load(path, part, engine, 0, &err);

	if (!vae)
		fail_msg("%s", err.message);
	return vae;
}

static void it_encodes_and_decodes_as_diffusers_does_under_every_naming(void **state)
{
	const struct vae_engine_ops *engines[] = {&vae_engine_winograd, &vae_engine_onednn,
						  &vae_engine_naive};
	char *golden = testing_golden("tiny");
	struct safetensors *expected = kl_testing_open(golden, "expected.safetensors");
	struct sha256 hashes[2] = {{{0}}};

	(void)state;
	for (int naming = DIFFUSERS; naming <= ALONE; naming++) {
		char *encoders = model((enum naming)naming, VAE_ENCODER);
		char *decoders = model((enum naming)naming, VAE_DECODER);
		struct tiny_vae *encoder = load(encoders, VAE_ENCODER, engines[naming]);
		struct tiny_vae *decoder = load(decoders, VAE_DECODER, engines[naming]);

		assert_int_equal(tiny_vae_latent_channels(encoder), 4);
		assert_int_equal(tiny_vae_latent_channels(decoder), 4);
		assert_int_equal(tiny_vae_downscale(encoder), 8);
		assert_true(tiny_weights_exist(encoders) && tiny_weights_exist(decoders));
		check_encoded(encoder, expected, "40x24", false, "encoded");
		check_encoded(encoder, expected, "35x21", false, "encoded");
		check_encoded(encoder, expected, "8x8", false, "encoded");
		check_decoded(decoder, expected, "3x5", false);
		check_decoded(decoder, expected, "1x1", false);
		if (naming == DIFFUSERS) {
			hashes[0] = *tiny_vae_weights_hash(encoder);
			hashes[1] = *tiny_vae_weights_hash(decoder);
		}
		assert_memory_equal(tiny_vae_weights_hash(encoder), &hashes[0], sizeof(hashes[0]));
		assert_memory_equal(tiny_vae_weights_hash(decoder), &hashes[1], sizeof(hashes[1]));
		tiny_vae_free(encoder);
		tiny_vae_free(decoder);
		testing_tempdir_remove(encoders);
		testing_tempdir_remove(decoders);
	}
	safetensors_close(expected);
	free(golden);
}

static void taef2_is_as_the_reference_has_it(void **state)
{
	char *folder = testing_shared("models/taef2"), *path;
	struct safetensors *expected;
	struct tiny_vae *encoder, *decoder;

	(void)state;
	if (!folder)
		skip();
	path = testing_path(folder, "taef2.safetensors");
	expected = kl_testing_open(folder, "expected.safetensors");
	encoder = load(path, VAE_ENCODER, &vae_engine_winograd);
	decoder = load(path, VAE_DECODER, &vae_engine_winograd);
	assert_int_equal(tiny_vae_latent_channels(decoder), 32);
	for (size_t i = 0; i < 3; i++) {
		static const char *const sizes[] = {"64x64", "96x72", "256x256"};

		check_encoded(encoder, expected, sizes[i], true, "latent");
		check_decoded(decoder, expected, sizes[i], true);
	}
	tiny_vae_free(encoder);
	tiny_vae_free(decoder);
	safetensors_close(expected);
	free(path);
	free(folder);
}

static void taesana_is_as_the_reference_has_it(void **state)
{
	char *folder = testing_shared("models/taesana"), *path;
	struct safetensors *expected;
	struct error err = ERROR_INIT;
	struct tiny_vae *encoder;

	(void)state;
	if (!folder)
		skip();
	path = testing_path(folder, "taesana_encoder.safetensors");
	expected = kl_testing_open(folder, "expected.safetensors");
	encoder = load(path, VAE_ENCODER, &vae_engine_winograd);
	assert_int_equal(tiny_vae_downscale(encoder), 32);
	check_encoded(encoder, expected, "64x64", true, "latent");
	check_encoded(encoder, expected, "128x96", true, "latent");
	assert_null(tiny_vae_load(path, VAE_DECODER, &vae_engine_winograd, 1, &err));
	assert_non_null(strstr(err.message, "there is no decoder of an AutoencoderTiny"));
	tiny_vae_free(encoder);
	safetensors_close(expected);
	free(path);
	free(folder);
}

/* More channels than a latent of one value has room for among 64 of its pixels. */
static void a_wide_latent_of_an_odd_size_has_room(void **state)
{
	static const char last[] = "encoder.layers.14.";
	char *folder = kl_testing_formula_tiny();
	char *path = testing_path(folder, "diffusion_pytorch_model.safetensors");
	struct safetensors *file = kl_testing_open(folder, "diffusion_pytorch_model.safetensors");
	size_t count = safetensors_count(file);
	struct safetensors_entry *entries = xcalloc(count, sizeof(*entries));
	struct ndarray *arrays = xcalloc(count, sizeof(*arrays));
	const float pixel[3] = {0, 0, 0};
	static float latent[WIDE];
	struct error err = ERROR_INIT;
	struct tiny_vae *vae;

	(void)state;
	for (size_t i = 0; i < count; i++) {
		const char *name = safetensors_at(file, i)->name;
		const size_t shape[4] = {WIDE, 64, 3, 3};
		bool bias = strstr(name, "bias") != NULL;

		arrays[i] = kl_testing_tensor(file, name);
		entries[i] = (struct safetensors_entry){name, &arrays[i]};
		if (strncmp(name, last, strlen(last)) != 0)
			continue;
		ndarray_release(&arrays[i]);
		assert_ok(ndarray_alloc(&arrays[i], DTYPE_F32, bias ? 1 : 4, shape, &err), &err);
		memset(arrays[i].data, 0, arrays[i].bytes);
		for (size_t c = 0; bias && c < WIDE; c++)
			((float *)arrays[i].data)[c] = (float)c;
	}
	assert_ok(safetensors_write(path, entries, count, &err), &err);
	safetensors_close(file);
	vae = load(path, VAE_ENCODER, &vae_engine_naive);
	assert_ok(tiny_vae_encode(vae, pixel, 1, 1, latent, NULL, &err), &err);
	for (size_t c = 0; c < WIDE; c++)
		assert_true(latent[c] == (float)c);
	tiny_vae_free(vae);
	for (size_t i = 0; i < count; i++)
		ndarray_release(&arrays[i]);
	free(arrays);
	free(entries);
	free(path);
	testing_tempdir_remove(folder);
}

static void what_is_wrong_with_a_file_is_said(void **state)
{
	static const struct {
		const char *from, *to, *message;
	} cases[] = {
	    {"decoder.layers.17.conv.4.bias", "decoder.layers.17.conv.4.bia_",
	     "tensor \"decoder.layers.17.conv.4.bias\" is missing"},
	    {"decoder.layers.18.bias", "decoder.layers.99.bias", "is missing"},
	    {"decoder.layers.2.conv.0.weight", "decoder.layers.2.conv.0.weigh_",
	     "there is no decoder of an AutoencoderTiny"},
	};
	char *kl = testing_golden("../../models/demo");
	struct error err = ERROR_INIT;

	(void)state;
	assert_false(tiny_weights_exist(kl));
	assert_null(tiny_vae_load(kl, VAE_DECODER, &vae_engine_naive, 1, &err));
	assert_int_equal(err.code, ERR_CONFIG);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *folder = model(DIFFUSERS, VAE_DECODER);

		error_clear(&err);
		kl_testing_edit(folder, "diffusion_pytorch_model.safetensors", cases[i].from,
				cases[i].to);
		assert_null(tiny_vae_load(folder, VAE_DECODER, &vae_engine_naive, 1, &err));
		assert_int_equal(err.code, ERR_CONFIG);
		if (!strstr(err.message, cases[i].message))
			fail_msg("%s", err.message);
		testing_tempdir_remove(folder);
	}
	free(kl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_encodes_and_decodes_as_diffusers_does_under_every_naming),
	    cmocka_unit_test(taef2_is_as_the_reference_has_it),
	    cmocka_unit_test(taesana_is_as_the_reference_has_it),
	    cmocka_unit_test(a_wide_latent_of_an_odd_size_has_room),
	    cmocka_unit_test(what_is_wrong_with_a_file_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

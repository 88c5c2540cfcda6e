#include "tests/golden/kl_testing.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"
#include "vae/vae_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WEIGHTS "diffusion_pytorch_model.safetensors"

struct ndarray kl_testing_tensor(struct safetensors *file, const char *name)
{
	const struct safetensor *t = safetensors_find(file, name);
	struct ndarray a = NDARRAY_INIT;
	struct error err = ERROR_INIT;

	if (!t)
		fail_msg("no tensor %s", name);
	assert_ok(ndarray_alloc(&a, DTYPE_F32, t->ndim, t->shape, &err), &err);
	assert_ok(safetensors_read_f32(file, t, a.data, &err), &err);
	return a;
}

struct safetensors *kl_testing_open(const char *folder, const char *name)
{
	char *path = testing_path(folder, name);
	struct error err = ERROR_INIT;
	struct safetensors *file = safetensors_open(path, &err);

	if (!file)
		fail_msg("%s", err.message);
	free(path);
	return file;
}

float *kl_testing_nhwc(const struct ndarray *images, size_t n)
{
	size_t channels = images->shape[1], pixels = images->shape[2] * images->shape[3];
	const float *in = (const float *)images->data + n * channels * pixels;
	float *out = xcalloc(channels * pixels, sizeof(*out));

	for (size_t p = 0; p < pixels; p++)
		for (size_t c = 0; c < channels; c++)
			out[p * channels + c] = in[c * pixels + p];
	return out;
}

double kl_testing_max_abs(const float *a, const float *b, size_t n)
{
	double worst = 0;

	for (size_t i = 0; i < n; i++) {
		double d = fabs((double)a[i] - (double)b[i]);

		if (isnan(d))
			return INFINITY;
		worst = fmax(worst, d);
	}
	return worst;
}

static void copy_file(const char *from_folder, const char *to_folder, const char *name)
{
	char *from = testing_path(from_folder, name), *to = testing_path(to_folder, name);
	struct buffer bytes = testing_read(from);

	testing_write(to, bytes.data, bytes.size);
	buffer_release(&bytes);
	free(from);
	free(to);
}

char *kl_testing_copy_model(const char *name)
{
	char *from = testing_golden(name), *to = testing_tempdir();

	copy_file(from, to, "config.json");
	copy_file(from, to, WEIGHTS);
	free(from);
	return to;
}

char *kl_testing_copy_without(const char *name, const char *part, const char *config_of)
{
	char *from = testing_golden(name), *config = testing_golden(config_of);
	char *to = testing_tempdir(), *path = testing_path(to, WEIGHTS);
	struct safetensors *file = kl_testing_open(from, WEIGHTS);
	size_t n = 0, count = safetensors_count(file);
	struct safetensors_entry *entries = xcalloc(count, sizeof(*entries));
	struct ndarray *arrays = xcalloc(count, sizeof(*arrays));
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < count; i++) {
		const char *tensor = safetensors_at(file, i)->name;

		if (strstr(tensor, part))
			continue;
		arrays[n] = kl_testing_tensor(file, tensor);
		entries[n] = (struct safetensors_entry){tensor, &arrays[n]};
		n++;
	}
	assert_true(n < count);
	assert_ok(safetensors_write(path, entries, n, &err), &err);
	copy_file(config, to, "config.json");
	for (size_t i = 0; i < n; i++)
		ndarray_release(&arrays[i]);
	free(arrays);
	free(entries);
	safetensors_close(file);
	free(path);
	free(config);
	free(from);
	return to;
}

void kl_testing_edit(const char *folder, const char *file, const char *from, const char *to)
{
	char *path = testing_path(folder, file);
	struct buffer bytes = testing_read(path), edited = BUFFER_INIT;
	const uint8_t *at = memmem(bytes.data, bytes.size, from, strlen(from));
	size_t before;

	if (!at)
		fail_msg("%s: no %s in it", path, from);
	before = (size_t)(at - bytes.data);
	buffer_append(&edited, bytes.data, before);
	buffer_append_string(&edited, to);
	buffer_append(&edited, at + strlen(from), bytes.size - before - strlen(from));
	testing_write(path, edited.data, edited.size);
	buffer_release(&bytes);
	buffer_release(&edited);
	free(path);
}

/* -- weights from a formula: the docstring of goldens/formula_weights.py ------------------------- */

enum { MAX_TENSORS = 256 };

struct formula {
	struct ndarray arrays[MAX_TENSORS];
	struct safetensors_entry entries[MAX_TENSORS];
	size_t n;
};

static uint64_t splitmix64(uint64_t z)
{
	z += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static void fill(const char *name, struct ndarray *a)
{
	bool norm = strstr(name, "norm") && strstr(name, ".weight"), bias = strstr(name, ".bias");
	size_t fan_in = ndarray_count(a) / a->shape[0];
	double scale = norm ? 0.2 : bias ? 0.1 : 1.6 / sqrt((double)fan_in);
	uint64_t hash = UINT64_C(0xCBF29CE484222325);
	float *out = a->data;

	for (const char *s = name; *s; s++)
		hash = (hash ^ (uint8_t)*s) * UINT64_C(0x100000001B3);
	for (size_t i = 0; i < ndarray_count(a); i++) {
		double u = (double)(splitmix64(hash + i) >> 11) * 0x1p-53;

		out[i] = (float)((norm ? 1 : 0) + scale * (2 * u - 1));
	}
}

static void add_tensor(struct formula *f, char *name, size_t ndim, const size_t *shape)
{
	struct error err = ERROR_INIT;

	assert_true(f->n < MAX_TENSORS);
	assert_ok(ndarray_alloc(&f->arrays[f->n], DTYPE_F32, ndim, shape, &err), &err);
	fill(name, &f->arrays[f->n]);
	f->entries[f->n] = (struct safetensors_entry){name, &f->arrays[f->n]};
	f->n++;
}

/* Weight and bias of a norm (@ndim 1), linear layer (2) or convolution (4). */
static void add_pair(struct formula *f, const char *prefix, const char *part, size_t ndim,
		     size_t out, size_t in, size_t kernel)
{
	size_t shape[4] = {out, in, kernel, kernel};

	add_tensor(f, xasprintf("%s%s.weight", prefix, part), ndim, shape);
	add_tensor(f, xasprintf("%s%s.bias", prefix, part), 1, shape);
}

static void add_resnet(struct formula *f, const char *prefix, size_t in, size_t out)
{
	add_pair(f, prefix, "norm1", 1, in, 0, 0);
	add_pair(f, prefix, "conv1", 4, out, in, 3);
	add_pair(f, prefix, "norm2", 1, out, 0, 0);
	add_pair(f, prefix, "conv2", 4, out, out, 3);
	if (in != out)
		add_pair(f, prefix, "conv_shortcut", 4, out, in, 1);
}

static void add_mid(struct formula *f, const char *part, size_t channels, bool with_attention)
{
	static const char *const linears[] = {"to_q", "to_k", "to_v", "to_out.0"};
	char prefix[96];

	snprintf(prefix, sizeof(prefix), "%s.mid_block.attentions.0.", part);
	for (size_t i = 0; with_attention && i < ARRAY_SIZE(linears); i++)
		add_pair(f, prefix, linears[i], 2, channels, channels, 0);
	if (with_attention)
		add_pair(f, prefix, "group_norm", 1, channels, 0, 0);
	for (size_t i = 0; i < 2; i++) {
		snprintf(prefix, sizeof(prefix), "%s.mid_block.resnets.%zu.", part, i);
		add_resnet(f, prefix, channels, channels);
	}
}

static void add_block(struct formula *f, const struct vae_config *c, enum vae_part part,
		      size_t index)
{
	size_t n = c->blocks - 1, way = part == VAE_ENCODER ? index : n - index;
	size_t before = index == 0 ? way : part == VAE_ENCODER ? way - 1 : way + 1;
	const size_t *channels = vae_config_channels(c, part);
	const char *blocks = part == VAE_ENCODER ? "encoder.down" : "decoder.up";
	size_t layers = c->layers_per_block + (part == VAE_DECODER);
	char prefix[96];

	for (size_t j = 0; j < layers; j++) {
		snprintf(prefix, sizeof(prefix), "%s_blocks.%zu.resnets.%zu.", blocks, index, j);
		add_resnet(f, prefix, channels[j ? way : before], channels[way]);
	}
	snprintf(prefix, sizeof(prefix), "%s_blocks.%zu.%ssamplers.0.", blocks, index,
		 strchr(blocks, '.') + 1);
	if (index < n)
		add_pair(f, prefix, "conv", 4, channels[way], channels[way], 3);
}

static void add_encoder(struct formula *f, const struct vae_config *c)
{
	size_t last = c->block_out_channels[c->blocks - 1], moments = 2 * c->latent_channels;

	add_pair(f, "encoder.", "conv_in", 4, c->block_out_channels[0], c->in_channels, 3);
	for (size_t i = 0; i < c->blocks; i++)
		add_block(f, c, VAE_ENCODER, i);
	add_mid(f, "encoder", last, true);
	add_pair(f, "encoder.", "conv_norm_out", 1, last, 0, 0);
	add_pair(f, "encoder.", "conv_out", 4, moments, last, 3);
	add_pair(f, "", "quant_conv", 4, moments, moments, 1);
}

static void add_ones(struct formula *f, const char *name, size_t n)
{
	add_tensor(f, xstrdup(name), 1, &n);
	for (size_t i = 0; i < n; i++)
		((float *)f->arrays[f->n - 1].data)[i] = 1;
}

static void add_decoder(struct formula *f, const struct vae_config *c)
{
	size_t first = c->decoder_channels[c->blocks - 1], last = c->decoder_channels[0];

	add_pair(f, "encoder.", "conv_in", 4, c->block_out_channels[0], c->in_channels, 3);
	if (c->use_post_quant_conv)
		add_pair(f, "", "post_quant_conv", 4, c->latent_channels, c->latent_channels, 1);
	add_pair(f, "decoder.", "conv_in", 4, first, c->latent_channels, 3);
	add_mid(f, "decoder", first, c->mid_block_add_attention);
	for (size_t i = 0; i < c->blocks; i++)
		add_block(f, c, VAE_DECODER, i);
	add_pair(f, "decoder.", "conv_norm_out", 1, last, 0, 0);
	add_pair(f, "decoder.", "conv_out", 4, c->in_channels, last, 3);
	if (c->class == VAE_CLASS_FLUX2) {
		add_ones(f, "bn.running_mean", c->n_statistics);
		add_ones(f, "bn.running_var", c->n_statistics);
	}
}

static void add_tiny_conv(struct formula *f, const char *part, size_t index, const char *inside,
			  size_t out, size_t in, bool bias)
{
	size_t shape[4] = {out, in, 3, 3};

	add_tensor(f, xasprintf("%s.layers.%zu%s.weight", part, index, inside), 4, shape);
	if (bias)
		add_tensor(f, xasprintf("%s.layers.%zu%s.bias", part, index, inside), 1, shape);
}

/* @modules: c a convolution, n one without bias, b a block, . nothing; @first, @last: channels in and out. */
static void add_tiny(struct formula *f, const char *part, const char *modules, size_t first,
		     size_t last)
{
	static const char *const inside[] = {".conv.0", ".conv.2", ".conv.4"};
	size_t n = strlen(modules);

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; modules[i] == 'b' && j < ARRAY_SIZE(inside); j++)
			add_tiny_conv(f, part, i, inside[j], 64, 64, true);
		if (modules[i] == 'c' || modules[i] == 'n')
			add_tiny_conv(f, part, i, "", i == n - 1 ? last : 64, i ? 64 : first,
				      modules[i] == 'c');
	}
}

static void write_tensors(struct formula *f, const char *path)
{
	struct error err = ERROR_INIT;

	assert_ok(safetensors_write(path, f->entries, f->n, &err), &err);
	for (size_t i = 0; i < f->n; i++) {
		free((char *)(uintptr_t)f->entries[i].name);
		ndarray_release(&f->arrays[i]);
	}
	free(f);
}

char *kl_testing_formula_tiny(void)
{
	char *folder = testing_tempdir(), *path = testing_path(folder, WEIGHTS);
	struct formula *f = xcalloc(1, sizeof(*f));

	add_tiny(f, "encoder", "cbnbbbnbbbnbbbc", 3, 4);
	add_tiny(f, "decoder", "c.bbb.nbbb.nbbb.nbc", 4, 3);
	write_tensors(f, path);
	free(path);
	return folder;
}

/* Writes a model's weights beside its config: those that @add gives, under the names of @column. */
static void write_formula(const char *folder,
			  void (*add)(struct formula *, const struct vae_config *),
			  enum vae_testing_column column)
{
	char *config_path = testing_path(folder, "config.json");
	char *path = testing_path(folder, WEIGHTS);
	struct formula *f = xcalloc(1, sizeof(*f));
	struct error err = ERROR_INIT;
	struct vae_config config;

	assert_ok(vae_config_read(config_path, &config, &err), &err);
	add(f, &config);
	for (size_t i = 0; column != NAMES_CANONICAL && i < f->n; i++) {
		char *name = (char *)(uintptr_t)f->entries[i].name;

		f->entries[i].name = vae_testing_name(name, column);
		free(name);
	}
	write_tensors(f, path);
	free(path);
	free(config_path);
}

void kl_testing_formula_weights(const char *folder)
{
	write_formula(folder, add_encoder, NAMES_CANONICAL);
}

char *kl_testing_formula_decoder(const char *name, enum vae_testing_column column)
{
	char *golden = testing_golden(name), *model = testing_tempdir();

	copy_file(golden, model, "config.json");
	write_formula(model, add_decoder, column);
	free(golden);
	return model;
}

char *kl_testing_formula_model(const char *golden)
{
	char *model = testing_tempdir();

	copy_file(golden, model, "config.json");
	kl_testing_formula_weights(model);
	return model;
}

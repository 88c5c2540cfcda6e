/*
 * quant_conv after conv_out is one convolution: W[o] = sum over m of Q[o][m] K[m], b = Q b + q; in double, so that
 * folding costs no accuracy. It stays exact at the borders, where padding is of conv_out's input.
 *
 * post_quant_conv before conv_in is one too, W[o][c] = sum over m of K[o][m] Q[m][c], but its bias must be missing where
 * conv_in sees padding: it is the weight of a channel that is 1 in the image, behind the latent's.
 */
#include "gpu_model.h"

#include "plugin_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- numbers -------------------------------------------------------------------------------------- */

float gpu_half_to_float(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, bits;
	uint32_t mantissa = half & 0x3ff;
	float f = 0;

	if (exponent == 0) {
		f = (float)mantissa * 0x1p-24f;
		memcpy(&bits, &f, sizeof(bits));
		bits |= sign;
	} else {
		bits = sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | mantissa << 13;
	}
	memcpy(&f, &bits, sizeof(f));
	return f;
}

static uint16_t to_bf16(float f)
{
	uint32_t bits = 0;

	memcpy(&bits, &f, sizeof(bits));
	if ((bits & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(bits >> 16 | 0x40);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint16_t to_f16(float f)
{
	uint32_t bits = 0, sign, magnitude, shift, rest;
	uint32_t kept;

	memcpy(&bits, &f, sizeof(bits));
	sign = bits >> 16 & 0x8000;
	magnitude = bits & 0x7fffffff;
	if (magnitude > 0x7f800000)
		return (uint16_t)(sign | 0x7e00);
	if (magnitude >= 0x477ff000) /* rounds beyond 65504 */
		return (uint16_t)(sign | 0x7c00);
	if (magnitude >= 0x38800000) { /* normal */
		magnitude -= 112u << 23;
		return (uint16_t)(sign | (magnitude + 0xfff + (magnitude >> 13 & 1)) >> 13);
	}
	if (magnitude < 0x33000000) /* below half of the smallest */
		return (uint16_t)sign;
	shift = 126 - (magnitude >> 23);
	kept = (magnitude & 0x7fffff) | 0x800000;
	rest = kept & ((1u << shift) - 1);
	kept >>= shift;
	if (rest > 1u << (shift - 1) || (rest == 1u << (shift - 1) && (kept & 1)))
		kept++;
	return (uint16_t)(sign | kept);
}

void gpu_convert(void *out, enum latentd_cuda_dtype dtype, const float *in, size_t n)
{
	uint16_t *half = out;

	if (dtype == LATENTD_CUDA_F32) {
		memcpy(out, in, n * sizeof(float));
		return;
	}
	for (size_t i = 0; i < n; i++)
		half[i] = dtype == LATENTD_CUDA_F16 ? to_f16(in[i]) : to_bf16(in[i]);
}

static float value_at(const struct latentd_cuda_tensor *t, size_t i)
{
	uint32_t bits;
	float f = 0;

	if (t->dtype == LATENTD_CUDA_F32)
		return ((const float *)t->data)[i];
	if (t->dtype == LATENTD_CUDA_F16)
		return gpu_half_to_float(((const uint16_t *)t->data)[i]);
	bits = (uint32_t)((const uint16_t *)t->data)[i] << 16;
	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* -- tensors -------------------------------------------------------------------------------------- */

struct source {
	const struct latentd_cuda_tensor *tensors;
	size_t n;
	struct latentd_cuda_error *err;
};

/* LAYER.PART, whose first dimensions are @shape and all others 1; NULL with an error. */
static const struct latentd_cuda_tensor *find(const struct source *s, const char *layer,
					      const char *part, const uint32_t shape[4])
{
	const struct latentd_cuda_tensor *t = NULL;
	char name[96];

	snprintf(name, sizeof(name), "%s.%s", layer, part);
	for (size_t i = 0; i < s->n && !t; i++) {
		if (strcmp(s->tensors[i].name, name) == 0)
			t = &s->tensors[i];
	}
	if (!t) {
		plugin_error_set(s->err, LATENTD_CUDA_MODEL, "the model has no tensor %s", name);
		return NULL;
	}
	for (uint32_t d = 0; d < 4; d++) {
		uint64_t got = d < t->ndim ? t->shape[d] : 1;

		if (t->ndim > 4 || got != shape[d]) {
			plugin_error_set(s->err, LATENTD_CUDA_MODEL,
					 "%s: dimension %u is %llu, expected %u", name, d,
					 (unsigned long long)got, shape[d]);
			return NULL;
		}
	}
	return t;
}

static float *zeros(size_t n, struct latentd_cuda_error *err)
{
	float *p = calloc(n, sizeof(*p));

	if (!p)
		plugin_error_memory(err, n * sizeof(*p));
	return p;
}

/* A layer's weight and bias into rows @row and following of the parameter. */
static int take(const struct source *s, const struct gpu_layer *layer, struct gpu_param *p,
		size_t row)
{
	const uint32_t norm_shape[4] = {layer->out, 1, 1, 1};
	const uint32_t shape[4] = {layer->out, layer->in, layer->kernel, layer->kernel};
	const struct latentd_cuda_tensor *w, *b;
	size_t k2 = (size_t)layer->kernel * layer->kernel;

	w = find(s, layer->name, "weight", layer->kind == GPU_NORM ? norm_shape : shape);
	b = w ? find(s, layer->name, "bias", norm_shape) : NULL;
	if (!b)
		return -1;
	for (size_t o = 0; o < layer->out; o++) {
		p->bias[row + o] = value_at(b, o);
		if (layer->kind == GPU_NORM)
			p->weight[o] = value_at(w, o);
		for (size_t i = 0; layer->kind != GPU_NORM && i < layer->in; i++)
			for (size_t k = 0; k < k2; k++)
				p->weight[((row + o) * k2 + k) * p->in + i] =
				    value_at(w, (o * layer->in + i) * k2 + k);
	}
	return 0;
}

static int fold_quant(const struct source *s, uint32_t moments, struct gpu_param *p)
{
	const uint32_t shape[4] = {moments, moments, 1, 1}, bias_shape[4] = {moments, 1, 1, 1};
	const struct latentd_cuda_tensor *q = find(s, "quant_conv", "weight", shape), *b;
	size_t row = p->n_weight / p->out;
	float *old, *old_bias;

	b = q ? find(s, "quant_conv", "bias", bias_shape) : NULL;
	old = b ? zeros(p->n_weight + p->out, s->err) : NULL;
	if (!old)
		return -1;
	old_bias = old + p->n_weight;
	memcpy(old, p->weight, p->n_weight * sizeof(*old));
	memcpy(old_bias, p->bias, p->out * sizeof(*old));
	for (size_t o = 0; o < moments; o++) {
		double bias = value_at(b, o);

		for (size_t m = 0; m < moments; m++)
			bias += (double)value_at(q, o * moments + m) * old_bias[m];
		p->bias[o] = (float)bias;
		for (size_t i = 0; i < row; i++) {
			double sum = 0;

			for (size_t m = 0; m < moments; m++)
				sum += (double)value_at(q, o * moments + m) * old[m * row + i];
			p->weight[o * row + i] = (float)sum;
		}
	}
	free(old);
	return 0;
}

static int fold_post_quant(const struct source *s, uint32_t latent, struct gpu_param *p)
{
	const uint32_t shape[4] = {latent, latent, 1, 1}, bias_shape[4] = {latent, 1, 1, 1};
	const struct latentd_cuda_tensor *q = find(s, "post_quant_conv", "weight", shape), *b;
	float *old;

	b = q ? find(s, "post_quant_conv", "bias", bias_shape) : NULL;
	old = b ? zeros(latent, s->err) : NULL;
	if (!old)
		return -1;
	for (float *w = p->weight; w < p->weight + p->n_weight; w += p->in) {
		memcpy(old, w, latent * sizeof(*old));
		for (size_t c = 0; c <= latent; c++) {
			double sum = 0;

			for (size_t m = 0; m < latent; m++)
				sum += (double)old[m] *
				       (c < latent ? value_at(q, m * latent + c) : value_at(b, m));
			w[c] = (float)sum;
		}
	}
	free(old);
	return 0;
}

static int new_param(const struct gpu_layer *layer, struct gpu_param *p,
		     struct latentd_cuda_error *err)
{
	*p = (struct gpu_param){layer->kind,   layer->in, layer->out, layer->kernel,
				layer->stride, NULL,	  NULL,	      0};
	p->n_weight = layer->kind == GPU_NORM
			  ? layer->out
			  : (size_t)layer->out * layer->in * layer->kernel * layer->kernel;
	p->weight = zeros(p->n_weight, err);
	p->bias = zeros(layer->out, err);
	return p->weight && p->bias ? 0 : -1;
}

static int fill(struct latentd_cuda_model *m, const struct source *s,
		const struct gpu_layers *layers, const struct gpu_layers *joined)
{
	const struct gpu_layer *layer = layers->layers;

	m->n_params = joined->n;
	for (size_t i = 0; i < joined->n; i++) {
		const struct gpu_layer *want = &joined->layers[i];
		size_t parts = want->kind == GPU_LINEAR && want->out != want->in ? 3 : 1;

		if (new_param(want, &m->params[i], s->err) < 0)
			return -1;
		for (size_t k = 0; k < parts; k++, layer++) {
			if (take(s, layer, &m->params[i], k * layer->out) < 0)
				return -1;
		}
	}
	if (!m->config.quant_conv)
		return 0;
	if (m->config.part == LATENTD_CUDA_DECODER)
		return fold_post_quant(s, m->config.latent_channels, &m->params[0]);
	return fold_quant(s, 2 * m->config.latent_channels, &m->params[m->n_params - 1]);
}

int gpu_model_open(const struct latentd_cuda_config *config,
		   const struct latentd_cuda_tensor *tensors, size_t n,
		   struct latentd_cuda_model **out, struct latentd_cuda_error *err)
{
	const struct source s = {tensors, n, err};
	struct latentd_cuda_model *m = calloc(1, sizeof(*m));
	struct gpu_layers *lists = calloc(2, sizeof(*lists));
	int r = -1;

	if (!m || !lists) {
		plugin_error_memory(err, sizeof(*m));
	} else if (gpu_layers_list(config, &lists[0], err) == 0) {
		m->config = *config;
		gpu_params_list(config, &lists[1]);
		gpu_steps_list(config, &m->steps);
		gpu_steps_lean(config, &m->lean);
		m->steps.lean = &m->lean;
		r = fill(m, &s, &lists[0], &lists[1]);
	}
	free(lists);
	if (r < 0)
		gpu_model_close(m);
	else
		*out = m;
	return r;
}

void gpu_model_close(struct latentd_cuda_model *model)
{
	if (!model)
		return;
	for (size_t i = 0; i < model->n_params; i++) {
		free(model->params[i].weight);
		free(model->params[i].bias);
	}
	free(model);
}

uint32_t gpu_model_downscale(const struct latentd_cuda_model *model)
{
	return 1u << (model->config.blocks - 1);
}

uint32_t gpu_model_moments(const struct latentd_cuda_model *model)
{
	return model->config.part == LATENTD_CUDA_DECODER ? 0 : 2 * model->config.latent_channels;
}

/*
 * The forward pass, stage by stage as in diffusers' Encoder.forward.
 *
 * Three maps of the largest size live in one arena: x, which holds a stage's input and then its
 * output, and two that a residual block needs beside it. A residual sum is added into x by the last
 * convolution, so no fourth is needed. The attention runs at the lowest resolution, where its five maps
 * fit into the three.
 */
#include "vae/kl_encoder.h"

#include "base/checked.h"
#include "vae/kl_model.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-6f /* of every GroupNorm in the class */

enum {
	ARENA_MAPS = 3,
	ALIGN_FLOATS = 16, /* a cache line */
};

struct kl_encoder {
	struct kl_model model;
	struct sha256 hash;
	float *arena;
	size_t arena_floats;
};

/* One image on its way. */
struct kl_run {
	const struct kl_model *model;
	struct vae_engine *engine;
	float *x, *y, *z; /* maps: x is the current one */
	size_t map;	  /* floats of each */
	size_t height, width;
	const struct kl_hooks *hooks;
	struct error *err;
};

/* -- load ---------------------------------------------------------------------------------------- */

struct kl_encoder *kl_encoder_load_model(struct vae_model *model,
					 const struct vae_engine_ops *engine, size_t threads,
					 struct error *err)
{
	struct kl_encoder *vae = xcalloc(1, sizeof(*vae));

	if (kl_model_load(&vae->model, &model->config, engine, threads, model->weights, err) < 0 ||
	    kl_weights_check_rest(model->weights, err) < 0 ||
	    kl_weights_hash(model->weights, &vae->hash, err) < 0) {
		kl_encoder_free(vae);
		return NULL;
	}
	return vae;
}

struct kl_encoder *kl_encoder_load(const char *path, const struct vae_engine_ops *engine,
				   size_t threads, struct error *err)
{
	struct vae_model *model = vae_model_open(path, NULL, err);
	struct kl_encoder *vae = NULL;

	if (model)
		vae = kl_encoder_load_model(model, engine, threads, err);
	vae_model_close(model);
	return vae;
}

void kl_encoder_free(struct kl_encoder *vae)
{
	if (!vae)
		return;
	kl_model_release(&vae->model);
	free(vae->arena);
	free(vae);
}

const struct vae_config *kl_encoder_config(const struct kl_encoder *vae)
{
	return &vae->model.config;
}

const struct sha256 *kl_encoder_weights_hash(const struct kl_encoder *vae)
{
	return &vae->hash;
}

/* -- sizes --------------------------------------------------------------------------------------- */

void kl_encoder_latent_size(const struct kl_encoder *vae, size_t height, size_t width,
			    size_t *latent_height, size_t *latent_width)
{
	*latent_height = height / vae_config_downscale(&vae->model.config);
	*latent_width = width / vae_config_downscale(&vae->model.config);
}

static size_t align_floats(size_t n)
{
	return (n + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

/* *size = max(*size, height * width * channels), aligned; false if that overflows. */
static bool grow_map(size_t *size, size_t height, size_t width, size_t channels)
{
	size_t floats, bytes;

	if (!size_mul3(height, width, channels, &floats) ||
	    !size_mul(floats, ARENA_MAPS * sizeof(float), &bytes) || !size_add(bytes, 4096, &bytes))
		return false;
	floats = align_floats(floats);
	if (floats > *size)
		*size = floats;
	return true;
}

/* Floats of each of the three maps. */
static bool plan_map(const struct vae_config *c, size_t height, size_t width, size_t *map)
{
	size_t size = 0, last = c->block_out_channels[c->blocks - 1];

	if (!grow_map(&size, height, width, c->block_out_channels[0]))
		return false;
	for (size_t i = 0; i < c->blocks; i++) {
		/* a block's first residual has its input's channels, too */
		if (!grow_map(&size, height, width, c->block_out_channels[i ? i - 1 : 0]) ||
		    !grow_map(&size, height, width, c->block_out_channels[i]))
			return false;
		if (i < c->blocks - 1) {
			height /= 2;
			width /= 2;
		}
	}
	/* attention: q and k share one map, its input and v another */
	if (c->mid_block_add_attention && !grow_map(&size, height, width, 2 * align_floats(last)))
		return false;
	if (!grow_map(&size, height, width, 2 * c->latent_channels))
		return false;
	*map = size;
	return true;
}

size_t kl_encoder_memory(const struct kl_encoder *vae, size_t height, size_t width)
{
	const struct vae_config *c = &vae->model.config;
	size_t latent_height, latent_width, map, attention = 0, total;

	if (!plan_map(c, height, width, &map))
		return SIZE_MAX;
	kl_encoder_latent_size(vae, height, width, &latent_height, &latent_width);
	if (c->mid_block_add_attention)
		attention = c->block_out_channels[c->blocks - 1];
	total = vae->model.engine->ops->scratch_bytes(height * width, c->block_out_channels[0],
						      latent_height * latent_width, attention);
	if (!size_add(total, map * ARENA_MAPS * sizeof(float), &total))
		return SIZE_MAX;
	return total;
}

static int want_arena(struct kl_encoder *vae, size_t floats, struct error *err)
{
	float *fresh;

	if (floats <= vae->arena_floats)
		return 0;
	/* the old one goes first: two of them would be more than kl_encoder_memory says */
	free(vae->arena);
	vae->arena = NULL;
	vae->arena_floats = 0;
	fresh = aligned_alloc(ALIGN_FLOATS * sizeof(float), floats * sizeof(float));
	if (!fresh)
		return error_set(err, ERR_NOMEM, "no memory for %zu bytes of activations",
				 floats * sizeof(float));
	vae->arena = fresh;
	vae->arena_floats = floats;
	return 0;
}

/* -- layers -------------------------------------------------------------------------------------- */

static void swap(float **a, float **b)
{
	float *was = *a;

	*a = *b;
	*b = was;
}

/* out = layer(in), or out += layer(in) */
static int conv_into(const struct kl_run *run, struct vae_conv *layer, float *out, const float *in,
		     bool accumulate)
{
	const struct conv_shape *s = &layer->shape;

	assert(conv_out_size(s, run->height) * conv_out_size(s, run->width) * s->out <= run->map);
	return run->engine->ops->conv(run->engine, layer, out, in, run->height, run->width,
				      accumulate, run->err);
}

static int conv(const struct kl_run *run, struct vae_conv *layer, float *out, const float *in)
{
	return conv_into(run, layer, out, in, false);
}

static int conv_add(const struct kl_run *run, struct vae_conv *layer, float *out, const float *in)
{
	return conv_into(run, layer, out, in, true);
}

static int norm(const struct kl_run *run, const struct kl_norm *n, float *out, const float *in,
		bool silu)
{
	return run->engine->ops->group_norm(run->engine, out, in, run->height * run->width,
					    n->channels, run->model->config.norm_num_groups,
					    NORM_EPS, n->weight, n->bias, silu, run->err);
}

static int norm_silu(const struct kl_run *run, const struct kl_norm *n, float *out, const float *in)
{
	return norm(run, n, out, in, true);
}

static void tap(const struct kl_run *run, size_t channels, const char *name)
{
	if (run->hooks->tap)
		run->hooks->tap(run->hooks->tap_arg, name, run->x, run->height, run->width,
				channels);
}

/* -- stages -------------------------------------------------------------------------------------- */

/* x = shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x)))))) */
static int resnet(struct kl_run *run, const struct kl_resnet *r, const char *name)
{
	if (norm_silu(run, &r->norm1, run->y, run->x) < 0 ||
	    conv(run, r->conv1, run->z, run->y) < 0 ||
	    norm_silu(run, &r->norm2, run->z, run->z) < 0)
		return -1;
	if (r->shortcut) {
		if (conv(run, r->shortcut, run->y, run->x) < 0)
			return -1;
		swap(&run->x, &run->y);
	}
	if (conv_add(run, r->conv2, run->x, run->z) < 0)
		return -1;
	tap(run, r->norm2.channels, name);
	return 0;
}

static int down_block(struct kl_run *run, size_t index)
{
	const struct kl_block *block = &run->model->blocks[index];
	size_t channels = run->model->config.block_out_channels[index];
	char name[96];

	for (size_t j = 0; j < run->model->config.layers_per_block; j++) {
		snprintf(name, sizeof(name), "encoder.down_blocks.%zu.resnets.%zu", index, j);
		if (resnet(run, &block->resnets[j], name) < 0)
			return -1;
	}
	if (block->down) {
		if (conv(run, block->down, run->y, run->x) < 0)
			return -1;
		swap(&run->x, &run->y);
		run->height = conv_out_size(&block->down->shape, run->height);
		run->width = conv_out_size(&block->down->shape, run->width);
	}
	snprintf(name, sizeof(name), "encoder.down_blocks.%zu", index);
	tap(run, channels, name);
	return 0;
}

/* x = x + out(softmax(q k^T / sqrt(c)) v), q, k, v of norm(x) */
static int attention(struct kl_run *run, const struct kl_attention *a)
{
	size_t c = a->norm.channels, tokens = run->height * run->width;
	size_t half = align_floats(tokens * c);
	float *t = run->y, *v = run->y + half, *q = run->z, *k = run->z + half;

	assert(2 * half <= run->map);
	if (norm(run, &a->norm, t, run->x, false) < 0 || conv(run, a->q, q, t) < 0 ||
	    conv(run, a->k, k, t) < 0 || conv(run, a->v, v, t) < 0)
		return -1;
	if (run->engine->ops->attention(run->engine, t, q, k, v, tokens, c, run->err) < 0 ||
	    conv_add(run, a->out, run->x, t) < 0)
		return -1;
	tap(run, c, "encoder.mid_block.attentions.0");
	return 0;
}

static int mid_block(struct kl_run *run)
{
	const struct kl_model *m = run->model;

	if (resnet(run, &m->mid[0], "encoder.mid_block.resnets.0") < 0)
		return -1;
	if (m->config.mid_block_add_attention && attention(run, &m->attention) < 0)
		return -1;
	if (resnet(run, &m->mid[1], "encoder.mid_block.resnets.1") < 0)
		return -1;
	tap(run, m->mid[1].norm2.channels, "encoder.mid_block");
	return 0;
}

static int out_layers(struct kl_run *run)
{
	const struct kl_model *m = run->model;

	if (norm_silu(run, &m->norm_out, run->x, run->x) < 0)
		return -1;
	tap(run, m->norm_out.channels, "encoder.conv_act");
	if (conv(run, m->conv_out, run->y, run->x) < 0)
		return -1;
	swap(&run->x, &run->y);
	tap(run, m->conv_out->shape.out, "encoder.conv_out");
	if (!m->quant_conv)
		return 0;
	if (conv(run, m->quant_conv, run->y, run->x) < 0)
		return -1;
	swap(&run->x, &run->y);
	tap(run, m->quant_conv->shape.out, "quant_conv");
	return 0;
}

static int forward(struct kl_run *run, const float *pixels)
{
	const struct kl_model *m = run->model;

	if (conv(run, m->conv_in, run->x, pixels) < 0)
		return -1;
	tap(run, m->conv_in->shape.out, "encoder.conv_in");
	for (size_t i = 0; i < m->config.blocks; i++) {
		if (down_block(run, i) < 0)
			return -1;
	}
	if (mid_block(run) < 0)
		return -1;
	return out_layers(run);
}

/* -- encode -------------------------------------------------------------------------------------- */

static int check_finite(const float *x, size_t n, struct error *err)
{
	size_t bad = 0;

	for (size_t i = 0; i < n; i++)
		bad += !isfinite(x[i]);
	if (bad)
		return error_data(err, "non_finite", "%zu of %zu moments are NaN or infinite", bad,
				  n);
	return 0;
}

int kl_encoder_encode(struct kl_encoder *vae, const float *pixels, size_t height, size_t width,
		      float *moments, const struct kl_hooks *hooks, struct error *err)
{
	static const struct kl_hooks no_hooks;
	const struct vae_config *c = &vae->model.config;
	size_t channels = 2 * c->latent_channels, latent_height, latent_width, tokens, map;
	struct kl_run run = {.model = &vae->model,
			     .engine = vae->model.engine,
			     .height = height,
			     .width = width,
			     .hooks = hooks ? hooks : &no_hooks,
			     .err = err};

	kl_encoder_latent_size(vae, height, width, &latent_height, &latent_width);
	tokens = latent_height * latent_width;
	if (tokens == 0)
		return error_data(err, "too_small", "%zux%zu pixels give no latent", width, height);
	if (!plan_map(c, height, width, &map))
		return error_set(err, ERR_NOMEM, "%zux%zu pixels are too many", width, height);
	if (want_arena(vae, ARENA_MAPS * map, err) < 0)
		return -1;
	run.engine->step = run.hooks->step;
	run.map = map;
	run.x = vae->arena;
	run.y = run.x + map;
	run.z = run.y + map;
	if (forward(&run, pixels) < 0 || check_finite(run.x, tokens * channels, err) < 0)
		return -1;
	for (size_t i = 0; i < channels; i++)
		for (size_t t = 0; t < tokens; t++)
			moments[i * tokens + t] = run.x[t * channels + i];
	return 0;
}

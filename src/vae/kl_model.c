#include "vae/kl_model.h"

#include "base/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 160 };

struct loader {
	struct vae_engine *engine;
	struct kl_weights *weights;
	struct error *err;
};

/* -- layers -------------------------------------------------------------------------------------- */

/* Weight and bias of the module @name; both to be freed. */
static int load_pair(const struct loader *l, const char *name, size_t ndim, const size_t *shape,
		     float **weight, float **bias)
{
	char full[NAME_SIZE + 16];
	float *first = NULL;

	snprintf(full, sizeof(full), "%s.weight", name);
	if (kl_weights_read(l->weights, full, ndim, shape, &first, l->err) < 0)
		return -1;
	snprintf(full, sizeof(full), "%s.bias", name);
	if (kl_weights_read(l->weights, full, 1, shape, bias, l->err) < 0) {
		free(first);
		return -1;
	}
	*weight = first;
	return 0;
}

static int load_norm(const struct loader *l, const char *name, size_t channels, struct kl_norm *out)
{
	out->channels = channels;
	return load_pair(l, name, 1, &channels, &out->weight, &out->bias);
}

/* @ndim: 4, or 2 for a linear layer. */
static int load_layer(const struct loader *l, const char *name, size_t ndim,
		      const struct conv_shape *s, struct vae_conv **out)
{
	size_t shape[4] = {s->out, s->in, s->kernel, s->kernel};
	float *weight = NULL, *bias = NULL;
	int r = load_pair(l, name, ndim, shape, &weight, &bias);

	if (r == 0)
		r = l->engine->ops->conv_new(l->engine, s, weight, bias, out, l->err);
	free(weight);
	free(bias);
	return r;
}

static int load_conv3(const struct loader *l, const char *name, size_t in, size_t out,
		      struct vae_conv **conv)
{
	struct conv_shape s = {in, out, 3, 1, 1, 1};

	return load_layer(l, name, 4, &s, conv);
}

static int load_conv1(const struct loader *l, const char *name, size_t in, size_t out,
		      struct vae_conv **conv)
{
	struct conv_shape s = {in, out, 1, 1, 0, 0};

	return load_layer(l, name, 4, &s, conv);
}

static int load_linear(const struct loader *l, const char *name, size_t channels,
		       struct vae_conv **conv)
{
	struct conv_shape s = {channels, channels, 1, 1, 0, 0};

	return load_layer(l, name, 2, &s, conv);
}

/* -- modules ------------------------------------------------------------------------------------- */

/* "PREFIX.PART" */
static const char *join(char out[NAME_SIZE], const char *prefix, const char *part)
{
	snprintf(out, NAME_SIZE, "%s.%s", prefix, part);
	return out;
}

static int load_resnet(const struct loader *l, const char *name, size_t in, size_t out,
		       struct kl_resnet *r)
{
	char part[NAME_SIZE];

	if (load_norm(l, join(part, name, "norm1"), in, &r->norm1) < 0 ||
	    load_conv3(l, join(part, name, "conv1"), in, out, &r->conv1) < 0 ||
	    load_norm(l, join(part, name, "norm2"), out, &r->norm2) < 0 ||
	    load_conv3(l, join(part, name, "conv2"), out, out, &r->conv2) < 0)
		return -1;
	if (in == out)
		return 0;
	return load_conv1(l, join(part, name, "conv_shortcut"), in, out, &r->shortcut);
}

static int load_attention(const struct loader *l, const char *name, size_t channels,
			  struct kl_attention *a)
{
	char part[NAME_SIZE];

	if (load_norm(l, join(part, name, "group_norm"), channels, &a->norm) < 0 ||
	    load_linear(l, join(part, name, "to_q"), channels, &a->q) < 0 ||
	    load_linear(l, join(part, name, "to_k"), channels, &a->k) < 0 ||
	    load_linear(l, join(part, name, "to_v"), channels, &a->v) < 0)
		return -1;
	return load_linear(l, join(part, name, "to_out.0"), channels, &a->out);
}

static int load_block(const struct loader *l, const struct vae_config *c, size_t index,
		      struct kl_block *block)
{
	/* diffusers' downsampler pads one zero column right and one zero row below */
	size_t in = c->block_out_channels[index ? index - 1 : 0];
	size_t out = c->block_out_channels[index];
	struct conv_shape down = {out, out, 3, 2, 0, 1};
	char name[NAME_SIZE];

	block->resnets = xcalloc(c->layers_per_block, sizeof(*block->resnets));
	for (size_t j = 0; j < c->layers_per_block; j++) {
		snprintf(name, sizeof(name), "encoder.down_blocks.%zu.resnets.%zu", index, j);
		if (load_resnet(l, name, j ? out : in, out, &block->resnets[j]) < 0)
			return -1;
	}
	if (index == c->blocks - 1)
		return 0;
	snprintf(name, sizeof(name), "encoder.down_blocks.%zu.downsamplers.0.conv", index);
	return load_layer(l, name, 4, &down, &block->down);
}

static int load_mid(const struct loader *l, struct kl_model *m, size_t channels)
{
	if (load_resnet(l, "encoder.mid_block.resnets.0", channels, channels, &m->mid[0]) < 0)
		return -1;
	if (m->config.mid_block_add_attention &&
	    load_attention(l, "encoder.mid_block.attentions.0", channels, &m->attention) < 0)
		return -1;
	return load_resnet(l, "encoder.mid_block.resnets.1", channels, channels, &m->mid[1]);
}

int kl_model_load(struct kl_model *model, const struct vae_config *config,
		  const struct vae_engine_ops *ops, size_t threads, struct kl_weights *weights,
		  struct error *err)
{
	struct loader l = {.weights = weights, .err = err};
	size_t last = config->block_out_channels[config->blocks - 1];
	size_t moments = 2 * config->latent_channels;

	model->config = *config;
	if (ops->open(threads, &model->engine, err) < 0)
		return -1;
	l.engine = model->engine;
	if (load_conv3(&l, "encoder.conv_in", config->in_channels, config->block_out_channels[0],
		       &model->conv_in) < 0)
		return -1;
	for (size_t i = 0; i < config->blocks; i++) {
		if (load_block(&l, config, i, &model->blocks[i]) < 0)
			return -1;
	}
	if (load_mid(&l, model, last) < 0 ||
	    load_norm(&l, "encoder.conv_norm_out", last, &model->norm_out) < 0 ||
	    load_conv3(&l, "encoder.conv_out", last, moments, &model->conv_out) < 0)
		return -1;
	if (!config->use_quant_conv)
		return 0;
	return load_conv1(&l, "quant_conv", moments, moments, &model->quant_conv);
}

/* -- release ------------------------------------------------------------------------------------- */

static void release_norm(struct kl_norm *norm)
{
	free(norm->weight);
	free(norm->bias);
}

static void release_resnet(struct vae_engine *engine, struct kl_resnet *r)
{
	release_norm(&r->norm1);
	release_norm(&r->norm2);
	engine->ops->conv_free(engine, r->conv1);
	engine->ops->conv_free(engine, r->conv2);
	engine->ops->conv_free(engine, r->shortcut);
}

static void release_attention(struct vae_engine *engine, struct kl_attention *a)
{
	release_norm(&a->norm);
	engine->ops->conv_free(engine, a->q);
	engine->ops->conv_free(engine, a->k);
	engine->ops->conv_free(engine, a->v);
	engine->ops->conv_free(engine, a->out);
}

void kl_model_release(struct kl_model *model)
{
	struct vae_engine *engine = model->engine;

	if (!engine)
		return;
	engine->ops->conv_free(engine, model->conv_in);
	for (size_t i = 0; i < model->config.blocks; i++) {
		struct kl_block *block = &model->blocks[i];

		for (size_t j = 0; block->resnets && j < model->config.layers_per_block; j++)
			release_resnet(engine, &block->resnets[j]);
		free(block->resnets);
		engine->ops->conv_free(engine, block->down);
	}
	release_resnet(engine, &model->mid[0]);
	release_attention(engine, &model->attention);
	release_resnet(engine, &model->mid[1]);
	release_norm(&model->norm_out);
	engine->ops->conv_free(engine, model->conv_out);
	engine->ops->conv_free(engine, model->quant_conv);
	engine->ops->close(engine);
	memset(model, 0, sizeof(*model));
}

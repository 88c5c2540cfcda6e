#include "vae/kl_model.h"

#include "base/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 160 };

struct loader {
	struct vae_engine *engine;
	struct kl_weights *weights;
	const char *part; /* "encoder" */
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

/* The module @format of the part. */
static __attribute__((format(printf, 3, 4))) const char *
of_part(const struct loader *l, char out[NAME_SIZE], const char *format, ...)
{
	int n = snprintf(out, NAME_SIZE, "%s.", l->part);
	va_list args;

	va_start(args, format);
	vsnprintf(out + n, NAME_SIZE - (size_t)n, format, args);
	va_end(args);
	return out;
}

/* Channels of the block that is run as number @index, and what comes into it. */
static size_t block_channels(const struct kl_model *m, size_t index)
{
	const size_t *channels = vae_config_channels(&m->config, m->part);

	return channels[m->part == VAE_ENCODER ? index : m->config.blocks - 1 - index];
}

static int load_block(const struct loader *l, const struct kl_model *m, size_t index,
		      struct kl_block *block)
{
	bool down = m->part == VAE_ENCODER;
	const char *way = down ? "down" : "up";
	size_t in = block_channels(m, index ? index - 1 : 0), out = block_channels(m, index);
	/* diffusers' downsampler pads one zero column right and one zero row below */
	struct conv_shape resample = {out, out, 3, down ? 2 : 1, down ? 0 : 1, 1};
	char name[NAME_SIZE];

	block->n_resnets = m->config.layers_per_block + !down;
	block->resnets = xcalloc(block->n_resnets, sizeof(*block->resnets));
	for (size_t j = 0; j < block->n_resnets; j++) {
		of_part(l, name, "%s_blocks.%zu.resnets.%zu", way, index, j);
		if (load_resnet(l, name, j ? out : in, out, &block->resnets[j]) < 0)
			return -1;
	}
	if (index == m->config.blocks - 1)
		return 0;
	of_part(l, name, "%s_blocks.%zu.%ssamplers.0.conv", way, index, way);
	return load_layer(l, name, 4, &resample, &block->resample);
}

static int load_mid(const struct loader *l, struct kl_model *m, size_t channels)
{
	char name[NAME_SIZE];

	if (load_resnet(l, of_part(l, name, "mid_block.resnets.0"), channels, channels,
			&m->mid[0]) < 0)
		return -1;
	if (m->config.mid_block_add_attention &&
	    load_attention(l, of_part(l, name, "mid_block.attentions.0"), channels, &m->attention) <
		0)
		return -1;
	return load_resnet(l, of_part(l, name, "mid_block.resnets.1"), channels, channels,
			   &m->mid[1]);
}

static int load_quant_conv(const struct loader *l, struct kl_model *m)
{
	const struct vae_config *c = &m->config;
	size_t moments = 2 * c->latent_channels;

	if (m->part == VAE_DECODER)
		return c->use_post_quant_conv ? load_conv1(l, "post_quant_conv", c->latent_channels,
							   c->latent_channels, &m->quant_conv)
					      : 0;
	return c->use_quant_conv ? load_conv1(l, "quant_conv", moments, moments, &m->quant_conv)
				 : 0;
}

static int load_layers(const struct loader *l, struct kl_model *m)
{
	const struct vae_config *c = &m->config;
	size_t first = block_channels(m, 0), last = block_channels(m, c->blocks - 1);
	bool encoder = m->part == VAE_ENCODER;
	char name[NAME_SIZE];

	if (load_conv3(l, of_part(l, name, "conv_in"),
		       encoder ? c->in_channels : c->latent_channels, first, &m->conv_in) < 0)
		return -1;
	for (size_t i = 0; i < c->blocks; i++) {
		if (load_block(l, m, i, &m->blocks[i]) < 0)
			return -1;
	}
	if (load_mid(l, m, encoder ? last : first) < 0 ||
	    load_norm(l, of_part(l, name, "conv_norm_out"), last, &m->norm_out) < 0 ||
	    load_conv3(l, of_part(l, name, "conv_out"), last,
		       encoder ? 2 * c->latent_channels : c->in_channels, &m->conv_out) < 0)
		return -1;
	return load_quant_conv(l, m);
}

int kl_model_load(struct kl_model *model, enum vae_part part, const struct vae_config *config,
		  const struct vae_engine_ops *ops, size_t threads, struct kl_weights *weights,
		  struct error *err)
{
	struct loader l = {.weights = weights, .part = vae_part_name(part), .err = err};

	if (part == VAE_DECODER && !kl_weights_find(weights, "decoder.conv_in.weight"))
		return error_set(err, ERR_CONFIG,
				 "%s: this model has no decoder: there is no tensor "
				 "\"%sdecoder.conv_in.weight\"",
				 kl_weights_name(weights), kl_weights_prefix(weights));
	model->part = part;
	model->config = *config;
	if (ops->open(threads, &model->engine, err) < 0)
		return -1;
	l.engine = model->engine;
	return load_layers(&l, model);
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

		for (size_t j = 0; block->resnets && j < block->n_resnets; j++)
			release_resnet(engine, &block->resnets[j]);
		free(block->resnets);
		engine->ops->conv_free(engine, block->resample);
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

/*
 * The networks are sequences, written here as PyTorch's Sequential numbers them, a letter a module (tiny_model.h).
 * diffusers leaves the decoder's first module out of its numbers.
 */
#include "vae/tiny_model.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"

#include <stdio.h>
#include <string.h>

enum { CHANNELS_MOST = 4096 };

static const struct tiny_network networks[] = {
    {VAE_ENCODER, "cbdbbbdbbbdbbbc", 8},
    {VAE_ENCODER, "DrDrbdbbbdbbbdbbbc", 32},
    {VAE_DECODER, "tcrbbbunbbbunbbbunbc", 8},
};

struct loader {
	struct tiny_model *model;
	struct tiny_weights *weights;
	struct error *err;
};

/* The convolution @name of that shape; without bias it has zeros. */
static int load_conv(const struct loader *l, const char *name, const struct conv_shape *s,
		     bool bias, struct vae_conv **out)
{
	size_t shape[4] = {s->out, s->in, s->kernel, s->kernel};
	cleanup_free float *weight = NULL, *values = NULL;
	char full[TINY_NAME_SIZE];

	snprintf(full, sizeof(full), "%s.weight", name);
	if (tiny_weights_read(l->weights, full, 4, shape, &weight, l->err) < 0)
		return -1;
	snprintf(full, sizeof(full), "%s.bias", name);
	if (bias && tiny_weights_read(l->weights, full, 1, shape, &values, l->err) < 0)
		return -1;
	if (!bias)
		values = xcalloc(s->out, sizeof(*values));
	return l->model->engine->ops->conv_new(l->model->engine, s, weight, values, out, l->err);
}

static int load_pool(const struct loader *l, size_t index, struct tiny_module *m)
{
	const struct conv_shape in = {TINY_WIDTH, TINY_POOL_WIDTH, 1, 1, 0, 0};
	const struct conv_shape out = {TINY_POOL_WIDTH, TINY_WIDTH, 1, 1, 0, 0};
	const size_t channels = TINY_POOL_WIDTH;
	char name[TINY_NAME_SIZE];

	snprintf(name, sizeof(name), "%zu.pool.0", index);
	if (load_conv(l, name, &in, false, &m->pool_in) < 0)
		return -1;
	snprintf(name, sizeof(name), "%zu.pool.1.weight", index);
	if (tiny_weights_read(l->weights, name, 1, &channels, &m->norm_weight, l->err) < 0)
		return -1;
	snprintf(name, sizeof(name), "%zu.pool.1.bias", index);
	if (tiny_weights_read(l->weights, name, 1, &channels, &m->norm_bias, l->err) < 0)
		return -1;
	snprintf(name, sizeof(name), "%zu.pool.3", index);
	return load_conv(l, name, &out, false, &m->pool_out);
}

/* Whether maps at module @index have at most 1/8 of each side: only there is memory for a pool. */
static bool is_small(const char *modules, size_t index)
{
	size_t halved = 0;

	for (size_t i = 0; i < index; i++)
		halved += modules[i] == 'd' || modules[i] == 'D';
	for (size_t i = index; modules[i]; i++)
		halved += modules[i] == 'u';
	return halved >= 3;
}

static int load_block(const struct loader *l, size_t index, struct tiny_module *m)
{
	const struct conv_shape s = {TINY_WIDTH, TINY_WIDTH, 3, 1, 1, 1};
	char name[TINY_NAME_SIZE];

	for (size_t i = 0; i < TINY_CONVS; i++) {
		snprintf(name, sizeof(name), "%zu.conv.%zu", index, 2 * i);
		if (load_conv(l, name, &s, true, &m->convs[i]) < 0)
			return -1;
	}
	snprintf(name, sizeof(name), "%zu.pool.0.weight", index);
	if (!tiny_weights_has(l->weights, name))
		return 0;
	if (!is_small(l->model->network->modules, index))
		return error_set(l->err, ERR_CONFIG,
				 "%s: block %zu of the %s has a pool, where no AutoencoderTiny has "
				 "one",
				 tiny_weights_name(l->weights), index,
				 vae_part_name(l->model->network->part));
	return load_pool(l, index, m);
}

/* Channels into and out of module @index: those of the image and the latent at the ends, and of TAESANA's first. */
static struct conv_shape shape_of(const struct tiny_model *m, size_t index)
{
	const char *modules = m->network->modules;
	bool encoder = m->network->part == VAE_ENCODER, down = strchr("dD", modules[index]);
	size_t first = encoder ? 0 : 1;
	struct conv_shape s = {TINY_WIDTH, TINY_WIDTH, 3, down ? 2 : 1, 1, 1};

	if (index == first)
		s.in = encoder ? 3 : m->latent_channels;
	if (modules[first] == 'D' && index == first)
		s.out = TINY_WIDTH / 2;
	if (modules[first] == 'D' && index == first + 2)
		s.in = TINY_WIDTH / 2;
	if (index == m->n_modules - 1)
		s.out = encoder ? m->latent_channels : 3;
	return s;
}

static int load_module(const struct loader *l, size_t index)
{
	struct tiny_module *m = &l->model->modules[index];
	struct conv_shape s = shape_of(l->model, index);
	char name[TINY_NAME_SIZE];

	m->kind = l->model->network->modules[index];
	snprintf(name, sizeof(name), "%zu", index);
	if (m->kind == 'b')
		return load_block(l, index, m);
	if (!strchr("cdDn", m->kind))
		return 0;
	return load_conv(l, name, &s, m->kind == 'c' || m->kind == 'D', &m->convs[0]);
}

int tiny_network_find(const struct tiny_weights *weights, enum vae_part part,
		      const struct tiny_network **network, size_t *channels, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
		bool encoder = networks[i].part == VAE_ENCODER;
		size_t last = strlen(networks[i].modules) - 1, found;
		char name[TINY_NAME_SIZE];

		snprintf(name, sizeof(name), "%zu.weight", encoder ? last : 1);
		found = tiny_weights_side(weights, name, encoder ? 0 : 1);
		if (networks[i].part != part || found == 0 || found > CHANNELS_MOST)
			continue;
		*network = &networks[i];
		*channels = found;
		return 0;
	}
	return error_set(err, ERR_CONFIG, "%s: it is no AutoencoderTiny with a known %s",
			 tiny_weights_name(weights), vae_part_name(part));
}

int tiny_model_load(struct tiny_model *model, struct tiny_weights *weights, enum vae_part part,
		    const struct vae_engine_ops *engine, size_t threads, struct error *err)
{
	const struct loader l = {model, weights, err};

	if (tiny_network_find(weights, part, &model->network, &model->latent_channels, err) < 0 ||
	    engine->open(threads, &model->engine, err) < 0)
		return -1;
	model->n_modules = strlen(model->network->modules);
	model->modules = xcalloc(model->n_modules, sizeof(*model->modules));
	for (size_t i = 0; i < model->n_modules; i++) {
		if (load_module(&l, i) < 0)
			return -1;
	}
	if (tiny_weights_check_rest(weights, err) < 0)
		return -1;
	tiny_weights_hash(weights, &model->hash);
	return 0;
}

void tiny_model_release(struct tiny_model *model)
{
	struct vae_engine *engine = model->engine;

	for (size_t i = 0; model->modules && i < model->n_modules; i++) {
		struct tiny_module *m = &model->modules[i];

		for (size_t j = 0; j < ARRAY_SIZE(m->convs); j++)
			engine->ops->conv_free(engine, m->convs[j]);
		engine->ops->conv_free(engine, m->pool_in);
		engine->ops->conv_free(engine, m->pool_out);
		free(m->norm_weight);
		free(m->norm_bias);
	}
	if (engine)
		engine->ops->close(engine);
	free(model->modules);
}

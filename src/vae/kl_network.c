#include "vae/kl_network.h"

#include "base/checked.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

enum { ALIGNMENT = 64 };

int kl_network_load(struct kl_network *network, struct vae_model *model, enum vae_part part,
		    const struct vae_engine_ops *engine, size_t threads, struct error *err)
{
	network->limit = SIZE_MAX;
	if (!model->weights)
		return error_set(err, ERR_CONFIG, "%s: expected an AutoencoderKL",
				 vae_model_name(model));
	if (kl_model_load(&network->model, part, &model->config, engine, threads, model->weights,
			  err) < 0 ||
	    kl_weights_check_rest(model->weights, part, err) < 0)
		return -1;
	return kl_weights_hash(model->weights, part, &network->hash, err);
}

void kl_network_release(struct kl_network *network)
{
	kl_model_release(&network->model);
	free(network->arena);
}

/* -- memory -------------------------------------------------------------------------------------- */

/* With the engine's scratch; SIZE_MAX where that overflows. */
static size_t plan_bytes(const struct kl_network *n, const struct kl_plan *plan)
{
	const struct vae_config *c = &n->model.config;
	const size_t *channels = vae_config_channels(c, n->model.part);
	size_t scale = vae_config_downscale(c), attention = 0, bytes, widest = channels[0];
	size_t height = plan->height, width = plan->width;

	if (n->model.part == VAE_DECODER) {
		height *= scale;
		width *= scale;
		if (c->blocks > 1 && channels[1] > widest) /* what was upsampled */
			widest = channels[1];
	}
	if (c->mid_block_add_attention)
		attention = channels[c->blocks - 1];
	bytes = n->model.engine->ops->scratch_bytes(n->model.engine, height, width, widest,
						    height / scale * (width / scale), attention);
	return size_add(bytes, plan->floats * sizeof(float), &bytes) ? bytes : SIZE_MAX;
}

/* Whole maps if they may be that large. False where sizes overflow. */
static bool choose_plan(const struct kl_network *n, size_t height, size_t width,
			struct kl_plan *plan)
{
	const struct vae_config *c = &n->model.config;

	if (!kl_plan_make(c, n->model.part, height, width, n->band > 0, n->band, plan))
		return false;
	if (plan_bytes(n, plan) <= n->limit)
		return true;
	return kl_plan_make(c, n->model.part, height, width, true, n->band, plan);
}

size_t kl_network_memory(const struct kl_network *network, size_t height, size_t width)
{
	struct kl_plan plan;

	return choose_plan(network, height, width, &plan) ? plan_bytes(network, &plan) : SIZE_MAX;
}

void kl_network_limit_memory(struct kl_network *network, size_t bytes)
{
	network->limit = vae_engine_limit_memory(network->model.engine, bytes);
}

size_t kl_network_held(const struct kl_network *network)
{
	return vae_engine_held(network->model.engine);
}

size_t kl_network_in_use(const struct kl_network *network)
{
	return kl_network_held(network) + network->arena_floats * sizeof(float);
}

void kl_network_rest(struct kl_network *network)
{
	free(network->arena);
	network->arena = NULL;
	network->arena_floats = 0;
}

static int want_arena(struct kl_network *n, size_t floats, struct error *err)
{
	float *fresh;

	if (floats <= n->arena_floats)
		return 0;
	/* the old one goes first: two of them would be more than kl_network_memory says */
	kl_network_rest(n);
	fresh = aligned_alloc(ALIGNMENT,
			      (floats * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
	if (!fresh)
		return error_set(err, ERR_NOMEM, "no memory for %zu bytes of activations",
				 floats * sizeof(float));
	n->arena = fresh;
	n->arena_floats = floats;
	return 0;
}

int kl_network_begin(struct kl_network *network, size_t height, size_t width, const char *verb,
		     struct kl_plan *plan, struct error *err)
{
	const struct kl_model *m = &network->model;
	size_t scale = m->part == VAE_ENCODER ? 1 : vae_config_downscale(&m->config);

	if (!choose_plan(network, height, width, plan))
		return error_set(err, ERR_NOMEM, "%zux%zu pixels are too many", width * scale,
				 height * scale);
	if (plan_bytes(network, plan) > network->limit)
		return error_data(err, "too_large",
				  "%zux%zu pixels take %zu MiB to %s, %zu MiB are allowed",
				  width * scale, height * scale, plan_bytes(network, plan) >> 20,
				  verb, network->limit >> 20);
	return want_arena(network, plan->floats, err);
}

int kl_network_check_finite(const float *x, size_t n, const char *what, struct error *err)
{
	size_t bad = 0;

	for (size_t i = 0; i < n; i++)
		bad += !isfinite(x[i]);
	if (bad)
		return error_data(err, "non_finite", "%zu of %zu %s are NaN or infinite", bad, n,
				  what);
	return 0;
}

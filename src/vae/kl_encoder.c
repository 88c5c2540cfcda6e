/* The way in and out of the graph (kl_forward.c), and the memory that its maps get. */
#include "vae/kl_encoder.h"

#include "base/checked.h"
#include "vae/kl_forward.h"
#include "vae/kl_model.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 64 };

struct kl_encoder {
	struct kl_model model;
	struct sha256 hash;
	float *arena;
	size_t arena_floats;
	size_t limit; /* bytes of activations */
	size_t band;  /* rows; 0: as the limit demands */
};

/* -- load ---------------------------------------------------------------------------------------- */

struct kl_encoder *kl_encoder_load_model(struct vae_model *model,
					 const struct vae_engine_ops *engine, size_t threads,
					 struct error *err)
{
	struct kl_encoder *vae = xcalloc(1, sizeof(*vae));

	vae->limit = SIZE_MAX;
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

/* With the engine's scratch; SIZE_MAX where that overflows. */
static size_t plan_bytes(const struct kl_encoder *vae, const struct kl_plan *plan)
{
	const struct vae_config *c = &vae->model.config;
	size_t latent_height, latent_width, attention = 0, bytes;

	kl_encoder_latent_size(vae, plan->height, plan->width, &latent_height, &latent_width);
	if (c->mid_block_add_attention)
		attention = c->block_out_channels[c->blocks - 1];
	bytes = vae->model.engine->ops->scratch_bytes(vae->model.engine, plan->height, plan->width,
						      c->block_out_channels[0],
						      latent_height * latent_width, attention);
	return size_add(bytes, plan->floats * sizeof(float), &bytes) ? bytes : SIZE_MAX;
}

/* Whole maps if they may be that large. False where sizes overflow. */
static bool choose_plan(const struct kl_encoder *vae, size_t height, size_t width,
			struct kl_plan *plan)
{
	const struct vae_config *c = &vae->model.config;

	if (!kl_plan_make(c, height, width, vae->band > 0, vae->band, plan))
		return false;
	if (plan_bytes(vae, plan) <= vae->limit)
		return true;
	return kl_plan_make(c, height, width, true, vae->band, plan);
}

size_t kl_encoder_memory(const struct kl_encoder *vae, size_t height, size_t width)
{
	struct kl_plan plan;

	return choose_plan(vae, height, width, &plan) ? plan_bytes(vae, &plan) : SIZE_MAX;
}

void kl_encoder_limit_memory(struct kl_encoder *vae, size_t bytes)
{
	struct vae_engine *engine = vae->model.engine;
	size_t copies = engine->copy_bytes < bytes / 4 ? engine->copy_bytes : bytes / 4;

	engine->weight_room = copies;
	bytes -= copies;
	vae->limit = bytes > engine->weight_bytes ? bytes - engine->weight_bytes : 0;
}

void kl_encoder_use_bands(struct kl_encoder *vae, size_t rows)
{
	vae->band = rows;
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
	fresh = aligned_alloc(ALIGNMENT,
			      (floats * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
	if (!fresh)
		return error_set(err, ERR_NOMEM, "no memory for %zu bytes of activations",
				 floats * sizeof(float));
	vae->arena = fresh;
	vae->arena_floats = floats;
	return 0;
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
	size_t channels = 2 * vae->model.config.latent_channels, latent_height, latent_width;
	const float *result = NULL;
	struct kl_plan plan;
	size_t tokens;

	kl_encoder_latent_size(vae, height, width, &latent_height, &latent_width);
	tokens = latent_height * latent_width;
	if (tokens == 0)
		return error_data(err, "too_small", "%zux%zu pixels give no latent", width, height);
	if (!choose_plan(vae, height, width, &plan))
		return error_set(err, ERR_NOMEM, "%zux%zu pixels are too many", width, height);
	if (plan_bytes(vae, &plan) > vae->limit)
		return error_data(err, "too_large",
				  "%zux%zu pixels take %zu MiB to encode, %zu MiB are allowed",
				  width, height, plan_bytes(vae, &plan) >> 20, vae->limit >> 20);
	if (want_arena(vae, plan.floats, err) < 0 ||
	    kl_forward(&vae->model, &plan, vae->arena, pixels, hooks ? hooks : &no_hooks, &result,
		       err) < 0 ||
	    check_finite(result, tokens * channels, err) < 0)
		return -1;
	for (size_t i = 0; i < channels; i++)
		for (size_t t = 0; t < tokens; t++)
			moments[i * tokens + t] = result[t * channels + i];
	return 0;
}

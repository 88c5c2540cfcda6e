/* The way in and out of the graph (kl_backward.c). */
#include "vae/kl_decoder.h"

#include "base/checked.h"
#include "vae/kl_backward.h"
#include "vae/kl_network.h"

#include <string.h>

struct kl_decoder {
	struct kl_network network;
	float *latent; /* [h][w][C], what goes into the graph */
	size_t latent_floats;
};

struct kl_decoder *kl_decoder_load_model(struct vae_model *model,
					 const struct vae_engine_ops *engine, size_t threads,
					 struct error *err)
{
	struct kl_decoder *vae = xcalloc(1, sizeof(*vae));

	if (kl_network_load(&vae->network, model, VAE_DECODER, engine, threads, err) < 0) {
		kl_decoder_free(vae);
		return NULL;
	}
	return vae;
}

struct kl_decoder *kl_decoder_load(const char *path, const struct vae_engine_ops *engine,
				   size_t threads, struct error *err)
{
	struct vae_model *model = vae_model_open(path, NULL, err);
	struct kl_decoder *vae = NULL;

	if (model)
		vae = kl_decoder_load_model(model, engine, threads, err);
	vae_model_close(model);
	return vae;
}

void kl_decoder_free(struct kl_decoder *vae)
{
	if (!vae)
		return;
	kl_network_release(&vae->network);
	free(vae->latent);
	free(vae);
}

const struct vae_config *kl_decoder_config(const struct kl_decoder *vae)
{
	return &vae->network.model.config;
}

const struct sha256 *kl_decoder_weights_hash(const struct kl_decoder *vae)
{
	return &vae->network.hash;
}

size_t kl_decoder_memory(const struct kl_decoder *vae, size_t height, size_t width)
{
	return kl_network_memory(&vae->network, height, width);
}

void kl_decoder_limit_memory(struct kl_decoder *vae, size_t bytes)
{
	kl_network_limit_memory(&vae->network, bytes);
}

size_t kl_decoder_held(const struct kl_decoder *vae)
{
	return kl_network_held(&vae->network);
}

size_t kl_decoder_in_use(const struct kl_decoder *vae)
{
	return kl_network_in_use(&vae->network);
}

void kl_decoder_rest(struct kl_decoder *vae)
{
	kl_network_rest(&vae->network);
	free(vae->latent);
	vae->latent = NULL;
	vae->latent_floats = 0;
}

void kl_decoder_use_bands(struct kl_decoder *vae, size_t rows)
{
	vae->network.band = rows;
}

/* Turns [C][h][w] into [h][w][C]. */
static int take_latent(struct kl_decoder *vae, const float *latent, size_t tokens,
		       struct error *err)
{
	size_t channels = vae->network.model.config.latent_channels;

	if (tokens * channels > vae->latent_floats) {
		free(vae->latent);
		vae->latent_floats = 0;
		vae->latent = malloc(tokens * channels * sizeof(float));
		if (!vae->latent)
			return error_set(err, ERR_NOMEM, "no memory for a latent of %zu numbers",
					 tokens * channels);
		vae->latent_floats = tokens * channels;
	}
	for (size_t i = 0; i < channels; i++)
		for (size_t t = 0; t < tokens; t++)
			vae->latent[t * channels + i] = latent[i * tokens + t];
	return 0;
}

int kl_decoder_decode(struct kl_decoder *vae, const float *latent, size_t height, size_t width,
		      float *pixels, const struct kl_hooks *hooks, struct error *err)
{
	static const struct kl_hooks no_hooks;
	struct kl_network *n = &vae->network;
	size_t scale = vae_config_downscale(&n->model.config);
	const float *result = NULL;
	struct kl_plan plan;
	size_t values;

	if (height == 0 || width == 0)
		return error_data(err, "too_small", "a latent of %zux%zu has no pixels", width,
				  height);
	if (kl_network_begin(n, height, width, "decode", &plan, err) < 0 ||
	    take_latent(vae, latent, height * width, err) < 0 ||
	    kl_backward(&n->model, &plan, n->arena, vae->latent, hooks ? hooks : &no_hooks, &result,
			err) < 0)
		return -1;
	values = height * scale * width * scale * n->model.config.in_channels;
	if (kl_network_check_finite(result, values, "pixel values", err) < 0)
		return -1;
	memcpy(pixels, result, values * sizeof(float));
	return 0;
}

/* The way in and out of the graph (kl_forward.c). */
#include "vae/kl_encoder.h"

#include "base/checked.h"
#include "vae/kl_forward.h"
#include "vae/kl_network.h"

struct kl_encoder {
	struct kl_network network;
};

/* -- load ---------------------------------------------------------------------------------------- */

struct kl_encoder *kl_encoder_load_model(struct vae_model *model,
					 const struct vae_engine_ops *engine, size_t threads,
					 struct error *err)
{
	struct kl_encoder *vae = xcalloc(1, sizeof(*vae));

	if (kl_network_load(&vae->network, model, VAE_ENCODER, engine, threads, err) < 0) {
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
	kl_network_release(&vae->network);
	free(vae);
}

const struct vae_config *kl_encoder_config(const struct kl_encoder *vae)
{
	return &vae->network.model.config;
}

const struct sha256 *kl_encoder_weights_hash(const struct kl_encoder *vae)
{
	return &vae->network.hash;
}

/* -- sizes --------------------------------------------------------------------------------------- */

void kl_encoder_latent_size(const struct kl_encoder *vae, size_t height, size_t width,
			    size_t *latent_height, size_t *latent_width)
{
	*latent_height = height / vae_config_downscale(&vae->network.model.config);
	*latent_width = width / vae_config_downscale(&vae->network.model.config);
}

size_t kl_encoder_memory(const struct kl_encoder *vae, size_t height, size_t width)
{
	return kl_network_memory(&vae->network, height, width);
}

void kl_encoder_limit_memory(struct kl_encoder *vae, size_t bytes)
{
	kl_network_limit_memory(&vae->network, bytes);
}

size_t kl_encoder_in_use(const struct kl_encoder *vae)
{
	return kl_network_in_use(&vae->network);
}

void kl_encoder_rest(struct kl_encoder *vae)
{
	kl_network_rest(&vae->network);
}

void kl_encoder_use_bands(struct kl_encoder *vae, size_t rows)
{
	vae->network.band = rows;
}

/* -- encode -------------------------------------------------------------------------------------- */

int kl_encoder_encode(struct kl_encoder *vae, const float *pixels, size_t height, size_t width,
		      float *moments, const struct kl_hooks *hooks, struct error *err)
{
	static const struct kl_hooks no_hooks;
	struct kl_network *n = &vae->network;
	size_t channels = 2 * n->model.config.latent_channels, latent_height, latent_width;
	const float *result = NULL;
	struct kl_plan plan;
	size_t tokens;

	kl_encoder_latent_size(vae, height, width, &latent_height, &latent_width);
	tokens = latent_height * latent_width;
	if (tokens == 0)
		return error_data(err, "too_small", "%zux%zu pixels give no latent", width, height);
	if (kl_network_begin(n, height, width, "encode", &plan, err) < 0 ||
	    kl_forward(&n->model, &plan, n->arena, pixels, hooks ? hooks : &no_hooks, &result,
		       err) < 0 ||
	    kl_network_check_finite(result, tokens * channels, "moments", err) < 0)
		return -1;
	for (size_t i = 0; i < channels; i++)
		for (size_t t = 0; t < tokens; t++)
			moments[i * tokens + t] = result[t * channels + i];
	return 0;
}

#include "vae/vae_encoder.h"

#include "base/checked.h"
#include "vae/kl_encoder.h"
#include "vae/kl_tiles.h"
#include "vae/tiny_vae.h"

struct vae_encoder {
	struct vae_config config;
	struct kl_encoder *kl; /* one of the two */
	struct tiny_vae *tiny;
};

struct vae_encoder *vae_encoder_load(struct vae_model *model, const struct vae_engine_ops *engine,
				     size_t threads, struct error *err)
{
	struct vae_encoder *vae = xcalloc(1, sizeof(*vae));

	vae->config = model->config;
	if (model->tiny)
		vae->tiny = tiny_vae_load_weights(model->tiny, VAE_ENCODER, engine, threads, err);
	else
		vae->kl = kl_encoder_load_model(model, engine, threads, err);
	if (!vae->kl && !vae->tiny) {
		free(vae);
		return NULL;
	}
	return vae;
}

void vae_encoder_free(struct vae_encoder *vae)
{
	if (!vae)
		return;
	kl_encoder_free(vae->kl);
	tiny_vae_free(vae->tiny);
	free(vae);
}

const struct vae_config *vae_encoder_config(const struct vae_encoder *vae)
{
	return &vae->config;
}

const struct sha256 *vae_encoder_weights_hash(const struct vae_encoder *vae)
{
	return vae->tiny ? tiny_vae_weights_hash(vae->tiny) : kl_encoder_weights_hash(vae->kl);
}

size_t vae_encoder_memory(const struct vae_encoder *vae, size_t height, size_t width)
{
	return vae->tiny ? tiny_vae_memory(vae->tiny, height, width)
			 : kl_encoder_memory(vae->kl, height, width);
}

void vae_encoder_limit_memory(struct vae_encoder *vae, size_t bytes)
{
	if (vae->tiny)
		tiny_vae_limit_memory(vae->tiny, bytes);
	else
		kl_encoder_limit_memory(vae->kl, bytes);
}

size_t vae_encoder_in_use(const struct vae_encoder *vae)
{
	return vae->tiny ? tiny_vae_in_use(vae->tiny) : kl_encoder_in_use(vae->kl);
}

void vae_encoder_rest(struct vae_encoder *vae)
{
	if (vae->tiny)
		tiny_vae_rest(vae->tiny);
	else
		kl_encoder_rest(vae->kl);
}

int vae_encoder_encode(struct vae_encoder *vae, size_t tile, const float *pixels, size_t height,
		       size_t width, float *moments, const struct kl_hooks *hooks,
		       struct error *err)
{
	if (vae->tiny)
		return tiny_vae_encode(vae->tiny, pixels, height, width, moments,
				       hooks ? &hooks->step : NULL, err);
	if (tile > 0)
		return kl_tiles_encode(vae->kl, tile, pixels, height, width, moments, hooks, err);
	return kl_encoder_encode(vae->kl, pixels, height, width, moments, hooks, err);
}

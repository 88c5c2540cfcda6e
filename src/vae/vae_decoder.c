#include "vae/vae_decoder.h"

#include "base/checked.h"
#include "vae/kl_decoder.h"
#include "vae/tiny_vae.h"

struct vae_decoder {
	struct kl_decoder *kl; /* one of the two */
	struct tiny_vae *tiny;
};

bool vae_decoder_exists(const struct vae_model *model)
{
	struct error ignored = ERROR_INIT;
	struct tiny_weights *tiny = NULL;
	bool there;

	if (!model->tiny)
		return kl_weights_find(model->weights, "decoder.conv_in.weight") != NULL;
	tiny = tiny_weights_open(model->weights_path, VAE_DECODER, &ignored);
	there = tiny != NULL;
	tiny_weights_close(tiny);
	return there;
}

struct vae_decoder *vae_decoder_load(struct vae_model *model, const struct vae_engine_ops *engine,
				     size_t threads, struct error *err)
{
	struct vae_decoder *vae = xcalloc(1, sizeof(*vae));

	if (model->tiny)
		vae->tiny = tiny_vae_load(model->weights_path, VAE_DECODER, engine, threads, err);
	else
		vae->kl = kl_decoder_load_model(model, engine, threads, err);
	if (!vae->kl && !vae->tiny) {
		free(vae);
		return NULL;
	}
	return vae;
}

void vae_decoder_free(struct vae_decoder *vae)
{
	if (!vae)
		return;
	kl_decoder_free(vae->kl);
	tiny_vae_free(vae->tiny);
	free(vae);
}

void vae_decoder_limit_memory(struct vae_decoder *vae, size_t bytes)
{
	if (vae->tiny)
		tiny_vae_limit_memory(vae->tiny, bytes);
	else
		kl_decoder_limit_memory(vae->kl, bytes);
}

size_t vae_decoder_held(const struct vae_decoder *vae)
{
	return vae->tiny ? tiny_vae_held(vae->tiny) : kl_decoder_held(vae->kl);
}

size_t vae_decoder_in_use(const struct vae_decoder *vae)
{
	return vae->tiny ? tiny_vae_in_use(vae->tiny) : kl_decoder_in_use(vae->kl);
}

void vae_decoder_rest(struct vae_decoder *vae)
{
	if (vae->tiny)
		tiny_vae_rest(vae->tiny);
	else
		kl_decoder_rest(vae->kl);
}

int vae_decoder_decode(struct vae_decoder *vae, const float *latent, size_t height, size_t width,
		       float *pixels, const struct kl_hooks *hooks, struct error *err)
{
	if (vae->tiny)
		return tiny_vae_decode(vae->tiny, latent, height, width, pixels,
				       hooks ? &hooks->step : NULL, err);
	return kl_decoder_decode(vae->kl, latent, height, width, pixels, hooks, err);
}

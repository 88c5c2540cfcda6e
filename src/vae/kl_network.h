/*
 * What kl_encoder and kl_decoder are inside: the layers of one part of an AutoencoderKL, and the memory in which the
 * maps of one image at a time are.
 */
#ifndef LATENTD_VAE_KL_NETWORK_H
#define LATENTD_VAE_KL_NETWORK_H

#include "base/hash.h"
#include "vae/kl_graph.h"
#include "vae/vae_model.h"

struct kl_network {
	struct kl_model model;
	struct sha256 hash; /* of the part's weights */
	float *arena;
	size_t arena_floats;
	size_t limit; /* bytes of activations */
	size_t band;  /* rows; 0: as the limit demands */
};

/* Errors as those of kl_encoder_load(). @network must be zeroed; on failure it may be released. */
int kl_network_load(struct kl_network *network, struct vae_model *model, enum vae_part part,
		    const struct vae_engine_ops *engine, size_t threads, struct error *err);
void kl_network_release(struct kl_network *network);

/* As kl_encoder_memory(), kl_encoder_limit_memory(); @height, @width: of what goes in. */
size_t kl_network_memory(const struct kl_network *network, size_t height, size_t width);
void kl_network_limit_memory(struct kl_network *network, size_t bytes);

/* Bytes of weights, and of copies of them as the limit allows. */
size_t kl_network_held(const struct kl_network *network);
/* That, and of the maps that it has now. */
size_t kl_network_in_use(const struct kl_network *network);
/* The memory of maps goes back to the system, until the next run. */
void kl_network_rest(struct kl_network *network);

/*
 * The plan for something of that size, and room for it in network->arena. ERR_NOMEM, or ERR_DATA `too_large`; @verb:
 * "encode" for messages, which are of the image.
 */
int kl_network_begin(struct kl_network *network, size_t height, size_t width, const char *verb,
		     struct kl_plan *plan, struct error *err);

/* ERR_DATA `non_finite` where one of the @n @what ("moments") is NaN or infinite. */
int kl_network_check_finite(const float *x, size_t n, const char *what, struct error *err);

#endif

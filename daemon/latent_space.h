/*
 * What a stored latent's numbers mean: which encoder made them, and how they become what a decoder or a model takes.
 * From KEY.json, docs/FORMAT.md section 4; or from a VAE's config, for latents that are in no shard.
 */
#ifndef LATENTD_DAEMON_LATENT_SPACE_H
#define LATENTD_DAEMON_LATENT_SPACE_H

#include "daemon/record_facts.h"

struct latent_space {
	bool weights_known;
	struct sha256 weights; /* of the encoder */
	bool scaled, moments;
	size_t tile; /* pixels of diffusers' tiles, kl_tiles.h; 0: it was encoded whole */
	struct vae_config
	    vae; /* only what describes latents: channels, factors, statistics, patches */
};

/* ERR_DATA `record`: what KEY.json of @record says of its latent is not of version 1. */
int latent_space_read(const struct record *record, const struct record_facts *facts,
		      struct latent_space *out, struct error *err);
/*
 * All that is to be known of the latent of @record: facts, space and raw values. Everything is checked, also that it has
 * the size that a VAE with @downscale makes of the record's target (0: any).
 */
int latent_space_open(const struct record *record, size_t downscale, struct record_facts *facts,
		      struct latent_space *space, struct ndarray *raw, struct error *err);
/* Of unscaled latents of that model. */
void latent_space_of(const struct vae_config *config, struct latent_space *out);

/*
 * The latent [C][h][w] that the encoder gave (of moments the mean), in float32, of @stored, float16 or float32 as a shard
 * has it.
 */
int latent_space_raw(const struct latent_space *space, const struct ndarray *stored,
		     struct ndarray *out, struct error *err);
/* In place, of float32 values that are scaled: back to what the encoder gave. */
void latent_space_unscale(const struct latent_space *space, struct ndarray *latent);
/* From that to what a model is trained on, in place; of FLUX.2 with the normalised patches back in their places. */
void latent_space_normalise(const struct latent_space *space, struct ndarray *raw);

/* One line that says in what the factors of both differ, to be freed; NULL: in nothing. */
char *latent_space_difference(const struct latent_space *stored, const struct vae_config *model);

#endif

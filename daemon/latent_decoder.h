/*
 * Latents back to pictures, on this machine.
 *
 *	latent_decoder_open(&options, &decoder, err)
 *	latent_decoder_check(decoder, key, &space, err)          of each latent that comes from somewhere
 *	latent_decoder_decode(decoder, &space, &raw, &image, err)
 *	latent_decoder_close(decoder)
 */
#ifndef LATENTD_DAEMON_LATENT_DECODER_H
#define LATENTD_DAEMON_LATENT_DECODER_H

#include "daemon/latent_space.h"
#include "daemon/vae_choice.h"

struct latent_decoder_options {
	const char *
	    vae; /* as vae_locate.h says; or an AutoencoderTiny (tiny_vae.h), for its channels a preview of any model */
	const struct vae_options *vae_options;
	size_t threads; /* 0: all cores */
	size_t memory;	/* kl_decoder_limit_memory(); 0: memory_allowed() / 2 */
	bool encoder;	/* for latent_decoder_encode() */
	bool factors; /* what tells no scaling and shift is refused: for latents without a record */
};

struct latent_decoder;

/* ERR_CONFIG: no such model, or one without a decoder. */
int latent_decoder_open(const struct latent_decoder_options *options, struct latent_decoder **out,
			struct error *err);
void latent_decoder_close(struct latent_decoder *decoder);

/* NULL of an AutoencoderTiny whose encoder was not wanted. */
const struct vae_config *latent_decoder_config(const struct latent_decoder *decoder);
/* Whose numbers it has (vae_choice.h); NULL: of none, or none that is known. */
const struct vae_preset *latent_decoder_preset(const struct latent_decoder *decoder);
/* Of latents; pixels of a latent along one axis. */
size_t latent_decoder_channels(const struct latent_decoder *decoder);
size_t latent_decoder_downscale(const struct latent_decoder *decoder);

/*
 * ERR_CONFIG where the latent of @key is of another model than the decoder: of other channels, or by the hash of the
 * encoder that stands beside the decoder. An AutoencoderTiny whose encoder was not wanted takes all that have its channels.
 */
int latent_decoder_check(const struct latent_decoder *decoder, const char *key,
			 const struct latent_space *space, struct error *err);

/*
 * The mean of what the model's own encoder makes of @image, in the tiles of @space, as latent_space_raw() has it. ERR_DATA
 * `record`: the model has no such tiles.
 */
int latent_decoder_encode(struct latent_decoder *decoder, const struct latent_space *space,
			  const struct image *image, struct ndarray *raw, struct error *err);
/* @raw: as latent_space_raw() gives it. ERR_DATA `non_finite`, `too_large`. */
int latent_decoder_decode(struct latent_decoder *decoder, const struct latent_space *space,
			  const struct ndarray *raw, struct image *out, struct error *err);

#endif

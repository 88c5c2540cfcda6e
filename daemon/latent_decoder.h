/*
 * Latents back to pictures, on this machine's processor or a GPU of it, or on an endpoint (remote_vae.h).
 *
 *	latent_decoder_open(&options, &decoder, err)
 *	latent_decoder_check(decoder, key, &space, err)          of each latent that comes from somewhere
 *	latent_decoder_decode(decoder, &space, &raw, &image, err)
 *	latent_decoder_close(decoder)
 */
#ifndef LATENTD_DAEMON_LATENT_DECODER_H
#define LATENTD_DAEMON_LATENT_DECODER_H

#include "config/read_options.h"
#include "daemon/latent_space.h"
#include "daemon/vae_choice.h"
#include "encoder/remote_vae.h"

struct latent_decoder_options {
	const char *
	    vae; /* as vae_locate.h says; or an AutoencoderTiny (tiny_vae.h), for its channels a preview of any model */
	const struct vae_options *vae_options;
	const char *device; /* as --device says it; NULL: the processor */
	size_t threads;	    /* 0: all cores */
	size_t memory;	    /* kl_decoder_limit_memory(); 0: memory_allowed() / 2 */
	bool encoder;	    /* for latent_decoder_encode() */
	const struct remote_vae_options *endpoint; /* in place of vae and all above; NULL: here */
	bool factors; /* what tells no scaling and shift is refused: for latents without a record */
};

struct latent_decoder;

/*
 * What --vae or --endpoint say, into @out; @endpoint is where those of an endpoint are kept. Neither: @out->vae is NULL.
 * ERR_CONFIG: both, or an endpoint that a token would reach unencrypted.
 */
int latent_decoder_options_of(const struct read_options *options,
			      struct remote_vae_options *endpoint,
			      struct latent_decoder_options *out, struct error *err);

/*
 * ERR_CONFIG: no such model, or one without a decoder. Where a GPU is wanted and does not compute it, the processor does,
 * and a line on standard error says why.
 */
int latent_decoder_open(const struct latent_decoder_options *options, struct latent_decoder **out,
			struct error *err);
void latent_decoder_close(struct latent_decoder *decoder);

/* NULL of an AutoencoderTiny whose encoder was not wanted, and of an endpoint that does not tell its model. */
const struct vae_config *latent_decoder_config(const struct latent_decoder *decoder);
/* Whose numbers it has (vae_choice.h); NULL: of none, or none that is known. */
const struct vae_preset *latent_decoder_preset(const struct latent_decoder *decoder);
/* Of latents; pixels of a latent along one axis. 0: an endpoint does not tell. */
size_t latent_decoder_channels(const struct latent_decoder *decoder);
size_t latent_decoder_downscale(const struct latent_decoder *decoder);
/* Whether latent_decoder_encode() can be asked: not an endpoint that does not tell its model. */
bool latent_decoder_encodes(const struct latent_decoder *decoder);

/*
 * ERR_CONFIG where the latent of @key is of another model than the decoder: of other channels, or by the hash of the
 * encoder that stands beside the decoder. An AutoencoderTiny whose encoder was not wanted takes all that have its channels.
 */
int latent_decoder_check(const struct latent_decoder *decoder, const char *key,
			 const struct latent_space *space, struct error *err);

/*
 * The mean of what the model's own encoder makes of @image, in the tiles of @space, as latent_space_raw() has it. ERR_DATA
 * `record`: the model, or the endpoint, has no such tiles.
 */
int latent_decoder_encode(struct latent_decoder *decoder, const struct latent_space *space,
			  const struct image *image, struct ndarray *raw, struct error *err);
/* @raw: as latent_space_raw() gives it. ERR_DATA `non_finite`, `too_large`; of an endpoint those of remote_vae.h too. */
int latent_decoder_decode(struct latent_decoder *decoder, const struct latent_space *space,
			  const struct ndarray *raw, struct image *out, struct error *err);

#endif

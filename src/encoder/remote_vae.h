/*
 * One endpoint that is asked one thing after another, each waited for: what a command needs of a VAE elsewhere. The daemon's
 * encoder is encoder_remote.h.
 *
 *	remote_vae_open(&options, &vae, err)          asks which model it has
 *	remote_vae_decode(vae, &latent, &pixels, &side, err)
 *	remote_vae_close(vae)
 *
 * What may work in a moment is tried again, after a pause that on_wait() is told. Errors: ERR_TRANSIENT where it did not work in all tries,
 * ERR_CONFIG where no request of ours will (a token, a certificate, an address), ERR_DATA `refused` of what the server
 * does not take. The message is a line with the server's words.
 */
#ifndef LATENTD_ENCODER_REMOTE_VAE_H
#define LATENTD_ENCODER_REMOTE_VAE_H

#include "base/ndarray.h"
#include "encoder/endpoint_model.h"

struct remote_vae;

struct remote_vae_options {
	struct endpoint_model_ask ask; /* timeout_ms: of every request */
	size_t retries;		       /* of a request, after its first try */
	/* Before a pause of @ms; @why: the server's words. May be NULL. */
	void (*on_wait)(int64_t ms, const char *why);
};

int remote_vae_open(const struct remote_vae_options *options, struct remote_vae **out,
		    struct error *err);
/* NULL is fine. */
void remote_vae_close(struct remote_vae *vae);

const struct endpoint_model *remote_vae_model(const struct remote_vae *vae);
/* Its address, as it may be shown. */
const char *remote_vae_name(const struct remote_vae *vae);

/*
 * @latent: float32 [C][h][w], as the decoder takes it. @pixels: becomes [h * side][w * side][3], to be freed; @side: pixels
 * of a latent along one axis, as the answer has it.
 */
int remote_vae_decode(struct remote_vae *vae, const struct ndarray *latent, uint8_t **pixels,
		      size_t *side, struct error *err);
/*
 * The mean of @pixels, [height][width][3], with sides that the model takes, into @latent, float32 [C][h][w]. Of a latentd
 * endpoint only, for its model is known.
 */
int remote_vae_encode(struct remote_vae *vae, const uint8_t *pixels, size_t height, size_t width,
		      struct ndarray *latent, struct error *err);

#endif

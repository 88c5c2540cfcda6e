/*
 * Latents back to pictures on a GPU, one after another, for commands. It computes in float32, as the processor does: the
 * same picture, whichever decodes.
 *
 *	if (gpu_decoder_open("cuda:1", vae, &vae_options, &gpu, &hash)) ... else the processor decodes ...
 *	gpu_decoder_picture(gpu, &raw, pixels, err)
 *	encoder_close(gpu)
 */
#ifndef LATENTD_DAEMON_GPU_DECODER_H
#define LATENTD_DAEMON_GPU_DECODER_H

#include "base/hash.h"
#include "config/vae_options.h"
#include "encoder/encoder.h"
#include "image/image.h"

/*
 * @device: as --device says it; NULL: the processor. @hash: of the model's encoder, which is opened too. False: the
 * processor, where that was asked for or, said in a line on standard error, where the GPU cannot compute the model.
 */
bool gpu_decoder_open(const char *device, const char *vae, const struct vae_options *options,
		      struct encoder **out, struct sha256 *hash);
/* Says in that line that the model at hand is an AutoencoderTiny, which no GPU computes. */
void gpu_decoder_tiny(const char *device);

/* As kl_decoder_decode(), of a latent [C][h][w]. */
int gpu_decoder_picture(struct encoder *gpu, const struct ndarray *raw, float *pixels,
			struct error *err);
/* The mean of what the model's encoder makes of @image. @tile: as struct encode_batch has it */
int gpu_decoder_mean(struct encoder *gpu, size_t tile, const struct image *image,
		     struct ndarray *raw, struct error *err);

#endif

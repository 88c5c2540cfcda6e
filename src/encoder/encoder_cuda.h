/*
 * The `cuda` encoder: an AutoencoderKL on an NVIDIA GPU, its decoder too where that is wanted, by the plugin latentd-cuda.so, which is loaded when the first
 * such encoder is opened. The plugin is looked for at $LATENTD_CUDA_PLUGIN, beside the program, in ../lib/latentd/
 * from there, and where the dynamic loader looks.
 */
#ifndef LATENTD_ENCODER_ENCODER_CUDA_H
#define LATENTD_ENCODER_ENCODER_CUDA_H

#include "encoder/cuda/latentd_cuda.h"
#include "encoder/encoder.h"
#include "vae/kl_encoder.h"

struct encoder_cuda_options {
	struct vae_model *model; /* open; may be closed once the encoder is */
	int device;		 /* as CUDA counts them */
	enum latentd_cuda_dtype precision;
	bool decoder;		 /* decodes too, where the model has a decoder */
	size_t memory;		 /* bytes of the GPU; 0: see below */
	unsigned memory_percent; /* of what is free of it; 0: 80 */
	const char *cache;	 /* file that remembers algorithms; NULL: none */
	double share;		 /* of the GPU's time; 0 or 1: all of it */
	bool pause_when_busy;
	bool tf32;	    /* of float32: multiplications may be rounded to TF32 */
	const char *plugin; /* NULL: looked for as above */
};

/*
 * ERR_CONFIG, whose message names cause and remedy: no plugin, or of another version; no driver, too old a one; no such
 * GPU, or too old for the plugin; a model that it cannot compute, or whose weights are more than it may take. ERR_NOMEM:
 * they do not fit now.
 *
 * An image that does not fit in any way is ERR_DATA, too_large. A GPU that is lost, or whose memory others have taken,
 * fails as a whole; one that is lost fails all that it gets from then on.
 */
int encoder_cuda_open(const struct encoder_cuda_options *options, struct encoder **out,
		      struct error *err);
/* Of what it encodes with; live as long as the encoder. */
const struct vae_config *encoder_cuda_config(const struct encoder *e);
const struct sha256 *encoder_cuda_weights_hash(const struct encoder *e);

/* GPUs that the plugin sees. ERR_CONFIG as above. */
int encoder_cuda_devices(const char *plugin, struct latentd_cuda_device *list, size_t max,
			 size_t *n, struct error *err);

#endif

/*
 * The `cpu` encoder: a VAE on this machine's processor, by the engine that vae_engine_choose()
 * gives. Pixels become x / 127.5 - 1, computed as diffusers does (x / 255, then 2x - 1).
 */
#ifndef LATENTD_ENCODER_ENCODER_CPU_H
#define LATENTD_ENCODER_ENCODER_CPU_H

#include "encoder/encoder.h"
#include "vae/vae_encoder.h"

struct encoder_cpu_options {
	struct vae_model *model; /* open; may be closed once the encoder is */
	enum vae_precision precision;
	bool decoder;	/* decodes too, where the model has a decoder */
	size_t threads; /* 0: all cores */
	size_t
	    memory; /* vae_encoder_limit_memory(); 0: half of what memory_allowed() leaves beside ... */
	size_t beside; /* ... what the process else has, bytes */
};

int encoder_cpu_open(const struct encoder_cpu_options *options, struct encoder **out,
		     struct error *err);
/* What it encodes with; lives as long as the encoder. */
const struct vae_encoder *encoder_cpu_vae(const struct encoder *e);

#endif

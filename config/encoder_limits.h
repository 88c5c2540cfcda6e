/* What an encoder on this machine may use. */
#ifndef LATENTD_CONFIG_ENCODER_LIMITS_H
#define LATENTD_CONFIG_ENCODER_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

/* On its processor. */
struct encoder_limits {
	size_t threads; /* 0: all cores */
	size_t memory;	/* bytes for the model and its maps; 0: half of the machine's */
};

/* What an encoder on a GPU may use. */
struct cuda_limits {
	size_t device;	  /* as CUDA counts them */
	size_t memory;	  /* bytes of the GPU; 0: 80 % of what is free */
	double gpu_share; /* of its time, over 0 and at most 1 */
	bool pause_when_busy;
};

#endif

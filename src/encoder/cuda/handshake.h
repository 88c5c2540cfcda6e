/* Whether a host and a plugin were compiled with the same latentd_cuda.h. */
#ifndef LATENTD_ENCODER_CUDA_HANDSHAKE_H
#define LATENTD_ENCODER_CUDA_HANDSHAKE_H

#include "latentd_cuda.h"

/* LATENTD_CUDA_ABI_MISMATCH names both versions, or the first struct whose sizes differ. */
int handshake_check(const struct latentd_cuda_handshake *host, struct latentd_cuda_error *err);

#endif

/* The functions of the plugin's api that work on a device; latentd_cuda.h is their manual. */
#ifndef LATENTD_ENCODER_CUDA_GPU_ENGINE_H
#define LATENTD_ENCODER_CUDA_GPU_ENGINE_H

#include "latentd_cuda.h"

int gpu_engine_open(struct latentd_cuda_model *model, const struct latentd_cuda_options *options,
		    struct latentd_cuda_engine **out, struct latentd_cuda_error *err);
void gpu_engine_close(struct latentd_cuda_engine *engine);
void gpu_engine_caps(const struct latentd_cuda_engine *engine, struct latentd_cuda_caps *out);
int gpu_engine_submit(struct latentd_cuda_engine *engine, struct latentd_cuda_job *job,
		      struct latentd_cuda_error *err);
int gpu_engine_collect(struct latentd_cuda_engine *engine, int timeout_ms,
		       struct latentd_cuda_job **out, struct latentd_cuda_error *err);
void gpu_engine_cancel(struct latentd_cuda_engine *engine);
uint64_t gpu_engine_ticks(const struct latentd_cuda_engine *engine);
void gpu_engine_usage(const struct latentd_cuda_engine *engine, struct latentd_cuda_usage *out);

/* For the bench program: 0 as the device suggests, 1 whole maps, else bytes of a band. */
void gpu_engine_bands(struct latentd_cuda_engine *engine, size_t band_bytes);

#endif

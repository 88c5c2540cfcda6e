/*
 * A model in the host's memory, as the engine wants it: float32, convolutions [out][k][k][in], q, k and v joined,
 * quant_conv folded into conv_out, or post_quant_conv into conv_in, channels padded with zeros. Engines of any dtype are made from it.
 */
#ifndef LATENTD_ENCODER_CUDA_GPU_MODEL_H
#define LATENTD_ENCODER_CUDA_GPU_MODEL_H

#include "gpu_layers.h"

struct gpu_param {
	enum gpu_layer_kind kind;
	uint32_t in, out, kernel, stride;
	float *weight, *bias; /* weight: [out][kernel][kernel][in], of a norm [out]; bias: [out] */
	size_t n_weight;
};

struct latentd_cuda_model {
	struct latentd_cuda_config config;
	struct gpu_steps steps, lean; /* the first's lean ones are the second */
	struct gpu_param params[GPU_MAX_LAYERS];
	size_t n_params;
};

/* LATENTD_CUDA_MODEL names the first tensor that is missing or of another shape. */
int gpu_model_open(const struct latentd_cuda_config *config,
		   const struct latentd_cuda_tensor *tensors, size_t n,
		   struct latentd_cuda_model **out, struct latentd_cuda_error *err);
void gpu_model_close(struct latentd_cuda_model *model);

uint32_t gpu_model_downscale(const struct latentd_cuda_model *model);
/* 2C; 0 of a decoder */
uint32_t gpu_model_moments(const struct latentd_cuda_model *model);

/* @n floats as @dtype, rounded to nearest even. */
void gpu_convert(void *out, enum latentd_cuda_dtype dtype, const float *in, size_t n);
float gpu_half_to_float(uint16_t half);

#endif

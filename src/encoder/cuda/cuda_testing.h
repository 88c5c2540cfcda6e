/* What the test and bench programs share: models from files or from a seed, numbers, comparisons. They end on errors. */
#ifndef LATENTD_ENCODER_CUDA_CUDA_TESTING_H
#define LATENTD_ENCODER_CUDA_CUDA_TESTING_H

#include "gpu_model.h"

#include <stdbool.h>

/* Prints the reason and exits with status 1. */
void testing_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void *testing_alloc(size_t bytes);
double testing_seconds(void);

/* Uniform in [-1, 1), by a seed and a place. */
float testing_random(uint64_t seed, uint64_t i);
void testing_fill(float *out, size_t n, uint64_t seed, float scale);
/* What @dtype makes of them. */
void testing_round(float *values, size_t n, enum latentd_cuda_dtype dtype);
void testing_widen(float *out, const void *in, size_t n, enum latentd_cuda_dtype dtype);
/* Of pixels around [-1, 1], in dB; infinite where they are the same. */
double testing_psnr(const float *a, const float *b, size_t n);
/* sqrt(mean (a - b)^2 / mean b^2); infinite where a value is not finite. */
double testing_relative_rms(const float *a, const float *b, size_t n);

/* Stable Diffusion's. */
struct latentd_cuda_config testing_sd_config(enum latentd_cuda_part part);
/* Weights of any config from a seed, of a size that keeps activations near 1; conv_in's are multiplied by @gain. */
struct latentd_cuda_model *testing_model(const struct latentd_cuda_config *config, uint64_t seed,
					 float gain);

/* The same weights as a diffusers folder, which is there, for the other programs; it has no decoder. */
void testing_model_write(const struct latentd_cuda_config *config, uint64_t seed,
			 const char *folder);

/* A .safetensors file, read whole. */
struct testing_file;
struct testing_file *testing_file_open(const char *folder, const char *name);
void testing_file_close(struct testing_file *f);
/* The tensor as float32, to be freed, and its shape of four; NULL where there is none. */
float *testing_file_read(const struct testing_file *f, const char *name, size_t shape[4]);
/* The name of the @i-th tensor that begins with @prefix, behind it; false where there are no more. */
bool testing_file_name(const struct testing_file *f, const char *prefix, size_t i, char *out,
		       size_t size);
/* A diffusers folder's. */
struct latentd_cuda_model *testing_model_open(const char *folder, enum latentd_cuda_part part);

#endif

/* The parts of test_cuda_engine. */
#ifndef LATENTD_ENCODER_CUDA_TEST_CUDA_H
#define LATENTD_ENCODER_CUDA_TEST_CUDA_H

#include "gpu_device.h"

extern const enum latentd_cuda_dtype test_cuda_dtypes[3];

/* Prints a line, and counts a failure where @error is not at most @limit. */
void test_cuda_result(const char *name, enum latentd_cuda_dtype dtype, double error, double limit);
/* Ends the program where r < 0. */
void test_cuda_check(int r, const struct latentd_cuda_error *err, const char *what);
/* The first GPU. */
struct gpu_device *test_cuda_open(enum latentd_cuda_dtype dtype);

/* Ends the program where there is no time for another check. */
void test_cuda_clock(void);
/* Waves and noise, [n][height][width][3]. */
void test_cuda_picture(uint8_t *out, int64_t n, int64_t height, int64_t width);

void test_cuda_kernels(void);
void test_cuda_libraries(void);
/* Small models of @tree against diffusers' outputs; @gpu: there, in every dtype, else on the host in float32. */
void test_cuda_goldens(const char *tree, bool gpu);
void test_cuda_decoder(const char *tree, bool gpu);
void test_cuda_encoder(void);

#endif

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

void test_cuda_kernels(void);
void test_cuda_libraries(void);

#endif

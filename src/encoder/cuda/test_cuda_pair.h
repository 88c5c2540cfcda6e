/* A GPU and the host, which defines what its operations mean, with the same rounded values on both. */
#ifndef LATENTD_ENCODER_CUDA_TEST_CUDA_PAIR_H
#define LATENTD_ENCODER_CUDA_TEST_CUDA_PAIR_H

#include "test_cuda.h"

struct pair {
	struct gpu_device *gpu, *host;
	enum latentd_cuda_dtype dtype;
	double limit;
	struct latentd_cuda_error err;
};

/* Values of the dtype on both. */
struct both {
	float *host;
	void *gpu;
	size_t n;
	bool wide; /* float32 on the GPU whatever the dtype */
};

/* @limit: of relative errors, in float32, float16 and bfloat16 */
struct pair pair_open(enum latentd_cuda_dtype dtype);
void pair_close(struct pair *p);

/* From a seed, uniform in +-@scale. */
struct both both_new(struct pair *p, size_t n, uint64_t seed, float scale, bool wide);
void both_free(struct pair *p, struct both *b);
/* What the host has now, to the GPU, rounded on both. */
void both_send(struct pair *p, struct both *b);
/* What is on the GPU now, as floats; to be freed. */
float *both_read(struct pair *p, const struct both *b);
void both_compare(struct pair *p, const char *name, const struct both *b, double limit);

/* The same operation on both devices. */
#define ON_BOTH(p, op, gpu_args, host_args)                                                        \
	do {                                                                                       \
		test_cuda_check((p)->gpu->ops->op gpu_args, &(p)->err, #op);                       \
		test_cuda_check((p)->host->ops->op host_args, &(p)->err, #op);                     \
	} while (0)

#endif

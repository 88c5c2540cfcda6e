/* A convolution of maps [n][height][width][channels], and its name. */
#ifndef LATENTD_ENCODER_CUDA_CONV_PROBLEM_H
#define LATENTD_ENCODER_CUDA_CONV_PROBLEM_H

#include "latentd_cuda.h"

#include <stdbool.h>

/* What cuDNN adds to the sums before they are rounded; what it does not, a kernel of ours adds afterwards. */
enum conv_epilogue { CONV_PLAIN, CONV_BIAS, CONV_BIAS_ADD };

struct conv_problem {
	int64_t n, height, width, in; /* of x */
	int64_t out, kernel, stride;
	int64_t pad_top, pad_bottom, pad_left, pad_right;
	enum latentd_cuda_dtype dtype; /* of x, w, bias, z and y */
	enum conv_epilogue epilogue;
	bool tf32; /* float32: multiplications may be rounded to TF32 */
};

/* of y */
int64_t conv_problem_out_height(const struct conv_problem *p);
int64_t conv_problem_out_width(const struct conv_problem *p);
/* "n8 64x64x512 o512 k3 s1 p1,1,1,1 float16 e2": names it in the cache of algorithms. */
void conv_problem_key(const struct conv_problem *p, char *out, size_t size);

#endif

/*
 * The layers of the encoder, naive: these loops are the definition that every engine is tested
 * against. Free functions over float, output first, sizes explicit.
 *
 * Maps are NHWC with N = 1: x[h][w][c]. So a 1x1 convolution is a matrix product over pixels and the
 * attention's tokens are the map as it lies. Weights are as PyTorch stores them: conv [out][in][kh][kw],
 * linear [out][in].
 */
#ifndef LATENTD_VAE_LAYERS_H
#define LATENTD_VAE_LAYERS_H

#include <stddef.h>

struct conv_shape {
	size_t in, out; /* channels */
	size_t kernel;	/* 1 or 3 */
	size_t stride;	/* 1 or 2 */
	/* zero rows and columns before and after: {1,1} for 3x3, {0,1} for diffusers' downsampler */
	size_t pad_before, pad_after;
};

/* floor((size + pads - kernel) / stride) + 1 */
size_t conv_out_size(const struct conv_shape *s, size_t size);

/* out[h'][w'][out] = bias + sum; torch.nn.Conv2d */
void conv2d_naive(float *out, const float *in, size_t height, size_t width,
		  const struct conv_shape *s, const float *weight, const float *bias);

/* torch.nn.GroupNorm(groups, channels, eps) then, if @silu, x * sigmoid(x). out may be in. */
void group_norm_naive(float *out, const float *in, size_t pixels, size_t channels, size_t groups,
		      float eps, const float *weight, const float *bias, int silu);

/*
 * The same in two steps. Of each channel the mean and the sum of squared deviations from it; and x *
 * scale[c] + shift[c], then SiLU, in place, where scale and shift follow from these (norm_stats.h).
 */
void channel_stats_naive(double *mean, double *deviation, const float *in, size_t pixels,
			 size_t channels);
void norm_apply_naive(float *x, size_t pixels, size_t channels, const float *scale,
		      const float *shift, int silu);

/* out[rows][n] = in[rows][k] * weight[n][k]^T + bias; torch.nn.Linear */
void linear_naive(float *out, const float *in, size_t rows, size_t k, size_t n, const float *weight,
		  const float *bias);

/* out[t][c] = softmax(q k^T / sqrt(c)) v, one head of width c, over @tokens. @scores: [tokens] */
void attention_naive(float *out, const float *q, const float *k, const float *v, size_t tokens,
		     size_t c, float *scores);

#endif

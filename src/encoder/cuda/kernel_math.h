/* The arithmetic of the kernels, value by value: the same text for the GPU and for device_host.c. */
#ifndef LATENTD_ENCODER_CUDA_KERNEL_MATH_H
#define LATENTD_ENCODER_CUDA_KERNEL_MATH_H

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define KERNEL_MATH static __host__ __device__ inline
#else
#define KERNEL_MATH static inline
#endif

/* As diffusers does it: x / 255, then 2x - 1. */
KERNEL_MATH float kernel_pixel(uint8_t byte)
{
	return (float)byte / 255.0f * 2.0f - 1.0f;
}

KERNEL_MATH float kernel_norm(float x, float scale, float shift, int silu)
{
	float y = x * scale + shift;

	return silu ? y / (1.0f + expf(-y)) : y;
}

/*
 * Sums of values less the first one of them: a map whose values lie far from zero and close together keeps its variance.
 */
struct kernel_sums {
	float first, sum, square;
};

KERNEL_MATH void kernel_sums_add(struct kernel_sums *s, float x)
{
	float d = x - s->first;

	s->sum += d;
	s->square += d * d;
}

/* Of @n values. */
KERNEL_MATH void kernel_sums_finish(const struct kernel_sums *s, float n, float *mean,
				    float *deviation)
{
	float d = s->square - s->sum * (s->sum / n);

	*mean = s->first + s->sum / n;
	*deviation = d > 0 ? d : 0;
}

/* Mean and sum of squared deviations of values that come in parts. */
struct kernel_merge {
	double n, mean, deviation;
};

KERNEL_MATH void kernel_merge_add(struct kernel_merge *m, double n, double mean, double deviation)
{
	double total = m->n + n, d = mean - m->mean;

	if (n == 0)
		return;
	m->mean += d * (n / total);
	m->deviation += deviation + d * d * (m->n * n / total);
	m->n = total;
}

/* 1 / sqrt(variance + eps) */
KERNEL_MATH float kernel_merge_inverse(const struct kernel_merge *m, float eps)
{
	return (float)(1.0 / sqrt(m->deviation / m->n + (double)eps));
}

#endif

/*
 * The CUDA kernels, behind functions that C can call: they queue on @stream and return what the launch gave. Maps are
 * [n][height][width][channels] of @dtype, channels multiples of 8; what each kernel computes stands in gpu_device.h.
 */
#ifndef LATENTD_ENCODER_CUDA_KERNELS_H
#define LATENTD_ENCODER_CUDA_KERNELS_H

#include "gpu_device.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

cudaError_t kernels_pixels(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *out,
			   const uint8_t *in, int64_t pixels);
cudaError_t kernels_latents(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *out,
			    const float *in, int64_t n, int64_t pixels, int64_t channels,
			    int64_t stride);
cudaError_t kernels_repeat(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *out,
			   const void *x, const struct gpu_rows *rows);
/* y[i][channels] += bias (+ z[i][channels]), all of @dtype; either may be NULL */
cudaError_t kernels_add(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *y,
			const void *bias, const void *z, int64_t pixels, int64_t channels);
cudaError_t kernels_sums(cudaStream_t stream, enum latentd_cuda_dtype dtype, float *partials,
			 const void *x, const struct gpu_rows *rows,
			 const struct gpu_chunks *chunks);
cudaError_t kernels_norm(cudaStream_t stream, const struct gpu_norm_call *call,
			 const struct gpu_rows *map, const struct gpu_chunks *chunks);
cudaError_t kernels_apply(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *out,
			  const void *x, const float *scale, const float *shift,
			  const struct gpu_rows *rows, bool silu);
cudaError_t kernels_softmax(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *p,
			    float *inverse, const float *s, int64_t rows, int64_t columns);
cudaError_t kernels_scale_rows(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *out,
			       const float *in, const float *inverse, int64_t rows,
			       int64_t columns);
cudaError_t kernels_moments(cudaStream_t stream, enum latentd_cuda_dtype dtype, float *out,
			    uint32_t *flags, const void *in, int64_t n, int64_t pixels,
			    int64_t channels, int64_t stride);
cudaError_t kernels_picture(cudaStream_t stream, enum latentd_cuda_dtype dtype, float *out,
			    uint32_t *flags, const void *in, int64_t n, int64_t pixels,
			    int64_t stride);

#ifdef __cplusplus
}
#endif

#endif

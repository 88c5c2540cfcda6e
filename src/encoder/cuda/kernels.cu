/* What goes into a network and comes out of it, and what is done to a map value by value. */
#include "kernels.h"

#include "kernel_math.h"
#include "kernel_vectors.cuh"

template <typename T> __global__ void pixels_kernel(T *out, const uint8_t *in, int64_t pixels)
{
	int64_t step = (int64_t)gridDim.x * THREADS;

	for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < pixels; i += step) {
		float v[VECTOR] = {kernel_pixel(in[3 * i]), kernel_pixel(in[3 * i + 1]),
				   kernel_pixel(in[3 * i + 2])};

		store(out + i * VECTOR, v);
	}
}

/* A thread makes the eight channels of a lane of a pixel. */
template <typename T>
__global__ void latents_kernel(T *out, const float *in, int64_t vectors, int64_t pixels,
			       int64_t channels, int lanes)
{
	int64_t step = (int64_t)gridDim.x * THREADS;

	in += blockIdx.y * channels * pixels;
	out += blockIdx.y * vectors * VECTOR;
	for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < vectors; i += step) {
		int64_t p = i / lanes, c0 = i % lanes * VECTOR;
		float v[VECTOR];

#pragma unroll
		for (int k = 0; k < VECTOR; k++) {
			v[k] = c0 + k == channels ? 1.0f : 0.0f;
			if (c0 + k < channels)
				v[k] = in[(c0 + k) * pixels + p];
		}
		store(out + i * VECTOR, v);
	}
}

/* A thread reads eight channels of a row's pixel and writes those of two neighbours. @half: pixels of a row of x */
template <typename T>
__global__ void repeat_kernel(T *out, const T *x, int64_t vectors, int lanes, int64_t half,
			      int64_t first, int64_t image)
{
	int64_t step = (int64_t)gridDim.x * THREADS, row_vectors = half * lanes;

	x += blockIdx.y * image;
	out += blockIdx.y * vectors * 2 * VECTOR;
	for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < vectors; i += step) {
		int64_t row = i / row_vectors, p = i % row_vectors / lanes, lane = i % lanes;
		const eight<T> v = *reinterpret_cast<const eight<T> *>(
		    x + ((first + row) / 2 * row_vectors + p * lanes + lane) * VECTOR);
		T *to = out + ((row * half + p) * 2 * lanes + lane) * VECTOR;

		*reinterpret_cast<eight<T> *>(to) = v;
		*reinterpret_cast<eight<T> *>(to + lanes * VECTOR) = v;
	}
}

template <typename T>
__global__ void add_kernel(T *y, const T *bias, const T *z, int64_t vectors, int lanes)
{
	int64_t step = (int64_t)gridDim.x * THREADS;

	for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < vectors; i += step) {
		float v[VECTOR], w[VECTOR];

		load(v, y + i * VECTOR);
		if (bias) {
			load(w, bias + i % lanes * VECTOR);
			for (int k = 0; k < VECTOR; k++)
				v[k] += w[k];
		}
		if (z) {
			load(w, z + i * VECTOR);
			for (int k = 0; k < VECTOR; k++)
				v[k] += w[k];
		}
		store(y + i * VECTOR, v);
	}
}

template <typename T>
__global__ void moments_kernel(float *out, uint32_t *flags, const T *in, int64_t pixels,
			       int64_t channels, int64_t stride)
{
	int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, image = blockIdx.y;
	int64_t c = i / pixels, p = i % pixels;

	if (i >= channels * pixels)
		return;
	float x = to_float(in[(image * pixels + p) * stride + c]);
	out[image * channels * pixels + i] = x;
	if (!isfinite(x))
		atomicOr(&flags[image], 1u);
}

template <typename T>
__global__ void picture_kernel(float *out, uint32_t *flags, const T *in, int64_t pixels,
			       int64_t stride)
{
	int64_t step = (int64_t)gridDim.x * THREADS;
	bool finite = true;

	in += blockIdx.y * pixels * stride;
	out += blockIdx.y * pixels * 3;
	for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < pixels; i += step) {
		float v[VECTOR];

		load(v, in + i * stride);
#pragma unroll
		for (int k = 0; k < 3; k++) {
			out[i * 3 + k] = v[k];
			finite = finite && isfinite(v[k]);
		}
	}
	if (!finite)
		atomicOr(&flags[blockIdx.y], 1u);
}

/* -- launches ------------------------------------------------------------------------------------- */

cudaError_t kernels_pixels(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *out,
			   const uint8_t *in, int64_t pixels)
{
	unsigned blocks = blocks_for(pixels, THREADS);

	FOR_DTYPE(dtype, (pixels_kernel<T><<<blocks, THREADS, 0, stream>>>((T *)out, in, pixels)))
	return cudaGetLastError();
}

cudaError_t kernels_latents(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *out,
			    const float *in, int64_t n, int64_t pixels, int64_t channels,
			    int64_t stride)
{
	int lanes = (int)(stride / VECTOR);
	int64_t vectors = pixels * lanes;
	const dim3 grid(blocks_for(vectors, THREADS), (unsigned)n);

	FOR_DTYPE(dtype, (latents_kernel<T><<<grid, THREADS, 0, stream>>>((T *)out, in, vectors,
									  pixels, channels, lanes)))
	return cudaGetLastError();
}

cudaError_t kernels_repeat(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *out,
			   const void *x, const struct gpu_rows *rows)
{
	int lanes = (int)(rows->channels / VECTOR);
	int64_t half = rows->width / 2, vectors = rows->rows * half * lanes;
	int64_t image = rows->height / 2 * half * rows->channels;
	const dim3 grid(blocks_for(vectors, THREADS), (unsigned)rows->n);

	FOR_DTYPE(dtype,
		  (repeat_kernel<T><<<grid, THREADS, 0, stream>>>(
		      (T *)out, (const T *)x, vectors, lanes, half, rows->first, image)))
	return cudaGetLastError();
}

cudaError_t kernels_add(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *y,
			const void *bias, const void *z, int64_t pixels, int64_t channels)
{
	int64_t vectors = pixels * channels / VECTOR;
	unsigned blocks = blocks_for(vectors, THREADS);
	int lanes = (int)(channels / VECTOR);

	FOR_DTYPE(dtype, (add_kernel<T><<<blocks, THREADS, 0, stream>>>((T *)y, (const T *)bias,
									(const T *)z, vectors, lanes)))
	return cudaGetLastError();
}

cudaError_t kernels_moments(cudaStream_t stream, enum latentd_cuda_dtype dtype, float *out,
			    uint32_t *flags, const void *in, int64_t n, int64_t pixels,
			    int64_t channels, int64_t stride)
{
	const dim3 grid((unsigned)((channels * pixels + THREADS - 1) / THREADS), (unsigned)n);
	cudaError_t status = cudaMemsetAsync(flags, 0, (size_t)n * sizeof(*flags), stream);

	if (status != cudaSuccess)
		return status;
	FOR_DTYPE(dtype, (moments_kernel<T><<<grid, THREADS, 0, stream>>>(
			     out, flags, (const T *)in, pixels, channels, stride)))
	return cudaGetLastError();
}

cudaError_t kernels_picture(cudaStream_t stream, enum latentd_cuda_dtype dtype, float *out,
			    uint32_t *flags, const void *in, int64_t n, int64_t pixels,
			    int64_t stride)
{
	const dim3 grid(blocks_for(pixels, THREADS), (unsigned)n);
	cudaError_t status = cudaMemsetAsync(flags, 0, (size_t)n * sizeof(*flags), stream);

	if (status != cudaSuccess)
		return status;
	FOR_DTYPE(dtype, (picture_kernel<T><<<grid, THREADS, 0, stream>>>(out, flags, (const T *)in,
									  pixels, stride)))
	return cudaGetLastError();
}

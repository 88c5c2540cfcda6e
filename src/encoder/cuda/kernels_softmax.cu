/* Attention, but for its products: a row's exponentials with the inverse of their sum, and the product scaled by that. */
#include "kernels.h"

#include "kernel_vectors.cuh"

/* Of all threads of the block; @scratch: one float for each warp */
template <typename F> __device__ inline float reduce(float x, float *scratch, F combine)
{
	for (int other = 16; other > 0; other /= 2)
		x = combine(x, __shfl_xor_sync(0xffffffff, x, other));
	__syncthreads();
	if (threadIdx.x % 32 == 0)
		scratch[threadIdx.x / 32] = x;
	__syncthreads();
	x = scratch[0];
	for (int warp = 1; warp < THREADS / 32; warp++)
		x = combine(x, scratch[warp]);
	return x;
}

/* A block for each row. */
template <typename T>
__global__ void softmax_kernel(T *p, float *inverse, const float *s, int64_t columns)
{
	__shared__ float scratch[THREADS / 32];
	int64_t row = blockIdx.x;
	float most = -INFINITY, sum = 0;

	s += row * columns;
	p += row * columns;
	for (int64_t c = threadIdx.x; c < columns; c += THREADS)
		most = fmaxf(most, s[c]);
	most = reduce(most, scratch, [](float a, float b) { return fmaxf(a, b); });
	for (int64_t c = threadIdx.x; c < columns; c += THREADS) {
		T stored = from_float<T>(expf(s[c] - most));

		p[c] = stored;
		sum += to_float(stored);
	}
	sum = reduce(sum, scratch, [](float a, float b) { return a + b; });
	if (threadIdx.x == 0)
		inverse[row] = 1.0f / sum;
}

template <typename T>
__global__ void scale_rows_kernel(T *out, const float *in, const float *inverse, int64_t vectors,
				  int lanes)
{
	int64_t step = (int64_t)gridDim.x * THREADS;

	for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < vectors; i += step) {
		float v[VECTOR], factor = inverse[i / lanes];

		load(v, in + i * VECTOR);
		for (int k = 0; k < VECTOR; k++)
			v[k] *= factor;
		store(out + i * VECTOR, v);
	}
}

/* -- launches ------------------------------------------------------------------------------------- */

cudaError_t kernels_softmax(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *p,
			    float *inverse, const float *s, int64_t rows, int64_t columns)
{
	FOR_DTYPE(dtype, (softmax_kernel<T><<<(unsigned)rows, THREADS, 0, stream>>>((T *)p, inverse,
										    s, columns)))
	return cudaGetLastError();
}

cudaError_t kernels_scale_rows(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *out,
			       const float *in, const float *inverse, int64_t rows, int64_t columns)
{
	int64_t vectors = rows * columns / VECTOR;
	unsigned blocks = blocks_for(vectors, THREADS);
	int lanes = (int)(columns / VECTOR);

	FOR_DTYPE(dtype, (scale_rows_kernel<T><<<blocks, THREADS, 0, stream>>>((T *)out, in, inverse,
									       vectors, lanes)))
	return cudaGetLastError();
}

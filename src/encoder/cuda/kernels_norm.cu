/*
 * GroupNorm, with SiLU: sums of each chunk of rows and channel, then a scale and a shift for each channel from the sums of
 * its group, then these applied.
 */
#include "kernels.h"

#include "kernel_math.h"
#include "kernel_vectors.cuh"

enum { NORM_THREADS = 128 };

/* Half precision does not see the difference between expf and the fast one. */
template <typename T> __device__ inline float norm_value(float x, float scale, float shift, int silu)
{
	float y = x * scale + shift;

	return silu ? __fdividef(y, 1.0f + __expf(-y)) : y;
}

template <> __device__ inline float norm_value<float>(float x, float scale, float shift, int silu)
{
	return kernel_norm(x, scale, shift, silu);
}

struct sums_call {
	float *partials;
	int lanes;		 /* channels / 8 */
	int64_t width, channels; /* of the map */
	int64_t image;		 /* elements from one image to the next */
	int64_t first, end;	 /* rows */
	int64_t chunk_rows, chunks, first_chunk;
};

/* A block for each chunk of an image; threads of one lane take every n-th pixel. */
template <typename T> __global__ void sums_kernel(const T *x, struct sums_call call)
{
	__shared__ float sum[THREADS * VECTOR], square[THREADS * VECTOR];
	int lane = threadIdx.x % call.lanes, part = threadIdx.x / call.lanes;
	int parts = THREADS / call.lanes;
	int64_t chunk = call.first_chunk + blockIdx.x, row = chunk * call.chunk_rows;
	int64_t rows = min(call.chunk_rows, call.end - row), pixels = rows * call.width;
	const T *in = x + blockIdx.y * call.image + row * call.width * call.channels + lane * VECTOR;
	struct kernel_sums sums[VECTOR];
	float v[VECTOR];

	load(v, in);
#pragma unroll
	for (int k = 0; k < VECTOR; k++)
		sums[k] = {v[k], 0, 0};
	if (part < parts) {
		for (int64_t p = part; p < pixels; p += parts) {
			load(v, in + p * call.channels);
#pragma unroll
			for (int k = 0; k < VECTOR; k++)
				kernel_sums_add(&sums[k], v[k]);
		}
#pragma unroll
		for (int k = 0; k < VECTOR; k++) {
			sum[(part * call.lanes + lane) * VECTOR + k] = sums[k].sum;
			square[(part * call.lanes + lane) * VECTOR + k] = sums[k].square;
		}
	}
	__syncthreads();
	if (part > 0)
		return;
	float *out = call.partials +
		     ((blockIdx.y * call.chunks + chunk) * call.channels + lane * VECTOR) * 2;
#pragma unroll
	for (int k = 0; k < VECTOR; k++) {
		for (int other = 1; other < parts; other++) {
			sums[k].sum += sum[(other * call.lanes + lane) * VECTOR + k];
			sums[k].square += square[(other * call.lanes + lane) * VECTOR + k];
		}
		kernel_sums_finish(&sums[k], (float)pixels, &out[2 * k], &out[2 * k + 1]);
	}
}

/* A block for each group of an image. */
__global__ void norm_kernel(struct gpu_norm_call call, struct gpu_rows map, struct gpu_chunks chunks)
{
	__shared__ struct kernel_merge merges[NORM_THREADS];
	int64_t in_group = map.channels / call.groups, image = blockIdx.y;
	int64_t c0 = blockIdx.x * in_group, total = chunks.chunks * in_group;
	struct kernel_merge merge = {0, 0, 0};

	for (int64_t k = threadIdx.x; k < total; k += NORM_THREADS) {
		int64_t chunk = k / in_group, c = c0 + k % in_group;
		int64_t rows = min(chunks.chunk_rows, map.height - chunk * chunks.chunk_rows);
		const float *p =
		    call.partials + ((image * chunks.chunks + chunk) * map.channels + c) * 2;

		kernel_merge_add(&merge, (double)(rows * map.width), p[0], p[1]);
	}
	merges[threadIdx.x] = merge;
	for (int half = NORM_THREADS / 2; half > 0; half /= 2) {
		__syncthreads();
		if (threadIdx.x < half) {
			const struct kernel_merge other = merges[threadIdx.x + half];

			kernel_merge_add(&merges[threadIdx.x], other.n, other.mean, other.deviation);
		}
	}
	__syncthreads();
	merge = merges[0];
	float inverse = kernel_merge_inverse(&merge, call.eps);
	for (int64_t c = c0 + threadIdx.x; c < c0 + in_group; c += NORM_THREADS) {
		float scale = call.weight[c] * inverse;

		call.scale[image * map.channels + c] = scale;
		call.shift[image * map.channels + c] = call.bias[c] - (float)merge.mean * scale;
	}
}

/* The grid's stride is a multiple of the lanes: a thread keeps its eight channels and their factors. */
template <typename T>
__global__ void apply_kernel(T *out, const T *x, const float *scale, const float *shift,
			     int64_t vectors, int lanes, int64_t image, int silu)
{
	int64_t first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
	int64_t step = (int64_t)gridDim.x * blockDim.x;
	int c = (int)(first % lanes) * VECTOR;
	float a[VECTOR], b[VECTOR], v[VECTOR];

	load(a, scale + (int64_t)blockIdx.y * lanes * VECTOR + c);
	load(b, shift + (int64_t)blockIdx.y * lanes * VECTOR + c);
	x += blockIdx.y * image;
	out += blockIdx.y * vectors * VECTOR;
	for (int64_t i = first; i < vectors; i += step) {
		load(v, x + i * VECTOR);
#pragma unroll
		for (int k = 0; k < VECTOR; k++)
			v[k] = norm_value<T>(v[k], a[k], b[k], silu);
		store(out + i * VECTOR, v);
	}
}

/* -- launches ------------------------------------------------------------------------------------- */

cudaError_t kernels_sums(cudaStream_t stream, enum latentd_cuda_dtype dtype, float *partials,
			 const void *x, const struct gpu_rows *rows, const struct gpu_chunks *chunks)
{
	int64_t first = rows->first / chunks->chunk_rows, end = rows->first + rows->rows;
	int64_t n = (end + chunks->chunk_rows - 1) / chunks->chunk_rows - first;
	const struct sums_call call = {partials,
				       (int)(rows->channels / VECTOR),
				       rows->width,
				       rows->channels,
				       rows->height * rows->width * rows->channels,
				       rows->first,
				       end,
				       chunks->chunk_rows,
				       chunks->chunks,
				       first};
	const dim3 grid((unsigned)n, (unsigned)rows->n);

	FOR_DTYPE(dtype, (sums_kernel<T><<<grid, THREADS, 0, stream>>>((const T *)x, call)))
	return cudaGetLastError();
}

cudaError_t kernels_norm(cudaStream_t stream, const struct gpu_norm_call *call,
			 const struct gpu_rows *map, const struct gpu_chunks *chunks)
{
	const dim3 grid((unsigned)call->groups, (unsigned)map->n);

	norm_kernel<<<grid, NORM_THREADS, 0, stream>>>(*call, *map, *chunks);
	return cudaGetLastError();
}

cudaError_t kernels_apply(cudaStream_t stream, enum latentd_cuda_dtype dtype, void *out,
			  const void *x, const float *scale, const float *shift,
			  const struct gpu_rows *rows, bool silu)
{
	int lanes = (int)(rows->channels / VECTOR), threads = THREADS / lanes * lanes;
	int64_t vectors = rows->rows * rows->width * lanes, skipped = rows->first * rows->width;
	int64_t image = rows->height * rows->width * rows->channels;
	const dim3 grid(blocks_for(vectors, (int64_t)threads * 4), (unsigned)rows->n);

	FOR_DTYPE(dtype,
		  (apply_kernel<T><<<grid, threads, 0, stream>>>(
		      (T *)out, (const T *)x + skipped * rows->channels, scale, shift, vectors, lanes,
		      image, silu)))
	return cudaGetLastError();
}

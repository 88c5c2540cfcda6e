/*
 * Everything that is not a convolution or a matrix product. All of it is bound by memory: eight channels are read and
 * written at once (16 bytes of half, 32 of float), in float32 between. No atomics on values: what is summed is summed in
 * the same order every time.
 */
#include "kernels.h"

#include "kernel_math.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

enum { THREADS = 256, NORM_THREADS = 128, MAX_BLOCKS = 65535, VECTOR = 8 };

/* -- eight values ----------------------------------------------------------------------------------- */

__device__ inline float to_float(float x)
{
	return x;
}

__device__ inline float to_float(__half x)
{
	return __half2float(x);
}

__device__ inline float to_float(__nv_bfloat16 x)
{
	return __bfloat162float(x);
}

template <typename T> __device__ inline T from_float(float x);

template <> __device__ inline float from_float<float>(float x)
{
	return x;
}

template <> __device__ inline __half from_float<__half>(float x)
{
	return __float2half_rn(x);
}

template <> __device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x)
{
	return __float2bfloat16_rn(x);
}

template <typename T> struct alignas(sizeof(T) * VECTOR > 16 ? 16 : sizeof(T) * VECTOR) eight {
	T v[VECTOR];
};

template <typename T> __device__ inline void load(float out[VECTOR], const T *in)
{
	const eight<T> raw = *reinterpret_cast<const eight<T> *>(in);

#pragma unroll
	for (int k = 0; k < VECTOR; k++)
		out[k] = to_float(raw.v[k]);
}

template <typename T> __device__ inline void store(T *out, const float in[VECTOR])
{
	eight<T> raw;

#pragma unroll
	for (int k = 0; k < VECTOR; k++)
		raw.v[k] = from_float<T>(in[k]);
	*reinterpret_cast<eight<T> *>(out) = raw;
}

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

/* -- kernels -------------------------------------------------------------------------------------- */

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

static unsigned blocks_for(int64_t items, int64_t per_block)
{
	int64_t blocks = (items + per_block - 1) / per_block;

	if (blocks > MAX_BLOCKS)
		return MAX_BLOCKS;
	return blocks < 1 ? 1 : (unsigned)blocks;
}

/* CALL with T as the type of @dtype. */
#define FOR_DTYPE(dtype, CALL)                                                                     \
	switch (dtype) {                                                                           \
	case LATENTD_CUDA_F32: {                                                                   \
		typedef float T;                                                                   \
		CALL;                                                                              \
		break;                                                                             \
	}                                                                                          \
	case LATENTD_CUDA_F16: {                                                                   \
		typedef __half T;                                                                  \
		CALL;                                                                              \
		break;                                                                             \
	}                                                                                          \
	case LATENTD_CUDA_BF16: {                                                                  \
		typedef __nv_bfloat16 T;                                                           \
		CALL;                                                                              \
		break;                                                                             \
	}                                                                                          \
	}

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

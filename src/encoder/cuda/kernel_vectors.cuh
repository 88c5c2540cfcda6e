/*
 * What the kernels share. All of them are bound by memory: eight channels are read and written at once (16 bytes of half,
 * 32 of float), in float32 between. No atomics on values: what is summed is summed in the same order every time.
 */
#ifndef LATENTD_ENCODER_CUDA_KERNEL_VECTORS_CUH
#define LATENTD_ENCODER_CUDA_KERNEL_VECTORS_CUH

#include "gpu_device.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

enum { THREADS = 256, MAX_BLOCKS = 65535, VECTOR = 8 };

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

/* -- launches ------------------------------------------------------------------------------------- */

static inline unsigned blocks_for(int64_t items, int64_t per_block)
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

#endif

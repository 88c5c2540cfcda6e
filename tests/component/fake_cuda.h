/*
 * The CUDA runtime without a GPU, for what calls it on the host: streams, events, graphs and memory, as CUDA's manual has
 * them. What is queued on a stream runs only when somebody waits for it, and of what may run anything may come first:
 * fake_cuda_reset(seed) says which. So what is not ordered by an event comes in the wrong order sooner or later.
 *
 * Device memory is the host's; freed memory is overwritten. Errors are remembered until cudaGetLastError(), as CUDA does.
 */
#ifndef LATENTD_TESTS_FAKE_CUDA_H
#define LATENTD_TESTS_FAKE_CUDA_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of the device and of page-locked memory; nothing may be held or queued. */
void fake_cuda_reset(uint32_t seed);

/* A kernel: @run gets a copy of @arg's @size bytes when its turn comes, and keeps the device busy for @ms. */
cudaError_t fake_cuda_call(cudaStream_t stream, void (*run)(const void *arg), const void *arg,
			   size_t size, float ms);

struct fake_cuda {
	size_t memory;	     /* of the device; SIZE_MAX after a reset */
	size_t held, most;   /* bytes of it */
	size_t host_held;    /* page-locked */
	bool host_is_full;   /* cudaHostAlloc fails */
	bool cannot_capture; /* graphs are refused */
	bool stands_still;   /* nothing that is queued runs */
	long lost_after;     /* operations; then the device is lost for ever; below zero: never */
	size_t launches, graphs;
	size_t beside;	   /* copies to the host that ran while a kernel could have */
	int devices, dead; /* how many there are: 1; the one that does not answer: -1 */
};

extern struct fake_cuda fake_cuda;

#ifdef __cplusplus
}
#endif

#endif

/*
 * What an engine holds of a GPU's memory. Everything of a size that matters is taken through it, so that an engine and the
 * one that repeats images in float32 keep to one limit: parameters, maps, workspaces, what algorithms are timed on.
 *
 *	memory = device_memory_new(limit)
 *	p = device_memory_alloc(memory, bytes, "maps", err)
 *	device_memory_release(memory, p)
 *	device_memory_free(memory)			when nothing is held
 *
 * Of one thread at a time, and of the device that is the thread's.
 */
#ifndef LATENTD_ENCODER_CUDA_DEVICE_MEMORY_H
#define LATENTD_ENCODER_CUDA_DEVICE_MEMORY_H

#include "latentd_cuda.h"

struct device_memory;

/* NULL where the host has no memory. */
struct device_memory *device_memory_new(size_t limit);
/* NULL is fine. */
void device_memory_free(struct device_memory *m);
/* NULL, and LATENTD_CUDA_TOO_LARGE: beyond the limit; LATENTD_CUDA_NO_MEMORY: the device has less. @what: for messages. */
void *device_memory_alloc(struct device_memory *m, size_t bytes, const char *what,
			  struct latentd_cuda_error *err);
/* NULL is fine. */
void device_memory_release(struct device_memory *m, void *p);
/* Bytes that may still be taken. */
size_t device_memory_room(const struct device_memory *m);

#endif

/*
 * Where things lie in one piece of memory, so that what is never needed at the same time shares it. Lifetimes are
 * inclusive ranges of steps.
 */
#ifndef LATENTD_ENCODER_CUDA_GPU_ARENA_H
#define LATENTD_ENCODER_CUDA_GPU_ARENA_H

#include <stddef.h>

#define GPU_ARENA_ALIGN 256

struct gpu_arena_item {
	size_t bytes; /* 0: needs no place */
	int first, last;
	size_t offset; /* the result, a multiple of GPU_ARENA_ALIGN */
	const struct gpu_arena_item
	    *over; /* one that is larger: it begins where that does. NULL: anywhere */
};

/* Fills in the offsets; the size of the arena, SIZE_MAX where that overflows. At most GPU_ARENA_ITEMS items. */
#define GPU_ARENA_ITEMS 1024
size_t gpu_arena_plan(struct gpu_arena_item *items, size_t n);

#endif

/*
 * Which algorithm was the fastest for which problem, remembered in a file. Text, a line each:
 *
 *	latentd-cuda algorithms 1
 *	device NVIDIA H200, 132 SMs, driver 13000, cudnn 91900, cublasLt 130200, 0.1.0
 *	n8 64x64x512 o512 k3 s1 p1,1,1,1 float16 e2 = 2 3 41.250
 *
 * after "=": the variant, its place among what the library proposes, microseconds. A file of another device or version
 * counts as empty and is replaced; so does one that is damaged.
 */
#ifndef LATENTD_ENCODER_CUDA_ALGO_CACHE_H
#define LATENTD_ENCODER_CUDA_ALGO_CACHE_H

#include "latentd_cuda.h"

struct algo_cache;

struct algo_choice {
	uint32_t variant, place;
	float microseconds;
};

/* NULL where there is no memory. @device: the second line's text. */
struct algo_cache *algo_cache_new(const char *device);
void algo_cache_free(struct algo_cache *cache);

/* Takes in a file's text; the number of lines that were understood. */
size_t algo_cache_parse(struct algo_cache *cache, const char *text, size_t size);
/* 0 where it has @key. */
int algo_cache_find(const struct algo_cache *cache, const char *key, struct algo_choice *out);
void algo_cache_add(struct algo_cache *cache, const char *key, const struct algo_choice *choice);
/* The text of a file, to be freed; NULL where there is no memory. */
char *algo_cache_text(const struct algo_cache *cache);

/*
 * Of a file; what cannot be read or written is not an error: algorithms are only timed again. Saving adds to what the file
 * has by then, under a lock (PATH.lock), as several engines share it; it writes a new file beside it and puts that in
 * place. Nothing is written if nothing was added since the last time. What cannot be written, or not within a second for
 * somebody who holds the lock, is when the next is added, and by algo_cache_save_rest() at the end.
 */
void algo_cache_load(struct algo_cache *cache, const char *path);
void algo_cache_save(struct algo_cache *cache, const char *path);
void algo_cache_save_rest(struct algo_cache *cache, const char *path);

#endif

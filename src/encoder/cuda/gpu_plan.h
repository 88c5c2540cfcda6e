/*
 * How an encode or decode of @n images of one size goes through memory: where each map lies, in how many rows at once each
 * convolution is computed, how many queries attention takes at once. Arithmetic only.
 *
 * A convolution whose input is normed reads it from a band: some rows of one image, normed into a buffer that stays in
 * the cache, with the halo rows that a 3x3 window needs; so does one that reads its input in twice its size. Whole maps
 * are bands of all rows of all images.
 */
#ifndef LATENTD_ENCODER_CUDA_GPU_PLAN_H
#define LATENTD_ENCODER_CUDA_GPU_PLAN_H

#include "gpu_layers.h"

#include <stdbool.h>

#define GPU_SLOTS 2 /* inputs and results that are held beside the maps, so that copies overlap */

struct gpu_shape {
	int64_t n, height, width; /* of the pictures */
	size_t element;		  /* bytes of the dtype */
	size_t band_bytes;	  /* of a band; 0: whole maps */
};

/* How often and in what pieces a step is computed. */
struct gpu_pieces {
	int64_t images,
	    rows; /* at once; rows of the output, a multiple of its chunk's unless all */
};

struct gpu_plan {
	const struct gpu_steps *steps;
	struct gpu_shape shape;
	size_t arena;		       /* bytes; SIZE_MAX: too large for any memory */
	size_t maps[GPU_MAX_STEPS];    /* offsets */
	size_t scratch[GPU_MAX_STEPS]; /* of each step: its band, or the attention's scores */
	struct gpu_pieces pieces[GPU_MAX_STEPS];
	size_t input[GPU_SLOTS], result[GPU_SLOTS], flags[GPU_SLOTS];
	size_t partials, scale, shift, scale2, shift2;
	int64_t attend_images, attend_queries;
	bool banded; /* a convolution is computed in bands */
};

/* What a convolution sees: its input, or that in twice its size. */
struct gpu_map gpu_plan_seen(const struct gpu_steps *steps, const struct gpu_step *step);

void gpu_plan_make(const struct gpu_steps *steps, const struct gpu_shape *shape,
		   struct gpu_plan *out);

/* Rows of a map of that width whose sums are taken together: part of the definition of the result. */
int64_t gpu_plan_chunk_rows(int64_t height, int64_t width);

/* Where the parts of an attention's scratch begin: scores, probabilities, products, inverse sums; and its size. */
struct gpu_attention_scratch {
	size_t scores, probabilities, products, inverse, size;
};
struct gpu_attention_scratch gpu_plan_attention(const struct gpu_plan *plan, int64_t tokens,
						int64_t channels);

/* Where the bands of a GPU_RESNET of pieces of @rows begin: normed in, inner, normed inner, out; and their size. */
struct gpu_resnet_scratch {
	size_t x, inner, normed, y, size;
};
struct gpu_resnet_scratch gpu_plan_resnet(const struct gpu_plan *plan, const struct gpu_step *step,
					  int64_t rows);

/*
 * The batch that suits: @fits is asked for fewer and fewer images (@wanted, then halves), and at one image for smaller
 * and smaller bands, then for lean steps where there are any. False: not even the smallest. A batch of one that does not fit whole is banded.
 */
typedef bool (*gpu_fits_fn)(void *arg, const struct gpu_plan *plan);
bool gpu_plan_find(const struct gpu_steps *steps, const struct gpu_shape *wanted, gpu_fits_fn fits,
		   void *arg, struct gpu_plan *out);

/* Images of that size that fill a large device: 32 at 256x256, fewer as they grow. */
int64_t gpu_plan_good_batch(int64_t height, int64_t width);

#endif

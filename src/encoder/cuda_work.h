/*
 * A batch on its way through the CUDA plugin: one job of all its images or latents, or, in diffusers' tiles, one for each shape that
 * tiles have. Along one side there are three lengths at most: a whole tile's, and as tiles overlap by a quarter two may
 * reach the edge.
 *
 *	w = cuda_work_new(config, batch)
 *	api->submit(engine, &w->jobs[w->submitted++].job, ...)		in this order
 *	w->collected++							for each that comes back
 *	cuda_work_finish(w)						results into the batch's items; frees @w
 */
#ifndef LATENTD_ENCODER_CUDA_WORK_H
#define LATENTD_ENCODER_CUDA_WORK_H

#include "encoder/cuda/latentd_cuda.h"
#include "encoder/encoder.h"
#include "vae/vae_config.h"

enum { CUDA_WORK_JOBS = 9 };

struct cuda_work;

struct cuda_job {
	struct latentd_cuda_job job; /* first: the plugin gives it back */
	struct cuda_work *work;
	struct latentd_cuda_item *items;
	uint8_t *pixels; /* of tiles; images are used where they are */
	float *results;
};

struct cuda_work {
	struct encode_batch *batch;
	const struct vae_config *config;
	uint64_t number; /* of the batch, for cancelling */
	struct cuda_job jobs[CUDA_WORK_JOBS];
	size_t n; /* jobs that are to be submitted */
	size_t submitted, collected;
	struct error failure; /* why items are not done */
	struct kl_tile *tiles;
	size_t n_tiles; /* of an image; 0: encoded whole */
};

struct cuda_work *cuda_work_new(const struct vae_config *config, struct encode_batch *batch);
/* Nothing more of it is submitted. What failed first is why. */
void cuda_work_fail(struct cuda_work *w, const struct error *why);
/* Everything that was submitted has been collected. */
bool cuda_work_is_over(const struct cuda_work *w);
void cuda_work_finish(struct cuda_work *w);
/* Without results. */
void cuda_work_free(struct cuda_work *w);

#endif

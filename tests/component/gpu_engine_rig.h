/*
 * The CUDA engine over a runtime that is made up (fake_cuda.h), and a network in the place of cuDNN's whose moments are the
 * sums of an image's bytes: an image that begins with OVERFLOWS does so in half precision. Engines begin with what `rig`
 * says; a test that calls start_over() runs in another order of what may run at once.
 */
#ifndef LATENTD_TESTS_GPU_ENGINE_RIG_H
#define LATENTD_TESTS_GPU_ENGINE_RIG_H

#include "encoder/cuda/gpu_engine.h"

enum { SIDE = 64, DOWN = 8, CHANNELS = 8, ORDERS = 40, OVERFLOWS = 254, ALWAYS_OVERFLOWS = 255 };

#define MIB ((size_t)1 << 20)

/* What the next engines are like. */
struct gpu_engine_rig {
	size_t weights;
	size_t
	    workspace_image; /* bytes that algorithms need for each image of a batch, beside the arena */
	size_t workspace_row;		   /* and, in bands, for each byte of a band */
	struct latentd_cuda_error refusal; /* of a preparation */
	size_t prepared, runs, saved;
	size_t algorithms;		    /* that a preparation chooses */
	struct latentd_cuda_engine *cancel; /* by another thread, when two are chosen */
};
extern struct gpu_engine_rig rig;
extern struct latentd_cuda_model encoder_model, decoder_model;
extern const struct latentd_cuda_options plenty;

/* A job of images, and where its results go. */
struct work {
	struct latentd_cuda_job job;
	struct latentd_cuda_item items[80];
	uint8_t *pixels;
	float *moments;
	size_t image, floats;
};

/* For a group, and for each of its tests. */
int make_models(void **state);
int gpu_engine_rig_setup(void **state);
void start_over(uint32_t seed);

struct work *work_of(const struct latentd_cuda_model *m, uint32_t width, uint32_t height,
		     uint32_t n, uint32_t seed);
/* Of the encoder. */
struct work *work_new(uint32_t width, uint32_t height, uint32_t n, uint32_t seed);
void work_free(struct work *w);
/* Image @i is done, with these flags and its own moments. */
void assert_encoded(const struct work *w, uint32_t i, uint32_t flags);

struct latentd_cuda_engine *engine_of(struct latentd_cuda_model *m,
				      const struct latentd_cuda_options *options);
struct latentd_cuda_engine *engine_new(const struct latentd_cuda_options *options);
/* @w again. */
struct work *submit(struct latentd_cuda_engine *e, struct work *w);
/* Waits for the next job, which must be @expected and end so. */
void collect(struct latentd_cuda_engine *e, struct work *expected, enum latentd_cuda_code code);
/* Both, and every image is as it should be. */
void encode(struct latentd_cuda_engine *e, struct work *w);
struct latentd_cuda_usage usage_of(const struct latentd_cuda_engine *e);

#define gpu_engine_test(test) cmocka_unit_test_setup(test, gpu_engine_rig_setup)

#endif

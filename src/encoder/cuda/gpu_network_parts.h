/* The inside of a gpu_network: gpu_network_open.c makes it, gpu_network.c and gpu_convs.c run it. */
#ifndef LATENTD_ENCODER_CUDA_GPU_NETWORK_PARTS_H
#define LATENTD_ENCODER_CUDA_GPU_NETWORK_PARTS_H

#include "gpu_network.h"

struct known_conv {
	char key[LATENTD_CUDA_KEY_SIZE];
	struct gpu_conv *conv;
};

struct gpu_network {
	const struct latentd_cuda_model *model;
	struct gpu_device *device;
	void *weights[GPU_MAX_LAYERS], *biases[GPU_MAX_LAYERS];
	size_t bytes;
	struct known_conv
	    *convs; /* of every size and band that came: a dataset in buckets has over a thousand */
	size_t n_convs, convs_capacity;
	gpu_network_tap_fn tap;
	void *tap_arg;
};

/* The convolution of that shape, opened when it is asked for first; NULL with an error. */
struct gpu_conv *gpu_network_conv(struct gpu_network *net, const struct conv_problem *p,
				  struct latentd_cuda_error *err);

/* -- gpu_network.c ---------------------------------------------------------------------------------- */

/* One encode or decode; without an arena it only chooses algorithms. */
struct gpu_run {
	struct gpu_network *net;
	const struct gpu_device_ops *ops;
	struct gpu_device *device;
	const struct gpu_plan *plan;
	const struct gpu_steps *steps;
	uint8_t *arena;
	int slot;
	struct latentd_cuda_error *err;
};

/* Where a place of the arena is; NULL without one. */
void *gpu_run_at(const struct gpu_run *run, size_t offset);
void *gpu_run_map(const struct gpu_run *run, int map, int64_t element);
/* All rows of a map. */
struct gpu_rows gpu_run_rows(const struct gpu_run *run, const struct gpu_map *m);
struct gpu_rows gpu_run_rows_of(const struct gpu_run *run, int map);
struct gpu_chunks gpu_run_chunks(const struct gpu_rows *map);
/* Sums of rows of the images from @image on. */
int gpu_run_sums(const struct gpu_run *run, int map, int64_t image, const struct gpu_rows *rows);
/* Factors of the norm of a map whose sums are known, to those places. */
int gpu_run_norm(const struct gpu_run *run, int param, const struct gpu_rows *map, size_t scale,
		 size_t shift);
/* Rows of the step's input, normed by the first factors. */
int gpu_run_apply(const struct gpu_run *run, const struct gpu_step *step, int64_t image,
		  const struct gpu_rows *rows, void *out);

/* -- gpu_convs.c ------------------------------------------------------------------------------------ */

int gpu_run_conv(const struct gpu_run *run, size_t index);
int gpu_run_resnet(const struct gpu_run *run, size_t index);

#endif

/*
 * The plans of the sizes that an engine has met, the one arena that they share, and their CUDA graphs. A plan is made for
 * the largest batch that suits and fits, and for its halves, which the last part of a job needs.
 */
#ifndef LATENTD_ENCODER_CUDA_PART_PLANS_H
#define LATENTD_ENCODER_CUDA_PART_PLANS_H

#include "gpu_device.h"
#include "gpu_model.h"
#include "gpu_network.h"

#include <cuda_runtime_api.h>

struct part_plan {
	struct gpu_plan plan;
	int64_t wanted; /* images it was asked for */
	bool launched;	/* once, kernel by kernel */
	bool no_graph;	/* it could not be captured */
	cudaGraphExec_t graphs[GPU_SLOTS];
	uint64_t used;
};

struct part_plans;

/* @max_batch: 0 as many as pay. The device's limit is that of all memory. */
int part_plans_open(const struct latentd_cuda_model *model, struct gpu_network *network,
		    struct gpu_device *device, uint32_t max_batch, struct part_plans **out,
		    struct latentd_cuda_error *err);
void part_plans_close(struct part_plans *p);

/*
 * Asked where a plan does not fit, before it becomes smaller: gives back memory of the limit that can be had again. False:
 * it holds none.
 */
typedef bool (*part_plans_room_fn)(void *arg);
void part_plans_ask(struct part_plans *p, part_plans_room_fn make_room, void *arg);

/* For @n more images of that size; NULL: there is none yet. */
struct part_plan *part_plans_find(struct part_plans *p, uint32_t width, uint32_t height,
				  uint32_t n);
/*
 * Makes it. The device must be idle: the arena may grow, and the plan that was used least recently may go.
 * LATENTD_CUDA_TOO_LARGE: not even one image in the smallest bands is within the limit. LATENTD_CUDA_NO_MEMORY: it
 * would be, but the device has less.
 */
int part_plans_make(struct part_plans *p, uint32_t width, uint32_t height, uint32_t n,
		    struct part_plan **out, struct latentd_cuda_error *err);
/* Queues an encode. */
int part_plans_run(struct part_plans *p, struct part_plan *plan, int slot,
		   struct latentd_cuda_error *err);

/* Gives the arena's memory back until a part needs it again. The device must be idle. */
void part_plans_let_go(struct part_plans *p);

uint8_t *part_plans_arena(const struct part_plans *p);
size_t part_plans_arena_bytes(const struct part_plans *p);
/* Bytes of a band from now on, 0: whole maps; forgets all plans. The device must be idle. */
void part_plans_bands(struct part_plans *p, size_t band_bytes);

#endif

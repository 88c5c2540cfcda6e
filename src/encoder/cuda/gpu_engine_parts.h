/* The inside of an engine: gpu_engine_open.c makes it, gpu_engine.c runs it. */
#ifndef LATENTD_ENCODER_CUDA_GPU_ENGINE_PARTS_H
#define LATENTD_ENCODER_CUDA_GPU_ENGINE_PARTS_H

#include "gpu_engine.h"
#include "gpu_network.h"
#include "gpu_pace.h"
#include "part_slot.h"

#include <cuda_runtime_api.h>
#include <stdatomic.h>

struct queued {
	struct latentd_cuda_job *job;
	uint64_t number;
	uint32_t started; /* items */
	struct latentd_cuda_error error;
};

struct latentd_cuda_engine {
	struct latentd_cuda_model *model;
	struct latentd_cuda_options options;
	char *cache;
	struct gpu_device *device;
	struct gpu_network *network;
	struct part_plans *plans;
	cudaStream_t up, down; /* copies to and from the device */
	struct part_slot slots[GPU_SLOTS];
	struct queued queue[LATENTD_CUDA_IN_FLIGHT];
	uint64_t submitted, collected; /* jobs */
	unsigned next_slot;	       /* slots are filled and emptied in turn */
	unsigned oldest_slot;
	uint64_t starting;		    /* the job whose part is started */
	struct latentd_cuda_engine *exact;  /* float32, for images that are not finite in ours */
	struct latentd_cuda_engine *whose;  /* exact one this is; NULL */
	struct latentd_cuda_engine *beside; /* of each other; NULL */
	struct gpu_pace own_pace, *pace;
	struct latentd_cuda_error broken; /* the device is lost */
	uint32_t last_batch;
	bool last_banded, last_graph;
	atomic_uint_fast64_t cancelled; /* jobs with smaller numbers are */
	atomic_uint_fast64_t count;	/* submitted, for cancel */
	atomic_uint_fast64_t ticks;
	char name[160];
};

/*
 * Waits for all that the engine has queued; the device may be lost. Not for the whole device: that is an error while a graph
 * is captured on it, by an engine of another thread.
 */
void gpu_engine_settle(struct latentd_cuda_engine *e);
/* gpu_device.h's go_on. @arg: the engine */
bool gpu_engine_goes_on(void *arg);
/* part_plans.h's part_plans_room_fn. @arg: the engine that needs it */
bool gpu_engine_make_room(void *arg);
/* One that shares the limit of memory with @whose, whose exact one it is. */
int gpu_engine_open_for(struct latentd_cuda_model *model,
			const struct latentd_cuda_options *options,
			struct latentd_cuda_engine *whose, struct latentd_cuda_engine **out,
			struct latentd_cuda_error *err);

#endif

/*
 * A model on a device: its parameters there, and an encode or decode step by step.
 *
 *	network = gpu_network_open(model, device, err)
 *	gpu_plan_make(...)
 *	gpu_network_prepare(network, &plan, err)           algorithms are chosen
 *	... gpu_layers.h's steps->input to arena + plan.input[slot] ...
 *	gpu_network_run(network, &plan, arena, slot, err)  queues everything
 *	... arena + plan.result[slot]: steps->result; plan.flags[slot]: [n] ...
 *	gpu_network_close(network)
 */
#ifndef LATENTD_ENCODER_CUDA_GPU_NETWORK_H
#define LATENTD_ENCODER_CUDA_GPU_NETWORK_H

#include "gpu_device.h"
#include "gpu_model.h"
#include "gpu_plan.h"

struct gpu_network;

/* Both outlive the network. */
struct gpu_network *gpu_network_open(const struct latentd_cuda_model *model,
				     struct gpu_device *device, struct latentd_cuda_error *err);
void gpu_network_close(struct gpu_network *network);
/* Bytes of parameters on the device. */
size_t gpu_network_bytes(const struct gpu_network *network);

int gpu_network_prepare(struct gpu_network *network, const struct gpu_plan *plan,
			struct latentd_cuda_error *err);
int gpu_network_run(struct gpu_network *network, const struct gpu_plan *plan, void *arena, int slot,
		    struct latentd_cuda_error *err);

/* For tests: called behind each step that writes a map, when it is written; may read or change it. NULL ends it. */
typedef void (*gpu_network_tap_fn)(void *arg, size_t step, void *map);
void gpu_network_tap(struct gpu_network *network, gpu_network_tap_fn tap, void *arg);

#endif

/* What an engine consists of, and what it tells of itself. */
#include "gpu_engine_parts.h"

#include "device_cuda.h"
#include "plugin_error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_BATCH = 32 };

void gpu_engine_usage(const struct latentd_cuda_engine *e, struct latentd_cuda_usage *out)
{
	*out = (struct latentd_cuda_usage){.size = sizeof(*out),
					   .arena = part_plans_arena_bytes(e->plans),
					   .workspace = e->device->workspace,
					   .weights = gpu_network_bytes(e->network),
					   .batch = e->last_batch,
					   .banded = e->last_banded,
					   .graph = e->last_graph};
}

void gpu_engine_bands(struct latentd_cuda_engine *e, size_t band_bytes)
{
	part_plans_bands(e->plans, band_bytes == 1 ? 0
				   : band_bytes	   ? band_bytes
						   : e->device->band_bytes);
}

void gpu_engine_caps(const struct latentd_cuda_engine *e, struct latentd_cuda_caps *out)
{
	*out = (struct latentd_cuda_caps){.size = sizeof(*out),
					  .downscale = gpu_model_downscale(e->model),
					  .moment_channels = gpu_model_moments(e->model),
					  .best_batch = HOST_BATCH,
					  .memory_weights = gpu_network_bytes(e->network)};
	snprintf(out->engine, sizeof(out->engine), "%s", e->name);
}

/* -- opening -------------------------------------------------------------------------------------- */

/* Two engines beside each other have one share of the time. */
static int open_pace(struct latentd_cuda_engine *e, struct latentd_cuda_error *err)
{
	char bus[32] = "";

	if (e->beside) {
		e->pace = e->beside->pace;
		return 0;
	}
	if (e->options.pause_when_busy)
		TRY_CUDA(cudaDeviceGetPCIBusId(bus, sizeof(bus), e->options.device));
	return gpu_pace_open(e->pace, e->options.share, e->options.pause_when_busy ? bus : NULL,
			     err);
}

static int open_device(struct latentd_cuda_engine *e, struct latentd_cuda_error *err)
{
	const struct latentd_cuda_engine *with = e->whose ? e->whose : e->beside;
	const struct device_cuda_options options = {.index = e->options.device,
						    .dtype = e->options.dtype,
						    .tf32 = e->options.tf32,
						    .cache = e->cache,
						    .memory = e->options.memory,
						    .memory_percent = e->options.memory_percent,
						    .with = with ? with->device : NULL};

	if (device_cuda_open(&options, &e->device, err) < 0)
		return -1;
	e->device->go_on = gpu_engine_goes_on;
	e->device->go_on_arg = e;
	TRY_CUDA(cudaStreamCreateWithFlags(&e->up, cudaStreamNonBlocking));
	TRY_CUDA(cudaStreamCreateWithFlags(&e->down, cudaStreamNonBlocking));
	for (int i = 0; i < GPU_SLOTS; i++) {
		if (part_slot_open(&e->slots[i], err) < 0)
			return -1;
	}
	if (open_pace(e, err) < 0)
		return -1;
	e->network = gpu_network_open(e->model, e->device, err);
	if (!e->network)
		return -1;
	snprintf(e->name, sizeof(e->name), "cuda/" LATENTD_VERSION " %.100s %s%s",
		 device_cuda_name(e->device), latentd_cuda_dtype_name(e->options.dtype),
		 e->options.dtype == LATENTD_CUDA_F32 && e->options.tf32 ? " tf32" : "");
	if (part_plans_open(e->model, e->network, e->device, e->options.max_batch, &e->plans, err) <
	    0)
		return -1;
	part_plans_ask(e->plans, gpu_engine_make_room, e);
	return 0;
}

int gpu_engine_open_for(struct latentd_cuda_model *model,
			const struct latentd_cuda_options *options,
			struct latentd_cuda_engine *whose, struct latentd_cuda_engine **out,
			struct latentd_cuda_error *err)
{
	struct latentd_cuda_engine *e = calloc(1, sizeof(*e));

	if (!e)
		return plugin_error_memory(err, sizeof(*e));
	e->model = model;
	e->whose = whose;
	e->options = *options;
	e->options.cache = NULL;
	atomic_init(&e->cancelled, 0);
	atomic_init(&e->count, 0);
	atomic_init(&e->ticks, 0);
	if (options->cache && !(e->cache = strdup(options->cache))) {
		free(e);
		return plugin_error_memory(err, strlen(options->cache));
	}
	e->options.cache = e->cache;
	e->pace = &e->own_pace;
	e->beside = options->beside;
	e->options.beside = NULL;
	if (open_device(e, err) < 0) {
		gpu_engine_close(e);
		return -1;
	}
	if (e->beside)
		e->beside->beside = e;
	*out = e;
	return 0;
}

int gpu_engine_open(struct latentd_cuda_model *model, const struct latentd_cuda_options *options,
		    struct latentd_cuda_engine **out, struct latentd_cuda_error *err)
{
	return gpu_engine_open_for(model, options, NULL, out, err);
}

void gpu_engine_close(struct latentd_cuda_engine *e)
{
	if (!e)
		return;
	if (e->beside && e->beside->beside == e)
		e->beside->beside = NULL;
	gpu_engine_close(e->exact);
	if (e->device) {
		device_cuda_use(e->device, NULL);
		gpu_engine_settle(e);
	}
	part_plans_close(e->plans);
	gpu_network_close(e->network);
	for (int i = 0; i < GPU_SLOTS; i++)
		part_slot_close(&e->slots[i]);
	if (e->up)
		cudaStreamDestroy(e->up);
	if (e->down)
		cudaStreamDestroy(e->down);
	gpu_pace_close(&e->own_pace);
	device_cuda_close(e->device);
	free(e->cache);
	free(e);
}

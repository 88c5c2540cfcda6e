/*
 * latentd-cuda.so without CUDA: the plugin's interface over device_host.c, so that the host's side of it is tested on
 * machines without a GPU. HOST_PLUGIN makes it misbehave:
 *	abi         refuses the handshake as a plugin of another version does
 *	old-driver  has a driver that is older than CUDA
 *	lost        loses the device while it computes
 *	lost-1      loses the second of its devices when that computes first; the others wait for that
 *	no-memory   has no memory for any image, because others have taken it
 *	no-room     may take too little memory for any image
 *	overflow    repeats the first image of each job in float32
 *	overflow-no-room  has no memory to repeat it
 *	one-lost    opens no engine on the second of its devices
 *	decoder-no-room  may take too little memory for a decoder
 * HOST_PLUGIN_DEVICES is how many it has (1). HOST_PLUGIN_LOG is a file to which each engine that is opened adds a line with
 * its options.
 */
#include "encoder/cuda/gpu_network.h"
#include "encoder/cuda/handshake.h"
#include "encoder/cuda/plugin_error.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct latentd_cuda_engine {
	struct latentd_cuda_model *model;
	struct gpu_device *device;
	struct gpu_network *network;
	struct latentd_cuda_job *jobs[LATENTD_CUDA_IN_FLIGHT];
	size_t n;
	int32_t index;
	bool lost;
	atomic_uint_fast64_t ticks;
	atomic_bool cancelled;
	char name[64];
};

static atomic_bool one_is_lost; /* of lost-1 */

static bool misbehaves(const char *how)
{
	const char *wanted = getenv("HOST_PLUGIN");

	return wanted && strcmp(wanted, how) == 0;
}

static int host_devices(struct latentd_cuda_device *list, size_t max, size_t *n,
			struct latentd_cuda_error *err)
{
	const char *wanted = getenv("HOST_PLUGIN_DEVICES");
	size_t there = wanted ? strtoul(wanted, NULL, 10) : 1;

	if (misbehaves("old-driver"))
		return plugin_error_cuda(err, 36, "looking for GPUs");
	if (there == 0)
		return plugin_error_cuda(err, 100, "looking for GPUs");
	for (*n = 0; *n < there && *n < max; ++*n)
		list[*n] =
		    (struct latentd_cuda_device){.index = (int32_t)*n, .major = 9, .name = "host"};
	return 0;
}

static void write_log(const struct latentd_cuda_options *o, enum latentd_cuda_part part)
{
	const char *path = getenv("HOST_PLUGIN_LOG");
	FILE *f = path ? fopen(path, "a") : NULL;

	if (!f)
		return;
	fprintf(f, "%sdevice=%d %s memory=%llu percent=%u share=%g pause=%u%s cache=%s\n",
		part == LATENTD_CUDA_DECODER ? "decoder " : "", o->device,
		latentd_cuda_dtype_name(o->dtype), (unsigned long long)o->memory, o->memory_percent,
		o->share, o->pause_when_busy, o->tf32 ? " tf32" : "", o->cache ? o->cache : "");
	fclose(f);
}

static void host_engine_close(struct latentd_cuda_engine *e)
{
	gpu_network_close(e->network);
	device_host_close(e->device);
	free(e);
}

static int host_engine_open(struct latentd_cuda_model *model,
			    const struct latentd_cuda_options *options,
			    struct latentd_cuda_engine **out, struct latentd_cuda_error *err)
{
	struct latentd_cuda_engine *e;

	if (misbehaves("old-driver"))
		return plugin_error_cuda(err, 36, "opening the GPU");
	if (misbehaves("one-lost") && options->device == 1)
		return plugin_error_cuda(err, 719, "opening the GPU");
	if (misbehaves("decoder-no-room") && model->config.part == LATENTD_CUDA_DECODER)
		return plugin_error_set(err, LATENTD_CUDA_TOO_LARGE, "the parameters do not fit");
	write_log(options, model->config.part);
	e = calloc(1, sizeof(*e));
	e->model = model;
	e->index = options->device;
	if (e->index == 1)
		one_is_lost = false;
	snprintf(e->name, sizeof(e->name), "cuda/host-%d %s", options->device,
		 latentd_cuda_dtype_name(options->dtype));
	e->device = device_host_open(err);
	e->network = gpu_network_open(model, e->device, err);
	*out = e;
	return 0;
}

static void host_caps(const struct latentd_cuda_engine *e, struct latentd_cuda_caps *out)
{
	*out = (struct latentd_cuda_caps){.size = sizeof(*out),
					  .downscale = gpu_model_downscale(e->model),
					  .moment_channels = gpu_model_moments(e->model),
					  .best_batch = 4};
	snprintf(out->engine, sizeof(out->engine), "%s", e->name);
}

static int host_submit(struct latentd_cuda_engine *e, struct latentd_cuda_job *job,
		       struct latentd_cuda_error *err)
{
	if (e->lost)
		return plugin_error_cuda(err, 719, "computing on the GPU");
	if (e->n == LATENTD_CUDA_IN_FLIGHT)
		return LATENTD_CUDA_FULL;
	e->jobs[e->n++] = job;
	e->cancelled = false;
	return 0;
}

static int compute(struct latentd_cuda_engine *e, const struct latentd_cuda_job *job,
		   struct latentd_cuda_item *item, struct latentd_cuda_error *err)
{
	const struct gpu_shape shape = {1, job->height, job->width, sizeof(float), 0};
	struct gpu_plan *plan = calloc(1, sizeof(*plan));
	const struct gpu_steps *steps = &e->model->steps;
	uint8_t *arena;

	gpu_plan_make(steps, &shape, plan);
	arena = malloc(plan->arena);
	memcpy(arena + plan->input[0], item->input,
	       gpu_port_values(&steps->input, job->height, job->width) * steps->input.element);
	if (gpu_network_prepare(e->network, plan, err) < 0 ||
	    gpu_network_run(e->network, plan, arena, 0, err) < 0)
		return -1;
	memcpy(item->result, arena + plan->result[0],
	       gpu_port_values(&steps->result, job->height, job->width) * sizeof(float));
	item->flags = LATENTD_CUDA_ITEM_DONE;
	if (misbehaves("overflow") && item == job->items)
		item->flags |= LATENTD_CUDA_ITEM_F32;
	if (misbehaves("overflow-no-room") && item == job->items)
		item->flags |= LATENTD_CUDA_ITEM_TOO_LARGE;
	free(arena);
	free(plan);
	e->ticks++;
	return 0;
}

/* At item @i of a job. */
static bool loses_it(const struct latentd_cuda_engine *e, uint32_t i)
{
	return (misbehaves("lost") && i > 0) || (misbehaves("lost-1") && e->index == 1);
}

static int host_collect(struct latentd_cuda_engine *e, int timeout_ms,
			struct latentd_cuda_job **out, struct latentd_cuda_error *err)
{
	struct latentd_cuda_job *job = e->jobs[0];

	if (e->n == 0)
		return LATENTD_CUDA_NOTHING;
	if (misbehaves("lost-1") && e->index != 1 && !one_is_lost && !e->cancelled &&
	    timeout_ms >= 0) {
		nanosleep(&(struct timespec){0, 1000000}, NULL);
		return LATENTD_CUDA_NOTHING;
	}
	e->jobs[0] = e->jobs[1];
	e->n--;
	*out = job;
	if (e->cancelled)
		return plugin_error_set(err, LATENTD_CUDA_CANCELLED, "cancelled");
	if (misbehaves("no-room"))
		return plugin_error_set(err, LATENTD_CUDA_TOO_LARGE, "an image does not fit");
	if (misbehaves("no-memory"))
		return plugin_error_cuda(err, 2, "memory for maps and weights");
	for (uint32_t i = 0; i < job->n; i++) {
		e->lost = e->lost || loses_it(e, i);
		one_is_lost = one_is_lost || e->lost;
		if (e->lost)
			return plugin_error_cuda(err, 719, "computing on the GPU");
		if (compute(e, job, &job->items[i], err) < 0)
			return -1;
	}
	return 0;
}

static void host_cancel(struct latentd_cuda_engine *e)
{
	e->cancelled = true;
}

static uint64_t host_ticks(const struct latentd_cuda_engine *e)
{
	return e->ticks;
}

static void host_usage(const struct latentd_cuda_engine *e, struct latentd_cuda_usage *out)
{
	(void)e;
	*out = (struct latentd_cuda_usage){
	    .size = sizeof(*out), .arena = 3000, .workspace = 200, .weights = 10};
}

static const struct latentd_cuda_api api = {.abi = LATENTD_CUDA_ABI,
					    .size = sizeof(struct latentd_cuda_api),
					    .version = "host",
					    .devices = host_devices,
					    .model_open = gpu_model_open,
					    .model_close = gpu_model_close,
					    .engine_open = host_engine_open,
					    .engine_close = host_engine_close,
					    .caps = host_caps,
					    .submit = host_submit,
					    .collect = host_collect,
					    .cancel = host_cancel,
					    .ticks = host_ticks,
					    .usage = host_usage};

const struct latentd_cuda_api *latentd_cuda_plugin(const struct latentd_cuda_handshake *host,
						   struct latentd_cuda_error *err);

const struct latentd_cuda_api *latentd_cuda_plugin(const struct latentd_cuda_handshake *host,
						   struct latentd_cuda_error *err)
{
	struct latentd_cuda_handshake seen = *host;

	seen.abi += misbehaves("abi");
	return handshake_check(&seen, err) < 0 ? NULL : &api;
}

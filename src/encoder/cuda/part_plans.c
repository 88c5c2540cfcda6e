#include "part_plans.h"

#include "device_cuda.h"
#include "plugin_error.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_PLANS = 16 };

struct part_plans {
	const struct latentd_cuda_model *model;
	struct gpu_network *network;
	struct gpu_device *device;
	size_t memory;
	uint32_t max_batch;
	size_t band_bytes;
	uint8_t *arena;
	size_t arena_bytes;
	struct part_plan *plans[MAX_PLANS];
	uint64_t clock;
	bool short_of_memory; /* the device had less than the limit allows */
};

static void drop_graphs(struct part_plan *plan)
{
	for (int i = 0; i < GPU_SLOTS; i++) {
		if (plan->graphs[i])
			cudaGraphExecDestroy(plan->graphs[i]);
		plan->graphs[i] = NULL;
	}
}

static void drop(struct part_plans *p, int index)
{
	if (!p->plans[index])
		return;
	drop_graphs(p->plans[index]);
	free(p->plans[index]);
	p->plans[index] = NULL;
}

int part_plans_open(const struct latentd_cuda_model *model, struct gpu_network *network,
		    struct gpu_device *device, size_t memory, uint32_t max_batch,
		    struct part_plans **out, struct latentd_cuda_error *err)
{
	struct part_plans *p = calloc(1, sizeof(*p));

	if (!p)
		return plugin_error_memory(err, sizeof(*p));
	p->model = model;
	p->network = network;
	p->device = device;
	p->memory = memory;
	p->max_batch = max_batch;
	p->band_bytes = device->band_bytes;
	*out = p;
	return 0;
}

void part_plans_bands(struct part_plans *p, size_t band_bytes)
{
	for (int i = 0; i < MAX_PLANS; i++)
		drop(p, i);
	p->band_bytes = band_bytes;
}

void part_plans_close(struct part_plans *p)
{
	if (!p)
		return;
	part_plans_bands(p, 0);
	cudaFree(p->arena);
	free(p);
}

/* Images to ask a plan for, when @n are left: the good batch, or the smallest of its halves that has room for them. */
static int64_t wanted_batch(const struct part_plans *p, uint32_t width, uint32_t height, uint32_t n)
{
	int64_t good = gpu_plan_good_batch(height, width);

	if (p->max_batch && good > p->max_batch)
		good = p->max_batch;
	while (good > 1 && good / 2 >= n)
		good /= 2;
	return good;
}

struct part_plan *part_plans_find(struct part_plans *p, uint32_t width, uint32_t height, uint32_t n)
{
	int64_t wanted = wanted_batch(p, width, height, n);

	for (int i = 0; i < MAX_PLANS; i++) {
		struct part_plan *plan = p->plans[i];

		/* An arena that could not grow may have become smaller than what a plan needs. */
		if (plan && plan->wanted == wanted && plan->plan.shape.width == width &&
		    plan->plan.shape.height == height && plan->plan.arena <= p->arena_bytes) {
			plan->used = ++p->clock;
			return plan;
		}
	}
	return NULL;
}

static void drop_all_graphs(struct part_plans *p)
{
	for (int i = 0; i < MAX_PLANS; i++) {
		if (p->plans[i])
			drop_graphs(p->plans[i]);
	}
}

/* The arena for a plan; what it held is lost, and the graphs that point into it. */
static bool fits(void *arg, const struct gpu_plan *plan)
{
	struct part_plans *p = arg;
	size_t others = gpu_network_bytes(p->network) + p->device->workspace;

	if (others > p->memory || plan->arena > p->memory - others)
		return false;
	if (plan->arena <= p->arena_bytes)
		return true;
	drop_all_graphs(p);
	cudaFree(p->arena);
	p->arena_bytes = 0;
	p->arena = p->device->ops->alloc(p->device, plan->arena, NULL);
	if (p->arena)
		p->arena_bytes = plan->arena;
	else
		p->short_of_memory = true;
	return p->arena != NULL;
}

/* Algorithms may turn out to need more workspace than there is room for: then fewer images. */
static int make(struct part_plans *p, struct part_plan *plan, uint32_t width, uint32_t height,
		struct latentd_cuda_error *err)
{
	struct gpu_shape shape = {plan->wanted, height, width,
				  latentd_cuda_dtype_size(p->device->dtype), p->band_bytes};

	for (;;) {
		struct latentd_cuda_error why = {LATENTD_CUDA_OK, ""};

		p->short_of_memory = false;
		if (!gpu_plan_find(&p->model->steps, &shape, fits, p, &plan->plan))
			return plugin_error_set(
			    err,
			    p->short_of_memory ? LATENTD_CUDA_NO_MEMORY : LATENTD_CUDA_TOO_LARGE,
			    "an image of %ux%u does not fit into %zu MiB in any way", width, height,
			    p->memory >> 20);
		if (gpu_network_prepare(p->network, &plan->plan, &why) == 0)
			return 0;
		if (why.code != LATENTD_CUDA_NO_MEMORY || plan->plan.shape.n == 1)
			return plugin_error_set(err, why.code, "%s", why.message);
		shape.n = plan->plan.shape.n / 2;
	}
}

int part_plans_make(struct part_plans *p, uint32_t width, uint32_t height, uint32_t n,
		    struct part_plan **out, struct latentd_cuda_error *err)
{
	struct part_plan *plan = calloc(1, sizeof(*plan));
	size_t workspace = p->device->workspace;
	int oldest = 0, r;

	if (!plan)
		return plugin_error_memory(err, sizeof(*plan));
	plan->wanted = wanted_batch(p, width, height, n);
	plan->used = ++p->clock;
	r = make(p, plan, width, height, err);
	if (p->device->workspace != workspace)
		drop_all_graphs(p); /* the old one is gone */
	if (r < 0) {
		free(plan);
		return -1;
	}
	for (int i = 0; i < MAX_PLANS; i++) {
		uint64_t used = p->plans[i] ? p->plans[i]->used : 0;

		if (used < (p->plans[oldest] ? p->plans[oldest]->used : 0))
			oldest = i;
	}
	drop(p, oldest);
	p->plans[oldest] = plan;
	*out = plan;
	return 0;
}

/* The launches of an encode as a graph; false where something cannot be captured. */
static bool capture(struct part_plans *p, struct part_plan *plan, int slot)
{
	cudaStream_t stream = device_cuda_stream(p->device);
	cudaGraph_t graph = NULL;
	int r;

	if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess)
		return false;
	r = gpu_network_run(p->network, &plan->plan, p->arena, slot, NULL);
	if (cudaStreamEndCapture(stream, &graph) == cudaSuccess && r == 0 &&
	    cudaGraphInstantiate(&plan->graphs[slot], graph, 0) != cudaSuccess)
		plan->graphs[slot] = NULL;
	if (graph)
		cudaGraphDestroy(graph);
	return plan->graphs[slot] != NULL;
}

int part_plans_run(struct part_plans *p, struct part_plan *plan, int slot,
		   struct latentd_cuda_error *err)
{
	cudaError_t status;

	if (plan->launched && !plan->no_graph && !plan->graphs[slot] && !capture(p, plan, slot)) {
		plan->no_graph = true;
		cudaGetLastError(); /* of the capture; launches do without it */
	}
	if (!plan->graphs[slot]) {
		plan->launched = true;
		return gpu_network_run(p->network, &plan->plan, p->arena, slot, err);
	}
	status = cudaGraphLaunch(plan->graphs[slot], device_cuda_stream(p->device));
	if (status != cudaSuccess)
		return plugin_error_cuda(err, (int)status, "launching a graph");
	return 0;
}

uint8_t *part_plans_arena(const struct part_plans *p)
{
	return p->arena;
}

size_t part_plans_arena_bytes(const struct part_plans *p)
{
	return p->arena_bytes;
}

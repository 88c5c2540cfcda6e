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
	uint32_t max_batch;
	size_t band_bytes;
	uint8_t *arena;
	size_t arena_bytes;
	struct part_plan *plans[MAX_PLANS];
	uint64_t clock;
	part_plans_room_fn make_room;
	void *make_room_arg;
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
		    struct gpu_device *device, uint32_t max_batch, struct part_plans **out,
		    struct latentd_cuda_error *err)
{
	struct part_plans *p = calloc(1, sizeof(*p));

	if (!p)
		return plugin_error_memory(err, sizeof(*p));
	p->model = model;
	p->network = network;
	p->device = device;
	p->max_batch = max_batch;
	p->band_bytes = device->band_bytes;
	*out = p;
	return 0;
}

void part_plans_ask(struct part_plans *p, part_plans_room_fn make_room, void *arg)
{
	p->make_room = make_room;
	p->make_room_arg = arg;
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
	part_plans_let_go(p);
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

void part_plans_let_go(struct part_plans *p)
{
	drop_all_graphs(p); /* they point into it */
	p->device->ops->free(p->device, p->arena);
	p->arena = NULL;
	p->arena_bytes = 0;
}

/* The arena for a plan; what it held is lost where it grows. */
static int reserve(struct part_plans *p, const struct gpu_plan *plan,
		   struct latentd_cuda_error *err)
{
	if (plan->arena <= p->arena_bytes)
		return 0;
	if (plan->arena > device_cuda_room(p->device) + p->arena_bytes)
		return plugin_error_set(err, LATENTD_CUDA_TOO_LARGE, "an arena of %zu MiB",
					plan->arena >> 20);
	part_plans_let_go(p);
	p->arena = p->device->ops->alloc(p->device, plan->arena, err);
	if (!p->arena)
		return -1;
	p->arena_bytes = plan->arena;
	return 0;
}

/* Of a size: what went wrong last, and whether the device had less than the limit allows. */
struct attempt {
	struct part_plans *p;
	struct latentd_cuda_error why;
	bool short_of_memory;
};

/* Algorithms are timed in the arena. */
static int try_plan(struct part_plans *p, const struct gpu_plan *plan,
		    struct latentd_cuda_error *err)
{
	int r = reserve(p, plan, err);

	if (r < 0)
		return -1;
	p->device->spare = p->arena;
	p->device->spare_bytes = p->arena_bytes;
	r = gpu_network_prepare(p->network, plan, err);
	p->device->spare = NULL;
	p->device->spare_bytes = 0;
	if (r < 0 && plugin_error_is_memory(err->code))
		part_plans_let_go(p); /* for workspaces beside a smaller one */
	return r;
}

/* True also where it failed for a reason that a smaller plan would not mend. */
static bool fits(void *arg, const struct gpu_plan *plan)
{
	static const struct latentd_cuda_error none = {LATENTD_CUDA_OK, ""};
	struct attempt *a = arg;
	struct part_plans *p = a->p;
	int r;

	a->why = none;
	r = try_plan(p, plan, &a->why);
	if (r < 0 && plugin_error_is_memory(a->why.code) && p->make_room &&
	    p->make_room(p->make_room_arg)) {
		a->why = none;
		r = try_plan(p, plan, &a->why);
	}
	a->short_of_memory = a->short_of_memory || a->why.code == LATENTD_CUDA_NO_MEMORY;
	return r == 0 || !plugin_error_is_memory(a->why.code);
}

static int make(struct part_plans *p, struct part_plan *plan, uint32_t width, uint32_t height,
		struct latentd_cuda_error *err)
{
	const struct gpu_shape shape = {plan->wanted, height, width,
					latentd_cuda_dtype_size(p->device->dtype), p->band_bytes};
	struct attempt a = {.p = p};
	bool found = gpu_plan_find(&p->model->steps, &shape, fits, &a, &plan->plan);

	if (found && a.why.code == LATENTD_CUDA_OK)
		return 0;
	if (found)
		return plugin_error_pass(err, &a.why);
	if (a.short_of_memory)
		return plugin_error_set(err, LATENTD_CUDA_NO_MEMORY,
					"the GPU has no memory left for an image of %ux%u", width,
					height);
	return plugin_error_set(err, LATENTD_CUDA_TOO_LARGE,
				"an image of %ux%u does not fit in any way into the %zu MiB that "
				"are left of gpu_memory",
				width, height,
				(device_cuda_room(p->device) + p->arena_bytes) >> 20);
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
		if (gpu_network_run(p->network, &plan->plan, p->arena, slot, err) < 0)
			return -1;
		plan->launched = true; /* so no algorithm of a product is left to choose */
		return 0;
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

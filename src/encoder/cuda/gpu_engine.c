/*
 * A job is computed in parts of as many images as suit its size. Two parts are under way at once, each in a slot of its
 * own: while one is computed the next one's bytes are copied up, on a stream of their own, and the last one's moments
 * handed out. Everything of one size lies in one arena whose places were planned before; sizes take turns in it, so a
 * part of another size waits until the device is idle.
 *
 * The first part of a size is launched kernel by kernel, which also chooses the algorithms of products; from then on the
 * launches are replayed as a CUDA graph, one for each slot.
 */
#include "gpu_engine.h"

#include "busy_watch.h"
#include "device_cuda.h"
#include "gpu_network.h"
#include "part_slot.h"
#include "plugin_error.h"

#include <cuda_runtime_api.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUSY_POLL_MS = 200, HOST_BATCH = 32 };

#define TRY(call)                                                                                  \
	do {                                                                                       \
		cudaError_t status_ = (call);                                                      \
		if (status_ != cudaSuccess)                                                        \
			return plugin_error_cuda(err, (int)status_, #call);                        \
	} while (0)

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
	cudaStream_t copies;
	struct part_slot slots[GPU_SLOTS];
	struct queued queue[LATENTD_CUDA_IN_FLIGHT];
	uint64_t submitted, collected; /* jobs */
	unsigned next_slot;	       /* slots are filled and emptied in turn */
	unsigned oldest_slot;
	struct latentd_cuda_engine *exact; /* float32, for images that are not finite in ours */
	struct busy_watch *watch;
	struct latentd_cuda_error broken; /* the device is lost */
	uint32_t last_batch;
	bool last_banded;
	atomic_uint_fast64_t cancelled; /* jobs with smaller numbers are */
	atomic_uint_fast64_t count;	/* submitted, for cancel */
	atomic_uint_fast64_t ticks;
	char name[160];
};

/* -- slots ---------------------------------------------------------------------------------------- */

static struct queued *queued_of(struct latentd_cuda_engine *e, uint64_t number)
{
	return &e->queue[number % LATENTD_CUDA_IN_FLIGHT];
}

static bool is_cancelled(const struct latentd_cuda_engine *e, uint64_t number)
{
	return number < atomic_load(&e->cancelled);
}

/* Floats of one image's moments. */
static size_t moments_of(const struct latentd_cuda_engine *e, const struct latentd_cuda_job *job)
{
	size_t downscale = gpu_model_downscale(e->model);

	return gpu_model_moments(e->model) * (job->width / downscale) * (job->height / downscale);
}

/* The bytes of the slot's images to the device; the compute stream waits for them. */
static int send(struct latentd_cuda_engine *e, struct part_slot *s, int index,
		const struct latentd_cuda_job *job, struct latentd_cuda_error *err)
{
	size_t image = (size_t)job->width * job->height * 3;
	uint8_t *arena = part_plans_arena(e->plans);
	cudaStream_t stream = device_cuda_stream(e->device);

	for (uint32_t i = 0; i < s->n; i++)
		memcpy(s->bytes + i * image, job->items[s->first + i].pixels, image);
	TRY(cudaMemcpyAsync(arena + s->plan->plan.bytes[index], s->bytes, s->n * image,
			    cudaMemcpyHostToDevice, e->copies));
	TRY(cudaEventRecord(s->copied, e->copies));
	TRY(cudaStreamWaitEvent(stream, s->copied, 0));
	return 0;
}

static int receive(struct latentd_cuda_engine *e, struct part_slot *s, int index, size_t floats,
		   struct latentd_cuda_error *err)
{
	uint8_t *arena = part_plans_arena(e->plans);
	cudaStream_t stream = device_cuda_stream(e->device);

	TRY(cudaMemcpyAsync(s->moments, arena + s->plan->plan.moments[index],
			    s->n * floats * sizeof(float), cudaMemcpyDeviceToHost, stream));
	TRY(cudaMemcpyAsync(s->flags, arena + s->plan->plan.flags[index], s->n * sizeof(*s->flags),
			    cudaMemcpyDeviceToHost, stream));
	TRY(cudaEventRecord(s->done, stream));
	return 0;
}

static bool any_busy(const struct latentd_cuda_engine *e, const struct part_plan *but)
{
	for (int i = 0; i < GPU_SLOTS; i++) {
		if (e->slots[i].busy && e->slots[i].plan != but)
			return true;
	}
	return false;
}

/* Pixels in, the network, moments out: all of it under way when it returns. */
static int run_part(struct latentd_cuda_engine *e, const struct queued *q, struct part_slot *s,
		    int index, struct latentd_cuda_error *err)
{
	if (send(e, s, index, q->job, err) < 0)
		return -1;
	TRY(cudaEventRecord(s->began, device_cuda_stream(e->device)));
	if (part_plans_run(e->plans, s->plan, index, err) < 0)
		return -1;
	return receive(e, s, index, moments_of(e, q->job), err);
}

/* Starts the next part of a job in the next slot; 1: not now, a slot must be emptied first. */
static int start(struct latentd_cuda_engine *e, struct queued *q, struct latentd_cuda_error *err)
{
	int index = (int)e->next_slot;
	struct part_slot *s = &e->slots[index];
	size_t floats = moments_of(e, q->job), image = (size_t)q->job->width * q->job->height * 3;
	struct part_plan *plan =
	    part_plans_find(e->plans, q->job->width, q->job->height, q->job->n - q->started);

	if (s->busy || (any_busy(e, plan) || (!plan && any_busy(e, NULL))) ||
	    (e->options.share < 1 && any_busy(e, NULL)))
		return 1;
	if (!plan && part_plans_make(e->plans, q->job->width, q->job->height,
				     q->job->n - q->started, &plan, err) < 0)
		return -1;
	s->plan = plan;
	s->number = q->number;
	s->first = q->started;
	s->n = q->job->n - q->started;
	if (s->n > (uint32_t)plan->plan.shape.n)
		s->n = (uint32_t)plan->plan.shape.n;
	if (part_slot_pin((void **)&s->bytes, &s->bytes_size, (size_t)plan->plan.shape.n * image,
			  err) < 0 ||
	    part_slot_pin((void **)&s->moments, &s->moments_size,
			  (size_t)plan->plan.shape.n * floats * sizeof(float), err) < 0)
		return -1;
	if (run_part(e, q, s, index, err) < 0) {
		cudaDeviceSynchronize(); /* some of it may be under way, and the slot is free again */
		return -1;
	}
	s->busy = true;
	q->started += s->n;
	e->next_slot = (e->next_slot + 1) % GPU_SLOTS;
	e->last_batch = (uint32_t)plan->plan.shape.n;
	e->last_banded = plan->plan.banded;
	return 0;
}

/* -- results -------------------------------------------------------------------------------------- */

/* The image again in float32, by an engine that is opened when it is needed for the first time. */
static int repeat_exactly(struct latentd_cuda_engine *e, const struct latentd_cuda_job *job,
			  struct latentd_cuda_item *item, struct latentd_cuda_error *err)
{
	struct latentd_cuda_options options = e->options;
	struct latentd_cuda_item again = {item->pixels, item->moments, 0};
	struct latentd_cuda_job one = {job->width, job->height, 1, &again, NULL}, *done = NULL;

	options.dtype = LATENTD_CUDA_F32;
	options.max_batch = 1;
	if (!e->exact && gpu_engine_open(e->model, &options, &e->exact, err) < 0)
		return -1;
	if (gpu_engine_submit(e->exact, &one, err) < 0 ||
	    gpu_engine_collect(e->exact, -1, &done, err) < 0)
		return -1;
	item->flags = LATENTD_CUDA_ITEM_DONE | LATENTD_CUDA_ITEM_F32 |
		      (again.flags & LATENTD_CUDA_ITEM_NOT_FINITE);
	return 0;
}

/* Hands out what the slot, whose work is done, has computed. */
static int finish(struct latentd_cuda_engine *e, struct part_slot *s,
		  struct latentd_cuda_error *err)
{
	struct queued *q = queued_of(e, s->number);
	size_t floats = moments_of(e, q->job);
	int r = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		struct latentd_cuda_item *item = &q->job->items[s->first + i];

		if (!s->flags[i]) {
			memcpy(item->moments, s->moments + i * floats, floats * sizeof(float));
			item->flags = LATENTD_CUDA_ITEM_DONE;
		} else if (e->options.dtype == LATENTD_CUDA_F32) {
			item->flags = LATENTD_CUDA_ITEM_DONE | LATENTD_CUDA_ITEM_NOT_FINITE;
		} else if (repeat_exactly(e, q->job, item, err) < 0) {
			r = -1;
		}
		atomic_fetch_add(&e->ticks, 1);
	}
	return r;
}

static void rest(double ms)
{
	struct timespec t = {(time_t)(ms / 1000),
			     (long)((ms - 1000 * (double)(time_t)(ms / 1000)) * 1e6)};

	nanosleep(&t, NULL);
}

/* Leaves the device to others for the part of time that is not ours. */
static void share(struct latentd_cuda_engine *e, struct part_slot *s)
{
	float ms = 0;

	if (e->options.share < 1 && cudaEventElapsedTime(&ms, s->began, s->done) == cudaSuccess)
		rest((double)ms * (1 / e->options.share - 1));
}

static void wait_for_others(struct latentd_cuda_engine *e, uint64_t number)
{
	while (e->watch && !is_cancelled(e, number) && busy_watch_busy(e->watch)) {
		rest(BUSY_POLL_MS);
		atomic_fetch_add(&e->ticks, 1);
	}
}

/* Starts what can be started. A part that fails ends its job. */
static void pump(struct latentd_cuda_engine *e)
{
	for (uint64_t number = e->collected; number < e->submitted; number++) {
		struct queued *q = queued_of(e, number);

		while (q->started < q->job->n && q->error.code == LATENTD_CUDA_OK) {
			if (is_cancelled(e, number)) {
				plugin_error_set(&q->error, LATENTD_CUDA_CANCELLED, "cancelled");
				break;
			}
			wait_for_others(e, number);
			if (start(e, q, &q->error) > 0)
				return;
		}
	}
}

/* Waits for the oldest slot: 0 emptied, 1 not before @deadline_ms. */
static int empty(struct latentd_cuda_engine *e, int timeout_ms, struct latentd_cuda_error *err)
{
	struct part_slot *s = &e->slots[e->oldest_slot];
	cudaError_t status =
	    timeout_ms == 0 ? cudaEventQuery(s->done) : cudaEventSynchronize(s->done);
	int r;

	if (status == cudaErrorNotReady)
		return 1;
	s->busy = false;
	e->oldest_slot = (e->oldest_slot + 1) % GPU_SLOTS;
	if (status != cudaSuccess)
		return plugin_error_cuda(err, (int)status, "computing on the GPU");
	r = finish(e, s, err);
	share(e, s);
	return r;
}

static bool job_in_slot(const struct latentd_cuda_engine *e, uint64_t number)
{
	for (int i = 0; i < GPU_SLOTS; i++) {
		if (e->slots[i].busy && e->slots[i].number == number)
			return true;
	}
	return false;
}

static bool is_fatal(enum latentd_cuda_code code)
{
	return code == LATENTD_CUDA_DEVICE_LOST || code == LATENTD_CUDA_ECC;
}

/* -- the api -------------------------------------------------------------------------------------- */

int gpu_engine_submit(struct latentd_cuda_engine *e, struct latentd_cuda_job *job,
		      struct latentd_cuda_error *err)
{
	uint32_t downscale = gpu_model_downscale(e->model);
	struct queued *q = queued_of(e, e->submitted);

	if (e->broken.code != LATENTD_CUDA_OK)
		return plugin_error_set(err, e->broken.code, "%s", e->broken.message);
	if (job->n == 0 || job->width == 0 || job->height == 0 || job->width % downscale ||
	    job->height % downscale)
		return plugin_error_set(err, LATENTD_CUDA_UNSUPPORTED,
					"%u images of %ux%u: sides must be multiples of %u", job->n,
					job->width, job->height, downscale);
	if (e->submitted - e->collected == LATENTD_CUDA_IN_FLIGHT)
		return LATENTD_CUDA_FULL;
	if (device_cuda_use(e->device, err) < 0)
		return -1;
	*q = (struct queued){.job = job, .number = e->submitted};
	for (uint32_t i = 0; i < job->n; i++)
		job->items[i].flags = 0;
	e->submitted++;
	atomic_store(&e->count, e->submitted);
	pump(e);
	return 0;
}

int gpu_engine_collect(struct latentd_cuda_engine *e, int timeout_ms, struct latentd_cuda_job **out,
		       struct latentd_cuda_error *err)
{
	struct queued *q = queued_of(e, e->collected);

	if (e->collected == e->submitted)
		return LATENTD_CUDA_NOTHING;
	/* An error of work before it may come out here; the job goes back with it. */
	while (device_cuda_use(e->device, &q->error) == 0) {
		pump(e);
		if (!job_in_slot(e, e->collected))
			break;
		if (empty(e, timeout_ms, &q->error) > 0)
			return LATENTD_CUDA_NOTHING;
	}
	e->collected++;
	*out = q->job;
	device_cuda_save(e->device);
	if (q->error.code == LATENTD_CUDA_OK)
		return 0;
	if (is_fatal(q->error.code))
		e->broken = q->error;
	if (err)
		*err = q->error;
	return -1;
}

void gpu_engine_cancel(struct latentd_cuda_engine *e)
{
	uint_fast64_t mark = atomic_load(&e->count), old = atomic_load(&e->cancelled);

	while (old < mark && !atomic_compare_exchange_weak(&e->cancelled, &old, mark))
		continue;
}

uint64_t gpu_engine_ticks(const struct latentd_cuda_engine *e)
{
	return atomic_load(&e->ticks);
}

void gpu_engine_usage(const struct latentd_cuda_engine *e, struct latentd_cuda_usage *out)
{
	*out = (struct latentd_cuda_usage){.size = sizeof(*out),
					   .arena = part_plans_arena_bytes(e->plans),
					   .workspace = e->device->workspace,
					   .weights = gpu_network_bytes(e->network),
					   .batch = e->last_batch,
					   .banded = e->last_banded};
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

static int open_device(struct latentd_cuda_engine *e, struct latentd_cuda_error *err)
{
	const struct device_cuda_options options = {.index = e->options.device,
						    .dtype = e->options.dtype,
						    .tf32 = e->options.tf32,
						    .cache = e->cache};
	size_t room = 0, total = 0;
	char bus[32];

	if (device_cuda_open(&options, &e->device, err) < 0)
		return -1;
	TRY(cudaMemGetInfo(&room, &total));
	if (!e->options.memory)
		e->options.memory = (uint64_t)room / 100 *
				    (e->options.memory_percent ? e->options.memory_percent : 80);
	TRY(cudaStreamCreateWithFlags(&e->copies, cudaStreamNonBlocking));
	for (int i = 0; i < GPU_SLOTS; i++) {
		if (part_slot_open(&e->slots[i], err) < 0)
			return -1;
	}
	if (e->options.pause_when_busy) {
		TRY(cudaDeviceGetPCIBusId(bus, sizeof(bus), e->options.device));
		e->watch = busy_watch_open(bus);
		if (!e->watch)
			return plugin_error_set(
			    err, LATENTD_CUDA_UNSUPPORTED,
			    "pause_when_busy: NVML (libnvidia-ml.so.1 of the driver) does not "
			    "know this GPU; make it visible to this process, or leave "
			    "pause_when_busy out");
	}
	e->network = gpu_network_open(e->model, e->device, err);
	if (!e->network)
		return -1;
	snprintf(e->name, sizeof(e->name), "cuda/" LATENTD_VERSION " %.100s %s%s",
		 device_cuda_name(e->device), latentd_cuda_dtype_name(e->options.dtype),
		 e->options.dtype == LATENTD_CUDA_F32 && e->options.tf32 ? " tf32" : "");
	return part_plans_open(e->model, e->network, e->device, e->options.memory,
			       e->options.max_batch, &e->plans, err);
}

int gpu_engine_open(struct latentd_cuda_model *model, const struct latentd_cuda_options *options,
		    struct latentd_cuda_engine **out, struct latentd_cuda_error *err)
{
	struct latentd_cuda_engine *e = calloc(1, sizeof(*e));

	if (!e)
		return plugin_error_memory(err, sizeof(*e));
	e->model = model;
	e->options = *options;
	e->options.cache = NULL;
	if (!(e->options.share > 0 && e->options.share < 1))
		e->options.share = 1;
	atomic_init(&e->cancelled, 0);
	atomic_init(&e->count, 0);
	atomic_init(&e->ticks, 0);
	if (options->cache && !(e->cache = strdup(options->cache))) {
		free(e);
		return plugin_error_memory(err, strlen(options->cache));
	}
	e->options.cache = e->cache;
	if (open_device(e, err) < 0) {
		gpu_engine_close(e);
		return -1;
	}
	*out = e;
	return 0;
}

void gpu_engine_close(struct latentd_cuda_engine *e)
{
	if (!e)
		return;
	gpu_engine_close(e->exact);
	if (e->device) {
		device_cuda_use(e->device, NULL);
		cudaDeviceSynchronize();
	}
	part_plans_close(e->plans);
	gpu_network_close(e->network);
	for (int i = 0; i < GPU_SLOTS; i++)
		part_slot_close(&e->slots[i]);
	if (e->copies)
		cudaStreamDestroy(e->copies);
	busy_watch_close(e->watch);
	device_cuda_close(e->device);
	free(e->cache);
	free(e);
}

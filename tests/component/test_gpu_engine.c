/*
 * The order of slots, halving, limits, repeats and time of the CUDA engine, over a runtime that is made up (fake_cuda.h) and a
 * network whose moments are the sums of an image's bytes. Every test runs in many orders of what may run at once.
 */
#include "base/checked.h"
#include "base/clock.h"
#include "encoder/cuda/device_cuda.h"
#include "encoder/cuda/device_memory.h"
#include "encoder/cuda/gpu_engine.h"
#include "encoder/cuda/gpu_network.h"
#include "tests/component/fake_cuda.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

enum { SIDE = 64, DOWN = 8, CHANNELS = 8, ORDERS = 40, OVERFLOWS = 254, ALWAYS_OVERFLOWS = 255 };

#define MIB ((size_t)1 << 20)

/* -- a device and a network in the place of cuDNN's -------------------------------------------------- */

/* What the next engines are like. */
static struct {
	size_t weights;
	size_t
	    workspace_image; /* bytes that algorithms need for each image of a batch, beside the arena */
	size_t workspace_row;		   /* and, in bands, for each byte of a band */
	struct latentd_cuda_error refusal; /* of a preparation */
	size_t prepared, runs, saved;
	size_t algorithms;		    /* that a preparation chooses */
	struct latentd_cuda_engine *cancel; /* by another thread, when two are chosen */
} rig;

struct device {
	struct gpu_device base;
	cudaStream_t stream;
	struct device_memory *memory, *own;
};

struct gpu_network {
	struct gpu_device *device;
	const struct latentd_cuda_model *model;
	void *weights;
};

static struct device *device_of(const struct gpu_device *d)
{
	return (struct device *)(uintptr_t)d;
}

static void *device_alloc(struct gpu_device *d, size_t bytes, struct latentd_cuda_error *err)
{
	return device_memory_alloc(device_of(d)->memory, bytes, "maps", err);
}

static void device_free(struct gpu_device *d, void *p)
{
	device_memory_release(device_of(d)->memory, p);
}

static const struct gpu_device_ops device_ops = {.alloc = device_alloc, .free = device_free};

int device_cuda_open(const struct device_cuda_options *options, struct gpu_device **out,
		     struct latentd_cuda_error *err)
{
	struct device *d = xcalloc(1, sizeof(*d));

	(void)err;
	d->base.ops = &device_ops;
	d->base.dtype = options->dtype;
	cudaStreamCreateWithFlags(&d->stream, 0);
	if (!options->with)
		d->own = device_memory_new(options->memory);
	d->memory = options->with ? device_of(options->with)->memory : d->own;
	*out = &d->base;
	return 0;
}

void device_cuda_close(struct gpu_device *d)
{
	if (!d)
		return;
	device_memory_free(device_of(d)->own);
	cudaStreamDestroy(device_of(d)->stream);
	free(d);
}

int device_cuda_use(struct gpu_device *d, struct latentd_cuda_error *err)
{
	(void)d;
	(void)err;
	return 0;
}

cudaStream_t device_cuda_stream(struct gpu_device *d)
{
	return device_of(d)->stream;
}

size_t device_cuda_room(const struct gpu_device *d)
{
	return device_memory_room(device_of(d)->memory);
}

const char *device_cuda_name(const struct gpu_device *d)
{
	(void)d;
	return "made up";
}

void device_cuda_save(struct gpu_device *d)
{
	(void)d;
	rig.saved = rig.prepared;
}

struct gpu_network *gpu_network_open(const struct latentd_cuda_model *model,
				     struct gpu_device *device, struct latentd_cuda_error *err)
{
	struct gpu_network *net = xcalloc(1, sizeof(*net));

	net->device = device;
	net->model = model;
	net->weights = device->ops->alloc(device, rig.weights, err);
	if (net->weights)
		return net;
	free(net);
	return NULL;
}

void gpu_network_close(struct gpu_network *net)
{
	if (net)
		net->device->ops->free(net->device, net->weights);
	free(net);
}

size_t gpu_network_bytes(const struct gpu_network *net)
{
	(void)net;
	return rig.weights;
}

/* Algorithms are timed in the spare memory, and need workspaces beside the arena. */
int gpu_network_prepare(struct gpu_network *net, const struct gpu_plan *plan,
			struct latentd_cuda_error *err)
{
	struct gpu_device *d = net->device;
	size_t needed = rig.workspace_image * (size_t)plan->shape.n;
	void *workspace;

	rig.prepared++;
	for (size_t i = 0; i < rig.algorithms; i++) {
		if (i == 2 && rig.cancel)
			gpu_engine_cancel(rig.cancel);
		if (d->go_on(d->go_on_arg))
			continue;
		*err = (struct latentd_cuda_error){LATENTD_CUDA_CANCELLED, "cancelled"};
		return -1;
	}
	if (rig.refusal.code != LATENTD_CUDA_OK) {
		*err = rig.refusal;
		return -1;
	}
	assert_true(d->spare_bytes >= plan->arena);
	cudaMemsetAsync(d->spare, 0x33, d->spare_bytes, device_of(d)->stream);
	if (plan->banded && rig.workspace_row)
		needed = plan->shape.band_bytes * rig.workspace_row;
	workspace = d->ops->alloc(d, needed, err);
	d->ops->free(d, workspace);
	return workspace ? 0 : -1;
}

struct encode {
	const uint8_t *bytes;
	float *moments;
	uint32_t *flags;
	uint8_t *arena;
	size_t n, input, floats, arena_bytes; /* bytes and floats of an image */
	size_t slots[3 * GPU_SLOTS];	      /* where inputs and results of both are */
	enum latentd_cuda_dtype dtype;
};

/* Maps take all of the arena but the slots. */
static void overwrite_maps(const struct encode *e)
{
	const size_t sizes[3] = {e->n * e->input, e->n * e->floats * 4, e->n * 4};
	uint8_t *before = xmalloc(e->arena_bytes);

	memcpy(before, e->arena, e->arena_bytes);
	memset(e->arena, 0xee, e->arena_bytes);
	for (size_t i = 0; i < ARRAY_SIZE(e->slots); i++)
		memcpy(e->arena + e->slots[i], before + e->slots[i], sizes[i % 3]);
	free(before);
}

static void run_encode(const void *arg)
{
	const struct encode *e = arg;

	overwrite_maps(e);
	for (size_t i = 0; i < e->n; i++) {
		const uint8_t *image = e->bytes + i * e->input;
		double sum = 0;

		for (size_t p = 0; p < e->input; p++)
			sum += (double)image[p] * (double)(p % 7 + 1);
		for (size_t k = 0; k < e->floats; k++)
			e->moments[i * e->floats + k] = (float)(sum / 1000 + (double)k);
		e->flags[i] = image[0] == ALWAYS_OVERFLOWS ||
			      (image[0] == OVERFLOWS && e->dtype != LATENTD_CUDA_F32);
	}
}

/* Bytes of an image. */
static size_t input_of(const struct latentd_cuda_model *m, size_t width, size_t height)
{
	return gpu_port_values(&m->steps.input, height, width) * m->steps.input.element;
}

int gpu_network_run(struct gpu_network *net, const struct gpu_plan *plan, void *arena, int slot,
		    struct latentd_cuda_error *err)
{
	uint8_t *at = arena;
	const struct encode e = {
	    .bytes = at + plan->input[slot],
	    .moments = (float *)(void *)(at + plan->result[slot]),
	    .flags = (uint32_t *)(void *)(at + plan->flags[slot]),
	    .arena = at,
	    .n = (size_t)plan->shape.n,
	    .input = input_of(net->model, (size_t)plan->shape.width, (size_t)plan->shape.height),
	    .floats = gpu_port_values(&net->model->steps.result, (size_t)plan->shape.height,
				      (size_t)plan->shape.width),
	    .arena_bytes = plan->arena,
	    .slots = {plan->input[0], plan->result[0], plan->flags[0], plan->input[1],
		      plan->result[1], plan->flags[1]},
	    .dtype = net->device->dtype,
	};
	cudaError_t status =
	    fake_cuda_call(device_of(net->device)->stream, run_encode, &e, sizeof(e), 10);

	rig.runs++;
	if (status == cudaSuccess)
		return 0;
	err = err ? err : &(struct latentd_cuda_error){LATENTD_CUDA_OK, ""};
	err->code = status == cudaErrorLaunchFailure ? LATENTD_CUDA_DEVICE_LOST : LATENTD_CUDA_BUG;
	snprintf(err->message, sizeof(err->message), "a launch: CUDA error %d", (int)status);
	return -1;
}

/* -- jobs -------------------------------------------------------------------------------------------- */

struct work {
	struct latentd_cuda_job job;
	struct latentd_cuda_item items[80];
	uint8_t *pixels;
	float *moments;
	size_t image, floats;
};

static struct latentd_cuda_model model, decoder;

static int make_model(void **state)
{
	(void)state;
	model.config = (struct latentd_cuda_config){.size = sizeof(model.config),
						    .blocks = 4,
						    .channels = {16, 16, 32, 32},
						    .layers_per_block = 1,
						    .groups = 4,
						    .latent_channels = 4};
	gpu_steps_list(&model.config, &model.steps);
	decoder.config = model.config;
	decoder.config.part = LATENTD_CUDA_DECODER;
	gpu_steps_list(&decoder.config, &decoder.steps);
	assert_int_equal(gpu_model_downscale(&model), DOWN);
	assert_int_equal(gpu_model_moments(&model), CHANNELS);
	return 0;
}

static struct work *work_of(const struct latentd_cuda_model *m, uint32_t width, uint32_t height,
			    uint32_t n, uint32_t seed)
{
	struct work *w = xcalloc(1, sizeof(*w));

	w->image = input_of(m, width, height);
	w->floats = gpu_port_values(&m->steps.result, height, width);
	w->pixels = xmalloc(n * w->image);
	w->moments = xcalloc(n * w->floats, sizeof(float));
	for (size_t i = 0; i < n * w->image; i++) {
		seed = seed * 1664525u + 1013904223u;
		w->pixels[i] = (uint8_t)((seed >> 24) % 200);
	}
	for (uint32_t i = 0; i < n; i++)
		w->items[i] = (struct latentd_cuda_item){w->pixels + i * w->image,
							 w->moments + i * w->floats, 0};
	w->job = (struct latentd_cuda_job){width, height, n, w->items, w};
	return w;
}

static struct work *work_new(uint32_t width, uint32_t height, uint32_t n, uint32_t seed)
{
	return work_of(&model, width, height, n, seed);
}

static void work_free(struct work *w)
{
	free(w->pixels);
	free(w->moments);
	free(w);
}

static void assert_encoded(const struct work *w, uint32_t i, uint32_t flags)
{
	double sum = 0;

	assert_int_equal(w->items[i].flags, LATENTD_CUDA_ITEM_DONE | flags);
	for (size_t p = 0; p < w->image; p++)
		sum += (double)((const uint8_t *)w->items[i].input)[p] * (double)(p % 7 + 1);
	for (size_t k = 0; k < w->floats; k++)
		assert_true(w->items[i].result[k] == (float)(sum / 1000 + (double)k));
}

static struct latentd_cuda_engine *engine_of(struct latentd_cuda_model *m,
					     const struct latentd_cuda_options *options)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_engine *e = NULL;

	if (gpu_engine_open(m, options, &e, &err) < 0)
		fail_msg("%s", err.message);
	return e;
}

static struct latentd_cuda_engine *engine_new(const struct latentd_cuda_options *options)
{
	return engine_of(&model, options);
}

static const struct latentd_cuda_options plenty = {
    .size = sizeof(plenty), .dtype = LATENTD_CUDA_F16, .memory = 64 * MIB, .share = 1};

static int setup(void **state)
{
	(void)state;
	memset(&rig, 0, sizeof(rig));
	rig.weights = MIB;
	fake_cuda_reset(1);
	return 0;
}

/* In another order each time. */
static void start_over(uint32_t seed)
{
	setup(NULL);
	fake_cuda_reset(seed);
}

static struct work *submit(struct latentd_cuda_engine *e, struct work *w)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};

	assert_int_equal(gpu_engine_submit(e, &w->job, &err), 0);
	return w;
}

static void collect(struct latentd_cuda_engine *e, struct work *expected,
		    enum latentd_cuda_code code)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *done = NULL;
	int r = gpu_engine_collect(e, -1, &done, &err);

	if (err.code != code)
		fail_msg("%d: %s", (int)err.code, err.message);
	assert_int_equal(r, code == LATENTD_CUDA_OK ? 0 : -1);
	assert_ptr_equal(done, &expected->job);
}

static void encode(struct latentd_cuda_engine *e, struct work *w)
{
	submit(e, w);
	collect(e, w, LATENTD_CUDA_OK);
	for (uint32_t i = 0; i < w->job.n; i++)
		assert_encoded(w, i, 0);
}

static struct latentd_cuda_usage usage_of(const struct latentd_cuda_engine *e)
{
	struct latentd_cuda_usage usage;

	gpu_engine_usage(e, &usage);
	return usage;
}

/* -- slots ------------------------------------------------------------------------------------------- */

static void jobs_of_many_parts_come_back_in_order_with_their_own_moments(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < ORDERS; seed++) {
		struct latentd_cuda_options options = plenty;
		struct latentd_cuda_engine *e;
		struct work *works[6];

		start_over(seed);
		options.max_batch = 1 + seed % 4;
		e = engine_new(&options);
		for (uint32_t i = 0; i < 6; i++) /* two sizes take turns in one arena */
			works[i] = work_new(i % 3 ? SIDE : 2 * SIDE, SIDE, 1 + (seed + i) % 7, i);
		submit(e, works[0]);
		for (uint32_t i = 0; i < 6; i++) {
			if (i < 5)
				submit(e, works[i + 1]);
			collect(e, works[i], LATENTD_CUDA_OK);
			for (uint32_t k = 0; k < works[i]->job.n; k++)
				assert_encoded(works[i], k, 0);
			memset(works[i]->pixels, 0, works[i]->job.n * works[i]->image);
		}
		assert_true(fake_cuda.graphs > 0);
		gpu_engine_close(e);
		for (uint32_t i = 0; i < 6; i++)
			work_free(works[i]);
		assert_int_equal(fake_cuda.held, 0);
		assert_int_equal(fake_cuda.host_held, 0);
	}
}

static void results_come_down_while_the_next_part_is_computed(void **state)
{
	size_t beside = 0;

	(void)state;
	for (uint32_t seed = 0; seed < ORDERS; seed++) {
		struct latentd_cuda_options options = plenty;
		struct latentd_cuda_engine *e;
		struct work *w;

		start_over(seed);
		options.max_batch = 1;
		e = engine_new(&options);
		w = work_new(SIDE, SIDE, 5, seed);
		encode(e, w);
		beside += fake_cuda.beside;
		gpu_engine_close(e);
		work_free(w);
	}
	assert_true(beside > 0);
}

static void where_graphs_cannot_be_captured_kernels_are_launched(void **state)
{
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w = work_new(SIDE, SIDE, 3, 7), *other = work_new(2 * SIDE, SIDE, 1, 7);

	(void)state;
	fake_cuda.cannot_capture = true;
	for (int i = 0; i < 3; i++)
		encode(e, w);
	assert_int_equal(fake_cuda.graphs, 0);
	assert_int_equal(fake_cuda.launches, 3);
	assert_int_equal(usage_of(e).graph, 0); /* and it can be seen */
	fake_cuda.cannot_capture = false;
	for (int i = 0; i < 3; i++)
		encode(e, other);
	assert_int_equal(usage_of(e).graph, 1);
	gpu_engine_close(e);
	work_free(w);
	work_free(other);
}

static void a_third_job_must_wait_and_odd_sizes_are_refused(void **state)
{
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w[3], *odd = work_new(SIDE + 4, SIDE, 1, 1);
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *none = NULL;

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		w[i] = work_new(SIDE, SIDE, 1, i);
	assert_int_equal(gpu_engine_collect(e, 0, &none, &err), LATENTD_CUDA_NOTHING);
	submit(e, w[0]);
	submit(e, w[1]);
	assert_int_equal(gpu_engine_submit(e, &w[2]->job, &err), LATENTD_CUDA_FULL);
	collect(e, w[0], LATENTD_CUDA_OK);
	collect(e, w[1], LATENTD_CUDA_OK);
	assert_int_equal(gpu_engine_submit(e, &odd->job, &err), -1);
	assert_int_equal(err.code, LATENTD_CUDA_UNSUPPORTED);
	gpu_engine_close(e);
	for (uint32_t i = 0; i < 3; i++)
		work_free(w[i]);
	work_free(odd);
}

/* -- time -------------------------------------------------------------------------------------------- */

static void collect_waits_no_longer_than_it_may(void **state)
{
	static const int limits[] = {0, 1, 30};
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w = work_new(SIDE, SIDE, 2, 3), *next = work_new(SIDE, SIDE, 2, 4);
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *done = NULL;

	(void)state;
	fake_cuda.stands_still = true;
	submit(e, w);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		int64_t began = clock_mono_ms();

		assert_int_equal(gpu_engine_collect(e, limits[i], &done, &err),
				 LATENTD_CUDA_NOTHING);
		assert_true(clock_mono_ms() - began >= limits[i] - 1);
		assert_null(done);
	}
	/* "Not ready" is no error of what is launched next. */
	submit(e, next);
	fake_cuda.stands_still = false;
	collect(e, w, LATENTD_CUDA_OK);
	assert_encoded(w, 1, 0);
	collect(e, next, LATENTD_CUDA_OK);
	assert_encoded(next, 1, 0);
	assert_int_equal(fake_cuda.graphs, 1);
	gpu_engine_close(e);
	work_free(w);
	work_free(next);
}

static void use_nvml(bool busy)
{
	setenv("FAKE_NVML_PID", "1", 1);
	setenv("FAKE_NVML_PERCENT", busy ? "60" : "0", 1);
}

static void while_others_use_the_gpu_nothing_starts_and_cancel_is_heard(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(SIDE, SIDE, 2, 3), *next = work_new(SIDE, SIDE, 1, 4);
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *done = NULL;
	struct latentd_cuda_engine *e;
	uint64_t ticks;

	(void)state;
	use_nvml(true);
	options.pause_when_busy = 1;
	e = engine_new(&options);
	submit(e, w); /* returns */
	ticks = gpu_engine_ticks(e);
	assert_int_equal(gpu_engine_collect(e, 5, &done, &err), LATENTD_CUDA_NOTHING);
	assert_int_equal(gpu_engine_collect(e, 5, &done, &err), LATENTD_CUDA_NOTHING);
	assert_int_equal(rig.runs, 0);
	assert_true(gpu_engine_ticks(e) > ticks); /* a watchdog sees that it is alive */
	gpu_engine_cancel(e);
	collect(e, w, LATENTD_CUDA_CANCELLED);
	submit(e, next);
	use_nvml(false);
	collect(e, next, LATENTD_CUDA_OK);
	assert_encoded(next, 0, 0);
	gpu_engine_close(e);
	work_free(w);
	work_free(next);
}

/* A part keeps the device busy for 10 ms of its own time; at a tenth of it nothing starts for 90 more. */
static void a_share_of_the_time_leaves_the_rest_to_others(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(SIDE, SIDE, 2, 3);
	struct latentd_cuda_engine *e;
	int64_t began;

	(void)state;
	options.share = 0.1;
	options.max_batch = 1;
	e = engine_new(&options);
	began = clock_mono_ms();
	submit(e, w);
	assert_int_equal(rig.runs, 1); /* never two at once */
	collect(e, w, LATENTD_CUDA_OK);
	assert_true(clock_mono_ms() - began >= 88);
	assert_encoded(w, 0, 0);
	assert_encoded(w, 1, 0);
	gpu_engine_close(e);
	work_free(w);
}

static void what_is_cancelled_ends_between_parts_and_later_jobs_are_computed(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(SIDE, SIDE, 6, 3), *next = work_new(SIDE, SIDE, 1, 4);
	struct latentd_cuda_engine *e;

	(void)state;
	options.max_batch = 1;
	e = engine_new(&options);
	submit(e, w);
	assert_int_equal(rig.runs, 2);
	gpu_engine_cancel(e);
	submit(e, next);
	collect(e, w, LATENTD_CUDA_CANCELLED);
	assert_encoded(w, 0, 0); /* they were under way */
	assert_encoded(w, 1, 0);
	for (uint32_t i = 2; i < 6; i++)
		assert_int_equal(w->items[i].flags, 0);
	collect(e, next, LATENTD_CUDA_OK);
	assert_encoded(next, 0, 0);
	gpu_engine_close(e);
	work_free(w);
	work_free(next);
}

/* A new size takes up to a minute: a watchdog sees that it gets on, it can be stopped, and what was found is kept. */
static void choosing_algorithms_counts_as_work_and_hears_cancel(void **state)
{
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w = work_new(SIDE, SIDE, 1, 3), *next = work_new(SIDE, SIDE, 1, 4);
	uint64_t ticks = gpu_engine_ticks(e);

	(void)state;
	rig.algorithms = 10;
	rig.cancel = e;
	submit(e, w); /* it is numbered when it is taken */
	collect(e, w, LATENTD_CUDA_CANCELLED);
	assert_int_equal(rig.runs, 0);
	rig.cancel = NULL;
	submit(e, next);
	assert_true(gpu_engine_ticks(e) >= ticks + 10);
	assert_int_equal(rig.saved, rig.prepared);
	collect(e, next, LATENTD_CUDA_OK);
	assert_encoded(next, 0, 0);
	gpu_engine_close(e);
	work_free(w);
	work_free(next);
}

/* -- memory ------------------------------------------------------------------------------------------ */

static void batches_are_halved_until_they_fit_then_images_go_in_bands(void **state)
{
	static const size_t limits[] = {128, 64, 32, 24, 22};
	static const uint32_t batches[] = {4, 2, 1, 1, 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct latentd_cuda_options options = plenty;
		struct work *w = work_new(8 * SIDE, 8 * SIDE, 4, 3);
		struct latentd_cuda_usage usage;
		struct latentd_cuda_engine *e;

		start_over((uint32_t)i);
		options.memory = limits[i] * MIB;
		e = engine_new(&options);
		encode(e, w);
		usage = usage_of(e);
		assert_int_equal(usage.batch, batches[i]);
		assert_int_equal(usage.banded, i > 2);
		assert_true(fake_cuda.most <= options.memory);
		gpu_engine_close(e);
		work_free(w);
	}
}

static void
algorithms_that_need_more_than_there_is_have_smaller_batches_and_smaller_bands(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(4 * SIDE, 4 * SIDE, 4, 3);
	struct latentd_cuda_engine *e;

	(void)state;
	rig.workspace_image = 11 * MIB; /* beside the arena of four there is not room for two's */
	options.memory = 48 * MIB;
	e = engine_new(&options);
	encode(e, w);
	assert_int_equal(usage_of(e).batch, 2);
	assert_true(fake_cuda.most <= options.memory);
	gpu_engine_close(e);
	work_free(w);

	/* One image whole never leaves room; in bands of 4 MiB it does. */
	w = work_new(8 * SIDE, 8 * SIDE, 1, 3);
	start_over(2);
	rig.workspace_image = 100 * MIB;
	rig.workspace_row = 1;
	options.memory = 32 * MIB;
	e = engine_new(&options);
	encode(e, w);
	assert_int_equal(usage_of(e).batch, 1);
	assert_true(usage_of(e).banded);
	gpu_engine_close(e);
	work_free(w);
}

static void what_exceeds_the_limit_is_too_large_and_the_next_size_is_encoded(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(16 * SIDE, 16 * SIDE, 1, 3), *small = work_new(SIDE, SIDE, 2, 4);
	struct latentd_cuda_engine *e;

	(void)state;
	options.memory = 6 * MIB;
	e = engine_new(&options);
	submit(e, w);
	collect(e, w, LATENTD_CUDA_TOO_LARGE);
	assert_int_equal(w->items[0].flags, 0);
	encode(e, small);
	gpu_engine_close(e);
	work_free(w);
	work_free(small);
}

static void memory_that_others_have_is_not_the_image_s_fault(void **state)
{
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w = work_new(4 * SIDE, 4 * SIDE, 1, 3);

	(void)state;
	fake_cuda.memory = 2 * MIB; /* of which our parameters have one */
	submit(e, w);
	collect(e, w, LATENTD_CUDA_NO_MEMORY);
	fake_cuda.memory = SIZE_MAX; /* they are gone */
	fake_cuda.host_is_full = true;
	submit(e, w);
	collect(e, w, LATENTD_CUDA_NO_MEMORY);
	fake_cuda.host_is_full = false;
	encode(e, w);
	gpu_engine_close(e);
	work_free(w);
}

static void a_refusal_of_another_kind_ends_the_job_at_once(void **state)
{
	struct latentd_cuda_engine *e = engine_new(&plenty);
	struct work *w = work_new(SIDE, SIDE, 4, 3);

	(void)state;
	rig.refusal = (struct latentd_cuda_error){LATENTD_CUDA_UNSUPPORTED, "no such convolution"};
	submit(e, w);
	collect(e, w, LATENTD_CUDA_UNSUPPORTED);
	assert_int_equal(rig.prepared, 1);
	rig.refusal.code = LATENTD_CUDA_OK;
	encode(e, w);
	gpu_engine_close(e);
	work_free(w);
}

static void parameters_beyond_the_limit_open_no_engine(void **state)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_engine *e = NULL;

	(void)state;
	rig.weights = 65 * MIB;
	assert_int_equal(gpu_engine_open(&model, &plenty, &e, &err), -1);
	assert_int_equal(err.code, LATENTD_CUDA_TOO_LARGE);
	assert_null(e);
	assert_int_equal(fake_cuda.held, 0);
}

/* -- repeats ----------------------------------------------------------------------------------------- */

static void what_overflows_is_repeated_in_float32_between_its_neighbours(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < ORDERS; seed++) {
		struct latentd_cuda_options options = plenty;
		struct work *w = work_new(SIDE, SIDE, 6, seed), *next = work_new(SIDE, SIDE, 2, 9);
		struct latentd_cuda_engine *e;

		start_over(seed);
		options.max_batch = 1 + seed % 3;
		e = engine_new(&options);
		w->pixels[1 * w->image] = OVERFLOWS;
		w->pixels[4 * w->image] = ALWAYS_OVERFLOWS;
		submit(e, w);
		submit(e, next);
		collect(e, w, LATENTD_CUDA_OK);
		collect(e, next, LATENTD_CUDA_OK);
		for (uint32_t i = 0; i < 6; i++) {
			if (i == 4)
				assert_int_equal(w->items[i].flags,
						 LATENTD_CUDA_ITEM_DONE | LATENTD_CUDA_ITEM_F32 |
						     LATENTD_CUDA_ITEM_NOT_FINITE);
			else
				assert_encoded(w, i, i == 1 ? LATENTD_CUDA_ITEM_F32 : 0);
		}
		assert_encoded(next, 1, 0);
		gpu_engine_close(e);
		work_free(w);
		work_free(next);
	}
}

/*
 * Both engines keep to one limit, of which ours takes 7.5 MiB for one image, float32's 11.5 at least: where both do not fit
 * they take turns.
 */
static void where_there_is_no_room_for_both_the_repeat_has_the_memory_for_itself(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(4 * SIDE, 4 * SIDE, 3, 1);

	(void)state;
	options.max_batch = 1;
	options.memory = 13 * MIB;
	w->pixels[1 * w->image] = OVERFLOWS;
	for (uint32_t seed = 0; seed < ORDERS / 4; seed++) {
		struct latentd_cuda_engine *e;

		start_over(seed);
		e = engine_new(&options);
		submit(e, w);
		collect(e, w, LATENTD_CUDA_OK);
		for (uint32_t i = 0; i < 3; i++)
			assert_encoded(w, i, i == 1 ? LATENTD_CUDA_ITEM_F32 : 0);
		assert_true(fake_cuda.most <= options.memory);
		gpu_engine_close(e);
	}
	work_free(w);
}

static void an_image_that_is_too_large_for_float32_is_that_alone(void **state)
{
	struct latentd_cuda_options options = plenty;
	struct work *w = work_new(4 * SIDE, 4 * SIDE, 3, 1);
	struct latentd_cuda_engine *e;

	(void)state;
	options.max_batch = 1;
	options.memory = 9 * MIB;
	w->pixels[1 * w->image] = OVERFLOWS;
	e = engine_new(&options);
	submit(e, w);
	collect(e, w, LATENTD_CUDA_OK);
	assert_encoded(w, 0, 0);
	assert_int_equal(w->items[1].flags, LATENTD_CUDA_ITEM_DONE | LATENTD_CUDA_ITEM_TOO_LARGE);
	assert_encoded(w, 2, 0);
	gpu_engine_close(e);
	work_free(w);
}

/* -- the device is lost ------------------------------------------------------------------------------ */

static void a_lost_device_gives_every_job_back_and_takes_no_more(void **state)
{
	(void)state;
	for (long after = 0; after < 24; after++) {
		struct latentd_cuda_options options = plenty;
		struct work *w = work_new(SIDE, SIDE, 5, 3), *next = work_new(2 * SIDE, SIDE, 2, 4);
		struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
		struct latentd_cuda_job *done = NULL;
		struct latentd_cuda_engine *e;
		int r[2];

		start_over((uint32_t)after);
		options.max_batch = 1;
		e = engine_new(&options);
		fake_cuda.lost_after = after;
		submit(e, w);
		submit(e, next);
		r[0] = gpu_engine_collect(e, -1, &done, &err);
		assert_ptr_equal(done, &w->job);
		for (uint32_t i = 0; i < 5; i++) {
			if (w->items[i].flags)
				assert_encoded(w, i, 0);
			assert_true(r[0] < 0 || w->items[i].flags);
		}
		if (r[0] < 0)
			assert_int_equal(err.code, LATENTD_CUDA_DEVICE_LOST);
		r[1] = gpu_engine_collect(e, -1, &done, &err);
		assert_ptr_equal(done, &next->job);
		if (r[0] < 0) {
			assert_true(r[1] < 0);
			err.code = LATENTD_CUDA_OK;
			assert_int_equal(gpu_engine_submit(e, &w->job, &err), -1);
			assert_int_equal(err.code, LATENTD_CUDA_DEVICE_LOST);
		}
		gpu_engine_close(e);
		work_free(w);
		work_free(next);
	}
}

/* -- an encoder and a decoder ------------------------------------------------------------------------- */

/* Both under way at once, in every order, with room for one's maps at a time: whole batches, and within one limit. */
static void what_is_beside_takes_the_others_maps_and_keeps_to_one_limit(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < ORDERS / 2; seed++) {
		struct latentd_cuda_options options = plenty;
		struct latentd_cuda_engine *e, *d;
		struct work *in = work_new(2 * SIDE, 2 * SIDE, 4, seed);
		struct work *out = work_of(&decoder, 2 * SIDE, 2 * SIDE, 2, seed);
		struct work *large = work_of(&decoder, 4 * SIDE, 4 * SIDE, 1, seed);

		start_over(seed);
		options.memory = 11 * MIB;
		options.max_batch = 2;
		e = engine_new(&options);
		options.beside = e;
		d = engine_of(&decoder, &options);
		for (int round = 0; round < 2; round++) {
			submit(e, in);
			submit(d, out);
			submit(d, large);
			collect(e, in, LATENTD_CUDA_OK);
			collect(d, out, LATENTD_CUDA_OK);
			collect(d, large, LATENTD_CUDA_OK);
			assert_false(usage_of(d).banded);
			for (uint32_t i = 0; i < 4; i++)
				assert_encoded(in, i, 0);
			for (uint32_t i = 0; i < 2; i++)
				assert_encoded(out, i, 0);
			assert_encoded(large, 0, 0);
		}
		assert_true(fake_cuda.most <= options.memory);
		gpu_engine_close(d);
		submit(e, in);
		collect(e, in, LATENTD_CUDA_OK);
		assert_int_equal(usage_of(e).batch, 2);
		gpu_engine_close(e);
		work_free(in);
		work_free(out);
		work_free(large);
		assert_int_equal(fake_cuda.held, 0);
		assert_int_equal(fake_cuda.host_held, 0);
	}
}

#define TEST(test) cmocka_unit_test_setup(test, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(jobs_of_many_parts_come_back_in_order_with_their_own_moments),
	    TEST(results_come_down_while_the_next_part_is_computed),
	    TEST(where_graphs_cannot_be_captured_kernels_are_launched),
	    TEST(a_third_job_must_wait_and_odd_sizes_are_refused),
	    TEST(collect_waits_no_longer_than_it_may),
	    TEST(while_others_use_the_gpu_nothing_starts_and_cancel_is_heard),
	    TEST(a_share_of_the_time_leaves_the_rest_to_others),
	    TEST(what_is_cancelled_ends_between_parts_and_later_jobs_are_computed),
	    TEST(choosing_algorithms_counts_as_work_and_hears_cancel),
	    TEST(batches_are_halved_until_they_fit_then_images_go_in_bands),
	    TEST(algorithms_that_need_more_than_there_is_have_smaller_batches_and_smaller_bands),
	    TEST(what_exceeds_the_limit_is_too_large_and_the_next_size_is_encoded),
	    TEST(memory_that_others_have_is_not_the_image_s_fault),
	    TEST(a_refusal_of_another_kind_ends_the_job_at_once),
	    TEST(parameters_beyond_the_limit_open_no_engine),
	    TEST(what_overflows_is_repeated_in_float32_between_its_neighbours),
	    TEST(where_there_is_no_room_for_both_the_repeat_has_the_memory_for_itself),
	    TEST(an_image_that_is_too_large_for_float32_is_that_alone),
	    TEST(what_is_beside_takes_the_others_maps_and_keeps_to_one_limit),
	    TEST(a_lost_device_gives_every_job_back_and_takes_no_more),
	};

	return cmocka_run_group_tests(tests, make_model, NULL);
}

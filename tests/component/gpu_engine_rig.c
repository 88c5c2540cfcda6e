#include "tests/component/gpu_engine_rig.h"

#include "base/checked.h"
#include "encoder/cuda/device_cuda.h"
#include "encoder/cuda/device_memory.h"
#include "encoder/cuda/gpu_network.h"
#include "tests/component/fake_cuda.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

struct gpu_engine_rig rig;

/* -- a device and a network in the place of cuDNN's -------------------------------------------------- */

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

struct latentd_cuda_model encoder_model, decoder_model;

int make_models(void **state)
{
	(void)state;
	encoder_model.config = (struct latentd_cuda_config){.size = sizeof(encoder_model.config),
							    .blocks = 4,
							    .channels = {16, 16, 32, 32},
							    .layers_per_block = 1,
							    .groups = 4,
							    .latent_channels = 4};
	gpu_steps_list(&encoder_model.config, &encoder_model.steps);
	decoder_model.config = encoder_model.config;
	decoder_model.config.part = LATENTD_CUDA_DECODER;
	gpu_steps_list(&decoder_model.config, &decoder_model.steps);
	assert_int_equal(gpu_model_downscale(&encoder_model), DOWN);
	assert_int_equal(gpu_model_moments(&encoder_model), CHANNELS);
	return 0;
}

struct work *work_of(const struct latentd_cuda_model *m, uint32_t width, uint32_t height,
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

struct work *work_new(uint32_t width, uint32_t height, uint32_t n, uint32_t seed)
{
	return work_of(&encoder_model, width, height, n, seed);
}

void work_free(struct work *w)
{
	free(w->pixels);
	free(w->moments);
	free(w);
}

void assert_encoded(const struct work *w, uint32_t i, uint32_t flags)
{
	double sum = 0;

	assert_int_equal(w->items[i].flags, LATENTD_CUDA_ITEM_DONE | flags);
	for (size_t p = 0; p < w->image; p++)
		sum += (double)((const uint8_t *)w->items[i].input)[p] * (double)(p % 7 + 1);
	for (size_t k = 0; k < w->floats; k++)
		assert_true(w->items[i].result[k] == (float)(sum / 1000 + (double)k));
}

struct latentd_cuda_engine *engine_of(struct latentd_cuda_model *m,
				      const struct latentd_cuda_options *options)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_engine *e = NULL;

	if (gpu_engine_open(m, options, &e, &err) < 0)
		fail_msg("%s", err.message);
	return e;
}

struct latentd_cuda_engine *engine_new(const struct latentd_cuda_options *options)
{
	return engine_of(&encoder_model, options);
}

const struct latentd_cuda_options plenty = {
    .size = sizeof(plenty), .dtype = LATENTD_CUDA_F16, .memory = 64 * MIB, .share = 1};

int gpu_engine_rig_setup(void **state)
{
	(void)state;
	memset(&rig, 0, sizeof(rig));
	rig.weights = MIB;
	fake_cuda_reset(1);
	return 0;
}

void start_over(uint32_t seed)
{
	gpu_engine_rig_setup(NULL);
	fake_cuda_reset(seed);
}

struct work *submit(struct latentd_cuda_engine *e, struct work *w)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};

	assert_int_equal(gpu_engine_submit(e, &w->job, &err), 0);
	return w;
}

void collect(struct latentd_cuda_engine *e, struct work *expected, enum latentd_cuda_code code)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *done = NULL;
	int r = gpu_engine_collect(e, -1, &done, &err);

	if (err.code != code)
		fail_msg("%d: %s", (int)err.code, err.message);
	assert_int_equal(r, code == LATENTD_CUDA_OK ? 0 : -1);
	assert_ptr_equal(done, &expected->job);
}

void encode(struct latentd_cuda_engine *e, struct work *w)
{
	submit(e, w);
	collect(e, w, LATENTD_CUDA_OK);
	for (uint32_t i = 0; i < w->job.n; i++)
		assert_encoded(w, i, 0);
}

struct latentd_cuda_usage usage_of(const struct latentd_cuda_engine *e)
{
	struct latentd_cuda_usage usage;

	gpu_engine_usage(e, &usage);
	return usage;
}

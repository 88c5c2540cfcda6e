/*
 * The plugin keeps two jobs under way and is collected from when a driver asks, which waits for the device: so nothing
 * here is pollable. A batch is a job or a few (cuda_work.h); what comes back is moments, of which the posterior is made
 * here, as for every other engine. A decoder is a model and an engine of its own, which shares the GPU's memory with the
 * encoder's (latentd_cuda.h: beside). Cancelling moves a mark, as in encoder_blocking.c: batches with a smaller number end.
 */
#include "encoder/encoder_cuda.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "encoder/cuda/gpu_layers.h"
#include "encoder/cuda_plugin_load.h"
#include "encoder/cuda_work.h"
#include "vae/vae_decoder.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

/* One of the model's two networks. */
struct network {
	struct latentd_cuda_model *model;
	struct latentd_cuda_engine *engine;
	struct sha256 weights;
};

struct encoder_cuda {
	struct encoder base;
	const struct latentd_cuda_api *api;
	struct network encoder, decoder; /* without an engine: there is none */
	struct encoder_caps caps;
	struct latentd_cuda_caps plugin_caps;
	struct vae_config config;
	struct cuda_work *line[LATENTD_CUDA_IN_FLIGHT]; /* the oldest first */
	size_t n;
	atomic_uint_fast64_t submitted, cancelled; /* numbers of batches */
	uint64_t limit;		   /* bytes, as configured; 0: a share of what was free */
	atomic_uint_fast64_t used; /* bytes, after the last batch */
};

static struct encoder_cuda *cuda_of(const struct encoder *e)
{
	return (struct encoder_cuda *)(uintptr_t)e;
}

/* -- weights -------------------------------------------------------------------------------------- */

static struct latentd_cuda_config config_of(const struct vae_config *v, enum vae_part part)
{
	bool decoder = part == VAE_DECODER;
	struct latentd_cuda_config c = {
	    .size = sizeof(c),
	    .part = decoder ? LATENTD_CUDA_DECODER : LATENTD_CUDA_ENCODER,
	    .blocks = (uint32_t)v->blocks,
	    .layers_per_block = (uint32_t)v->layers_per_block,
	    .groups = (uint32_t)v->norm_num_groups,
	    .latent_channels = (uint32_t)v->latent_channels,
	    .quant_conv = decoder ? v->use_post_quant_conv : v->use_quant_conv,
	    .attention = v->mid_block_add_attention};

	for (size_t i = 0; i < v->blocks && i < LATENTD_CUDA_MAX_BLOCKS; i++)
		c.channels[i] = (uint32_t)v->block_out_channels[i];
	return c;
}

struct tensors {
	struct latentd_cuda_tensor list[2 * GPU_MAX_LAYERS];
	char *names[2 * GPU_MAX_LAYERS];
	float *values[2 * GPU_MAX_LAYERS];
	size_t n;
};

static int read_tensor(struct tensors *t, struct kl_weights *weights, const struct gpu_layer *layer,
		       const char *part, struct error *err)
{
	bool vector = layer->kind == GPU_NORM || strcmp(part, "bias") == 0;
	size_t shape[4] = {layer->out, layer->in, layer->kernel, layer->kernel}, i = t->n++;
	size_t ndim = vector ? 1 : layer->kind == GPU_LINEAR ? 2 : 4;

	t->names[i] = xasprintf("%s.%s", layer->name, part);
	if (kl_weights_read(weights, t->names[i], ndim, shape, &t->values[i], err) < 0)
		return -1;
	t->list[i] = (struct latentd_cuda_tensor){.name = t->names[i],
						  .dtype = LATENTD_CUDA_F32,
						  .ndim = (uint32_t)ndim,
						  .shape = {shape[0], shape[1], shape[2], shape[3]},
						  .data = t->values[i]};
	return 0;
}

/* Every tensor that @part has, and no other: the hash covers what is computed with. */
static int read_tensors(struct tensors *t, struct vae_model *model, enum vae_part part,
			const struct latentd_cuda_config *config, struct error *err)
{
	struct latentd_cuda_error refusal = {LATENTD_CUDA_OK, ""};
	struct gpu_layers *layers = xcalloc(1, sizeof(*layers));
	int r = 0;

	if (gpu_layers_list(config, layers, &refusal) < 0)
		r = cuda_plugin_error(&refusal, err);
	for (size_t i = 0; r == 0 && i < layers->n; i++) {
		r = read_tensor(t, model->weights, &layers->layers[i], "weight", err);
		if (r == 0)
			r = read_tensor(t, model->weights, &layers->layers[i], "bias", err);
	}
	free(layers);
	return r < 0 ? -1 : kl_weights_check_rest(model->weights, part, err);
}

static int load_model(struct encoder_cuda *e, struct vae_model *model, enum vae_part part,
		      struct network *out, struct error *err)
{
	const struct latentd_cuda_config config = config_of(&model->config, part);
	struct latentd_cuda_error refusal = {LATENTD_CUDA_OK, ""};
	struct tensors *t = xcalloc(1, sizeof(*t));
	int r = read_tensors(t, model, part, &config, err);

	if (r == 0 && e->api->model_open(&config, t->list, t->n, &out->model, &refusal) < 0)
		r = cuda_plugin_error(&refusal, err);
	for (size_t i = 0; i < t->n; i++) {
		free(t->names[i]);
		free(t->values[i]);
	}
	free(t);
	return r < 0 ? -1 : kl_weights_hash(model->weights, part, &out->weights, err);
}

/* -- batches -------------------------------------------------------------------------------------- */

static const struct encoder_caps *encoder_cuda_caps(const struct encoder *e)
{
	return &cuda_of(e)->caps;
}

static size_t encoder_cuda_capacity(struct encoder *e)
{
	return LATENTD_CUDA_IN_FLIGHT - cuda_of(e)->n;
}

static bool is_cancelled(const struct encoder_cuda *e, const struct cuda_work *w)
{
	return w->number < atomic_load(&e->cancelled);
}

static struct latentd_cuda_engine *engine_of(const struct encoder_cuda *e,
					     const struct cuda_work *w)
{
	return w->batch->decode ? e->decoder.engine : e->encoder.engine;
}

/* The next job of @w. 0, LATENTD_CUDA_FULL, or -1: nothing more of it is submitted. */
static int submit_job(struct encoder_cuda *e, struct cuda_work *w)
{
	struct latentd_cuda_error refusal = {LATENTD_CUDA_OK, ""};
	struct error why = ERROR_INIT;
	int r;

	if (is_cancelled(e, w)) {
		error_set(&why, ERR_TRANSIENT, "the encode was cancelled");
		cuda_work_fail(w, &why);
		return -1;
	}
	r = e->api->submit(engine_of(e, w), &w->jobs[w->submitted].job, &refusal);
	if (r > 0)
		return LATENTD_CUDA_FULL;
	if (r < 0) {
		cuda_plugin_error(&refusal, &why);
		cuda_work_fail(w, &why);
		return -1;
	}
	w->submitted++;
	if (is_cancelled(e, w)) /* meanwhile: the plugin did not have it yet */
		e->api->cancel(engine_of(e, w));
	return 0;
}

/* Jobs in the order of their batches, as many as the plugin takes. */
static void submit_jobs(struct encoder_cuda *e)
{
	for (size_t i = 0; i < e->n; i++) {
		struct cuda_work *w = e->line[i];
		int r = 0;

		while (r == 0 && w->submitted < w->n)
			r = submit_job(e, w);
		if (r > 0)
			return;
	}
}

static int encoder_cuda_submit(struct encoder *base, struct encode_batch *batch, struct error *err)
{
	struct encoder_cuda *e = cuda_of(base);
	struct cuda_work *w;

	if (e->n == LATENTD_CUDA_IN_FLIGHT)
		return ENCODER_FULL;
	w = cuda_work_new(&e->config, batch);
	w->number = atomic_load(&e->submitted);
	e->line[e->n++] = w;
	submit_jobs(e);
	if (w->submitted == 0 && w->failure.code != ERR_NONE) {
		*err = w->failure;
		e->n--;
		cuda_work_free(w);
		return -1;
	}
	atomic_store(&e->submitted, w->number + 1);
	return 0;
}

/* One job back from an engine. False: none yet. */
static bool collect_job(struct encoder_cuda *e, struct latentd_cuda_engine *engine, int timeout_ms)
{
	struct latentd_cuda_error refusal = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_job *finished = NULL;
	struct error failure = ERROR_INIT;
	struct cuda_work *w;
	int r = e->api->collect(engine, timeout_ms, &finished, &refusal);

	assert((r <= 0) == (finished != NULL));
	if (r > 0)
		return false;
	w = ((struct cuda_job *)finished)->work;
	w->collected++;
	if (r < 0) {
		cuda_plugin_error(&refusal, &failure);
		cuda_work_fail(w, &failure);
	}
	return true;
}

static uint64_t used_by(const struct encoder_cuda *e, const struct network *n)
{
	struct latentd_cuda_usage usage = {.size = sizeof(usage)};

	if (!n->engine)
		return 0;
	e->api->usage(n->engine, &usage);
	return usage.weights + usage.workspace + usage.arena;
}

/* On the thread that the engines belong to. */
static void note_memory(struct encoder_cuda *e)
{
	atomic_store(&e->used, used_by(e, &e->encoder) + used_by(e, &e->decoder));
}

static struct encoder_memory encoder_cuda_memory(const struct encoder *e)
{
	return (struct encoder_memory){atomic_load(&cuda_of(e)->used), cuda_of(e)->limit};
}

static int encoder_cuda_collect(struct encoder *base, int timeout_ms, struct encode_batch **done,
				struct error *err)
{
	struct encoder_cuda *e = cuda_of(base);
	struct cuda_work *w = e->line[0];
	struct error failure;

	if (e->n == 0)
		return ENCODER_NOTHING;
	submit_jobs(e);
	while (!cuda_work_is_over(w)) {
		if (!collect_job(e, engine_of(e, w), timeout_ms))
			return ENCODER_NOTHING;
		submit_jobs(e);
	}
	note_memory(e);
	failure = w->failure;
	*done = w->batch;
	cuda_work_finish(w);
	memmove(e->line, e->line + 1, --e->n * sizeof(*e->line));
	if (failure.code == ERR_NONE || failure.code == ERR_DATA || failure.code == ERR_TRANSIENT)
		return 0;
	*err = failure;
	return -1;
}

static void encoder_cuda_cancel(struct encoder *base)
{
	struct encoder_cuda *e = cuda_of(base);
	uint_fast64_t mark = atomic_load(&e->submitted), old = atomic_load(&e->cancelled);

	while (old < mark && !atomic_compare_exchange_weak(&e->cancelled, &old, mark))
		continue;
	e->api->cancel(e->encoder.engine);
	if (e->decoder.engine)
		e->api->cancel(e->decoder.engine);
}

static uint64_t encoder_cuda_ticks(const struct encoder *e)
{
	const struct encoder_cuda *c = cuda_of(e);

	return c->api->ticks(c->encoder.engine) +
	       (c->decoder.engine ? c->api->ticks(c->decoder.engine) : 0);
}

static int encoder_cuda_pollable(struct encoder *e)
{
	(void)e;
	return -1;
}

static void close_network(const struct latentd_cuda_api *api, struct network *n)
{
	if (n->engine)
		api->engine_close(n->engine);
	if (n->model)
		api->model_close(n->model);
}

static void encoder_cuda_close(struct encoder *base)
{
	struct encoder_cuda *e = cuda_of(base);

	assert(e->n == 0);
	close_network(e->api, &e->decoder);
	close_network(e->api, &e->encoder);
	free(e);
}

static const struct encoder_ops encoder_cuda_ops = {
    .name = "cuda",
    .caps = encoder_cuda_caps,
    .capacity = encoder_cuda_capacity,
    .submit = encoder_cuda_submit,
    .collect = encoder_cuda_collect,
    .cancel = encoder_cuda_cancel,
    .ticks = encoder_cuda_ticks,
    .pollable = encoder_cuda_pollable,
    .memory = encoder_cuda_memory,
    .close = encoder_cuda_close,
};

/* -- opening -------------------------------------------------------------------------------------- */

static int open_engine(struct encoder_cuda *e, const struct encoder_cuda_options *options,
		       struct network *n, struct error *err)
{
	const struct latentd_cuda_options o = {.size = sizeof(o),
					       .device = options->device,
					       .dtype = options->precision,
					       .tf32 = options->tf32,
					       .memory = options->memory,
					       .memory_percent = options->memory_percent,
					       .cache = options->cache,
					       .share = options->share > 0 ? options->share : 1,
					       .pause_when_busy = options->pause_when_busy,
					       .beside = e->encoder.engine};
	struct latentd_cuda_error refusal = {LATENTD_CUDA_OK, ""};

	if (e->api->engine_open(n->model, &o, &n->engine, &refusal) < 0) {
		/* no image is to blame */
		return refusal.code == LATENTD_CUDA_TOO_LARGE
			   ? error_set(err, ERR_CONFIG, "%s", refusal.message)
			   : cuda_plugin_error(&refusal, err);
	}
	return 0;
}

static int open_network(struct encoder_cuda *e, const struct encoder_cuda_options *options,
			enum vae_part part, struct network *n, struct error *err)
{
	return load_model(e, options->model, part, n, err) < 0 ||
		       open_engine(e, options, n, err) < 0
		   ? -1
		   : 0;
}

static int open_networks(struct encoder_cuda *e, const struct encoder_cuda_options *options,
			 struct error *err)
{
	if (open_network(e, options, VAE_ENCODER, &e->encoder, err) < 0)
		return -1;
	if (options->decoder && vae_decoder_exists(options->model) &&
	    open_network(e, options, VAE_DECODER, &e->decoder, err) < 0)
		return -1;
	e->api->caps(e->encoder.engine, &e->plugin_caps);
	e->caps = (struct encoder_caps){.latent_channels = e->config.latent_channels,
					.downscale = e->plugin_caps.downscale,
					.best_batch = e->plugin_caps.best_batch,
					.max_in_flight = LATENTD_CUDA_IN_FLIGHT,
					.mean = true,
					.moments = true,
					.draw = true,
					.tiles = true,
					.decodes = e->decoder.engine != NULL,
					.engine = e->plugin_caps.engine};
	return 0;
}

int encoder_cuda_open(const struct encoder_cuda_options *options, struct encoder **out,
		      struct error *err)
{
	struct encoder_cuda *e;

	if (options->model->tiny)
		return error_set(err, ERR_CONFIG,
				 "%s: an AutoencoderTiny is computed on the processor, the CUDA "
				 "engine computes AutoencoderKL",
				 vae_model_name(options->model));
	e = xcalloc(1, sizeof(*e));
	atomic_init(&e->submitted, 0);
	atomic_init(&e->cancelled, 0);
	atomic_init(&e->used, 0);
	e->limit = options->memory;
	e->base.ops = &encoder_cuda_ops;
	e->config = options->model->config;
	e->api = cuda_plugin_load(options->plugin, err);
	if (!e->api || open_networks(e, options, err) < 0) {
		encoder_cuda_close(&e->base);
		return -1;
	}
	note_memory(e);
	*out = &e->base;
	return 0;
}

const struct vae_config *encoder_cuda_config(const struct encoder *e)
{
	return e->ops == &encoder_cuda_ops ? &cuda_of(e)->config : NULL;
}

const struct sha256 *encoder_cuda_weights_hash(const struct encoder *e)
{
	return e->ops == &encoder_cuda_ops ? &cuda_of(e)->encoder.weights : NULL;
}

int encoder_cuda_devices(const char *plugin, struct latentd_cuda_device *list, size_t max,
			 size_t *n, struct error *err)
{
	const struct latentd_cuda_api *api = cuda_plugin_load(plugin, err);
	struct latentd_cuda_error refusal = {LATENTD_CUDA_OK, ""};

	if (!api)
		return -1;
	return api->devices(list, max, n, &refusal) < 0 ? cuda_plugin_error(&refusal, err) : 0;
}

#include "encoder/encoder_cpu.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/memory_allowed.h"
#include "encoder/encoder_blocking.h"
#include "encoder/pixel_range.h"
#include "vae/vae_decoder.h"

#include <stdint.h>

struct encoder_cpu {
	struct encoder_blocking blocking;
	struct vae_encoder *vae;
	struct vae_decoder *decoder; /* NULL: none */
	bool decoded;		     /* the last batch was */
	char *engine;
	size_t limit;
	atomic_size_t used;    /* after the last image */
	struct ndarray pixels; /* the input of the network, kept between images */
};

/* What the network takes: an item's values, or its pixels in their range. NULL with ERR_NOMEM. */
static const float *input_of(struct encoder_cpu *e, const struct encode_batch *batch,
			     const struct encode_item *item, struct error *err)
{
	size_t shape[3] = {batch->height, batch->width, 3}, bytes = 0;

	if (item->values)
		return item->values;
	if (!ndarray_bytes(DTYPE_F32, 3, shape, &bytes) || bytes > e->pixels.bytes) {
		ndarray_release(&e->pixels);
		if (ndarray_alloc(&e->pixels, DTYPE_F32, 3, shape, err) < 0)
			return NULL;
	}
	pixel_range_signed(e->pixels.data, item->pixels, bytes / sizeof(float));
	return e->pixels.data;
}

static void note_memory(struct encoder_cpu *e)
{
	size_t used = vae_encoder_in_use(e->vae);

	if (e->decoder)
		used += vae_decoder_in_use(e->decoder);
	atomic_store(&e->used, used);
}

static struct encoder_memory encoder_cpu_memory(const struct encoder *base)
{
	const struct encoder_cpu *e = (const struct encoder_cpu *)base;

	return (struct encoder_memory){atomic_load(&e->used), e->limit};
}

static int encoder_cpu_encode(struct encoder_blocking *base, const struct encode_batch *batch,
			      const struct encode_item *item, float *moments, struct error *err)
{
	struct encoder_cpu *e = (struct encoder_cpu *)base;
	const struct kl_hooks hooks = {.step = {encoder_blocking_step, base}};
	const float *input = input_of(e, batch, item, err);
	int r;

	if (!input)
		return -1;
	if (e->decoded) /* one of the two has maps at a time */
		vae_decoder_rest(e->decoder);
	e->decoded = false;
	r = vae_encoder_encode(e->vae, batch->tile, input, batch->height, batch->width, moments,
			       &hooks, err);
	note_memory(e);
	return r;
}

static int encoder_cpu_decode(struct encoder_blocking *base, const struct encode_batch *batch,
			      const struct encode_item *item, float *picture, struct error *err)
{
	struct encoder_cpu *e = (struct encoder_cpu *)base;
	const struct kl_hooks hooks = {.step = {encoder_blocking_step, base}};
	size_t downscale = base->caps.downscale;
	int r;

	if (!e->decoded)
		vae_encoder_rest(e->vae);
	e->decoded = true;
	r = vae_decoder_decode(e->decoder, item->values, batch->height / downscale,
			       batch->width / downscale, picture, &hooks, err);
	note_memory(e);
	return r;
}

static void free_networks(struct encoder_cpu *e)
{
	vae_encoder_free(e->vae);
	vae_decoder_free(e->decoder);
}

static void encoder_cpu_close(struct encoder *base)
{
	struct encoder_cpu *e = (struct encoder_cpu *)base;

	encoder_blocking_release(&e->blocking);
	ndarray_release(&e->pixels);
	free_networks(e);
	free(e->engine);
	free(e);
}

static const struct encoder_ops encoder_cpu_ops = {
    .name = "cpu",
    .caps = encoder_blocking_caps,
    .capacity = encoder_blocking_capacity,
    .submit = encoder_blocking_submit,
    .collect = encoder_blocking_collect,
    .cancel = encoder_blocking_cancel,
    .ticks = encoder_blocking_ticks,
    .pollable = encoder_blocking_pollable,
    .memory = encoder_cpu_memory,
    .close = encoder_cpu_close,
};

/* The other half is for whoever else has the machine, and for decode workers. */
static size_t default_memory(size_t beside)
{
	size_t all = memory_allowed();

	return (all - (beside < all / 2 ? beside : all / 2)) / 2;
}

/* The networks, within the memory that both may have: maps has one of them at a time. */
static int load(struct encoder_cpu *e, const struct encoder_cpu_options *o,
		const struct vae_engine_ops *engine, struct error *err)
{
	size_t memory = o->memory ? o->memory : default_memory(o->beside), held = 0;

	e->vae = vae_encoder_load(o->model, engine, o->threads, err);
	if (!e->vae)
		return -1;
	if (o->decoder && vae_decoder_exists(o->model)) {
		e->decoder = vae_decoder_load(o->model, engine, o->threads, err);
		if (!e->decoder)
			return -1;
		vae_decoder_limit_memory(e->decoder, memory / 2);
		held = vae_decoder_held(e->decoder);
	}
	vae_encoder_limit_memory(e->vae, held < memory / 2 ? memory - held : memory / 2);
	e->limit = memory;
	note_memory(e);
	return 0;
}

static struct encoder_caps caps_of(const struct encoder_cpu *e)
{
	const struct vae_config *config = vae_encoder_config(e->vae);
	bool deterministic = vae_config_deterministic(config);

	return (struct encoder_caps){
	    .latent_channels = config->latent_channels,
	    .downscale = vae_config_downscale(config),
	    /* Images are computed one after another: a batch only saves round trips. */
	    .best_batch = 4,
	    .max_in_flight = 2,
	    .mean = true,
	    .moments = !deterministic,
	    .draw = !deterministic,
	    .values = true,
	    .tiles = !deterministic,
	    .decodes = e->decoder != NULL,
	    .engine = e->engine,
	};
}

int encoder_cpu_open(const struct encoder_cpu_options *options, struct encoder **out,
		     struct error *err)
{
	const struct vae_engine_ops *engine = vae_engine_choose(options->precision, err);
	cleanup_free char *version = NULL;
	struct encoder_caps caps;
	struct encoder_cpu *e;

	if (!engine)
		return -1;
	e = xcalloc(1, sizeof(*e));
	if (load(e, options, engine, err) < 0) {
		free_networks(e);
		free(e);
		return -1;
	}
	version = engine->version();
	e->engine =
	    xasprintf("cpu/%s-%s %s", engine->name, version, vae_precision_name(engine->precision));
	caps = caps_of(e);
	encoder_blocking_init(&e->blocking, &encoder_cpu_ops, &caps, encoder_cpu_encode);
	e->blocking.picture = encoder_cpu_decode;
	*out = &e->blocking.base;
	return 0;
}

const struct vae_encoder *encoder_cpu_vae(const struct encoder *e)
{
	return e->ops == &encoder_cpu_ops ? ((const struct encoder_cpu *)e)->vae : NULL;
}

/*
 * The networks are sequences, written here as PyTorch's Sequential numbers them, a letter a module:
 *
 *	t  tanh(x / 3) * 3		c  3x3 convolution	b  block: relu(conv(relu(conv(relu(conv(x))))) + x)
 *	d  3x3, stride 2, no bias	D  the same with bias	   behind x += pool(x), where it has that branch
 *	n  3x3, no bias			r  relu			u  twice the size, nearest neighbours
 *
 * diffusers leaves the decoder's first module out of its numbers. Three maps are enough: x, and two in which a block works.
 */
#include "vae/tiny_vae.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"
#include "vae/norm_stats.h"
#include "vae/tiny_weights.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
	WIDTH = 64,
	POOL_WIDTH = 256,
	POOL_GROUPS = 4,
	ALIGNMENT = 64,
	CONVS = 3,
	CHANNELS_MOST = 4096
};
#define POOL_EPS 1e-5f

static const struct tiny_network {
	enum vae_part part;
	const char *modules;
	size_t downscale;
} networks[] = {
    {VAE_ENCODER, "cbdbbbdbbbdbbbc", 8},
    {VAE_ENCODER, "DrDrbdbbbdbbbdbbbc", 32},
    {VAE_DECODER, "tcrbbbunbbbunbbbunbc", 8},
};

struct tiny_module {
	char kind;
	struct vae_conv *convs[CONVS];	     /* one, or a block's three */
	struct vae_conv *pool_in, *pool_out; /* NULL: the block has no such branch */
	float *norm_weight, *norm_bias;	     /* of the pool */
};

struct tiny_vae {
	const struct tiny_network *network;
	struct vae_engine *engine;
	struct tiny_module *modules;
	size_t n_modules, latent_channels;
	struct sha256 hash;
	float *maps; /* room for the three */
	size_t maps_floats;
};

/* -- load ---------------------------------------------------------------------------------------- */

struct loader {
	struct tiny_vae *vae;
	struct tiny_weights *weights;
	struct error *err;
};

/* The convolution @name of that shape; without bias it has zeros. */
static int load_conv(const struct loader *l, const char *name, const struct conv_shape *s,
		     bool bias, struct vae_conv **out)
{
	size_t shape[4] = {s->out, s->in, s->kernel, s->kernel};
	cleanup_free float *weight = NULL, *values = NULL;
	char full[TINY_NAME_SIZE];

	snprintf(full, sizeof(full), "%s.weight", name);
	if (tiny_weights_read(l->weights, full, 4, shape, &weight, l->err) < 0)
		return -1;
	snprintf(full, sizeof(full), "%s.bias", name);
	if (bias && tiny_weights_read(l->weights, full, 1, shape, &values, l->err) < 0)
		return -1;
	if (!bias)
		values = xcalloc(s->out, sizeof(*values));
	return l->vae->engine->ops->conv_new(l->vae->engine, s, weight, values, out, l->err);
}

static int load_pool(const struct loader *l, size_t index, struct tiny_module *m)
{
	const struct conv_shape in = {WIDTH, POOL_WIDTH, 1, 1, 0, 0};
	const struct conv_shape out = {POOL_WIDTH, WIDTH, 1, 1, 0, 0};
	const size_t channels = POOL_WIDTH;
	char name[TINY_NAME_SIZE];

	snprintf(name, sizeof(name), "%zu.pool.0", index);
	if (load_conv(l, name, &in, false, &m->pool_in) < 0)
		return -1;
	snprintf(name, sizeof(name), "%zu.pool.1.weight", index);
	if (tiny_weights_read(l->weights, name, 1, &channels, &m->norm_weight, l->err) < 0)
		return -1;
	snprintf(name, sizeof(name), "%zu.pool.1.bias", index);
	if (tiny_weights_read(l->weights, name, 1, &channels, &m->norm_bias, l->err) < 0)
		return -1;
	snprintf(name, sizeof(name), "%zu.pool.3", index);
	return load_conv(l, name, &out, false, &m->pool_out);
}

static int load_block(const struct loader *l, size_t index, struct tiny_module *m)
{
	const struct conv_shape s = {WIDTH, WIDTH, 3, 1, 1, 1};
	char name[TINY_NAME_SIZE];

	for (size_t i = 0; i < CONVS; i++) {
		snprintf(name, sizeof(name), "%zu.conv.%zu", index, 2 * i);
		if (load_conv(l, name, &s, true, &m->convs[i]) < 0)
			return -1;
	}
	snprintf(name, sizeof(name), "%zu.pool.0.weight", index);
	return tiny_weights_has(l->weights, name) ? load_pool(l, index, m) : 0;
}

/* Channels into and out of module @index: those of the image and the latent at the ends, and of TAESANA's first. */
static struct conv_shape shape_of(const struct tiny_vae *vae, size_t index)
{
	const char *modules = vae->network->modules;
	bool encoder = vae->network->part == VAE_ENCODER, down = strchr("dD", modules[index]);
	size_t first = encoder ? 0 : 1;
	struct conv_shape s = {WIDTH, WIDTH, 3, down ? 2 : 1, 1, 1};

	if (index == first)
		s.in = encoder ? 3 : vae->latent_channels;
	if (modules[first] == 'D' && index == first)
		s.out = WIDTH / 2;
	if (modules[first] == 'D' && index == first + 2)
		s.in = WIDTH / 2;
	if (index == vae->n_modules - 1)
		s.out = encoder ? vae->latent_channels : 3;
	return s;
}

static int load_module(const struct loader *l, size_t index)
{
	struct tiny_module *m = &l->vae->modules[index];
	struct conv_shape s = shape_of(l->vae, index);
	char name[TINY_NAME_SIZE];

	m->kind = l->vae->network->modules[index];
	snprintf(name, sizeof(name), "%zu", index);
	if (m->kind == 'b')
		return load_block(l, index, m);
	if (!strchr("cdDn", m->kind))
		return 0;
	return load_conv(l, name, &s, m->kind == 'c' || m->kind == 'D', &m->convs[0]);
}

/* The network whose last layer is there, and how many channels its latent has. */
static int find_network(struct tiny_vae *vae, struct tiny_weights *weights, enum vae_part part,
			struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
		size_t last = strlen(networks[i].modules) - 1, found;
		char name[TINY_NAME_SIZE];

		snprintf(name, sizeof(name), "%zu.weight",
			 networks[i].part == VAE_ENCODER ? last : 1);
		found = tiny_weights_side(weights, name, networks[i].part == VAE_ENCODER ? 0 : 1);
		if (networks[i].part != part || found == 0 || found > CHANNELS_MOST)
			continue;
		vae->network = &networks[i];
		vae->n_modules = last + 1;
		vae->latent_channels = found;
		return 0;
	}
	return error_set(err, ERR_CONFIG, "%s: it is no AutoencoderTiny with a known %s",
			 tiny_weights_name(weights), vae_part_name(part));
}

static int load(struct tiny_vae *vae, struct tiny_weights *weights, enum vae_part part,
		const struct vae_engine_ops *engine, size_t threads, struct error *err)
{
	const struct loader l = {vae, weights, err};

	if (find_network(vae, weights, part, err) < 0 ||
	    engine->open(threads, &vae->engine, err) < 0)
		return -1;
	vae->modules = xcalloc(vae->n_modules, sizeof(*vae->modules));
	for (size_t i = 0; i < vae->n_modules; i++) {
		if (load_module(&l, i) < 0)
			return -1;
	}
	if (tiny_weights_check_rest(weights, err) < 0)
		return -1;
	tiny_weights_hash(weights, &vae->hash);
	return 0;
}

struct tiny_vae *tiny_vae_load(const char *path, enum vae_part part,
			       const struct vae_engine_ops *engine, size_t threads,
			       struct error *err)
{
	struct tiny_weights *weights = tiny_weights_open(path, part, err);
	struct tiny_vae *vae = xcalloc(1, sizeof(*vae));

	if (!weights || load(vae, weights, part, engine, threads, err) < 0) {
		tiny_vae_free(vae);
		vae = NULL;
	}
	tiny_weights_close(weights);
	return vae;
}

void tiny_vae_free(struct tiny_vae *vae)
{
	if (!vae)
		return;
	for (size_t i = 0; vae->modules && i < vae->n_modules; i++) {
		struct tiny_module *m = &vae->modules[i];

		for (size_t j = 0; j < CONVS; j++)
			vae->engine->ops->conv_free(vae->engine, m->convs[j]);
		vae->engine->ops->conv_free(vae->engine, m->pool_in);
		vae->engine->ops->conv_free(vae->engine, m->pool_out);
		free(m->norm_weight);
		free(m->norm_bias);
	}
	if (vae->engine)
		vae->engine->ops->close(vae->engine);
	free(vae->modules);
	free(vae->maps);
	free(vae);
}

size_t tiny_vae_latent_channels(const struct tiny_vae *vae)
{
	return vae->latent_channels;
}

size_t tiny_vae_downscale(const struct tiny_vae *vae)
{
	return vae->network->downscale;
}

const struct sha256 *tiny_vae_weights_hash(const struct tiny_vae *vae)
{
	return &vae->hash;
}

/* -- memory -------------------------------------------------------------------------------------- */

static size_t rounded(size_t floats)
{
	return (floats + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool has_pool(const struct tiny_vae *vae)
{
	for (size_t i = 0; i < vae->n_modules; i++) {
		if (vae->modules[i].pool_in)
			return true;
	}
	return false;
}

/* Of one of the three maps; 0 where it overflows. Pools work where maps are 1/8 of each side, 1/64 of the pixels. */
static size_t map_floats(const struct tiny_vae *vae, size_t height, size_t width)
{
	size_t scale = vae->network->part == VAE_DECODER ? vae->network->downscale : 1;
	size_t channels = vae->network->downscale == 32 ? WIDTH / 2 : WIDTH, floats, bytes,
	       pool = 0;

	if (!size_mul(height, scale, &height) || !size_mul(width, scale, &width) ||
	    !size_mul3(height + 1, width + 1, channels, &floats) ||
	    !size_mul(floats, 4 * sizeof(float), &bytes))
		return 0;
	if (has_pool(vae))
		pool = (height / 8 + 1) * (width / 8 + 1) * POOL_WIDTH;
	return rounded(floats > pool ? floats : pool);
}

size_t tiny_vae_memory(const struct tiny_vae *vae, size_t height, size_t width)
{
	size_t scale = vae->network->part == VAE_DECODER ? vae->network->downscale : 1;
	size_t floats = map_floats(vae, height, width);

	if (floats == 0)
		return SIZE_MAX;
	return 3 * floats * sizeof(float) +
	       vae->engine->ops->scratch_bytes(vae->engine, height * scale, width * scale, WIDTH, 0,
					       0);
}

/* -- run ----------------------------------------------------------------------------------------- */

struct tiny_run {
	struct tiny_vae *vae;
	float *x, *a, *b;
	size_t height, width, channels; /* of x */
	struct error *err;
};

static void relu(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = x[i] > 0 ? x[i] : 0;
}

static size_t values(const struct tiny_run *run)
{
	return run->height * run->width * run->channels;
}

static int conv(const struct tiny_run *run, struct vae_conv *layer, float *out, const float *in,
		bool add, struct norm_stats *stats)
{
	const struct vae_conv_run c = {.out = out,
				       .in = in,
				       .height = run->height,
				       .width = run->width,
				       .out_rows = conv_out_size(&layer->shape, run->height),
				       .accumulate = add,
				       .stats = stats};

	return run->vae->engine->ops->conv(run->vae->engine, layer, &c, run->err);
}

/* x += conv(relu(norm(conv(x)))) */
static int pool(struct tiny_run *run, const struct tiny_module *m)
{
	size_t pixels = run->height * run->width;
	struct norm_stats stats = {.channels = 0};
	float scale[POOL_WIDTH], shift[POOL_WIDTH];
	int r;

	if (pixels * POOL_WIDTH > run->vae->maps_floats)
		return error_data(run->err, "pool", "a pool where maps are larger than 1/8");
	norm_stats_reset(&stats, POOL_WIDTH);
	r = conv(run, m->pool_in, run->a, run->x, false, &stats);
	if (r == 0) {
		norm_stats_scales(&stats, POOL_GROUPS, POOL_EPS, m->norm_weight, m->norm_bias,
				  scale, shift);
		for (size_t i = 0; i < pixels * POOL_WIDTH; i++)
			run->a[i] = run->a[i] * scale[i % POOL_WIDTH] + shift[i % POOL_WIDTH];
		relu(run->a, pixels * POOL_WIDTH);
		r = conv(run, m->pool_out, run->x, run->a, true, NULL);
	}
	norm_stats_release(&stats);
	return r;
}

static int block(struct tiny_run *run, const struct tiny_module *m)
{
	size_t n = values(run);

	if (m->pool_in && pool(run, m) < 0)
		return -1;
	if (conv(run, m->convs[0], run->a, run->x, false, NULL) < 0)
		return -1;
	relu(run->a, n);
	if (conv(run, m->convs[1], run->b, run->a, false, NULL) < 0)
		return -1;
	relu(run->b, n);
	if (conv(run, m->convs[2], run->x, run->b, true, NULL) < 0)
		return -1;
	relu(run->x, n);
	return 0;
}

static int replace(struct tiny_run *run, struct vae_conv *layer)
{
	float *out = run->a;

	if (conv(run, layer, out, run->x, false, NULL) < 0)
		return -1;
	run->height = conv_out_size(&layer->shape, run->height);
	run->width = conv_out_size(&layer->shape, run->width);
	run->channels = layer->shape.out;
	run->a = run->x;
	run->x = out;
	return 0;
}

static void upsample(struct tiny_run *run)
{
	size_t width = run->width, channels = run->channels;
	float *out = run->a;

	for (size_t y = 0; y < 2 * run->height; y++) {
		const float *row = run->x + y / 2 * width * channels;

		for (size_t x = 0; x < 2 * width; x++, out += channels)
			memcpy(out, row + x / 2 * channels, channels * sizeof(float));
	}
	out = run->a;
	run->a = run->x;
	run->x = out;
	run->height *= 2;
	run->width *= 2;
}

static int run_module(struct tiny_run *run, const struct tiny_module *m)
{
	switch (m->kind) {
	case 'b':
		return block(run, m);
	case 'u':
		upsample(run);
		return 0;
	case 'r':
		relu(run->x, values(run));
		return 0;
	case 't':
		for (size_t i = 0; i < values(run); i++)
			run->x[i] = tanhf(run->x[i] / 3) * 3;
		return 0;
	default:
		return replace(run, m->convs[0]);
	}
}

/* Room for maps of what goes in, which then is to be put into run->x. */
static int begin(struct tiny_vae *vae, size_t height, size_t width, size_t channels,
		 struct tiny_run *run, struct error *err)
{
	size_t floats = map_floats(vae, height, width);

	if (height == 0 || width == 0)
		return error_data(err, "too_small", "%zux%zu is nothing", width, height);
	if (floats == 0)
		return error_data(err, "too_large", "%zux%zu is too large", width, height);
	if (floats > vae->maps_floats) {
		free(vae->maps);
		vae->maps_floats = 0;
		vae->maps = aligned_alloc(ALIGNMENT, 3 * floats * sizeof(float));
		if (!vae->maps)
			return error_set(err, ERR_NOMEM, "no memory for %zu bytes of activations",
					 3 * floats * sizeof(float));
		vae->maps_floats = floats;
	}
	*run = (struct tiny_run){
	    .vae = vae,
	    .x = vae->maps,
	    .a = vae->maps + floats,
	    .b = vae->maps + 2 * floats,
	    .height = height,
	    .width = width,
	    .channels = channels,
	    .err = err,
	};
	return 0;
}

static int run_all(struct tiny_run *run)
{
	size_t bad = 0, n;

	for (size_t i = 0; i < run->vae->n_modules; i++) {
		if (run_module(run, &run->vae->modules[i]) < 0)
			return -1;
	}
	n = values(run);
	for (size_t i = 0; i < n; i++)
		bad += !isfinite(run->x[i]);
	if (bad > 0)
		return error_data(run->err, "non_finite", "%zu of %zu values are NaN or infinite",
				  bad, n);
	return 0;
}

int tiny_vae_encode(struct tiny_vae *vae, const float *pixels, size_t height, size_t width,
		    float *latent, struct error *err)
{
	struct tiny_run run;
	size_t tokens;

	if (begin(vae, height, width, 3, &run, err) < 0)
		return -1;
	for (size_t i = 0; i < height * width * 3; i++)
		run.x[i] = (pixels[i] + 1) / 2;
	if (run_all(&run) < 0)
		return -1;
	tokens = run.height * run.width;
	for (size_t c = 0; c < run.channels; c++)
		for (size_t t = 0; t < tokens; t++)
			latent[c * tokens + t] = run.x[t * run.channels + c];
	return 0;
}

int tiny_vae_decode(struct tiny_vae *vae, const float *latent, size_t height, size_t width,
		    float *pixels, struct error *err)
{
	size_t tokens = height * width, channels = vae->latent_channels;
	struct tiny_run run;

	if (begin(vae, height, width, channels, &run, err) < 0)
		return -1;
	for (size_t c = 0; c < channels; c++)
		for (size_t t = 0; t < tokens; t++)
			run.x[t * channels + c] = latent[c * tokens + t];
	if (run_all(&run) < 0)
		return -1;
	for (size_t i = 0; i < values(&run); i++)
		pixels[i] = run.x[i] * 2 - 1;
	return 0;
}

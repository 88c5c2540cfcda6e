/* Three maps are enough: x, and two in which a block works. */
#include "vae/tiny_vae.h"

#include "base/checked.h"
#include "vae/tiny_model.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_GROUPS = 4, ALIGNMENT = 64 };
#define POOL_EPS 1e-5f

struct tiny_vae {
	struct tiny_model model;
	float *maps; /* room for the three */
	size_t maps_floats;
	size_t limit; /* bytes of activations */
};

/* -- load ---------------------------------------------------------------------------------------- */

struct tiny_vae *tiny_vae_load_weights(struct tiny_weights *weights, enum vae_part part,
				       const struct vae_engine_ops *engine, size_t threads,
				       struct error *err)
{
	struct tiny_vae *vae = xcalloc(1, sizeof(*vae));

	vae->limit = SIZE_MAX;
	if (tiny_model_load(&vae->model, weights, part, engine, threads, err) == 0)
		return vae;
	tiny_vae_free(vae);
	return NULL;
}

struct tiny_vae *tiny_vae_load(const char *path, enum vae_part part,
			       const struct vae_engine_ops *engine, size_t threads,
			       struct error *err)
{
	struct tiny_weights *weights = tiny_weights_open(path, part, err);
	struct tiny_vae *vae = NULL;

	if (weights)
		vae = tiny_vae_load_weights(weights, part, engine, threads, err);
	tiny_weights_close(weights);
	return vae;
}

void tiny_vae_free(struct tiny_vae *vae)
{
	if (!vae)
		return;
	tiny_model_release(&vae->model);
	free(vae->maps);
	free(vae);
}

size_t tiny_vae_latent_channels(const struct tiny_vae *vae)
{
	return vae->model.latent_channels;
}

size_t tiny_vae_downscale(const struct tiny_vae *vae)
{
	return vae->model.network->downscale;
}

const struct sha256 *tiny_vae_weights_hash(const struct tiny_vae *vae)
{
	return &vae->model.hash;
}

/* -- memory -------------------------------------------------------------------------------------- */

static size_t rounded(size_t floats)
{
	return (floats + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool has_pool(const struct tiny_vae *vae)
{
	for (size_t i = 0; i < vae->model.n_modules; i++) {
		if (vae->model.modules[i].pool_in)
			return true;
	}
	return false;
}

/*
 * Of one of the three maps; 0 where it overflows. At 1/8 of each side, 1/64 of the pixels, pools work, and begin or end
 * latents, of which odd sizes are not that much smaller.
 */
static size_t map_floats(const struct tiny_vae *vae, size_t height, size_t width)
{
	size_t scale = vae->model.network->part == VAE_DECODER ? vae->model.network->downscale : 1;
	size_t channels = vae->model.network->downscale == 32 ? TINY_WIDTH / 2 : TINY_WIDTH;
	size_t small = vae->model.latent_channels, floats, bytes;

	if (has_pool(vae) && small < TINY_POOL_WIDTH)
		small = TINY_POOL_WIDTH;
	if (!size_mul(height, scale, &height) || !size_mul(width, scale, &width) ||
	    !size_mul3(height + 1, width + 1, channels, &floats) ||
	    !size_mul3(height / 8 + 1, width / 8 + 1, small, &small))
		return 0;
	floats = floats > small ? floats : small;
	return size_mul(floats, 4 * sizeof(float), &bytes) ? rounded(floats) : 0;
}

size_t tiny_vae_memory(const struct tiny_vae *vae, size_t height, size_t width)
{
	size_t scale = vae->model.network->part == VAE_DECODER ? vae->model.network->downscale : 1;
	size_t floats = map_floats(vae, height, width);

	if (floats == 0)
		return SIZE_MAX;
	return 3 * floats * sizeof(float) +
	       vae->model.engine->ops->scratch_bytes(vae->model.engine, height * scale,
						     width * scale, TINY_WIDTH, 0, 0);
}

void tiny_vae_limit_memory(struct tiny_vae *vae, size_t bytes)
{
	vae->limit = vae_engine_limit_memory(vae->model.engine, bytes);
}

size_t tiny_vae_held(const struct tiny_vae *vae)
{
	return vae_engine_held(vae->model.engine);
}

size_t tiny_vae_in_use(const struct tiny_vae *vae)
{
	return tiny_vae_held(vae) + 3 * vae->maps_floats * sizeof(float);
}

void tiny_vae_rest(struct tiny_vae *vae)
{
	free(vae->maps);
	vae->maps = NULL;
	vae->maps_floats = 0;
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

	return run->vae->model.engine->ops->conv(run->vae->model.engine, layer, &c, run->err);
}

/* x += conv(relu(norm(conv(x)))) */
static int pool(struct tiny_run *run, const struct tiny_module *m)
{
	size_t pixels = run->height * run->width;
	struct norm_stats stats = {.channels = 0};
	float scale[TINY_POOL_WIDTH], shift[TINY_POOL_WIDTH];
	int r;

	norm_stats_reset(&stats, TINY_POOL_WIDTH);
	r = conv(run, m->pool_in, run->a, run->x, false, &stats);
	if (r == 0) {
		norm_stats_scales(&stats, POOL_GROUPS, POOL_EPS, m->norm_weight, m->norm_bias,
				  scale, shift);
		for (size_t i = 0; i < pixels * TINY_POOL_WIDTH; i++)
			run->a[i] =
			    run->a[i] * scale[i % TINY_POOL_WIDTH] + shift[i % TINY_POOL_WIDTH];
		relu(run->a, pixels * TINY_POOL_WIDTH);
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
	size_t floats = map_floats(vae, height, width), need = tiny_vae_memory(vae, height, width);
	size_t scale = vae->model.network->part == VAE_DECODER ? vae->model.network->downscale : 1;

	if (height == 0 || width == 0)
		return error_data(err, "too_small", "%zux%zu is nothing", width, height);
	if (floats == 0)
		return error_data(err, "too_large", "%zux%zu is too large", width, height);
	if (need > vae->limit)
		return error_data(err, "too_large",
				  "%zux%zu pixels take %zu MiB, %zu MiB are allowed", width * scale,
				  height * scale, need >> 20, vae->limit >> 20);
	if (floats > vae->maps_floats) {
		tiny_vae_rest(vae);
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

	for (size_t i = 0; i < run->vae->model.n_modules; i++) {
		if (run_module(run, &run->vae->model.modules[i]) < 0)
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
		    float *latent, const struct vae_step *step, struct error *err)
{
	struct tiny_run run;
	size_t tokens;

	vae->model.engine->step = step ? *step : (struct vae_step){0};
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
		    float *pixels, const struct vae_step *step, struct error *err)
{
	size_t tokens = height * width, channels = vae->model.latent_channels;
	struct tiny_run run;

	vae->model.engine->step = step ? *step : (struct vae_step){0};
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

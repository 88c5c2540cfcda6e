/*
 * The fast engine: everything by our own kernels and our own threads.
 *
 * Nine tenths of an encoder's arithmetic are 3x3 convolutions with stride 1. Winograd's F(4x4, 3x3) does
 * them with a quarter of the multiplications, at an error of about 1e-6 of a map's deviation, so in
 * single precision this beats every direct convolution, whose kernels have been at the machine's peak for
 * years. What it costs is memory traffic: a tile of 4x4 outputs is 36 numbers in the transformed domain,
 * and as many products. So the work is cut into parts small enough for the cache of one core, and a part
 * goes all the way (cpu_winograd.c):
 *
 *	input map -> GroupNorm, SiLU -> transform -> 36 matrix products -> inverse transform
 *	          -> bias, residual sum -> output map, and the statistics that the next GroupNorm needs
 *
 * Thus no pass over a map is ever made for a norm, a SiLU or a sum: each layer reads its input once and
 * writes its output once. An encode holds two maps, the current one and the one between a residual's
 * convolutions (kl_encoder.c).
 *
 * The other layers (cpu_direct.c: stride 2, 1x1; cpu_attention.c) use the same matrix product. It works
 * on b packed into panels as wide as some vector registers, and on rows of a as they lie; 6 rows by a
 * panel of c are held in registers over all of k, or 512 of it.
 *
 * Threads take parts in turn and meet only at the end of a layer. What a part computes depends neither
 * on the thread nor on how many there are; statistics of parts are added in their order. So results are
 * the same bits for every number of threads. Cuts by output channels, which are made where a layer has
 * few parts, change no value either.
 *
 * In bfloat16, where the processor multiplies it twice as fast, only the products of these 3x3 convolutions are: what
 * is transformed is rounded on its way into them. So it takes no memory traffic of its own, and the moments are
 * closer to float32's than those of a network that is bfloat16 throughout.
 *
 * Transformed weights take 36/9 of the model's size. As many are kept as the engine's owner allows; the
 * others are made anew for each run of their layer, into one scratch.
 */
#include "vae/cpu_engine.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/thread.h"

#include <stdint.h>
#include <string.h>

enum {
	ALIGNMENT = 64,
	SMALL_PARTS = 128, /* of any layer's map that is small */
	NARROW = 128,	   /* channels of a layer in bfloat16, at least */
};

static struct cpu_engine *cpu(struct vae_engine *engine)
{
	return (struct cpu_engine *)engine;
}

static size_t most(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* -- scratch ------------------------------------------------------------------------------------- */

float *cpu_new_floats(size_t floats, struct error *err)
{
	size_t bytes;
	float *data = NULL;

	if (size_mul(floats, sizeof(float), &bytes) && size_add(bytes, ALIGNMENT, &bytes))
		data = aligned_alloc(ALIGNMENT, bytes / ALIGNMENT * ALIGNMENT);
	if (!data)
		error_set(err, ERR_NOMEM, "no memory for %zu numbers", floats);
	return data;
}

int cpu_scratch_want(struct cpu_scratch *scratch, size_t floats, struct error *err)
{
	if (floats <= scratch->floats)
		return 0;
	free(scratch->data);
	scratch->floats = 0;
	scratch->data = cpu_new_floats(floats, err);
	if (!scratch->data)
		return -1;
	scratch->floats = floats;
	return 0;
}

int cpu_engine_want(struct cpu_engine *e, size_t floats, struct error *err)
{
	for (size_t i = 0; i < thread_pool_size(e->pool); i++) {
		if (cpu_scratch_want(&e->threads[i], floats, err) < 0)
			return -1;
	}
	return 0;
}

/* -- parts --------------------------------------------------------------------------------------- */

struct cpu_run {
	struct cpu_engine *e;
	void (*do_part)(void *arg, size_t part, float *scratch);
	void *arg;
};

bool cpu_engine_go_on(struct cpu_engine *e)
{
	const struct vae_step *step = &e->base.step;

	if (atomic_load(&e->stopped))
		return false;
	if (!step->go_on || step->go_on(step->arg))
		return true;
	atomic_store(&e->stopped, true);
	return false;
}

static void run_part(void *arg, size_t part, size_t thread)
{
	const struct cpu_run *run = arg;

	if (cpu_engine_go_on(run->e))
		run->do_part(run->arg, part, run->e->threads[thread].data);
}

int cpu_engine_run(struct cpu_engine *e, size_t parts,
		   void (*do_part)(void *arg, size_t part, float *scratch), void *arg,
		   struct error *err)
{
	struct cpu_run run = {e, do_part, arg};

	atomic_store(&e->stopped, false);
	thread_pool_run(e->pool, parts, run_part, &run);
	return atomic_load(&e->stopped) ? vae_engine_cancelled(err) : 0;
}

/* -- statistics ---------------------------------------------------------------------------------- */

size_t part_stats_floats(size_t parts, size_t channels)
{
	return parts * (2 * channels * sizeof(double) + sizeof(size_t)) / sizeof(float);
}

int part_stats_init(struct part_stats *s, struct cpu_engine *e, size_t parts, size_t channels,
		    struct error *err)
{
	if (cpu_scratch_want(&e->shared, part_stats_floats(parts, channels), err) < 0)
		return -1;
	s->mean = (double *)(void *)e->shared.data;
	s->deviation = s->mean + parts * channels;
	s->pixels = (size_t *)(void *)(s->deviation + parts * channels);
	s->channels = channels;
	return 0;
}

void part_stats_set(const struct part_stats *s, size_t part, size_t first, size_t n, size_t pixels,
		    const struct pixel_sums *sums)
{
	double *mean = s->mean + part * s->channels + first;
	double *deviation = s->deviation + part * s->channels + first, count = (double)pixels;

	for (size_t c = 0; c < n; c++) {
		double sum = (double)sums->sum[c];

		mean[c] = (double)sums->pivot[c] + sum / count;
		deviation[c] = (double)sums->square[c] - sum * sum / count;
	}
	if (first == 0)
		s->pixels[part] = pixels;
}

void part_stats_add_to(const struct part_stats *s, size_t parts, struct norm_stats *total)
{
	for (size_t i = 0; i < parts; i++)
		norm_stats_add(total, s->pixels[i], s->mean + i * s->channels,
			       s->deviation + i * s->channels);
}

/* -- layers -------------------------------------------------------------------------------------- */

static void cpu_conv_free(struct vae_engine *engine, struct vae_conv *base)
{
	struct cpu_conv *conv = (struct cpu_conv *)base;

	(void)engine;
	if (!conv)
		return;
	free(conv->weights);
	free(conv->transformed);
	free(conv->bias);
	free(conv);
}

/* Weights [out][in][taps] to [panels][taps][in][panel], zeros for channels that do not exist. */
static void pack_weights(float *packed, const float *weight, const struct conv_shape *s,
			 size_t panels, size_t panel)
{
	size_t taps = s->kernel * s->kernel;

	for (size_t o = 0; o < panels * panel; o++) {
		float *to = packed + o / panel * taps * s->in * panel + o % panel;

		for (size_t i = 0; i < s->in; i++)
			for (size_t t = 0; t < taps; t++)
				to[(t * s->in + i) * panel] =
				    o < s->out ? weight[(o * s->in + i) * taps + t] : 0;
	}
}

static void note_sizes(struct cpu_engine *e, const struct cpu_conv *conv)
{
	const struct conv_shape *s = &conv->base.shape;
	size_t transformed = is_winograd(s) ? cpu_winograd_weights(conv) : 0;

	e->most_in = most(s->in, e->most_in);
	e->most_out = most(s->out, e->most_out);
	e->most_transformed = most(transformed, e->most_transformed);
	e->base.weight_bytes +=
	    round_up(s->out, e->kernels->panel) * s->in * s->kernel * s->kernel * sizeof(float);
	e->base.copy_bytes += transformed * sizeof(float);
}

/*
 * Whether a layer is computed in bfloat16 where that is asked for. Where few channels come in or go out it gains
 * nothing; what goes straight into the sum of residuals (stride 2, 1x1) or into the moments would lose most.
 */
static bool may_be_narrow(const struct conv_shape *s)
{
	return is_winograd(s) && s->in >= NARROW && s->out >= NARROW && s->in % 16 == 0;
}

static int cpu_conv_new(struct vae_engine *engine, const struct conv_shape *s, const float *weight,
			const float *bias, struct vae_conv **out, struct error *err)
{
	struct cpu_engine *e = cpu(engine);
	struct cpu_conv *conv = xcalloc(1, sizeof(*conv));
	size_t panel = e->kernels->panel, channels = round_up(s->out, panel);

	conv->base.shape = *s;
	conv->kernels = e->narrow && may_be_narrow(s) ? e->narrow : e->kernels;
	conv->panels = channels / panel;
	conv->weights = cpu_new_floats(channels * s->in * s->kernel * s->kernel, err);
	conv->bias = cpu_new_floats(channels, err);
	if (!conv->weights || !conv->bias) {
		cpu_conv_free(engine, &conv->base);
		return -1;
	}
	memset(conv->bias, 0, channels * sizeof(float));
	memcpy(conv->bias, bias, s->out * sizeof(float));
	pack_weights(conv->weights, weight, s, conv->panels, panel);
	note_sizes(e, conv);
	*out = &conv->base;
	return 0;
}

static int cpu_conv_run(struct vae_engine *engine, struct vae_conv *base,
			const struct vae_conv_run *run, struct error *err)
{
	struct cpu_conv *conv = (struct cpu_conv *)base;

	if (is_winograd(&base->shape))
		return cpu_winograd_run(cpu(engine), conv, run, err);
	return cpu_direct_run(cpu(engine), conv, run, err);
}

static int cpu_attention(struct vae_engine *engine, float *out, const float *q, const float *k,
			 const float *v, size_t tokens, size_t c, struct error *err)
{
	return cpu_attention_run(cpu(engine), out, q, k, v, tokens, c, err);
}

/* -- engine -------------------------------------------------------------------------------------- */

static char *cpu_version(void)
{
	return xasprintf("%s-%s", LATENTD_VERSION, cpu_kernels()->isa);
}

static char *cpu_version_in_bf16(void)
{
	const struct cpu_kernels *narrow = cpu_kernels_of_bf16();

	return xasprintf("%s-%s", LATENTD_VERSION, narrow ? narrow->isa : "none");
}

static void cpu_close(struct vae_engine *engine)
{
	struct cpu_engine *e = cpu(engine);

	if (!e)
		return;
	for (size_t i = 0; e->pool && i < thread_pool_size(e->pool); i++)
		free(e->threads[i].data);
	free(e->threads);
	free(e->shared.data);
	free(e->transform.data);
	thread_pool_close(e->pool);
	free(e);
}

static int open_engine(const struct vae_engine_ops *ops, const struct cpu_kernels *narrow,
		       size_t threads, struct vae_engine **out, struct error *err)
{
	struct cpu_engine *e = xcalloc(1, sizeof(*e));

	if (threads == 0)
		threads = thread_cores();
	e->base.ops = ops;
	e->kernels = cpu_kernels();
	e->narrow = narrow;
	e->base.weight_room = SIZE_MAX;
	atomic_init(&e->stopped, false);
	e->threads = xcalloc(threads, sizeof(*e->threads));
	if (thread_pool_open(threads, "encode", &e->pool, err) < 0) {
		cpu_close(&e->base);
		return -1;
	}
	*out = &e->base;
	return 0;
}

static int cpu_open(size_t threads, struct vae_engine **out, struct error *err)
{
	return open_engine(&vae_engine_winograd, NULL, threads, out, err);
}

static int cpu_check_bf16(struct error *err)
{
	if (cpu_kernels_of_bf16())
		return 0;
	return error_set(err, ERR_CONFIG,
			 "precision bf16 needs a processor with AVX512_BF16; here is %s: expected "
			 "f32",
			 cpu_kernels()->isa);
}

static int cpu_open_in_bf16(size_t threads, struct vae_engine **out, struct error *err)
{
	if (cpu_check_bf16(err) < 0)
		return -1;
	return open_engine(&vae_engine_winograd_bf16, cpu_kernels_of_bf16(), threads, out, err);
}

/* A map of full size has the most statistics; those of small maps, with more channels, are few. */
static size_t cpu_scratch_bytes(const struct vae_engine *engine, size_t height, size_t width,
				size_t channels, size_t tokens, size_t c)
{
	const struct cpu_engine *e = (const struct cpu_engine *)engine;
	size_t thread = most(cpu_winograd_scratch(e, e->most_in, e->most_out),
			     cpu_direct_scratch(e, e->most_in, e->most_out));
	size_t transform = e->base.copy_bytes > e->base.weight_room ? e->most_transformed : 0;
	size_t shared = part_stats_floats(cpu_winograd_blocks(height, width), channels) +
			part_stats_floats(SMALL_PARTS, e->most_out);

	if (c > 0) {
		thread = most(thread, cpu_attention_scratch(e, c));
		shared = most(shared, cpu_attention_shared(e, tokens, c));
	}
	return (thread * thread_pool_size(e->pool) + shared + transform) * sizeof(float);
}

const struct vae_engine_ops vae_engine_winograd = {
    .name = "winograd",
    .version = cpu_version,
    .open = cpu_open,
    .close = cpu_close,
    .conv_new = cpu_conv_new,
    .conv_free = cpu_conv_free,
    .conv = cpu_conv_run,
    .attention = cpu_attention,
    .scratch_bytes = cpu_scratch_bytes,
};

const struct vae_engine_ops vae_engine_winograd_bf16 = {
    .name = "winograd",
    .precision = VAE_BFLOAT16,
    .version = cpu_version_in_bf16,
    .check = cpu_check_bf16,
    .open = cpu_open_in_bf16,
    .close = cpu_close,
    .conv_new = cpu_conv_new,
    .conv_free = cpu_conv_free,
    .conv = cpu_conv_run,
    .attention = cpu_attention,
    .scratch_bytes = cpu_scratch_bytes,
};

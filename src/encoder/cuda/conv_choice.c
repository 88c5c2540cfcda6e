/*
 * What cuDNN fuses best: bias and residual in one kernel where an engine does that, else a plain convolution with
 * kernels_add() behind it. Which is faster is timed; the winner's variant and its place among cuDNN's proposals go into
 * the cache.
 */
#include "conv_choice.h"

#include "conv_graph.h"
#include "gpu_clock.h"
#include "kernels.h"
#include "plugin_error.h"

#include <stdlib.h>

enum { TIMED = 8, REPEATS = 3 };

struct gpu_conv {
	struct conv_problem problem; /* as it was asked for */
	enum conv_epilogue fused;    /* what the plan does of its epilogue */
	struct conv_plan *plan;
};

int conv_choice_reserve(struct conv_chooser *d, size_t bytes, struct latentd_cuda_error *err)
{
	void *more;

	if (bytes <= d->workspace_bytes)
		return 0;
	TRY_CUDA(cudaStreamSynchronize(d->stream));
	more = device_memory_alloc(d->memory, bytes, "a convolution's workspace", err);
	if (!more)
		return -1;
	device_memory_release(d->memory, d->workspace);
	d->workspace = more;
	d->workspace_bytes = bytes;
	return 0;
}

int conv_choice_run(struct conv_chooser *d, const struct gpu_conv *conv, const void *x,
		    const void *w, const void *bias, const void *z, void *y,
		    struct latentd_cuda_error *err)
{
	const struct conv_problem *p = &conv->problem;

	if (conv_plan_run(conv->plan, x, w, bias, z, y, d->workspace, err) < 0)
		return -1;
	if (conv->fused == p->epilogue)
		return 0;
	TRY_CUDA(kernels_add(d->stream, p->dtype, y, conv->fused == CONV_PLAIN ? bias : NULL,
			     p->epilogue == CONV_BIAS_ADD ? z : NULL,
			     p->n * conv_problem_out_height(p) * conv_problem_out_width(p),
			     p->out));
	return 0;
}

enum { STAGE_PARTS = 5, STAGE_ALIGN = 256 };

/* What a convolution is timed on: memory of its size, full of small numbers. */
struct stage {
	void *x, *y, *z, *w, *bias;
	void *own[STAGE_PARTS]; /* of them, what was allocated */
};

static void stage_release(struct conv_chooser *d, struct stage *s)
{
	for (int i = 0; i < STAGE_PARTS; i++)
		device_memory_release(d->memory, s->own[i]);
}

static int stage_open(struct conv_chooser *d, const struct conv_problem *p, struct stage *s)
{
	size_t element = latentd_cuda_dtype_size(p->dtype), used = 0;
	size_t out =
	    (size_t)(p->n * conv_problem_out_height(p) * conv_problem_out_width(p) * p->out);
	size_t sizes[STAGE_PARTS] = {
	    (size_t)(p->n * p->height * p->width * p->in) * element, out * element,
	    p->epilogue == CONV_BIAS_ADD ? out * element : 0,
	    (size_t)(p->out * p->kernel * p->kernel * p->in) * element, (size_t)p->out * element};
	void **places[STAGE_PARTS] = {&s->x, &s->y, &s->z, &s->w, &s->bias};

	for (int i = 0; i < STAGE_PARTS; i++) {
		if (d->spare && used <= d->spare_bytes && sizes[i] <= d->spare_bytes - used) {
			*places[i] = (uint8_t *)d->spare + used;
			used += (sizes[i] + STAGE_ALIGN - 1) / STAGE_ALIGN * STAGE_ALIGN;
		} else {
			*places[i] = s->own[i] =
			    device_memory_alloc(d->memory, sizes[i], "a stage to time on", NULL);
		}
		/* 0x3333 is 0.22 as float16, 4e-8 as bfloat16 and float32: nothing overflows */
		if (!*places[i] ||
		    cudaMemsetAsync(*places[i], 0x33, sizes[i], d->stream) != cudaSuccess) {
			cudaGetLastError(); /* not to be told by the next launch */
			return -1;
		}
	}
	return 0;
}

/* The best of a few runs in microseconds; negative where it does not run. */
static float time_conv(struct conv_chooser *d, const struct gpu_conv *conv, const struct stage *s)
{
	float best = -1, ms = 0;

	for (int i = 0; i <= REPEATS; i++) {
		if (cudaEventRecord(d->begin, d->stream) != cudaSuccess ||
		    conv_choice_run(d, conv, s->x, s->w, s->bias, s->z, s->y, NULL) < 0 ||
		    cudaEventRecord(d->end, d->stream) != cudaSuccess ||
		    cudaEventSynchronize(d->end) != cudaSuccess ||
		    cudaEventElapsedTime(&ms, d->begin, d->end) != cudaSuccess) {
			cudaGetLastError();
			return -1;
		}
		if (i > 0 && (best < 0 || ms < best))
			best = ms;
	}
	return best * 1000;
}

static struct conv_graph *graph_of(struct conv_chooser *d, const struct gpu_conv *conv, int variant,
				   struct latentd_cuda_error *err)
{
	const struct conv_target target = {d->cudnn, NULL};
	struct conv_problem p = conv->problem;

	p.epilogue = (enum conv_epilogue)variant;
	return conv_graph_open(&target, &p, err);
}

/* The plan of a choice; fails where it is not to be had, or takes too much memory. */
static int open_choice(struct conv_chooser *d, struct gpu_conv *conv,
		       const struct algo_choice *choice, struct latentd_cuda_error *err)
{
	struct conv_graph *g;

	if (choice->variant > (uint32_t)conv->problem.epilogue)
		return plugin_error_set(err, LATENTD_CUDA_BUG, "a choice of another problem");
	g = graph_of(d, conv, (int)choice->variant, err);
	if (!g)
		return -1;
	conv->fused = (enum conv_epilogue)choice->variant;
	conv->plan = conv_plan_open(g, choice->place, err);
	conv_graph_close(g);
	if (!conv->plan)
		return -1;
	if (conv_plan_workspace(conv->plan) <= d->most_workspace &&
	    conv_choice_reserve(d, conv_plan_workspace(conv->plan), err) == 0)
		return 0;
	conv_plan_close(conv->plan);
	conv->plan = NULL;
	return plugin_error_set(err, LATENTD_CUDA_NO_MEMORY, "a convolution's workspace");
}

/*
 * Times what cuDNN proposes for one variant; keeps the fastest so far in @conv and @best. Some engines are compiled when
 * they are opened, which may take longer than what they save: after d->patience no more are tried, be it that none could
 * be opened. The plain ones, which come last, are tried until there is one at all.
 */
static void time_variant(struct conv_chooser *d, struct gpu_conv *conv, int variant,
			 const struct stage *s, struct algo_choice *best)
{
	struct conv_graph *g = graph_of(d, conv, variant, NULL);
	size_t tried = 0;
	int64_t until = gpu_clock_us() + (int64_t)(d->patience * 1e6);

	for (size_t i = 0; g && i < conv_graph_candidates(g) && tried < TIMED; i++) {
		if (i > 0 && gpu_clock_us() > until && (conv->plan || variant != CONV_PLAIN))
			break;
		struct gpu_conv candidate = {conv->problem, (enum conv_epilogue)variant,
					     conv_plan_open(g, i, NULL)};
		size_t workspace = candidate.plan ? conv_plan_workspace(candidate.plan) : 0;
		float us = -1;

		if (candidate.plan && workspace <= d->most_workspace &&
		    conv_choice_reserve(d, workspace, NULL) == 0) {
			us = time_conv(d, &candidate, s);
			tried++;
		}
		if (us < 0 || (conv->plan && us >= best->microseconds)) {
			conv_plan_close(candidate.plan);
			continue;
		}
		conv_plan_close(conv->plan);
		*conv = candidate;
		*best = (struct algo_choice){(uint32_t)variant, (uint32_t)i, us};
	}
	conv_graph_close(g);
}

/*
 * Without memory to time anything: the first proposal that can be had, of the most fused variant. Of the reasons why there
 * is none, want of memory counts, which a smaller plan mends.
 */
static int open_first(struct conv_chooser *d, struct gpu_conv *conv, struct latentd_cuda_error *err)
{
	struct latentd_cuda_error why = {LATENTD_CUDA_OK, ""};

	for (int variant = (int)conv->problem.epilogue; variant >= 0; variant--) {
		struct algo_choice choice = {(uint32_t)variant, 0, 0};

		for (; choice.place < TIMED; choice.place++) {
			struct latentd_cuda_error last = {LATENTD_CUDA_OK, ""};

			if (open_choice(d, conv, &choice, &last) == 0)
				return 0;
			if (!plugin_error_is_memory(why.code))
				why = last;
		}
	}
	return plugin_error_pass(err, &why);
}

/*
 * Of the bands of a map, which differ in a few rows and in what is padding: what suits one suits the others. A last one
 * may be much lower, and bands of other sizes are others: heights within a power of two count as one.
 */
static void key_of(const struct conv_problem *p, char *key, size_t size)
{
	struct conv_problem band = *p;

	if (p->n == 1 && p->kernel == 3 && p->pad_top + p->pad_bottom < 2 && p->stride == 1) {
		band.height = 1;
		while (band.height < p->height)
			band.height *= 2;
		band.pad_top = band.pad_bottom = 0;
	}
	conv_problem_key(&band, key, size);
}

static int choose(struct conv_chooser *d, struct gpu_conv *conv, struct latentd_cuda_error *err)
{
	struct algo_choice best = {0, 0, 0};
	struct stage s = {.x = NULL};
	char key[LATENTD_CUDA_KEY_SIZE];

	key_of(&conv->problem, key, sizeof(key));
	if (algo_cache_find(d->cache, key, &best) == 0 && open_choice(d, conv, &best, NULL) == 0)
		return 0;
	if (stage_open(d, &conv->problem, &s) == 0) {
		for (int variant = (int)conv->problem.epilogue; variant >= 0; variant--)
			time_variant(d, conv, variant, &s, &best);
	}
	stage_release(d, &s);
	if (!conv->plan)
		return open_first(d, conv, err);
	algo_cache_add(d->cache, key, &best);
	return 0;
}

int conv_choice_open(struct conv_chooser *d, const struct conv_problem *p, struct gpu_conv **out,
		     struct latentd_cuda_error *err)
{
	struct gpu_conv *conv = calloc(1, sizeof(*conv));

	if (!conv)
		return plugin_error_memory(err, sizeof(*conv));
	conv->problem = *p;
	if (choose(d, conv, err) < 0) {
		free(conv);
		return -1;
	}
	*out = conv;
	return 0;
}

void conv_choice_close(struct gpu_conv *conv)
{
	if (conv)
		conv_plan_close(conv->plan);
	free(conv);
}

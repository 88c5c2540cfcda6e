/*
 * What the parts of the `winograd` engine share; vae_engine_winograd.c explains it.
 */
#ifndef LATENTD_VAE_CPU_ENGINE_H
#define LATENTD_VAE_CPU_ENGINE_H

#include "base/thread_pool.h"
#include "vae/cpu_kernels.h"
#include "vae/vae_engine.h"

#include <stdatomic.h>

/* Room in floats that is kept and grows. */
struct cpu_scratch {
	float *data;
	size_t floats;
};

struct cpu_engine {
	struct vae_engine base;
	const struct cpu_kernels *kernels;
	const struct cpu_kernels *narrow; /* of layers in bfloat16; NULL: there are none */
	struct thread_pool *pool;
	struct cpu_scratch *threads;  /* [pool size] */
	struct cpu_scratch shared;    /* of all threads, during one operation */
	struct cpu_scratch transform; /* of weights that are not kept */
	size_t kept;		      /* floats of transformed weights */
	atomic_bool stopped;	      /* by the step hook */
	/* Over all layers: channels; floats. */
	size_t most_in, most_out, most_transformed;
};

struct cpu_conv {
	struct vae_conv base;
	const struct cpu_kernels *kernels; /* of its product */
	size_t panels;
	float *weights;	    /* [panels][kernel * kernel][in][panel]; NULL behind transformed ones */
	float *transformed; /* [36][panels][in / packed][panel]; NULL: not kept */
	float *bias;	    /* [panels * panel] */
};

static inline size_t round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static inline bool is_winograd(const struct conv_shape *s)
{
	return s->kernel == 3 && s->stride == 1;
}

/* Aligned to 64 bytes; NULL with ERR_NOMEM. */
float *cpu_new_floats(size_t floats, struct error *err);
int cpu_scratch_want(struct cpu_scratch *scratch, size_t floats, struct error *err);
/* @floats in each thread's scratch. */
int cpu_engine_want(struct cpu_engine *e, size_t floats, struct error *err);
/* ERR_TRANSIENT when the step hook said so: the parts that are left were not done. */
int cpu_engine_run(struct cpu_engine *e, size_t parts,
		   void (*do_part)(void *arg, size_t part, float *scratch), void *arg,
		   struct error *err);

/* For long parts, between their pieces: false if the rest need not be done. */
bool cpu_engine_go_on(struct cpu_engine *e);

/*
 * Statistics of parts, for which they are asked: each part writes mean and deviation of its channels to
 * places of its own, and all are added in the order of the parts.
 */
struct part_stats {
	double *mean, *deviation; /* [parts][channels]; NULL: not asked for */
	size_t *pixels;		  /* [parts] */
	size_t channels;
};

/* Room for them in e->shared. */
int part_stats_init(struct part_stats *s, struct cpu_engine *e, size_t parts, size_t channels,
		    struct error *err);
size_t part_stats_floats(size_t parts, size_t channels);
/* What was summed up over a part's @n channels from @first on. */
void part_stats_set(const struct part_stats *s, size_t part, size_t first, size_t n, size_t pixels,
		    const struct pixel_sums *sums);
void part_stats_add_to(const struct part_stats *s, size_t parts, struct norm_stats *total);

/* 3x3 with stride 1; and all others. */
int cpu_winograd_run(struct cpu_engine *e, struct cpu_conv *conv, const struct vae_conv_run *run,
		     struct error *err);
int cpu_direct_run(struct cpu_engine *e, struct cpu_conv *conv, const struct vae_conv_run *run,
		   struct error *err);
/* Floats: of a thread's scratch at most, for so many channels. */
size_t cpu_winograd_scratch(const struct cpu_engine *e, size_t in, size_t out);
size_t cpu_direct_scratch(const struct cpu_engine *e, size_t in, size_t out);
size_t cpu_attention_scratch(const struct cpu_engine *e, size_t c);
/* Floats of e->shared. */
size_t cpu_attention_shared(const struct cpu_engine *e, size_t tokens, size_t c);
/* Blocks of a map, at most. */
size_t cpu_winograd_blocks(size_t height, size_t width);
size_t cpu_winograd_weights(const struct cpu_conv *conv); /* floats */
int cpu_attention_run(struct cpu_engine *e, float *out, const float *q, const float *k,
		      const float *v, size_t tokens, size_t c, struct error *err);

#endif

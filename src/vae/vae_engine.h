/*
 * What computes the layers: the naive definitions, or a fast library. The graph of the encoder
 * (kl_encoder.c) is written once, over these operations.
 *
 * All maps are float NHWC with N = 1. An engine belongs to one thread at a time. Layers are prepared
 * once from the model's weights, which may be freed afterwards.
 */
#ifndef LATENTD_VAE_VAE_ENGINE_H
#define LATENTD_VAE_VAE_ENGINE_H

#include "base/error.h"
#include "vae/layers.h"
#include "vae/norm_stats.h"

#include <stdbool.h>

struct vae_engine;

/* A convolution or linear layer (a 1x1 convolution); what the engine wants of it follows. */
struct vae_conv {
	struct conv_shape shape;
};

/* How a running operation is watched and ended. */
struct vae_step {
	/*
	 * Asked between pieces of work, each some 50 ms long at most, by any of the engine's threads;
	 * false: the operation ends soon with ERR_TRANSIENT. NULL: it is not asked.
	 */
	bool (*go_on)(void *arg);
	void *arg;
};

/* GroupNorm whose statistics are known, then SiLU if asked: x * scale[c] + shift[c]. */
struct vae_norm {
	const float *scale, *shift; /* [channels] */
	bool silu;
};

/*
 * One run of a convolution: out = conv(norm(in)), or out += with @accumulate, for some rows of the
 * output. The padding is zero behind the norm. Memory is held for windows of the maps: `in` begins with
 * row in_first and has at least the rows that vae_conv_needs() names, `out` begins with row out_first.
 */
struct vae_conv_run {
	float *out;
	const float *in;      /* must not overlap out */
	size_t height, width; /* of the whole input map */
	size_t in_first, out_first, out_rows;
	bool accumulate;
	const struct vae_norm *norm; /* NULL: none. With kernel 3 only where the stride is 1. */
	struct norm_stats *stats;    /* those of what was written are added; NULL */
};

/* What products are multiplied in. Sums, and all that is no product, are float32 everywhere. */
/* float16 is for GPUs: no engine here computes in it. */
enum vae_precision { VAE_FLOAT32, VAE_BFLOAT16, VAE_FLOAT16 };

/* "float32", "bfloat16", as records have it. */
const char *vae_precision_name(enum vae_precision precision);
/* By the name that settings have: "f32" (also NULL, "auto"), "bf16", "f16". */
enum vae_precision vae_precision_of(const char *setting);
const char *vae_precision_setting(enum vae_precision precision);

struct vae_engine_ops {
	const char *name; /* "naive", "onednn", "winograd" */
	enum vae_precision precision;
	/* Of the code that computes, as it was loaded: "2.6.3", "0.1.0-avx512"; to be freed. */
	char *(*version)(void);

	/* Whether this machine can run it, as open() does: else ERR_CONFIG. NULL: every one can. */
	int (*check)(struct error *err);

	/*
	 * @threads: 0 = all cores. Engines on OpenMP set the number of threads of whichever thread calls
	 * them (omp_set_num_threads).
	 */
	int (*open)(size_t threads, struct vae_engine **out, struct error *err);
	void (*close)(struct vae_engine *engine);

	/* Copies or reorders @weight [out][in][k][k] and @bias [out]. */
	int (*conv_new)(struct vae_engine *engine, const struct conv_shape *shape,
			const float *weight, const float *bias, struct vae_conv **out,
			struct error *err);
	void (*conv_free)(struct vae_engine *engine, struct vae_conv *conv);
	int (*conv)(struct vae_engine *engine, struct vae_conv *conv,
		    const struct vae_conv_run *run, struct error *err);

	/*
	 * One-head attention over @tokens of width @c, streamed over blocks of queries: memory grows with
	 * tokens, never with their square. @out must not be q, k or v.
	 */
	int (*attention)(struct vae_engine *engine, float *out, const float *q, const float *k,
			 const float *v, size_t tokens, size_t c, struct error *err);
	/*
	 * Bytes, beside the maps it is given, that the engine holds at most while it works on an image of
	 * @height x @width, whose full-size maps have @channels, and attends over @tokens of width @c (0:
	 * no attention), with the layers that were made so far. No overflow is checked: the caller knows
	 * that a map is no problem.
	 */
	size_t (*scratch_bytes)(const struct vae_engine *engine, size_t height, size_t width,
				size_t channels, size_t tokens, size_t c);
};

struct vae_engine {
	const struct vae_engine_ops *ops;
	/* The owner's to set: */
	struct vae_step step; /* of the operations that follow */
	size_t weight_room;   /* bytes that copies of weights may take for the sake of speed */
	/* The engine's, of the layers made so far: bytes of weights, and of all copies it might make. */
	size_t weight_bytes, copy_bytes;
};

/*
 * Of @bytes in all, up to a quarter for copies of weights: sets weight_room, once the layers are made. What maps may take
 * beside them and the weights.
 */
static inline size_t vae_engine_limit_memory(struct vae_engine *engine, size_t bytes)
{
	size_t copies = engine->copy_bytes < bytes / 4 ? engine->copy_bytes : bytes / 4;

	engine->weight_room = copies;
	bytes -= copies;
	return bytes > engine->weight_bytes ? bytes - engine->weight_bytes : 0;
}

/* Bytes of weights and of the copies that there is room for. */
static inline size_t vae_engine_held(const struct vae_engine *engine)
{
	return engine->weight_bytes + engine->weight_room;
}

static inline int vae_engine_cancelled(struct error *err)
{
	return error_set(err, ERR_TRANSIENT, "the encode was cancelled");
}

/* For engines, after a piece of work: 0, or -1 with ERR_TRANSIENT. */
static inline int vae_engine_step(const struct vae_engine *engine, struct error *err)
{
	if (!engine->step.go_on || engine->step.go_on(engine->step.arg))
		return 0;
	return vae_engine_cancelled(err);
}

/* Rows *first to *end of the input that rows @out_first to @out_first + @out_rows of the output need. */
static inline void vae_conv_needs(const struct conv_shape *s, size_t height, size_t out_first,
				  size_t out_rows, size_t *first, size_t *end)
{
	size_t top = out_first * s->stride, bottom = top + (out_rows - 1) * s->stride + s->kernel;

	*first = top > s->pad_before ? top - s->pad_before : 0;
	*end = bottom - s->pad_before < height ? bottom - s->pad_before : height;
}

extern const struct vae_engine_ops vae_engine_naive;
extern const struct vae_engine_ops vae_engine_onednn;
extern const struct vae_engine_ops vae_engine_winograd;
extern const struct vae_engine_ops vae_engine_winograd_bf16;

/*
 * The fastest, or the one that LATENTD_CPU names: "naive", "direct" (oneDNN), "winograd". NULL with
 * ERR_CONFIG if it names none, or if that one or this machine does not compute in @precision.
 */
const struct vae_engine_ops *vae_engine_choose(enum vae_precision precision, struct error *err);

#endif

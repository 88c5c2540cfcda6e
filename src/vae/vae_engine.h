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

struct vae_engine_ops {
	const char *name; /* "naive", "onednn" */
	/* Of the library that computes, as it was loaded: "2.6.3"; to be freed. */
	char *(*version)(void);

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

	/*
	 * out = conv(in), or out += conv(in) with @accumulate (the residual sum). @height, @width are of @in.
	 * @out must not be @in.
	 */
	int (*conv)(struct vae_engine *engine, struct vae_conv *conv, float *out, const float *in,
		    size_t height, size_t width, bool accumulate, struct error *err);

	/* GroupNorm, then SiLU if asked; out may be in. */
	int (*group_norm)(struct vae_engine *engine, float *out, const float *in, size_t pixels,
			  size_t channels, size_t groups, float eps, const float *weight,
			  const float *bias, bool silu, struct error *err);

	/*
	 * One-head attention over @tokens of width @c, streamed over blocks of queries: memory grows with
	 * tokens, never with their square. @out must not be q, k or v.
	 */
	int (*attention)(struct vae_engine *engine, float *out, const float *q, const float *k,
			 const float *v, size_t tokens, size_t c, struct error *err);
	/*
	 * Bytes, beside the maps it is given, that the engine holds at most while it works on maps of
	 * @pixels * @channels and attends over @tokens of width @c (0: no attention).
	 */
	size_t (*scratch_bytes)(size_t pixels, size_t channels, size_t tokens, size_t c);
};

struct vae_engine {
	const struct vae_engine_ops *ops;
	struct vae_step step; /* of the operations that follow; the owner's to set */
};

/* For engines, after a piece of work: 0, or -1 with ERR_TRANSIENT. */
static inline int vae_engine_step(const struct vae_engine *engine, struct error *err)
{
	if (!engine->step.go_on || engine->step.go_on(engine->step.arg))
		return 0;
	return error_set(err, ERR_TRANSIENT, "the encode was cancelled");
}

extern const struct vae_engine_ops vae_engine_naive;
extern const struct vae_engine_ops vae_engine_onednn;

#endif

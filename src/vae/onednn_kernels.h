/*
 * Convolutions of oneDNN, compiled and kept, and weights in the layouts that they ask for: the part of vae_engine_onednn.c that
 * knows descriptors. With that file the only one that includes oneDNN's header.
 *
 * A convolution's primitive (the compiled kernel) depends on the layer's shape and on the map's size, not on its weights:
 * layers of one shape share it. A few sizes' worth of primitives is kept, the least recently used leaving first:
 * each size costs megabytes of code, and compiling it again milliseconds. Each layer holds its weights
 * in the layout that its primitives ask for, which hardly ever depends on the map's size.
 */
#ifndef LATENTD_VAE_ONEDNN_KERNELS_H
#define LATENTD_VAE_ONEDNN_KERNELS_H

#include "vae/vae_engine.h"

#include <oneapi/dnnl/dnnl.h>

enum {
	ONEDNN_PRIMITIVES = 64, /* a standard encoder has 20 for each size of image */
	ONEDNN_LAYOUTS = 3,
};

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t md_ref;
#else
typedef const dnnl_memory_desc_t *md_ref;
#endif

/* For functions that return a status: on with it, or back. */
#define ONEDNN_TRY(call)                                                                           \
	do {                                                                                       \
		dnnl_status_t try_status_ = (call);                                                \
		if (try_status_ != dnnl_success)                                                   \
			return try_status_;                                                        \
	} while (0)

/* What a convolution is compiled for: a band of @rows input rows, and zero rows above and below it. */
struct conv_key {
	struct conv_shape shape;
	size_t rows, width, above, below;
	bool accumulate;
};

/* A compiled convolution; the data handles of its memories are set for each run. */
struct conv_kernel {
	struct conv_key key;
	size_t last_used;
	dnnl_primitive_desc_t desc;
	dnnl_primitive_t primitive;
	dnnl_memory_t src, dst, scratch;
	size_t scratch_size;
};

struct onednn_kernels {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	struct conv_kernel list[ONEDNN_PRIMITIVES];
	size_t n, clock;
};

/* Of a layer. */
struct onednn_weights {
	dnnl_memory_t bias;
	dnnl_memory_t layouts[ONEDNN_LAYOUTS]; /* of the weights; at least one */
	size_t n;
};

dnnl_status_t onednn_kernels_open(struct onednn_kernels *e);
void onednn_kernels_close(struct onednn_kernels *e);
/* The kept kernel for @key, or a new one; NULL with *err. It is the engine's. */
struct conv_kernel *onednn_kernel_get(struct onednn_kernels *e, const struct conv_key *key,
				      struct error *err);

/* Weights and bias from what PyTorch has, the weights as a map of nominal size wants them. */
dnnl_status_t onednn_weights_init(const struct onednn_kernels *e, const struct conv_shape *c,
				  struct onednn_weights *w, const float *weight, const float *bias);
/* The layer's weights in the layout @want, made now if it is the first to ask. */
dnnl_status_t onednn_weights_get(const struct onednn_kernels *e, struct onednn_weights *w,
				 md_ref want, dnnl_memory_t *out);
void onednn_weights_release(struct onednn_weights *w);

/* ERR_NOMEM or ERR_BUG; -1. */
int onednn_failed(dnnl_status_t status, const char *what, struct error *err);

#endif

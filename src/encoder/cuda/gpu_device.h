/*
 * What the network needs of a device: memory, and the few operations that an encoder and a decoder consist of. Two devices keep it:
 * device_cuda.c, and device_host.c, which computes in the host's memory with plain loops. The network and its plans
 * cannot tell them apart, so everything above this line is tested without a GPU.
 *
 * Maps are [n][height][width][channels] of the device's dtype; channels are multiples of 8. Operations are queued in
 * order and may run later; sync waits for all of them. Pointers are of the device's memory unless said otherwise.
 */
#ifndef LATENTD_ENCODER_CUDA_GPU_DEVICE_H
#define LATENTD_ENCODER_CUDA_GPU_DEVICE_H

#include "conv_problem.h"

struct gpu_device;
struct gpu_conv; /* a convolution whose algorithm is chosen */

/* out[b][m][n] = alpha * a[b][m][k] * w (+ bias[n]) (+ z[b][m][n]); rows of a, w and out lie a_row, w_row, out_row apart. */
struct gpu_product {
	const void *a, *w;
	const void *bias; /* of the device's dtype; NULL */
	const void *z;	  /* rows as out; not out; NULL */
	void *out;
	int64_t m, n, k, batch;
	int64_t a_row, w_row, out_row;	     /* elements */
	int64_t a_batch, w_batch, out_batch; /* elements from one of the batch to the next */
	bool w_transposed;		     /* w is [n][k], else [k][n] */
	bool out_f32;			     /* out is float32 whatever the dtype */
	float alpha;
};

/* Rows of a map, of each image: @n images of @height x @width x @channels. */
struct gpu_rows {
	int64_t n, height, width, channels;
	int64_t first, rows;
};

/*
 * Sums for a norm: partials[n][chunks][channels] of {mean, sum of squared deviations from it}, chunk i being rows
 * i * chunk_rows and following.
 */
struct gpu_chunks {
	int64_t chunk_rows, chunks;
};

struct gpu_norm_call {
	const float *partials, *weight, *bias; /* weight, bias: [channels] */
	float *scale, *shift;		       /* [n][channels]: norm(x) = x * scale + shift */
	int64_t groups;
	float eps;
};

struct gpu_device_ops {
	const char *name; /* for records: "cudnn-9.19.0", "host" */
	/* Memory that lives until it is freed; NULL with an error. */
	void *(*alloc)(struct gpu_device *d, size_t bytes, struct latentd_cuda_error *err);
	void (*free)(struct gpu_device *d, void *p);
	int (*upload)(struct gpu_device *d, void *out, const void *host, size_t bytes,
		      struct latentd_cuda_error *err);
	/* Chooses an algorithm, by timing if it is not known yet. @p->epilogue is what the network needs. */
	int (*conv_open)(struct gpu_device *d, const struct conv_problem *p, struct gpu_conv **out,
			 struct latentd_cuda_error *err);
	void (*conv_close)(struct gpu_device *d, struct gpu_conv *conv);
	/* y overlaps neither x nor z. @bias: of the device's dtype */
	int (*conv)(struct gpu_device *d, struct gpu_conv *conv, const void *x, const void *w,
		    const void *bias, const void *z, void *y, struct latentd_cuda_error *err);
	int (*product)(struct gpu_device *d, const struct gpu_product *p,
		       struct latentd_cuda_error *err);
	/* @in: bytes [pixels][3]; @out: [pixels][8], x / 127.5 - 1 and five zeros */
	int (*pixels)(struct gpu_device *d, void *out, const uint8_t *in, int64_t pixels,
		      struct latentd_cuda_error *err);
	/*
	 * @in: float32 [n][channels][pixels]; @out: [n][pixels][stride] of the device's dtype, behind the channels a one
	 * and zeros
	 */
	int (*latents)(struct gpu_device *d, void *out, const float *in, int64_t n, int64_t pixels,
		       int64_t channels, int64_t stride, struct latentd_cuda_error *err);
	/*
	 * out[n][rows][width][channels], packed: those rows of x[n][height / 2][width / 2][channels] in twice its size,
	 * nearest neighbours
	 */
	int (*repeat)(struct gpu_device *d, void *out, const void *x, const struct gpu_rows *rows,
		      struct latentd_cuda_error *err);
	/* Of the whole chunks that the rows are. */
	int (*sums)(struct gpu_device *d, float *partials, const void *x,
		    const struct gpu_rows *rows, const struct gpu_chunks *chunks,
		    struct latentd_cuda_error *err);
	/* @map: all rows */
	int (*norm)(struct gpu_device *d, const struct gpu_norm_call *call,
		    const struct gpu_rows *map, const struct gpu_chunks *chunks,
		    struct latentd_cuda_error *err);
	/* out[n][rows][width][channels], packed, = silu?(x * scale + shift) of those rows of x */
	int (*apply)(struct gpu_device *d, void *out, const void *x, const float *scale,
		     const float *shift, const struct gpu_rows *rows, bool silu,
		     struct latentd_cuda_error *err);
	/*
	 * p[r][c] = exp(s[r][c] - max of row r), of the device's dtype, and inverse[r] = 1 / (sum of what is stored).
	 * p may be s where the dtype is float32.
	 */
	int (*softmax)(struct gpu_device *d, void *p, float *inverse, const float *s, int64_t rows,
		       int64_t columns, struct latentd_cuda_error *err);
	/* out[r][c] = in[r][c] * inverse[r] */
	int (*scale_rows)(struct gpu_device *d, void *out, const float *in, const float *inverse,
			  int64_t rows, int64_t columns, struct latentd_cuda_error *err);
	/* out[n][channels][pixels] of in[n][pixels][stride]; flags[n]: 1 where a value is not finite */
	int (*moments)(struct gpu_device *d, float *out, uint32_t *flags, const void *in, int64_t n,
		       int64_t pixels, int64_t channels, int64_t stride,
		       struct latentd_cuda_error *err);
	/* out[n][pixels][3] of in[n][pixels][stride]; flags as above */
	int (*picture)(struct gpu_device *d, float *out, uint32_t *flags, const void *in, int64_t n,
		       int64_t pixels, int64_t stride, struct latentd_cuda_error *err);
	/* Within the device; they do not overlap. */
	int (*copy)(struct gpu_device *d, void *out, const void *in, size_t bytes,
		    struct latentd_cuda_error *err);
	int (*sync)(struct gpu_device *d, struct latentd_cuda_error *err);
};

struct gpu_device {
	const struct gpu_device_ops *ops;
	enum latentd_cuda_dtype dtype;
	bool tf32;
	size_t band_bytes; /* of a band that stays in the cache; 0: whole maps */
	size_t workspace;  /* bytes that convolutions hold beside maps */
	/*
	 * Asked before an algorithm is chosen, which takes up to seconds, and a new size has dozens to choose. False: no
	 * more are, LATENTD_CUDA_CANCELLED. NULL: nobody minds.
	 */
	bool (*go_on)(void *arg);
	void *go_on_arg;
	/* Memory that nobody needs while conv_open times algorithms, which it may overwrite; NULL: none. */
	void *spare;
	size_t spare_bytes;
};

/* Of the host; float32 only. */
struct gpu_device *device_host_open(struct latentd_cuda_error *err);
void device_host_close(struct gpu_device *d);

#endif

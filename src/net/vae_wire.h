/*
 * The words of the remote-VAE protocol, as diffusers.utils.remote_utils.remote_encode speaks it, for both sides:
 *
 *	POST /?scaling_factor=0.18215&shape=1&shape=3&shape=512&shape=768&dtype=float16      and the tensor's bytes
 *	POST /?scaling_factor=0.3611&shift_factor=0.1159                                     and a PNG
 *	reply: headers "shape: [1,4,64,64]" and "dtype: float16", and the latent's bytes, C order, little-endian
 *
 * Our extensions, which only a latentd endpoint knows:
 *	posterior=mean|moments|draw    what is answered; without it a draw
 *	seed=N                         of a draw; without it the draw has none
 *	range=signed                   a float tensor has values in [-1, 1]; without it the server judges by its minimum
 *	reply=float16|bfloat16|float32 dtype of the answer (vae_wire_reply_dtype)
 *	dtype=uint8                    a tensor of pixels [N][3][H][W], 0 to 255: exact, and a quarter of float32
 *	dtype without shape            beside an image: the same as reply
 *
 * The same server decodes, where one of these says so (remote_decode; SD.Next and ComfyUI-HFRemoteVae send fewer of them):
 *	POST /?image_format=jpg&output_type=pil&partial_postprocess=False&shape=1&shape=4&shape=64&shape=64&dtype=float16
 *	      &scaling_factor=0.18215        and the latent's bytes
 *	output_type=pil|pt             an image, or a tensor [N,3,H,W]
 *	image_format=jpg|png
 *	partial_postprocess=True       a tensor of uint8, [N,H,W,3]
 *	do_scaling=True|False          by the model's own factors; not: the latent is raw
 *	height=H, width=W              of the picture: where a latent is packed, [N,tokens,4C], they are its shape
 *	input_tensor_type=binary, output_tensor_type=binary     the only ones
 *
 * A client:  vae_wire_query_format(&query, &url)          then vae_wire_shape_parse(), vae_wire_dtype_parse() on the reply
 * A server:  struct vae_wire_query q = VAE_WIRE_QUERY_INIT;
 *	      vae_wire_query_put(&q, key, value, err) for each pair, vae_wire_query_check(&q, err)
 *	      or vae_wire_query_parse(text, &q, err) for the whole query
 *	      then vae_wire_shape_format(), dtype_name(), vae_wire_write()
 *
 * A latentd's reply also says what computed it, so that nobody stores another model's latents after a restart:
 *	latentd: 0.1.0                     its version
 *	latentd-model: sdxl                for people
 *	latentd-weights: 64 hex digits     as in GET /v1/model; "fake"
 *	latentd-precision: float32
 *
 * Errors are ERR_DATA `query` or `reply`, with messages for whoever wrote the query or reads the log.
 */
#ifndef LATENTD_NET_VAE_WIRE_H
#define LATENTD_NET_VAE_WIRE_H

#include "base/ndarray.h"

#define VAE_WIRE_HEADER_LATENTD	  "latentd"
#define VAE_WIRE_HEADER_MODEL	  "latentd-model"
#define VAE_WIRE_HEADER_WEIGHTS	  "latentd-weights"
#define VAE_WIRE_HEADER_PRECISION "latentd-precision"
#define VAE_WIRE_FAKE		  "fake"

enum vae_wire_posterior {
	VAE_WIRE_UNSAID,
	VAE_WIRE_MEAN,
	VAE_WIRE_MOMENTS,
	VAE_WIRE_DRAW,
};

enum vae_wire_output {
	VAE_WIRE_OUTPUT_UNSAID,
	VAE_WIRE_PIL,
	VAE_WIRE_PT,
};

enum vae_wire_format {
	VAE_WIRE_FORMAT_UNSAID,
	VAE_WIRE_JPG,
	VAE_WIRE_PNG,
};

/* What only a decode is asked. */
struct vae_wire_decode {
	bool asked; /* one of its words stood there */
	enum vae_wire_output output;
	enum vae_wire_format format;
	bool partial_postprocess;
	bool has_do_scaling, do_scaling;
	size_t height, width; /* pixels; 0: not said */
};

struct vae_wire_query {
	struct vae_wire_decode decode;
	bool has_scaling_factor, has_shift_factor, has_dtype, has_reply, has_seed;
	bool signed_range;
	double scaling_factor, shift_factor;
	size_t ndim; /* of the tensor in the body; 0: the body is an image */
	size_t shape[NDARRAY_MAX_DIMS];
	enum dtype dtype; /* of the tensor, or without one of the answer */
	enum dtype reply;
	enum vae_wire_posterior posterior;
	uint64_t seed;
	/*
	 * The first key that is none of these, "" if there was none. A server does well to refuse it: with
	 * "posteror=mean" a client would get draws.
	 */
	char unknown[32];
	unsigned seen; /* of vae_wire_query_put: the keys so far */
};

#define VAE_WIRE_QUERY_INIT                                                                        \
	{                                                                                          \
		.ndim = 0                                                                          \
	}

/* Of the four that travel: float16, bfloat16, float32, uint8. False: none of them. */
bool vae_wire_dtype_parse(const char *name, enum dtype *out);

/*
 * Appends "scaling_factor=0.18215&shape=1..." without '?': what diffusers sends in its order and bytes (floats as
 * Python's str(), '+' as %2B), then the extensions. Factors must be finite.
 */
void vae_wire_query_format(const struct vae_wire_query *query, struct buffer *out);
/* One decoded pair. A key that may stand once and does twice is an error; an unknown one is noted. */
int vae_wire_query_put(struct vae_wire_query *query, const char *key, const char *value,
		       struct error *err);
/* Whether the pairs fit together: a shape has a dtype, is [N,3,H,W] or of a latent, a seed belongs to a draw, ... */
int vae_wire_query_check(const struct vae_wire_query *query, struct error *err);
/* The text between '?' and the end, percent-encoded; @out is filled from nothing, and checked. */
int vae_wire_query_parse(const char *text, struct vae_wire_query *out, struct error *err);
/* reply, else the dtype of the query if it is one of floats, else @otherwise. */
enum dtype vae_wire_reply_dtype(const struct vae_wire_query *query, enum dtype otherwise);

/* Of one axis; far beyond any image, so that products are judged elsewhere without surprises. */
#define VAE_WIRE_AXIS_MAX (1 << 24)
/* "[1,4,64,64]". */
void vae_wire_shape_format(size_t ndim, const size_t *shape, struct buffer *out);
/* A JSON list of 1 to NDARRAY_MAX_DIMS positive integers, with or without spaces. */
int vae_wire_shape_parse(const char *text, size_t *ndim, size_t shape[NDARRAY_MAX_DIMS],
			 struct error *err);

/* Appends @n floats as @dtype (not uint8), little-endian. Returns how many became infinite or were not finite. */
size_t vae_wire_write(enum dtype dtype, const float *in, size_t n, struct buffer *out);
/* @n values of @dtype into floats; uint8 becomes 0 to 255. @bytes may lie anywhere. */
void vae_wire_read(enum dtype dtype, const uint8_t *bytes, size_t n, float *out);

/* Python's str() of a finite float: the fewest digits that give it back. Returns @out. */
#define VAE_WIRE_FLOAT_SIZE 48
const char *vae_wire_float(double value, char out[VAE_WIRE_FLOAT_SIZE]);

#endif

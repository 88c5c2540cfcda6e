/*
 * One request of the remote-VAE protocol as the server understands it (net/vae_wire.h has the words): what the body is,
 * and what is to be answered. Everything in it comes from outside and is checked here, before anything is computed.
 *
 *	serve_ask_read(query, accept, &bounds, &ask, err)      the query and `Accept`, before the body is taken
 *	serve_ask_check_size(&ask, size, err)                  the body's size, once it is known
 *	serve_tensor_read(&ask, body, size, &tensor, err)      a tensor's values; images are the decoders' business
 *	serve_ask_answer(&ask, items, n, channels, &answer, err)
 *	serve_ask_sign(&identity, &answer)                     who says so, errors too
 *
 * Errors say by code and reason what a client is told (serve_error_status).
 */
#ifndef LATENTD_DAEMON_SERVE_ASK_H
#define LATENTD_DAEMON_SERVE_ASK_H

#include "base/hash.h"
#include "daemon/http_answer.h"
#include "daemon/serve_picture.h"
#include "net/vae_wire.h"
#include "vae/posterior.h"

#include <stdbool.h>

/* What the server takes. */
struct serve_bounds {
	size_t downscale;  /* sides are multiples of it */
	size_t max_pixels; /* of one image */
	size_t max_images; /* of one request */
	size_t max_body;   /* bytes */
	bool decodes;	   /* there is a decoder, of latents like ... */
	struct latent_space space;
	bool deterministic; /* an image has one latent, and that is scaled (vae_config.h) */
};

struct serve_ask {
	enum posterior posterior;
	bool deterministic; /* as the bounds have it */
	bool has_seed;
	uint64_t seed;
	double scale, shift; /* the answer is (z - shift) * scale */
	enum dtype reply;
	bool decode; /* the body is a latent, the answer a picture */
	struct serve_picture picture;
	/* What the body is. Of an image only n, 1, is known; of a latent height and width are those of its picture. */
	bool tensor;
	enum dtype dtype;
	bool signed_range;
	size_t n, height, width;
	size_t bytes; /* exactly */
};

/* @query: what stands behind '?', as it was sent; NULL: nothing. @accept: the header of that name; NULL: none. */
int serve_ask_read(const char *query, const char *accept, const struct serve_bounds *bounds,
		   struct serve_ask *ask, struct error *err);
int serve_ask_check_size(const struct serve_ask *ask, size_t size, struct error *err);

/* Bytes that serve_tensor_read() makes of the body. */
size_t serve_tensor_bytes(const struct serve_ask *ask);
/* All bytes that the request takes beside its body: that, and of a decode the picture and its answer. */
size_t serve_ask_bytes(const struct serve_ask *ask);

/* Images as encoders take them, [n][height][width][3], one of the two; or latents as a decoder does, values [n][C][h][w]. */
struct serve_tensor {
	uint8_t *pixels; /* of uint8 */
	float *values;	 /* of floats, [-1, 1] */
	struct hash128
	    *contents; /* of each image's bytes in the body: they and a seed decide its draw */
};

#define SERVE_TENSOR_INIT                                                                          \
	{                                                                                          \
		NULL, NULL, NULL                                                                   \
	}

/*
 * Floats are taken as they are where the request says range=signed, or where the least of the whole tensor is below 0;
 * else 2x - 1 of them: as diffusers' VaeImageProcessor.preprocess judges them. ERR_DATA `non_finite`, ERR_NOMEM.
 */
int serve_tensor_read(const struct serve_ask *ask, const uint8_t *body, struct serve_tensor *out,
		      struct error *err);
void serve_tensor_release(struct serve_tensor *tensor);

/* One image's moments, [2C][h][w], or its only latent, [C][h][w], or of a decode the picture, [height][width][3]; and the hash that its draw is made from. */
struct serve_latent {
	struct ndarray moments;
	struct hash128 content;
};

/*
 * The whole answer: [n][C or 2C][h][w]. A draw without a seed gets one that nobody knows. ERR_DATA `non_finite`: the dtype
 * that was asked for cannot hold a value.
 */
int serve_ask_answer(const struct serve_ask *ask, const struct serve_latent *latents,
		     struct http_answer *answer, struct error *err);

/* Adds the headers `shape` and `dtype`. */
void serve_ask_shape(struct http_answer *answer, size_t ndim, const size_t *shape,
		     enum dtype dtype);

/* What computes, as each answer's headers say it (net/vae_wire.h). */
struct serve_identity {
	char model[64];
	char weights[SHA256_HEX_SIZE]; /* or VAE_WIRE_FAKE */
	const char *precision;
};

/* Adds it to an answer. */
void serve_ask_sign(const struct serve_identity *identity, struct http_answer *answer);

/*
 * 400 the query, 413 too large, 415 no image that is read, 422 an image or tensor that cannot be encoded, 503 something
 * that passes.
 */
unsigned serve_error_status(const struct error *err);
/* {"error": message}, as all servers of this protocol say it. */
void serve_error_answer(struct http_answer *answer, unsigned status, const char *message);

#endif

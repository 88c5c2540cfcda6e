/*
 * A request to decode (remote_decode), as the server understands it: what the latent in the body is, and which picture is
 * to be answered. The other half of serve_ask.h, which calls what is here.
 */
#ifndef LATENTD_DAEMON_SERVE_PICTURE_H
#define LATENTD_DAEMON_SERVE_PICTURE_H

#include "daemon/http_answer.h"
#include "daemon/latent_space.h"
#include "net/vae_wire.h"

struct serve_bounds;
struct serve_ask;
struct serve_latent;

enum serve_picture_kind {
	SERVE_PICTURE_JPEG,
	SERVE_PICTURE_PNG,
	SERVE_PICTURE_SIGNED, /* [N,3,H,W] around [-1, 1], as the decoder gives it */
	SERVE_PICTURE_UNIT,   /* the same in [0, 1], clamped */
	SERVE_PICTURE_BYTES,  /* uint8 [N,H,W,3] */
};

struct serve_picture {
	enum serve_picture_kind kind;
	bool format_said; /* by the query, not by Accept */
	bool packed;	  /* the body is [N,tokens,4C] */
	size_t latent_height, latent_width;
	/* How raw latents are made of the body's: by the numbers here where it is scaled, not at all otherwise. */
	struct latent_space space;
};

/* ERR_DATA `query`, `size`, `too_large`. All of @ask that a decode has is set. */
int serve_picture_read(const struct vae_wire_query *q, const struct serve_bounds *bounds,
		       struct serve_ask *ask, struct error *err);
/*
 * The `Accept` header, NULL: none, decides what the query leaves open: "tensor/binary" beside output_type=pil is a
 * tensor in [0, 1], which a client with a processor of its own wants; "image/png" a PNG where no format is said.
 */
void serve_picture_accept(struct serve_ask *ask, const char *accept);

/* Values of one request's latents, unpacked and raw, as the decoder takes them. */
size_t serve_picture_latent_floats(const struct serve_ask *ask);
/* Bytes of the pictures and of the answer that becomes of them, roughly. */
size_t serve_picture_bytes(const struct serve_ask *ask);
/* @out: n * serve_picture_latent_floats(). ERR_DATA `non_finite`; ERR_NOMEM. */
int serve_picture_values(const struct serve_ask *ask, const uint8_t *body, float *out,
			 struct error *err);

/* @pictures: n of [height][width][3]. ERR_DATA `non_finite`: the dtype that was asked for cannot hold a value. */
int serve_picture_answer(const struct serve_ask *ask, const struct serve_latent *pictures,
			 struct http_answer *answer, struct error *err);

#endif

/*
 * An endpoint of the remote-VAE protocol on loopback: latents are those of the fake encoder for the bytes of the request's
 * body, so a test can compute them. What each answer is instead, a script says.
 *
 *	struct vae_endpoint endpoint = {.latentd = true};
 *	vae_endpoint_start(&endpoint);       ... vae_endpoint_url(&endpoint) ...
 *	vae_endpoint_stop(&endpoint);
 */
#ifndef LATENTD_TESTS_VAE_ENDPOINT_H
#define LATENTD_TESTS_VAE_ENDPOINT_H

#include "tests/component/loopback_server.h"

#include "base/ndarray.h"

#include <stdatomic.h>

enum { ENDPOINT_CHANNELS = 4, ENDPOINT_DOWNSCALE = 8 };

enum endpoint_fault {
	FAULT_NONE,
	FAULT_400,
	FAULT_401,
	FAULT_404,
	FAULT_413,
	FAULT_415_UNLESS_TYPED,
	FAULT_400_UNLESS_TYPED, /* as the published fork */
	FAULT_422,
	FAULT_429, /* Retry-After: 1 */
	FAULT_500,
	FAULT_503,	 /* without Retry-After: nobody behind the proxy */
	FAULT_503_AFTER, /* with */
	FAULT_HTML,	 /* a page, status 200 */
	FAULT_502_HTML,
	FAULT_301, /* all to http://127.0.0.1:1/there?key=Secret */
	FAULT_302,
	FAULT_303,
	FAULT_307,
	FAULT_308,
	FAULT_CUT,
	FAULT_CLOSE,
	FAULT_NEVER,
	FAULT_GARBAGE,	   /* no HTTP */
	FAULT_TLS,	   /* no HTTP but an alert of TLS */
	FAULT_400_TLS,	   /* as nginx says that it wants https */
	FAULT_BAD_SHAPE,   /* the header is none */
	FAULT_WRONG_SIZE,  /* another height */
	FAULT_OTHER_MODEL, /* 16 channels */
	FAULT_WRONG_DTYPE, /* int64 */
	FAULT_SHORT,	   /* fewer bytes than the shape says */
	FAULT_NAN,
	FAULT_COUNT,
};

struct vae_endpoint {
	bool latentd;	  /* false: foreign, /v1/model is 404 and draws are of float16 */
	const char *name; /* that a latentd tells; NULL: "tests" */
	_Atomic(const char *) weights; /* hex; NULL: all zeros */
	atomic_bool unsigned_replies;  /* a latentd's do not say what computed them */
	atomic_int delay_ms;
	/* What to do with POST number @n (from 0) of this endpoint; NULL: FAULT_NONE. */
	enum endpoint_fault (*script)(void *arg, size_t n);
	void *arg;
	size_t upload_max;
	size_t images_kept; /* bytes of a body that count; 0: all */
	/* What came. */
	atomic_size_t posts, questions, wakes;
	char last_head[4096], last_target[512];
	struct loopback_server *server;
};

void vae_endpoint_start(struct vae_endpoint *e);
const char *vae_endpoint_url(const struct vae_endpoint *e);
void vae_endpoint_stop(struct vae_endpoint *e);

/*
 * The moments [2C][h][w] that are behind its answer to a request with this body. A foreign endpoint gives the mean as its
 * draw, with the factors applied and in float16.
 */
void vae_endpoint_moments(const void *body, size_t size, size_t pixels, float *moments);

#endif

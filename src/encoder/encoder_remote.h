/*
 * The `remote` encoder: images go to endpoints that speak the remote-VAE protocol (net/vae_wire.h), many at a time.
 *
 *	struct encoder_remote_options options = ENCODER_REMOTE_OPTIONS_INIT;
 *	options.endpoints = ..., options.vae = ..., ...
 *	encoder_remote_open(&options, &encoder, err);        contacts nobody yet
 *	... encoder.h ...
 *	encoder_remote_view(encoder, &view);                 from any thread, for status
 *
 * Which model. With @weights (declared false) only latentd endpoints work that report the same hash in GET /v1/model: they
 * are asked before their first image, and again after every outage. They give everything: the mean in float32; moments
 * in float32, from which seeded draws are made here, the same bits as a local engine's on a machine of the same instruction
 * set. A declared model is what somebody
 * says that a foreign endpoint computes: only draws, and those have no seed (batch.seed is not used); caps say so. Each
 * reply of a latentd says what computed it: one that has other weights than it told, or under a declaration another name,
 * is thrown away and its endpoint stopped.
 * Latents are handed over raw, whatever the server was asked for.
 *
 * Waiting. Unlike other backends this one can have nothing to compute with. Then its capacity is 0, also with nothing in
 * flight, and submit is ENCODER_FULL; it grows back by itself (to one batch while an endpoint is tried again). With nothing in
 * flight collect waits for that: it returns ENCODER_NOTHING when there is capacity again, at once if there is. An image that no
 * endpoint can take for some seconds comes back as ERR_TRANSIENT, so that other encoders can have it. Nothing that endpoints do
 * makes submit or collect fail.
 *
 * What becomes of an image
 *	latent                     checked: status, shape, dtype, size, all values finite
 *	ERR_TRANSIENT              no endpoint gave it within `retries`, or cancel: charge nobody, try later
 *	ERR_DATA `refused`         the server refuses this image (413, 415, 422; 400 from a second endpoint or a second time);
 *	                           the message is the server's
 *	ERR_DATA `non_finite`      two replies had NaN or infinities
 * and of an endpoint
 *	refused connections, timeouts, 408, 425, 5xx, broken or wrong replies: tried again after a growing pause, at the end only by
 *	single requests (`failing`); 429 and 503 with Retry-After: left alone so long (`backing off`); 502 and 503 without, where
 *	scale_up_ms is set: one request is held by the server until it has started (`warming`); 401, 403, 404, redirects,
 *	certificates, another model: `stopped`, with what to do in `reason`. A stopped endpoint stays so until the encoder is
 *	opened again or has another token file, except that a token file that has changed is tried.
 *
 * Threads: one for all connections, some that make request bodies; the driver only hands over. ticks grow while there is
 * something in flight, at least once a second: every wait in here has an end. Close with nothing in flight.
 */
#ifndef LATENTD_ENCODER_ENCODER_REMOTE_H
#define LATENTD_ENCODER_ENCODER_REMOTE_H

#include "encoder/encoder.h"
#include "vae/vae_config.h"

enum encoder_remote_wire {
	ENCODER_REMOTE_AUTO,  /* exact; typed where the server wants a Content-Type */
	ENCODER_REMOTE_EXACT, /* as diffusers' remote_encode: no Content-Type, Accept: any */
	ENCODER_REMOTE_TYPED, /* Content-Type: image/png or tensor/binary, Accept: tensor/binary */
};

enum encoder_remote_send {
	ENCODER_REMOTE_PNG,	/* exact: the bits of a local encode */
	ENCODER_REMOTE_FLOAT16, /* rounds pixels to 11 bits: 2 bytes a sample */
	ENCODER_REMOTE_FLOAT32, /* exact: 4 bytes a sample */
	ENCODER_REMOTE_UINT8,	/* exact: 1 byte a sample, no work; only latentd endpoints */
};

struct cost_guard; /* net/cost_guard.h */

struct encoder_remote_endpoint {
	const char *url; /* http or https; "?" and what follows is sent along, but never shown */
	const char *
	    token_file; /* its first line is the bearer token; NULL: none. Read again when it is refused */
	size_t max_in_flight; /* requests; 0: 64 */
};

struct encoder_remote_options {
	const struct encoder_remote_endpoint *endpoints;
	size_t n_endpoints;
	const char *name;      /* of the model */
	struct vae_config vae; /* latent_channels, blocks and the factors count */
	bool declared;	       /* known by name only; @weights and @fake are not used */
	/* Whether both name one model, for a latentd that is to be the declared one; NULL: the same text. */
	bool (*same_name)(const char *a, const char *b);
	struct sha256 weights;
	bool fake; /* endpoints that serve the fake encoder, for tests */
	enum encoder_remote_wire wire;
	enum encoder_remote_send send;
	int64_t connect_ms,
	    timeout_ms;		     /* the latter from the first byte sent to the last received */
	int64_t scale_up_ms;	     /* 0: endpoints are never waited for to start */
	size_t retries;		     /* of an image, after the first try */
	const char *ca_file;	     /* NULL: the system's */
	const char *proxy;	     /* NULL: as the environment says; "" for none */
	const char *proxy_auth_file; /* its first line: USER:PASSWORD for the proxy; NULL: none */
	size_t memory;	     /* bytes of requests and replies; one image alone may exceed it */
	size_t threads;	     /* that make bodies; 0: half of the cores, at most 4 */
	size_t max_requests; /* in flight over all endpoints; 0: 256 */
	/*
	 * What all that share it may spend; bytes are sent and received ones. NULL: no limits. Not copied: outlives the
	 * encoder.
	 */
	struct cost_guard *guard;
};

#define ENCODER_REMOTE_OPTIONS_INIT                                                                \
	{                                                                                          \
		.connect_ms = 10000, .timeout_ms = 120000, .scale_up_ms = 600000, .retries = 8,    \
		.memory = (size_t)512 << 20                                                        \
	}

/* Copies the options. ERR_CONFIG: no endpoint, no URL, a token, proxy auth or CA file that cannot be read. */
int encoder_remote_open(const struct encoder_remote_options *options, struct encoder **out,
			struct error *err);

/*
 * Others from now on; of the thread that looks at caps, of which max_in_flight and max_images change with it. Those of the same URL
 * and token file go on with what they are at and what is known of them; what others are at is sent to those that there are
 * now, as if it had not been asked. ERR_CONFIG: nothing has changed.
 */
int encoder_remote_change(struct encoder *e, const struct encoder_remote_endpoint *endpoints,
			  size_t n, struct error *err);

enum encoder_remote_state {
	ENCODER_REMOTE_UNKNOWN,	    /* not asked yet */
	ENCODER_REMOTE_OK,	    /* works */
	ENCODER_REMOTE_BACKING_OFF, /* it asked to be left alone for wait_ms */
	ENCODER_REMOTE_FAILING,	    /* tried again with one request in wait_ms (0: under way) */
	ENCODER_REMOTE_WARMING,	    /* starts; asked again in wait_ms (0: a request waits there) */
	ENCODER_REMOTE_STOPPED,	    /* until somebody does what @reason says */
};

/* "unknown", "ok", "backing off", "failing", "warming", "stopped" */
const char *encoder_remote_state_name(enum encoder_remote_state state);

struct encoder_remote_endpoint_view {
	const char *url; /* without user, query and fragment; lives as long as the encoder */
	enum encoder_remote_state state;
	int64_t state_ms;  /* how long it has been in this state */
	int64_t wait_ms;   /* see the states; else 0 */
	char reason[512];  /* the last failure; "" while it is ok. Never has secrets */
	size_t in_flight;  /* requests */
	size_t limit;	   /* of them, as it is now */
	double latency_ms; /* of a request, smoothed; 0: none has been answered */
	uint64_t requests; /* sent so far, and of them those that gave no latent */
	uint64_t failures;
	uint64_t images;	 /* latents it gave */
	uint64_t sent, received; /* bytes */
};

struct encoder_remote_view {
	size_t n_endpoints;
	size_t max_requests; /* in flight over all of them */
	size_t images;	     /* that the encoder has */
	bool usable;	     /* some endpoint takes images now, or may be tried */
	bool guarded;	     /* paused by the cost guard ... */
	int64_t guard_ms;    /* ... for so long */
	uint64_t requests_last_hour, bytes_last_day; /* of all that share the guard */
};

/* From any thread. False: it is another kind of encoder, nothing is filled in. */
bool encoder_remote_view(const struct encoder *e, struct encoder_remote_view *view);
/* False: there are no longer so many. */
bool encoder_remote_endpoint_view(const struct encoder *e, size_t index,
				  struct encoder_remote_endpoint_view *view);

#endif

/*
 * What an endpoint computes, as it tells itself: GET /v1/model, below the address that it is reached at.
 *
 * A latentd endpoint answers 200 with a JSON object:
 *	{"latentd": "0.1.0",                      version of the program; this key makes it a latentd
 *	 "name": "sdxl-vae-fp16-fix",             for people
 *	 "recipe_vae": {"class": "AutoencoderKL", "weights_sha256": "...", "block_out_channels": [...], ...},
 *	                                          the object `vae` of a recipe's canonical JSON, as daemon/recipe.c makes it
 *	 "size_multiple": 8,                      of an image's sides
 *	 "latent_channels": 4, "downscale": 8,
 *	 "max_pixels": 16777216,                  of an image, 0 or absent: no limit
 *	 "max_body": 67108864,                    bytes of a request, 0 or absent: no limit
 *	 "dtypes": ["float16", "bfloat16", "float32", "uint8"],      of tensors that it takes
 *	 "decodes": true}                         latents too; absent: not
 * Anything else but an error is a foreign endpoint: it gives unseeded draws of a model that is known by name only.
 */
#ifndef LATENTD_ENCODER_ENDPOINT_MODEL_H
#define LATENTD_ENCODER_ENDPOINT_MODEL_H

#include "base/hash.h"
#include "net/retry.h"
#include "vae/vae_config.h"

#include <stdint.h>

struct endpoint_model {
	bool latentd; /* false: foreign, and nothing else is known */
	bool fake;    /* class "fake": latents that are a function of the image's hash, for tests */
	char name[128];
	char version[32];
	/* What a recipe needs of it; what it does not tell has the class's defaults. */
	struct vae_config vae;
	struct sha256 weights;
	bool decodes;
	size_t size_multiple;
	size_t max_pixels, max_body; /* 0: no limit */
};

struct endpoint_model_ask {
	const char *url;	     /* of the endpoint, as for encoding */
	const char *token_file;	     /* NULL: none is sent */
	const char *ca_file;	     /* NULL: the system's */
	const char *proxy;	     /* NULL: as the environment says; "" for none */
	const char *proxy_auth_file; /* NULL: the proxy is told no user */
	int64_t connect_ms;	     /* 0: 10 s */
	int64_t timeout_ms;	     /* from the call to the last byte; 0: 30 s */
	int64_t
	    scale_up_ms; /* 0: not asked to start; else X-Scale-Up-Timeout, and the timeout is as much longer */
};

/*
 * Asks and waits. ERR_TRANSIENT: nobody there, no answer, 5xx, 429: it may be another minute's answer. ERR_CONFIG: 401, 403,
 * a certificate that is not trusted, a redirect, a token that cannot be read: the message says what to do.
 * ERR_DATA `model`: it says that it is a latentd and the rest makes no sense.
 */
int endpoint_model_ask(const struct endpoint_model_ask *ask, struct endpoint_model *out,
		       struct error *err);

/* The answer's body of a status 200; anything that is no such object is a foreign endpoint's. ERR_DATA `model`. */
int endpoint_model_parse(const char *json, size_t size, struct endpoint_model *out,
			 struct error *err);
/*
 * The same of a finished exchange: *class says what is to be done where it fails (RETRY_STOP: nothing will help), 404 and
 * kin are a foreign endpoint. For the remote encoder, which asks by itself.
 */
struct http_exchange;
struct remote_access;
int endpoint_model_read(const struct http_exchange *x, const struct remote_access *access,
			enum retry_class *class, struct endpoint_model *out, struct error *err);
/* The address of the question, to be freed: .../v1/model, without query, "/predict" and trailing slashes. */
char *endpoint_model_url(const char *url);

#endif

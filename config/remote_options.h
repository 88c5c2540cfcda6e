/*
 * Endpoints that encode, and how they are talked to: of the `remote` encoder of a daemon, and of `latentctl encode
 * --endpoint`. What the numbers mean to the client says encoder/encoder_remote.h.
 *
 *	struct my_options { struct remote_options remote; ... };
 *	{.type = SETTING_GROUP, .offset = FIELD(remote), .group = &remote_settings},
 */
#ifndef LATENTD_CONFIG_REMOTE_OPTIONS_H
#define LATENTD_CONFIG_REMOTE_OPTIONS_H

#include "config/settings.h"

struct remote_endpoint {
	const char *url;	/* http or https, without user, query and fragment */
	const char *token_file; /* NULL: asked without a token */
	size_t max_in_flight;	/* requests */
	struct config_place place;
};

enum remote_wire {
	REMOTE_WIRE_AUTO,
	REMOTE_WIRE_EXACT, /* as diffusers' remote_encode sends */
	REMOTE_WIRE_TYPED, /* with Content-Type and Accept */
};

enum remote_send {
	REMOTE_SEND_PNG,
	REMOTE_SEND_TENSOR, /* of float16 */
	REMOTE_SEND_FLOAT16,
	REMOTE_SEND_FLOAT32,
	REMOTE_SEND_UINT8, /* only `latentd serve` takes it */
};

struct remote_options {
	enum remote_wire wire;
	enum remote_send send;
	uint64_t connect_timeout, timeout, scale_up_timeout; /* ms; the last 0: not asked for */
	size_t retries;
	const char *ca_file;	     /* NULL: the system's */
	const char *proxy;	     /* NULL: as the environment says; REMOTE_PROXY_NONE: none */
	const char *proxy_auth_file; /* NULL: the proxy is told no user */
	size_t max_requests_per_hour, max_bytes_per_day; /* sent; 0: no limit */
	bool allow_http; /* a token may travel unencrypted to another machine */
};

/* A VAE that is not at hand. */
struct remote_model {
	const char *name; /* a preset's, which has the numbers too, or any */
	double scaling_factor, shift_factor;
	size_t latent_channels; /* these are 0 where the name is a preset's */
	size_t size_multiple;	/* of an image's sides; 0: 8 */
};

struct remote_config {
	struct remote_endpoint *endpoints;
	size_t n_endpoints;	   /* at least one */
	struct remote_model model; /* of those that do not say; name NULL: there are none such */
	struct remote_options options;
};

/* Rows of struct remote_options; in a file, of the type `remote`. */
extern const struct settings_group remote_settings;
/* Rows of struct remote_endpoint, as items of a list. */
extern const struct settings_group remote_endpoint_settings;

#define REMOTE_PROXY_NONE "none"
/* For SETTING_STRING. */
bool remote_proxy_valid(const char *url);
/* As the client takes it (net/http_multi.h): "" for none. */
const char *remote_proxy_of(const struct remote_options *o);
/* "png", "tensor", ... */
const char *remote_send_name(enum remote_send send);

/* For SETTING_STRING. */
bool remote_url_valid(const char *url);
#define REMOTE_URL_EXPECTED                                                                        \
	"http:// or https:// and a host, without user, password, query or fragment"
/* Whether anybody on the way could read what is sent there: no TLS, and another machine. */
bool remote_url_is_open(const char *url);
/* The same endpoint, written in two ways: case of the host, the slash at the end. */
bool remote_url_same(const char *a, const char *b);

/*
 * What no single option can tell: no endpoint, one that stands there twice, a token that would travel unencrypted.
 * ERR_CONFIG; *which is the endpoint that it is
 * about then.
 */
int remote_config_check(const struct remote_config *c, size_t *which, struct error *err);
/* ERR_CONFIG: neither a preset nor complete, or both. */
int remote_model_check(const struct remote_model *model, struct error *err);

#endif

/*
 * Whether an endpoint has the model that is wanted. It is asked once, and may be another after any restart: so every latent
 * that it gives says where it comes from, and is looked at for that.
 */
#include "encoder/endpoint_model.h"
#include "encoder/remote_parts.h"
#include "net/vae_wire.h"

#include <stdio.h>
#include <string.h>

enum { SAID_SIZE = 256, SHORT = 12 };

static const char no_latentd[] =
    "it is no latentd endpoint, and only such can tell that they have the "
    "weights of %.100s: declare its VAE by name, and take unseeded draws";

/* "fake", or hex digits; as a latentd says it. */
static void wanted_weights(const struct encoder_remote *r, char out[SHA256_HEX_SIZE])
{
	if (r->options.fake)
		snprintf(out, SHA256_HEX_SIZE, VAE_WIRE_FAKE);
	else
		sha256_hex(&r->options.weights, out);
}

static bool is_another(const struct encoder_remote *r, const char *name, const char *has,
		       char reason[REMOTE_REASON_SIZE])
{
	char wanted[SHA256_HEX_SIZE];

	wanted_weights(r, wanted);
	if (strcmp(has, wanted) == 0)
		return false;
	snprintf(reason, REMOTE_REASON_SIZE,
		 "it has another model: %.100s (weights %.*s), and %.100s (%.*s) is wanted", name,
		 SHORT, has, r->name, SHORT, wanted);
	return true;
}

bool remote_tells_another(const struct encoder_remote *r, const struct endpoint_model *m,
			  char reason[REMOTE_REASON_SIZE])
{
	char has[SHA256_HEX_SIZE] = VAE_WIRE_FAKE;

	if (!m->latentd) {
		snprintf(reason, REMOTE_REASON_SIZE, no_latentd, r->name);
		return true;
	}
	if (!m->fake)
		sha256_hex(&m->weights, has);
	return is_another(r, m->name, has, reason);
}

/* A latentd that is used as if it were foreign: of it at least the name is known. */
static bool is_not_declared(const struct encoder_remote *r, const char *name,
			    char reason[REMOTE_REASON_SIZE])
{
	if (r->options.same_name ? r->options.same_name(r->name, name) : strcmp(r->name, name) == 0)
		return false;
	snprintf(reason, REMOTE_REASON_SIZE,
		 "it is a latentd with the model %.100s, and %.100s is declared: encode with vae "
		 "{endpoint: URL} (--endpoint without --vae), which needs no declaration",
		 name, r->name);
	return true;
}

/* Of visible ASCII; empty where there is none. */
static bool read_header(const struct http_exchange *x, const char *name, char out[SAID_SIZE])
{
	if (!http_exchange_header(x, name, out, SAID_SIZE)) {
		out[0] = '\0';
		return false;
	}
	for (char *c = out; *c; c++) {
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
	return true;
}

bool remote_comes_of_another(const struct encoder_remote *r, const struct http_exchange *x,
			     char reason[REMOTE_REASON_SIZE])
{
	char version[SAID_SIZE], name[SAID_SIZE], weights[SAID_SIZE], precision[SAID_SIZE];

	if (x->result != HTTP_REPLY || !read_header(x, VAE_WIRE_HEADER_LATENTD, version))
		return false;
	read_header(x, VAE_WIRE_HEADER_MODEL, name);
	read_header(x, VAE_WIRE_HEADER_WEIGHTS, weights);
	read_header(x, VAE_WIRE_HEADER_PRECISION, precision);
	if (r->options.declared)
		return is_not_declared(r, name, reason);
	if (is_another(r, name, weights, reason))
		return true;
	if (strcmp(precision, dtype_name(DTYPE_F32)) == 0)
		return false;
	snprintf(reason, REMOTE_REASON_SIZE, "it computes in another precision than float32");
	return true;
}

bool remote_comes_of_nobody(const struct encoder_remote *r, const struct http_exchange *x,
			    char reason[REMOTE_REASON_SIZE])
{
	char version[SAID_SIZE];

	if (r->options.declared || read_header(x, VAE_WIRE_HEADER_LATENTD, version))
		return false;
	snprintf(reason, REMOTE_REASON_SIZE, no_latentd, r->name);
	return true;
}

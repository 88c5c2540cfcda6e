#include "encoder/remote_reply.h"

#include "base/checked.h"
#include "base/text.h"
#include "net/vae_wire.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SAID_SIZE = 240, HEADER_SIZE = 256 };

/* ---- errors ----------------------------------------------------------------------------------------------------- */

/* One line, without control bytes, cut to what fits. */
static void clean_line(const char *text, size_t size, char out[SAID_SIZE])
{
	cleanup_buffer struct buffer clean = BUFFER_INIT;
	size_t n = 0;

	utf8_append_clean(&clean, text, size);
	for (size_t i = 0; i < clean.size;) {
		size_t step = utf8_sequence(clean.data + i, clean.size - i);

		if (n + step >= SAID_SIZE)
			break;
		memcpy(out + n, clean.data + i, step);
		if (step == 1 && (clean.data[i] < 0x20 || clean.data[i] == 0x7f))
			out[n] = ' ';
		n += step;
		i += step;
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

static const char *error_member(const json_t *root)
{
	static const char *const names[] = {"error", "message", "detail"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const json_t *member = json_object_get(root, names[i]);

		if (json_is_object(member)) /* {"error": {"message": ...}} */
			member = json_object_get(member, "message");
		if (json_is_string(member))
			return json_string_value(member);
	}
	return NULL;
}

/* The server's own words, "" if there are none worth repeating. */
static void what_it_said(const struct http_exchange *x, char out[SAID_SIZE])
{
	const char *text = (const char *)x->reply.data;
	json_t *root = x->reply.size ? json_loadb(text, x->reply.size, JSON_ALLOW_NUL, NULL) : NULL;
	const char *member = root ? error_member(root) : NULL;
	const char *start = text ? text + strspn(text, " \t\r\n") : "";

	out[0] = '\0';
	if (member)
		clean_line(member, strlen(member), out);
	else if (*start == '<')
		snprintf(out, SAID_SIZE, "an HTML page");
	else if (text)
		clean_line(text, x->reply.size, out);
	json_decref(root);
}

static const char proxy_wants[] =
    "the proxy wants a user and password: put good ones into proxy_auth_file (--proxy-auth-file)";

static void stopped_reason(const struct http_exchange *x, const struct remote_access *a,
			   const char *said, char reason[REMOTE_REASON_SIZE])
{
	char header[HEADER_SIZE] = "";
	const char *what = NULL;

	if (x->status >= 300 && x->status < 400) {
		cleanup_free char *to = NULL;

		if (!http_exchange_header(x, "location", header, sizeof(header)))
			header[0] = '\0';
		to = remote_url_shown(header);
		snprintf(reason, REMOTE_REASON_SIZE,
			 "status %ld: it redirects to %.200s, %s: give that address as its url",
			 x->status, *to ? to : "nowhere",
			 x->status == 307 || x->status == 308
			     ? "and images and tokens go only where they were told to"
			     : "where a POST would arrive as a GET without its image");
		return;
	}
	switch (x->status) {
	case 401:
		what = a->bearer ? "it does not accept the token: put a valid one in token_file"
				 : "it wants a token: set token_file (--token-file)";
		break;
	case 402:
		what = "it wants to be paid: see to the account behind the endpoint";
		break;
	case 403:
		what = a->bearer ? "the token may not use it: put another one in token_file"
				 : "it does not let us in: set token_file (--token-file)";
		break;
	case 404:
	case 410:
		what = "there is nothing at this address: check the url, and whether the endpoint "
		       "still exists";
		break;
	case 405:
	case 501:
		what = "it takes no POST: is this the address of a VAE endpoint?";
		break;
	case 407:
		what = proxy_wants;
		break;
	default:
		what = "it will not take requests like ours";
		break;
	}
	snprintf(reason, REMOTE_REASON_SIZE, "status %ld: %s%s%s%s", x->status, what,
		 *said ? " (" : "", said, *said ? ")" : "");
}

static const char wants_tls[] = "TLS is spoken there: is it https://?";

static bool is_https(const struct http_exchange *x)
{
	return x->url && strncasecmp(x->url, "https://", 8) == 0;
}

/* Servers of TLS that understand what http is say so with 400: nginx, Go, Apache, in this order. */
static bool says_it_wants_tls(const struct http_exchange *x)
{
	static const char *const words[] = {"plain HTTP request was sent to HTTPS port",
					    "sent an HTTP request to an HTTPS server",
					    "speaking plain HTTP to an SSL-enabled server port"};
	bool found = false;

	if (x->result != HTTP_REPLY || x->status != 400 || is_https(x))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(words) && x->reply.size > 0; i++)
		found |= memmem(x->reply.data, x->reply.size, words[i], strlen(words[i])) != NULL;
	return found;
}

static void no_reply_reason(const struct http_exchange *x, char reason[REMOTE_REASON_SIZE])
{
	const char *what = "the connection broke";

	if (x->result == HTTP_PROXY_REFUSES) {
		snprintf(reason, REMOTE_REASON_SIZE, "status %ld of the proxy: %s", x->status,
			 x->status == 407 ? proxy_wants : "it makes no connection to there");
		return;
	}
	switch (x->result) {
	case HTTP_NO_NAME:
	case HTTP_NOT_REACHED:
		what = "cannot be reached";
		break;
	case HTTP_TIMEOUT:
		what = "no answer in time";
		break;
	case HTTP_WRONG_SCHEME:
		what = is_https(x) ? "no TLS is spoken there: is it http://?" : wants_tls;
		break;
	case HTTP_NO_HTTP:
		what = "what answers does not speak HTTP";
		break;
	case HTTP_TOO_LARGE:
		what = "not a latent";
		break;
	case HTTP_UNTRUSTED:
		what =
		    "its certificate is not trusted; if it is your own, name its authority's file "
		    "in ca_file (--ca-file)";
		break;
	case HTTP_BAD_REQUEST:
		what = "its url is wrong";
		break;
	case HTTP_BROKEN:
	case HTTP_NOT_PUBLIC: /* never asked for here */
	case HTTP_PROXY_REFUSES:
	case HTTP_REPLY:
		break;
	}
	snprintf(reason, REMOTE_REASON_SIZE, "%s (%s)", what, x->why);
}

enum retry_class remote_reply_class(const struct http_exchange *x, const struct remote_access *a,
				    char reason[REMOTE_REASON_SIZE])
{
	enum retry_class class = retry_class_of(x->result, x->status, x->retry_after_ms);
	char said[SAID_SIZE] = "";

	reason[0] = '\0';
	if (class == RETRY_NOT_NEEDED)
		return class;
	if (x->result != HTTP_REPLY) {
		no_reply_reason(x, reason);
	} else if (says_it_wants_tls(x)) {
		snprintf(reason, REMOTE_REASON_SIZE, "status %ld: %s", x->status, wants_tls);
		return RETRY_STOP;
	} else {
		what_it_said(x, said);
		if (class == RETRY_STOP)
			stopped_reason(x, a, said, reason);
		else
			snprintf(reason, REMOTE_REASON_SIZE, "status %ld%s%s", x->status,
				 *said ? ": " : "", said);
	}
	remote_access_mask(a, reason);
	return class;
}

/* ---- latents ---------------------------------------------------------------------------------------------------- */

size_t remote_reply_max(const struct remote_latent *want)
{
	return want->channels * want->height * want->width * sizeof(float);
}

/* Reads and checks the headers. */
static enum remote_answer check_headers(const struct http_exchange *x,
					const struct remote_latent *want, enum dtype *dtype,
					char reason[REMOTE_REASON_SIZE])
{
	const size_t expected[4] = {1, want->channels, want->height, want->width};
	size_t shape[NDARRAY_MAX_DIMS] = {0}, ndim = 0, bytes = 0;
	char header[HEADER_SIZE], got[64], wanted[64];
	struct error err = ERROR_INIT;

	if (!http_exchange_header(x, "shape", header, sizeof(header))) {
		char type[64] = "";

		http_exchange_header(x, "content-type", type, sizeof(type));
		clean_line(type, strlen(type), header);
		snprintf(reason, REMOTE_REASON_SIZE,
			 "the reply is no latent: it has no header `shape`%s%.60s",
			 *type ? ", and is " : "", header);
		return REMOTE_ANSWER_WRONG;
	}
	if (vae_wire_shape_parse(header, &ndim, shape, &err) < 0) {
		snprintf(reason, REMOTE_REASON_SIZE, "the reply's %.400s", err.message);
		return REMOTE_ANSWER_WRONG;
	}
	if (!http_exchange_header(x, "dtype", header, sizeof(header)) ||
	    !vae_wire_dtype_parse(header, dtype) || *dtype == DTYPE_U8) {
		snprintf(reason, REMOTE_REASON_SIZE,
			 "the reply's dtype is none of float16, bfloat16 and float32");
		return REMOTE_ANSWER_WRONG;
	}
	ndarray_shape_text(ndim, shape, got, sizeof(got));
	ndarray_shape_text(4, expected, wanted, sizeof(wanted));
	if (!ndarray_bytes(*dtype, ndim, shape, &bytes) || bytes != x->reply.size) {
		snprintf(reason, REMOTE_REASON_SIZE,
			 "the reply has %zu bytes, and %s of %s has %zu", x->reply.size, got,
			 dtype_name(*dtype), bytes);
		return REMOTE_ANSWER_WRONG;
	}
	if (ndim == 4 && memcmp(shape, expected, sizeof(expected)) == 0)
		return REMOTE_ANSWER_GOOD;
	snprintf(reason, REMOTE_REASON_SIZE, "the reply's shape is %s, and %s was expected%s", got,
		 wanted, ndim == 4 && shape[1] != want->channels ? ": it has another model" : "");
	return ndim == 4 && shape[1] != want->channels ? REMOTE_ANSWER_OTHER_MODEL
						       : REMOTE_ANSWER_WRONG;
}

enum remote_answer remote_reply_latent(const struct http_exchange *x,
				       const struct remote_latent *want, struct ndarray *out,
				       char reason[REMOTE_REASON_SIZE])
{
	const size_t shape[3] = {want->channels, want->height, want->width};
	struct ndarray latent = NDARRAY_INIT;
	struct error err = ERROR_INIT;
	enum dtype dtype = DTYPE_F32;
	enum remote_answer answer = check_headers(x, want, &dtype, reason);
	const float *values;

	if (answer != REMOTE_ANSWER_GOOD)
		return answer;
	if (ndarray_alloc(&latent, DTYPE_F32, 3, shape, &err) < 0) {
		snprintf(reason, REMOTE_REASON_SIZE, "%.500s", err.message);
		return REMOTE_ANSWER_WRONG;
	}
	values = latent.data;
	vae_wire_read(dtype, x->reply.data, ndarray_count(&latent), latent.data);
	for (size_t i = 0, n = ndarray_count(&latent); i < n; i++) {
		if (isfinite(values[i]))
			continue;
		ndarray_release(&latent);
		snprintf(reason, REMOTE_REASON_SIZE,
			 "the latent that came has values that are not finite");
		return REMOTE_ANSWER_NOT_FINITE;
	}
	*out = latent;
	return REMOTE_ANSWER_GOOD;
}

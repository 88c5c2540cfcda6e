/*
 * AWS Signature Version 4, as S3 and what speaks like it want it: a header that proves that the request was made by who knows
 * the secret, and when. Pure: no clock, no network.
 *
 *	sigv4_uri_encode(&path, "/bucket/a b.png", 15, true)        "/bucket/a%20b.png"
 *	sigv4_query_format(&query, pairs, n)                        "list-type=2&prefix=a%2F", in the order that is signed
 *	sigv4_authorization(&request, &credentials, &value)         "AWS4-HMAC-SHA256 Credential=..., Signature=..."
 *
 * What is signed must be what is sent: the path and the query made by these functions, and every header of the request.
 * Paths are signed as they are, as S3 does; other services normalise and encode them once more.
 */
#ifndef LATENTD_NET_SIGV4_H
#define LATENTD_NET_SIGV4_H

#include "base/buffer.h"
#include "base/hash.h"

#include <stdbool.h>

/* The body's hash of a request without one. */
#define SIGV4_NO_BODY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

#define SIGV4_TIME_SIZE 17

struct sigv4_pair {
	const char *name, *value;
};

struct sigv4_credentials {
	const char *key_id, *secret;
};

struct sigv4_request {
	const char *method;
	const char *path;		/* from '/', encoded */
	const struct sigv4_pair *query; /* not encoded, in any order */
	size_t n_query;
	const struct sigv4_pair
	    *headers; /* host and x-amz-date among them; names in any case and order */
	size_t n_headers;
	const char *body_hash; /* SHA-256 in hex, or SIGV4_NO_BODY */
	const char *time;      /* of sigv4_time(): what x-amz-date says */
	const char *region, *service;
};

/* "20150830T123600Z" of wall-clock milliseconds. Returns @out. */
const char *sigv4_time(int64_t wall_ms, char out[SIGV4_TIME_SIZE]);

/* Appends @s with everything but letters, digits, "-._~", and '/' if @slashes, as %XX. */
void sigv4_uri_encode(struct buffer *out, const char *s, size_t size, bool slashes);
/* Appends the query without '?', in the order that is signed. */
void sigv4_query_format(struct buffer *out, const struct sigv4_pair *pairs, size_t n);

/* Appends the canonical request; for tests and to find out what a server disagrees with. It holds no secret, but the token. */
void sigv4_canonical(struct buffer *out, const struct sigv4_request *request);
/* Appends the value of the header "Authorization". */
void sigv4_authorization(const struct sigv4_request *request,
			 const struct sigv4_credentials *credentials, struct buffer *out);

#endif

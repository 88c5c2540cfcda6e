/*
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html: a canonical form of the request, its hash with
 * time and scope, and an HMAC of that with a key that is derived for the day, the region and the service.
 */
#include "net/sigv4.h"

#include "base/checked.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DATE_SIZE = 8 }; /* of the time: "20150830" */

#define ALGORITHM "AWS4-HMAC-SHA256"

const char *sigv4_time(int64_t wall_ms, char out[SIGV4_TIME_SIZE])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(out, SIGV4_TIME_SIZE, "%Y%m%dT%H%M%SZ", &tm);
	return out;
}

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

void sigv4_uri_encode(struct buffer *out, const char *s, size_t size, bool slashes)
{
	for (size_t i = 0; i < size; i++) {
		if (is_unreserved(s[i]) || (slashes && s[i] == '/'))
			buffer_append(out, &s[i], 1);
		else
			buffer_appendf(out, "%%%02X", (unsigned char)s[i]);
	}
}

/* -- pairs in order -------------------------------------------------------------------------------- */

static int compare_encoded(const char *a, const char *b)
{
	cleanup_buffer struct buffer x = BUFFER_INIT, y = BUFFER_INIT;

	sigv4_uri_encode(&x, a, strlen(a), false);
	sigv4_uri_encode(&y, b, strlen(b), false);
	return strcmp(x.data ? (const char *)x.data : "", y.data ? (const char *)y.data : "");
}

static int compare_query(const void *a, const void *b)
{
	const struct sigv4_pair *x = a, *y = b;
	int order = compare_encoded(x->name, y->name);

	return order != 0 ? order : compare_encoded(x->value, y->value);
}

static int compare_headers(const void *a, const void *b)
{
	return strcasecmp(((const struct sigv4_pair *)a)->name,
			  ((const struct sigv4_pair *)b)->name);
}

/* To be freed. */
static struct sigv4_pair *sorted(const struct sigv4_pair *pairs, size_t n,
				 int (*compare)(const void *a, const void *b))
{
	struct sigv4_pair *copy = xcalloc(n + 1, sizeof(*copy));

	if (n > 0)
		memcpy(copy, pairs, n * sizeof(*copy));
	qsort(copy, n, sizeof(*copy), compare);
	return copy;
}

void sigv4_query_format(struct buffer *out, const struct sigv4_pair *pairs, size_t n)
{
	cleanup_free struct sigv4_pair *in_order = sorted(pairs, n, compare_query);

	for (size_t i = 0; i < n; i++) {
		const struct sigv4_pair *p = &in_order[i];

		if (i > 0)
			buffer_append_string(out, "&");
		sigv4_uri_encode(out, p->name, strlen(p->name), false);
		buffer_append_string(out, "=");
		sigv4_uri_encode(out, p->value, strlen(p->value), false);
	}
}

static void append_lower(struct buffer *out, const char *name)
{
	for (; *name; name++) {
		char c = (char)tolower((unsigned char)*name);

		buffer_append(out, &c, 1);
	}
}

/* Without spaces around it, and each run of them in it as one. */
static void append_value(struct buffer *out, const char *value)
{
	size_t end = strlen(value);

	while (end > 0 && value[end - 1] == ' ')
		end--;
	for (size_t i = strspn(value, " "); i < end; i++) {
		if (value[i] != ' ' || value[i + 1] != ' ')
			buffer_append(out, &value[i], 1);
	}
}

/* "host;x-amz-date" */
static void append_signed_names(struct buffer *out, const struct sigv4_pair *headers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buffer_append_string(out, ";");
		append_lower(out, headers[i].name);
	}
}

/* -- the three parts ------------------------------------------------------------------------------- */

void sigv4_canonical(struct buffer *out, const struct sigv4_request *r)
{
	cleanup_free struct sigv4_pair *headers = sorted(r->headers, r->n_headers, compare_headers);

	buffer_appendf(out, "%s\n%s\n", r->method, r->path);
	sigv4_query_format(out, r->query, r->n_query);
	buffer_append_string(out, "\n");
	for (size_t i = 0; i < r->n_headers; i++) {
		append_lower(out, headers[i].name);
		buffer_append_string(out, ":");
		append_value(out, headers[i].value);
		buffer_append_string(out, "\n");
	}
	buffer_append_string(out, "\n");
	append_signed_names(out, headers, r->n_headers);
	buffer_appendf(out, "\n%s", r->body_hash);
}

static void append_scope(struct buffer *out, const struct sigv4_request *r)
{
	buffer_appendf(out, "%.*s/%s/%s/aws4_request", DATE_SIZE, r->time, r->region, r->service);
}

static void string_to_sign(struct buffer *out, const struct sigv4_request *r)
{
	cleanup_buffer struct buffer canonical = BUFFER_INIT;
	char hex[SHA256_HEX_SIZE];
	struct sha256 hash;

	sigv4_canonical(&canonical, r);
	hash = sha256_of(canonical.data, canonical.size);
	sha256_hex(&hash, hex);
	buffer_appendf(out, ALGORITHM "\n%s\n", r->time);
	append_scope(out, r);
	buffer_appendf(out, "\n%s", hex);
}

static struct sha256 signature(const struct sigv4_request *r, const char *secret)
{
	cleanup_free char *first = xasprintf("AWS4%s", secret);
	const char *const steps[] = {r->region, r->service, "aws4_request"};
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct sha256 key = sha256_hmac(first, strlen(first), r->time, DATE_SIZE), signature;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		key = sha256_hmac(key.bytes, sizeof(key.bytes), steps[i], strlen(steps[i]));
	string_to_sign(&text, r);
	signature = sha256_hmac(key.bytes, sizeof(key.bytes), text.data, text.size);
	explicit_bzero(&key, sizeof(key));
	explicit_bzero(first, strlen(first));
	return signature;
}

void sigv4_authorization(const struct sigv4_request *r, const struct sigv4_credentials *credentials,
			 struct buffer *out)
{
	cleanup_free struct sigv4_pair *headers = sorted(r->headers, r->n_headers, compare_headers);
	struct sha256 signed_by = signature(r, credentials->secret);
	char hex[SHA256_HEX_SIZE];

	sha256_hex(&signed_by, hex);
	buffer_appendf(out, ALGORITHM " Credential=%s/", credentials->key_id);
	append_scope(out, r);
	buffer_append_string(out, ", SignedHeaders=");
	append_signed_names(out, headers, r->n_headers);
	buffer_appendf(out, ", Signature=%s", hex);
}

#include "net/s3_call.h"

#include "base/checked.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_SIZE = 128 };

/* -- what can be asked ------------------------------------------------------------------------------ */

static int list_page(struct s3 *s3, const char *prefix, const char *after, const char *token,
		     struct s3_page *page, struct error *err)
{
	struct sigv4_pair query[4] = {
	    {"list-type", "2"}, {"prefix", prefix}, {"encoding-type", "url"}};
	size_t n = 3;

	if (token)
		query[n++] = (struct sigv4_pair){"continuation-token", token};
	else if (after)
		query[n++] = (struct sigv4_pair){"start-after", after};
	cleanup_s3_call struct s3_call c = {.what = {.method = "GET", .query = query, .n_query = n},
					    .gives_up = true};

	if (s3_perform(s3, &c, err) < 0)
		return -1;
	if (c.outcome.cause == S3_NO_KEY)
		c.outcome.cause = S3_NO_BUCKET;
	if (c.outcome.cause != S3_FINE)
		return s3_call_failed(s3, &c, err);
	if (s3_page_parse(c.x.reply.data, c.x.reply.size, page, err) < 0)
		return error_wrap(err, "s3://%s", s3->bucket.name);
	return 0;
}

/* Callers cut the prefix off. */
static int check_item(const struct s3_item *item, const char *prefix, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (item->key && strncmp(item->key, prefix, strlen(prefix)) == 0)
		return 0;
	return error_data(err, "protocol", "the store lists %s, which was not asked for",
			  text_quote(item->key ? item->key : "", quoted));
}

int s3_list(struct s3 *s3, const char *prefix, const char *after, s3_item_fn fn, void *arg,
	    struct error *err)
{
	cleanup_free char *token = NULL;
	bool more = true;
	int r = 0;

	while (r == 0 && more) {
		cleanup_s3_page struct s3_page page = {.n = 0};

		if (s3_stops(s3))
			return error_set(err, ERR_TRANSIENT, "interrupted");
		if (list_page(s3, prefix, after, token, &page, err) < 0)
			return -1;
		for (size_t i = 0; r == 0 && i < page.n; i++) {
			r = check_item(&page.items[i], prefix, err);
			if (r == 0)
				r = fn(arg, &page.items[i], err);
		}
		more = page.truncated;
		if (r == 0 && more && (!page.next || (token && strcmp(token, page.next) == 0)))
			return error_data(err, "protocol",
					  "s3://%s: its list goes on and does not say where",
					  s3->bucket.name);
		free(token);
		token = TAKE(page.next);
	}
	return r;
}

/* False: no size is told, as by a proxy that sends in chunks; 0 would be another than the object has. */
static bool read_object(const struct http_exchange *x, struct s3_object *out)
{
	char length[HEADER_SIZE], *end;
	struct sha256 unused;
	struct s3_object o = {.size = 0};

	if (!http_exchange_header(x, "content-length", length, sizeof(length)) ||
	    !(length[0] >= '0' && length[0] <= '9'))
		return false;
	errno = 0;
	o.size = strtoull(length, &end, 10);
	if (*end != '\0' || errno != 0)
		return false;
	if (!http_exchange_header(x, "etag", o.etag, sizeof(o.etag)))
		o.etag[0] = '\0';
	if (!http_exchange_header(x, "x-amz-meta-sha256", o.sha256, sizeof(o.sha256)) ||
	    !sha256_parse(o.sha256, &unused))
		o.sha256[0] = '\0';
	*out = o;
	return true;
}

/* A reply to HEAD has no body: of these the status alone does not tell what is to be mended. */
static bool is_unexplained(const struct s3_outcome *o)
{
	return o->fault.code[0] == '\0' &&
	       (o->cause == S3_DENIED || o->cause == S3_EXPIRED || o->cause == S3_REFUSED);
}

/* A refused HEAD is asked as GET, which says why or finds out what is wrong about us; then HEAD may work. */
static int explain_refusal(struct s3 *s3, struct s3_call *head, struct error *err)
{
	const struct sigv4_pair range = {"range", "bytes=0-0"};
	cleanup_s3_call struct s3_call get = {
	    .what = {.method = "GET", .key = head->what.key, .headers = &range, .n_headers = 1}};

	if (s3_perform(s3, &get, err) < 0)
		return -1;
	if (get.outcome.cause == S3_FINE || get.outcome.cause == S3_NO_KEY)
		return s3_perform(s3, head, err);
	return get.x.result == HTTP_REPLY ? s3_call_failed(s3, &get, err) : 0;
}

int s3_head(struct s3 *s3, const char *key, struct s3_object *out, struct error *err)
{
	cleanup_s3_call struct s3_call c = {.what = {.method = "HEAD", .key = key}};

	if (s3_perform(s3, &c, err) < 0)
		return -1;
	if (c.x.result == HTTP_REPLY && is_unexplained(&c.outcome) &&
	    explain_refusal(s3, &c, err) < 0)
		return -1;
	if (c.outcome.cause == S3_NO_KEY)
		return S3_NOT_THERE;
	if (c.outcome.cause != S3_FINE)
		return s3_call_failed(s3, &c, err);
	if (!read_object(&c.x, out)) {
		cleanup_free char *name = s3_name(s3, key);

		return error_set(err, ERR_TRANSIENT, "%s: the store does not tell its size", name);
	}
	return 0;
}

static int take_range(const struct s3_call *c, uint64_t offset, size_t size, struct buffer *out,
		      const char *name, struct error *err)
{
	const struct buffer *reply = &c->x.reply;
	uint64_t skip =
	    c->x.status == 206 ? 0 : offset; /* a store that knows no ranges sends all */

	if (skip > reply->size || size > reply->size - skip)
		return error_data(err, "truncated", "%s ends before byte %" PRIu64, name,
				  offset + size);
	if (buffer_reserve(out, size, err) < 0)
		return -1;
	buffer_append(out, reply->data + skip, size);
	return 0;
}

int s3_get(struct s3 *s3, const char *key, uint64_t offset, size_t size, struct buffer *out,
	   struct error *err)
{
	cleanup_free char *range =
	    xasprintf("bytes=%" PRIu64 "-%" PRIu64, offset, offset + (size > 0 ? size - 1 : 0));
	cleanup_free char *name = s3_name(s3, key);
	const struct sigv4_pair header = {"range", range};
	cleanup_s3_call struct s3_call c = {
	    .what = {.method = "GET", .key = key, .headers = &header, .n_headers = 1},
	    .response_max = size};

	if (size == 0)
		return 0;
	if (s3_perform(s3, &c, err) < 0)
		return -1;
	if (c.outcome.cause == S3_NO_KEY)
		return S3_NOT_THERE;
	if (c.x.result == HTTP_REPLY && c.x.status == 416)
		return error_data(err, "truncated", "%s ends before byte %" PRIu64, name, offset);
	if (c.outcome.cause != S3_FINE)
		return s3_call_failed(s3, &c, err);
	return take_range(&c, offset, size, out, name, err);
}

/* -- what changes something ------------------------------------------------------------------------- */

int s3_look_before(struct s3 *s3, const char *key, const char *sha256, uint64_t size,
		   struct error *err)
{
	struct s3_object there;
	int r = s3_head(s3, key, &there, err);

	if (r != 0)
		return r == S3_NOT_THERE ? 0 : r;
	return sha256[0] && strcmp(there.sha256, sha256) == 0 && there.size == size ? S3_SAME
										    : S3_IN_THE_WAY;
}

int s3_perform_new(struct s3 *s3, struct s3_call *c, enum s3_mode mode, struct error *err)
{
	bool conditional = mode == S3_NEW && !s3->no_conditions;

	if (conditional)
		c->what.n_headers++;
	if (s3_perform(s3, c, err) < 0)
		return -1;
	if (conditional && c->outcome.cause == S3_UNSUPPORTED) {
		s3->no_conditions = true;
		c->what.n_headers--;
		return s3_perform(s3, c, err);
	}
	return 0;
}

static int put_new(struct s3 *s3, struct s3_call *c, enum s3_mode mode, const char *sha256,
		   struct error *err)
{
	int r =
	    mode == S3_NEW ? s3_look_before(s3, c->what.key, sha256, c->what.body_size, err) : 0;

	if (r != 0)
		return r == S3_SAME ? 0 : r;
	if (s3_perform_new(s3, c, mode, err) < 0)
		return -1;
	if (c->outcome.cause == S3_FINE)
		return 0;
	if (mode == S3_REPLACE || c->outcome.cause != S3_TAKEN)
		return s3_call_failed(s3, c, err);
	/* Perhaps by an earlier try of this call, whose reply did not arrive. */
	r = s3_look_before(s3, c->what.key, sha256, c->what.body_size, err);
	return r == S3_SAME ? 0 : r < 0 ? -1 : S3_IN_THE_WAY;
}

int s3_put(struct s3 *s3, const char *key, const void *data, size_t size, enum s3_mode mode,
	   struct error *err)
{
	struct sha256 hash = sha256_of(data, size);
	struct md5 md5 = md5_of(data, size);
	char sha256[SHA256_HEX_SIZE], base64[MD5_BASE64_SIZE];
	const struct sigv4_pair headers[] = {{"content-md5", base64},
					     {"content-type", "application/octet-stream"},
					     {"x-amz-meta-sha256", sha256},
					     {"if-none-match", "*"}};
	cleanup_s3_call struct s3_call c = {.what = {.method = "PUT",
						     .key = key,
						     .headers = headers,
						     .n_headers = ARRAY_SIZE(headers) - 1,
						     .body = data,
						     .body_size = size}};

	sha256_hex(&hash, sha256);
	md5_base64(&md5, base64);
	return put_new(s3, &c, mode, sha256, err);
}

/* Before somebody deletes the original. */
static int check_copy(struct s3 *s3, const char *key, const struct s3_object *original,
		      struct error *err)
{
	cleanup_free char *name = s3_name(s3, key);
	struct s3_object copy = {.size = 0};
	int r = s3_head(s3, key, &copy, err);

	if (r < 0)
		return r;
	if (r == S3_NOT_THERE || copy.size != original->size ||
	    strcmp(copy.sha256, original->sha256) != 0)
		return error_set(err, ERR_IO, "%s is not what was copied there", name);
	return 0;
}

int s3_copy(struct s3 *s3, const char *from, const char *to, enum s3_mode mode, struct error *err)
{
	cleanup_buffer struct buffer source = BUFFER_INIT;
	struct s3_object original;
	int r = s3_head(s3, from, &original, err);

	if (r != 0)
		return r;
	buffer_appendf(&source, "/%s/", s3->bucket.name);
	sigv4_uri_encode(&source, from, strlen(from), true);
	const struct sigv4_pair headers[] = {{"content-type", "application/octet-stream"},
					     {"x-amz-copy-source", (const char *)source.data}};
	cleanup_s3_call struct s3_call c = {
	    .what = {.method = "PUT", .key = to, .headers = headers, .n_headers = 2}};

	if (mode == S3_NEW)
		r = s3_look_before(s3, to, original.sha256, original.size, err);
	if (r != 0)
		return r == S3_SAME ? 0 : r;
	if (s3_perform(s3, &c, err) < 0)
		return -1;
	return c.outcome.cause == S3_FINE ? check_copy(s3, to, &original, err)
					  : s3_call_failed(s3, &c, err);
}

int s3_delete(struct s3 *s3, const char *key, struct error *err)
{
	cleanup_s3_call struct s3_call c = {.what = {.method = "DELETE", .key = key}};

	if (s3_perform(s3, &c, err) < 0)
		return -1;
	if (c.outcome.cause == S3_FINE || c.outcome.cause == S3_NO_KEY)
		return 0;
	return s3_call_failed(s3, &c, err);
}

/*
 * Every call is a `struct call`: signed, sent, judged, and again if that helps. What differs is what is asked and what is read
 * from the reply.
 */
#include "net/s3.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"
#include "net/retry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	TIMEOUT_MS = 5 * 60 * 1000,
	PATIENCE_MS = 2 * 60 * 1000,
	LOOK_MS = 200, /* how often stop is asked */
	REPLY_MAX = 8 << 20,
	HEADER_SIZE = 128,
};

struct s3 {
	struct s3_options options; /* without what it points to, but for arg */
	struct s3_bucket bucket;
	struct s3_credentials *credentials;
	struct http_multi *multi;
	struct retry_random random;
	int64_t skew_ms;			    /* what the server's clock is ahead of ours */
	bool corrected_clock, new_keys, new_region; /* since the last reply that was fine */
	bool no_conditions;			    /* the store does not know If-None-Match */
};

char *s3_name(const struct s3 *s3, const char *key)
{
	return xasprintf("s3://%s/%s", s3->bucket.name, key);
}

int s3_open(const struct s3_options *options, struct s3 **out, struct error *err)
{
	const struct http_multi_options http = {.ca_file = options->ca_file};
	struct s3 *s3 = xcalloc(1, sizeof(*s3));

	s3->options = *options;
	s3->options.place = (struct s3_place){.bucket = NULL};
	s3->options.ca_file = NULL;
	if (s3->options.timeout_ms == 0)
		s3->options.timeout_ms = TIMEOUT_MS;
	if (s3->options.patience_ms == 0)
		s3->options.patience_ms = PATIENCE_MS;
	s3->random.state = (uint64_t)clock_mono_ns();
	s3->credentials = s3_credentials_new(options->place.profile);
	if (s3_bucket_init(&s3->bucket, &options->place, err) < 0 ||
	    http_multi_open(&http, &s3->multi, err) < 0) {
		s3_close(s3);
		return -1;
	}
	*out = s3;
	return 0;
}

void s3_close(struct s3 *s3)
{
	if (!s3)
		return;
	http_multi_close(s3->multi);
	s3_credentials_free(s3->credentials);
	s3_bucket_release(&s3->bucket);
	free(s3);
}

/* -- one request ------------------------------------------------------------------------------------- */

int s3_sign(struct s3 *s3, const struct s3_what *what, struct s3_request *out, struct error *err)
{
	struct s3_keys keys;

	if (s3_credentials_get(s3->credentials, &keys, err) < 0)
		return -1;
	return s3_request_make(&s3->bucket, what, &keys, clock_wall_ms() + s3->skew_ms, out, err);
}

/* Whether something about us could be mended that the server does not like. */
static bool corrected(struct s3 *s3, const struct s3_outcome *o)
{
	bool *once = o->cause == S3_SKEWED	   ? &s3->corrected_clock
		     : o->cause == S3_EXPIRED	   ? &s3->new_keys
		     : o->cause == S3_WRONG_REGION ? &s3->new_region
						   : NULL;

	if (!once || *once)
		return false;
	if (o->cause == S3_SKEWED && o->server_ms == 0)
		return false;
	if (o->cause == S3_WRONG_REGION &&
	    (!o->fault.region[0] || strcmp(o->fault.region, s3->bucket.region) == 0))
		return false;
	*once = true;
	if (o->cause == S3_SKEWED)
		s3->skew_ms = o->server_ms - clock_wall_ms();
	else if (o->cause == S3_EXPIRED)
		s3_credentials_refused(s3->credentials);
	else
		s3_bucket_set_region(&s3->bucket, o->fault.region);
	return true;
}

enum s3_next s3_judge(struct s3 *s3, const struct http_exchange *x, struct s3_outcome *out)
{
	s3_outcome_of(x, clock_wall_ms() + s3->skew_ms, out);
	if (out->cause == S3_FINE)
		s3->corrected_clock = s3->new_keys = s3->new_region = false;
	if (corrected(s3, out))
		return S3_AGAIN;
	return s3_cause_is_transient(out->cause) ? S3_LATER : S3_DONE;
}

struct call {
	struct s3_what what;
	size_t response_max; /* 0: of a document */
	struct http_exchange x;
	struct s3_outcome outcome;
	size_t tries;
};

static void call_release(struct call *c)
{
	http_exchange_release(&c->x);
}

#define cleanup_call cleanup_with(call_release)

static int check_stop(const struct s3 *s3, struct error *err)
{
	if (s3->options.stop && s3->options.stop(s3->options.arg))
		return error_set(err, ERR_TRANSIENT, "interrupted");
	return 0;
}

/* 0: a result, whatever it is. */
static int send_once(struct s3 *s3, struct call *c, struct error *err)
{
	cleanup_s3_request struct s3_request request = {.url = NULL};
	int r = 0;

	if (s3_sign(s3, &c->what, &request, err) < 0)
		return -1;
	http_exchange_release(&c->x);
	c->x = (struct http_exchange){.method = c->what.method,
				      .url = request.url,
				      .headers = (const char *const *)request.lines,
				      .body = c->what.body,
				      .body_size = c->what.body_size,
				      .timeout_ms = s3->options.timeout_ms,
				      .response_max = c->response_max > REPLY_MAX ? c->response_max
										  : REPLY_MAX};
	c->tries++;
	if (http_multi_start(s3->multi, &c->x, err) < 0)
		return -1;
	while (r == 0 && !http_multi_finished(s3->multi)) {
		http_multi_wait(s3->multi, LOOK_MS);
		r = check_stop(s3, err);
	}
	if (r < 0)
		http_multi_cancel(s3->multi, &c->x);
	return r;
}

/* As long as the server asks for, or a while. */
static int rest(struct s3 *s3, const struct call *c, int64_t until, struct error *err)
{
	int64_t pause = retry_pause_ms(c->tries, &s3->random), now = clock_mono_ms(), end;

	if (pause < c->x.retry_after_ms)
		pause = c->x.retry_after_ms;
	end = now + pause < until ? now + pause : until;
	for (; now < end; now = clock_mono_ms()) {
		if (check_stop(s3, err) < 0)
			return -1;
		http_multi_wait(s3->multi, (int)(end - now < LOOK_MS ? end - now : LOOK_MS));
	}
	return 0;
}

static int call_failed(const struct s3 *s3, const struct call *c, struct error *err)
{
	cleanup_free char *name = s3_name(s3, c->what.key ? c->what.key : "");
	char quoted[TEXT_QUOTE_SIZE];

	return s3_outcome_error(&c->outcome, &c->x, text_quote(name, quoted), err);
}

/* Until it worked, or cannot, or patience is over; c->outcome says which. -1 where nothing could be asked. */
static int perform(struct s3 *s3, struct call *c, struct error *err)
{
	int64_t until = clock_mono_ms() + s3->options.patience_ms;

	for (;;) {
		enum s3_next next;

		if (check_stop(s3, err) < 0 || send_once(s3, c, err) < 0)
			return -1;
		next = s3_judge(s3, &c->x, &c->outcome);
		if (next == S3_DONE || (next == S3_LATER && clock_mono_ms() >= until))
			return 0;
		if (next == S3_LATER && rest(s3, c, until, err) < 0)
			return -1;
	}
}

/* -- what can be asked ------------------------------------------------------------------------------ */

static int list_page(struct s3 *s3, const char *prefix, const char *after, const char *token,
		     struct s3_page *page, struct error *err)
{
	struct sigv4_pair query[4] = {{"list-type", "2"}, {"prefix", prefix}};
	size_t n = 2;

	if (token)
		query[n++] = (struct sigv4_pair){"continuation-token", token};
	else if (after)
		query[n++] = (struct sigv4_pair){"start-after", after};
	cleanup_call struct call c = {.what = {.method = "GET", .query = query, .n_query = n}};

	if (perform(s3, &c, err) < 0)
		return -1;
	if (c.outcome.cause == S3_NO_KEY)
		c.outcome.cause = S3_NO_BUCKET;
	if (c.outcome.cause != S3_FINE)
		return call_failed(s3, &c, err);
	if (s3_page_parse(c.x.reply.data, c.x.reply.size, page, err) < 0)
		return error_wrap(err, "s3://%s", s3->bucket.name);
	return 0;
}

int s3_list(struct s3 *s3, const char *prefix, const char *after, s3_item_fn fn, void *arg,
	    struct error *err)
{
	cleanup_free char *token = NULL;
	bool more = true;
	int r = 0;

	while (r == 0 && more) {
		cleanup_s3_page struct s3_page page = {.n = 0};

		if (list_page(s3, prefix, after, token, &page, err) < 0)
			return -1;
		for (size_t i = 0; r == 0 && i < page.n; i++) {
			if (page.items[i].key)
				r = fn(arg, &page.items[i], err);
		}
		more = page.truncated && page.next && (!token || strcmp(token, page.next) != 0);
		free(token);
		token = TAKE(page.next);
	}
	return r;
}

static void read_object(const struct http_exchange *x, struct s3_object *out)
{
	char length[HEADER_SIZE];
	struct sha256 unused;
	struct s3_object o = {.size = 0};

	if (http_exchange_header(x, "content-length", length, sizeof(length)))
		o.size = strtoull(length, NULL, 10);
	if (!http_exchange_header(x, "etag", o.etag, sizeof(o.etag)))
		o.etag[0] = '\0';
	if (!http_exchange_header(x, "x-amz-meta-sha256", o.sha256, sizeof(o.sha256)) ||
	    !sha256_parse(o.sha256, &unused))
		o.sha256[0] = '\0';
	*out = o;
}

int s3_head(struct s3 *s3, const char *key, struct s3_object *out, struct error *err)
{
	cleanup_call struct call c = {.what = {.method = "HEAD", .key = key}};

	if (perform(s3, &c, err) < 0)
		return -1;
	if (c.outcome.cause == S3_NO_KEY)
		return S3_NOT_THERE;
	if (c.outcome.cause != S3_FINE)
		return call_failed(s3, &c, err);
	read_object(&c.x, out);
	return 0;
}

static int take_range(const struct call *c, uint64_t offset, size_t size, struct buffer *out,
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
	cleanup_call struct call c = {
	    .what = {.method = "GET", .key = key, .headers = &header, .n_headers = 1},
	    .response_max = size};

	if (size == 0)
		return 0;
	if (perform(s3, &c, err) < 0)
		return -1;
	if (c.outcome.cause == S3_NO_KEY)
		return S3_NOT_THERE;
	if (c.x.result == HTTP_REPLY && c.x.status == 416)
		return error_data(err, "truncated", "%s ends before byte %" PRIu64, name, offset);
	if (c.outcome.cause != S3_FINE)
		return call_failed(s3, &c, err);
	return take_range(&c, offset, size, out, name, err);
}

/* -- what changes something ------------------------------------------------------------------------- */

enum { SAME = 3 };

/* 0: nothing is there; S3_IN_THE_WAY; SAME: an object with this hash is. */
static int look_before(struct s3 *s3, const char *key, const char *sha256, uint64_t size,
		       struct error *err)
{
	struct s3_object there;
	int r = s3_head(s3, key, &there, err);

	if (r != 0)
		return r == S3_NOT_THERE ? 0 : r;
	return sha256[0] && strcmp(there.sha256, sha256) == 0 && there.size == size ? SAME
										    : S3_IN_THE_WAY;
}

/* Sends it with, where that is wanted and known, If-None-Match as the last of its headers. */
static int perform_new(struct s3 *s3, struct call *c, enum s3_mode mode, struct error *err)
{
	bool conditional = mode == S3_NEW && !s3->no_conditions;

	if (conditional)
		c->what.n_headers++;
	if (perform(s3, c, err) < 0)
		return -1;
	if (conditional && c->outcome.cause == S3_UNSUPPORTED) {
		s3->no_conditions = true;
		c->what.n_headers--;
		return perform(s3, c, err);
	}
	return 0;
}

static int put_new(struct s3 *s3, struct call *c, enum s3_mode mode, const char *sha256,
		   struct error *err)
{
	int r = mode == S3_NEW ? look_before(s3, c->what.key, sha256, c->what.body_size, err) : 0;

	if (r != 0)
		return r == SAME ? 0 : r;
	if (perform_new(s3, c, mode, err) < 0)
		return -1;
	if (c->outcome.cause == S3_FINE)
		return 0;
	if (mode == S3_REPLACE || c->outcome.cause != S3_TAKEN)
		return call_failed(s3, c, err);
	/* Perhaps by an earlier try of this call, whose reply did not arrive. */
	r = look_before(s3, c->what.key, sha256, c->what.body_size, err);
	return r == SAME ? 0 : r < 0 ? -1 : S3_IN_THE_WAY;
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
	cleanup_call struct call c = {.what = {.method = "PUT",
					       .key = key,
					       .headers = headers,
					       .n_headers = ARRAY_SIZE(headers) - 1,
					       .body = data,
					       .body_size = size}};

	sha256_hex(&hash, sha256);
	md5_base64(&md5, base64);
	return put_new(s3, &c, mode, sha256, err);
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
	cleanup_call struct call c = {
	    .what = {.method = "PUT", .key = to, .headers = headers, .n_headers = 2}};

	if (mode == S3_NEW)
		r = look_before(s3, to, original.sha256, original.size, err);
	if (r != 0)
		return r == SAME ? 0 : r;
	if (perform(s3, &c, err) < 0)
		return -1;
	return c.outcome.cause == S3_FINE ? 0 : call_failed(s3, &c, err);
}

int s3_delete(struct s3 *s3, const char *key, struct error *err)
{
	cleanup_call struct call c = {.what = {.method = "DELETE", .key = key}};

	if (perform(s3, &c, err) < 0)
		return -1;
	if (c.outcome.cause == S3_FINE || c.outcome.cause == S3_NO_KEY)
		return 0;
	return call_failed(s3, &c, err);
}

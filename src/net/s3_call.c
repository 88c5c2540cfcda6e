/*
 * Every call is a `struct s3_call`: signed, sent, judged, and again if that helps. What differs is what is asked and what is read
 * from the reply.
 */
#include "net/s3_call.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	TIMEOUT_MS = 10 * 60 * 1000,
	STALL_MS = 60 * 1000, /* some stores take a while to put parts together */
	PATIENCE_MS = 2 * 60 * 1000,
	REPLY_MAX = 8 << 20,
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

static void refuse_keys(struct s3 *s3)
{
	s3_credentials_refused(s3->credentials);
	s3->keys++;
}

/* Whether something about us could be mended that the server does not like; @keys: with which it was asked. */
static bool corrected(struct s3 *s3, size_t keys, const struct s3_outcome *o)
{
	bool *once = o->cause == S3_SKEWED	   ? &s3->corrected_clock
		     : o->cause == S3_EXPIRED	   ? &s3->new_keys
		     : o->cause == S3_WRONG_REGION ? &s3->new_region
						   : NULL;

	if (o->cause == S3_EXPIRED && keys != s3->keys)
		return true; /* sent before others found that out */
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
		refuse_keys(s3);
	else
		s3_bucket_set_region(&s3->bucket, o->fault.region);
	return true;
}

static enum s3_next judge(struct s3 *s3, const struct http_exchange *x, size_t keys,
			  struct s3_outcome *out)
{
	s3_outcome_of(x, clock_wall_ms() + s3->skew_ms, out);
	if (out->cause == S3_FINE)
		s3->corrected_clock = s3->new_keys = s3->new_region = false;
	if (corrected(s3, keys, out))
		return S3_AGAIN;
	return s3_cause_is_transient(out->cause) ? S3_LATER : S3_DONE;
}

enum s3_next s3_judge(struct s3 *s3, const struct http_exchange *x, struct s3_outcome *out)
{
	return judge(s3, x, s3->keys, out);
}

enum s3_next s3_call_judge(struct s3 *s3, struct s3_call *c)
{
	return judge(s3, &c->x, c->keys, &c->outcome);
}

const char *s3_trouble(const struct s3 *s3)
{
	return s3->trouble.message;
}

void s3_tick(const struct s3 *s3)
{
	if (s3->options.on_wait)
		s3->options.on_wait(s3->options.arg);
}

bool s3_stops(const struct s3 *s3)
{
	return s3->options.stop && s3->options.stop(s3->options.arg);
}

void s3_call_release(struct s3_call *c)
{
	http_exchange_release(&c->x);
}

int s3_call_start(struct s3 *s3, struct s3_call *c, struct s3_request *request, struct error *err)
{
	size_t most = c->response_max > REPLY_MAX ? c->response_max : REPLY_MAX;

	if (s3_sign(s3, &c->what, request, err) < 0)
		return -1;
	c->keys = s3->keys;
	http_exchange_release(&c->x);
	c->x = (struct http_exchange){.method = c->what.method,
				      .url = request->url,
				      .headers = (const char *const *)request->lines,
				      .body = c->what.body,
				      .body_size = c->what.body_size,
				      .timeout_ms = s3->options.timeout_ms,
				      .response_max = most,
				      .stall_ms = STALL_MS,
				      .owner = c};
	c->tries++;
	return http_multi_start(s3->multi, &c->x, err);
}

/* 0: a result, whatever it is. */
static int send_once(struct s3 *s3, struct s3_call *c, struct error *err)
{
	cleanup_s3_request struct s3_request request = {.url = NULL};

	if (s3_call_start(s3, c, &request, err) < 0)
		return -1;
	while (!http_multi_finished(s3->multi)) {
		if (c->gives_up && s3_stops(s3)) {
			http_multi_cancel(s3->multi, &c->x);
			return error_set(err, ERR_TRANSIENT, "interrupted");
		}
		http_multi_wait(s3->multi, S3_LOOK_MS);
		s3_tick(s3);
	}
	return 0;
}

static void note_trouble(struct s3 *s3, const struct s3_call *c)
{
	s3->trouble = (struct error)ERROR_INIT;
	s3_call_failed(s3, c, &s3->trouble);
}

/* As long as the server asks for, or a while; shorter where stop says so. */
static void rest(struct s3 *s3, const struct s3_call *c, int64_t until)
{
	int64_t pause = retry_pause_ms(c->tries, &s3->random), now = clock_mono_ms(), end;

	if (pause < c->x.retry_after_ms)
		pause = c->x.retry_after_ms;
	end = now + pause < until ? now + pause : until;
	for (; now < end && !s3_stops(s3); now = clock_mono_ms()) {
		http_multi_wait(s3->multi, (int)(end - now < S3_LOOK_MS ? end - now : S3_LOOK_MS));
		s3_tick(s3);
	}
}

int s3_call_failed(const struct s3 *s3, const struct s3_call *c, struct error *err)
{
	cleanup_free char *name = s3_name(s3, c->what.key ? c->what.key : "");
	char quoted[TEXT_QUOTE_SIZE];

	return s3_outcome_error(&c->outcome, &c->x, text_quote(name, quoted), err);
}

int s3_perform(struct s3 *s3, struct s3_call *c, struct error *err)
{
	int64_t until = clock_mono_ms() + s3->options.patience_ms;

	s3->trouble = (struct error)ERROR_INIT;
	for (;;) {
		enum s3_next next;

		if (send_once(s3, c, err) < 0)
			return -1;
		next = s3_call_judge(s3, c);
		if (next == S3_DONE)
			return 0;
		if (next == S3_LATER) {
			note_trouble(s3, c);
			rest(s3, c, until);
		}
		if (next == S3_LATER && (clock_mono_ms() >= until || s3_stops(s3)))
			return 0;
	}
}

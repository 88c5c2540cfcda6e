/*
 * What came of a request: the end of its download, or another try.
 */
#include "net/download_parts.h"
#include "net/http_url.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { THROTTLES_MAX = 20, LOCATION_SIZE = 8192, WHAT_SIZE = 160, RANGE_SIZE = 256 };

static enum endpoint_outcome outcome_of(const struct download_task *t, enum retry_class class)
{
	if (t->seen)
		return ENDPOINT_GOOD;
	if (t->sink.code != ERR_NONE || t->x.result == HTTP_BAD_REQUEST)
		return ENDPOINT_UNASKED;
	if (t->x.result == HTTP_TOO_LARGE || t->x.result == HTTP_NOT_PUBLIC)
		return ENDPOINT_ALIVE;
	if (t->x.result == HTTP_REPLY && t->d->sign && t->x.status == 503)
		return ENDPOINT_THROTTLES; /* SlowDown */
	switch (class) {
	case RETRY_NOT_NEEDED:
		return ENDPOINT_GOOD;
	case RETRY_TIMED_OUT:
		return ENDPOINT_TIMES_OUT;
	case RETRY_THROTTLED:
		return ENDPOINT_THROTTLES;
	case RETRY_STARTING:
		return ENDPOINT_STARTS;
	case RETRY_LATER:
		return ENDPOINT_FAILS;
	case RETRY_ELSEWHERE:
	case RETRY_REFUSED:
	case RETRY_STOP:
		break;
	}
	return t->x.result == HTTP_REPLY ? ENDPOINT_ALIVE : ENDPOINT_FAILS;
}

static void describe(const struct http_exchange *x, char out[WHAT_SIZE])
{
	if (x->result == HTTP_REPLY)
		snprintf(out, WHAT_SIZE, "status %ld", x->status);
	else
		snprintf(out, WHAT_SIZE, "%.150s", x->why);
}

/* It failed for a passing reason. */
static void again(struct download_pool *p, struct download_task *t, enum endpoint_outcome outcome,
		  int64_t now)
{
	bool throttled = outcome == ENDPOINT_THROTTLES;
	char what[WHAT_SIZE];

	describe(&t->x, what);
	if (throttled)
		t->throttles++;
	else
		t->tries++;
	if (t->throttles == THROTTLES_MAX) {
		download_put_off(p, t, 0, what);
	} else if (t->tries == DOWNLOAD_TRIES && t->host->answers > t->answers) {
		download_end_bad(p, t, "unreachable",
				 "%s, %d times, while its server answered others", what,
				 DOWNLOAD_TRIES);
	} else if (t->tries == DOWNLOAD_TRIES ||
		   (!throttled &&
		    !endpoint_may_retry(&t->host->endpoint, outcome == ENDPOINT_TIMES_OUT))) {
		download_give_up(p, t, 0, what);
	} else {
		if (t->fd >= 0)
			close(TAKE_FD(t->fd));
		pthread_mutex_lock(&p->lock);
		p->counts.retries++;
		pthread_mutex_unlock(&p->lock);
		t->since = now;
		t->waiter.not_before = throttled ? now : now + retry_pause_ms(t->tries, &p->random);
		download_host_push(p->hosts, t->host, &t->waiter);
	}
}

static void follow(struct download_pool *p, struct download_task *t, int64_t now)
{
	char location[LOCATION_SIZE];
	char *next = http_exchange_header(&t->x, "location", location, sizeof(location))
			 ? http_url_join(download_url(t), location)
			 : NULL;

	if (!next) {
		download_end_bad(p, t, "redirect", "status %ld leads to no URL of http or https",
				 t->x.status);
	} else if (http_url_is_https(download_url(t)) && !http_url_is_https(next)) {
		free(next);
		download_end_bad(p, t, "redirect", "status %ld leads from https to http",
				 t->x.status);
	} else if (t->redirects++ == DOWNLOAD_REDIRECTS) {
		free(next);
		download_end_bad(p, t, "redirect", "redirected more than %d times",
				 DOWNLOAD_REDIRECTS);
	} else {
		free(t->url);
		t->url = next;
		download_queue_up(p, t, now);
	}
}

/* An answer about the file. */
static void judge_refusal(struct download_pool *p, struct download_task *t)
{
	long status = t->x.status;

	if (status == 404 || status == 410) {
		download_end_bad(p, t, "not_found", "status %ld", status);
	} else if (status == 401 || status == 402 || status == 403 || status == 451) {
		download_end_bad(p, t, "forbidden", "status %ld", status);
	} else {
		download_end_bad(p, t, "bad_status", "status %ld", status);
	}
}

/* What a signed request did not give. */
static void ask_judge(struct download_pool *p, struct download_task *t,
		      enum endpoint_outcome outcome, int64_t now)
{
	switch (t->d->judge(t->d, &t->x, &t->d->err)) {
	case DOWNLOAD_AGAIN:
		download_queue_up(p, t, now);
		break;
	case DOWNLOAD_LATER:
		again(p, t, outcome, now);
		break;
	case DOWNLOAD_OVER:
		t->d->retry_ms = DOWNLOAD_PUT_OFF_MS;
		download_end(p, t);
		break;
	}
}

/* NULL, or why a reply with status 206 has not the bytes that were wanted. */
static const char *range_wrong(const struct download *d, const struct http_exchange *x)
{
	char value[RANGE_SIZE], *end = NULL;
	uint64_t first;

	if (!http_exchange_header(x, "content-range", value, sizeof(value)) ||
	    strncasecmp(value, "bytes ", 6) != 0 || !(value[6] >= '0' && value[6] <= '9'))
		return "bad_range";
	first = strtoull(value + 6, &end, 10);
	if (*end != '-' || first != d->offset)
		return "bad_range";
	return x->received == d->size ? NULL : "truncated";
}

static bool is_another(const struct download *d, const struct http_exchange *x)
{
	char etag[RANGE_SIZE];

	return d->match && http_exchange_header(x, "etag", etag, sizeof(etag)) &&
	       strcmp(etag, d->match) != 0;
}

/* A reply to the wish for a part of a file, if it says something about that. False: it does not. */
static bool judge_range(struct download_pool *p, struct download_task *t)
{
	const struct download *d = t->d;
	const char *wrong;

	if (t->x.status == 412 || (t->x.status == 206 && is_another(d, &t->x))) {
		download_end_bad(p, t, "changed", "it is another file by now");
	} else if (t->x.status == 416) {
		download_end_bad(p, t, "truncated", "it has no byte %" PRIu64, d->offset);
	} else if (t->x.status == 200) {
		download_end_bad(p, t, "no_ranges", "its server gives no parts of files");
	} else if (t->x.status == 206 && (wrong = range_wrong(d, &t->x))) {
		download_end_bad(p, t, wrong, "not the %" PRIu64 " bytes from %" PRIu64 " came",
				 d->size, d->offset);
	} else if (t->x.status == 206) {
		download_end(p, t);
	} else {
		return false;
	}
	return true;
}

static bool is_redirect(long status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void judge_reply(struct download_pool *p, struct download_task *t,
			enum endpoint_outcome outcome, int64_t now)
{
	bool part = t->d->size > 0;
	struct error ignored = ERROR_INIT;

	if (t->d->judge && (t->x.status == 200 || (part && t->x.status == 206)))
		t->d->judge(t->d, &t->x, &ignored);
	if (part && judge_range(p, t))
		return;
	if (t->x.status == 200) {
		download_end(p, t);
	} else if (t->x.status == 304 && (t->d->etag || t->d->modified)) {
		t->d->unchanged = true;
		download_end(p, t);
	} else if (t->d->judge) {
		ask_judge(p, t, outcome, now);
	} else if (is_redirect(t->x.status)) {
		follow(p, t, now);
	} else if (outcome == ENDPOINT_ALIVE || outcome == ENDPOINT_GOOD) {
		judge_refusal(p, t);
	} else {
		again(p, t, outcome, now);
	}
}

static void look_at_name(struct download_pool *p, struct download_host *h, enum http_result result)
{
	if (result == HTTP_NO_NAME && !h->nameless)
		h->names_before = p->names;
	h->nameless = result == HTTP_NO_NAME;
	p->names += result == HTTP_REPLY && h->named;
}

void download_judge(struct download_pool *p, struct download_task *t)
{
	struct http_exchange *x = &t->x;
	int64_t now = clock_mono_ms();
	enum endpoint_outcome outcome =
	    outcome_of(t, retry_class_of(x->result, x->status, x->retry_after_ms));

	download_land(p, t);
	download_asked(p, t, now, outcome);
	look_at_name(p, t->host, x->result);
	t->host->answers += outcome == ENDPOINT_GOOD || outcome == ENDPOINT_ALIVE;
	if (t->sink.code != ERR_NONE) {
		error_set(&t->d->err, ERR_TRANSIENT, "%s", t->sink.message);
		download_end(p, t);
	} else if (t->seen && t->d->check) {
		download_end(p, t);
	} else if (t->seen) {
		judge_range(p, t);
	} else if (x->result == HTTP_REPLY) {
		judge_reply(p, t, outcome, now);
	} else if (x->result == HTTP_TOO_LARGE && t->d->size > 0) {
		download_end_bad(p, t, "no_ranges",
				 "its server sends more than the part that was wanted");
	} else if (x->result == HTTP_TOO_LARGE) {
		download_end_bad(p, t, "too_large", "larger than %llu bytes",
				 (unsigned long long)p->options.bytes_max);
	} else if (x->result == HTTP_NOT_PUBLIC) {
		download_end_bad(p, t, "not_public", "%s", x->why);
	} else if (x->result == HTTP_BAD_REQUEST) {
		download_end_bad(p, t, "bad_url", "%s", x->why);
	} else {
		again(p, t, outcome, now);
	}
}

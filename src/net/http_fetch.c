#include "net/http_fetch.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "net/http_multi.h"
#include "net/http_url.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { REDIRECTS_MAX = 5, TIMEOUT_MS = 10 * 60 * 1000, HEADER_SIZE = 4096 };

bool http_fetch_is_url(const char *path)
{
	return http_url_is_https(path) || strncasecmp(path, "http://", 7) == 0;
}

/* Where @location leads from @url, to be freed; NULL: nowhere that is gone to. */
static char *redirected(const char *url, const char *location)
{
	char *next = http_url_join(url, location);

	if (!next || !http_url_is_https(url) || http_url_is_https(next))
		return next;
	free(next);
	return NULL;
}

static int request(const char *url, size_t most, struct http_exchange *x, struct error *err)
{
	const struct http_multi_options options = {.connect_ms = 0};
	cleanup_free char *range = xasprintf("Range: bytes=0-%zu", most - 1);
	const char *const headers[] = {range, NULL};
	struct http_multi *multi = NULL;
	int r;

	*x = (struct http_exchange){.method = "GET",
				    .url = url,
				    .headers = headers,
				    .timeout_ms = TIMEOUT_MS,
				    .response_max = most};
	r = http_multi_open(&options, &multi, err);
	if (r == 0)
		r = http_multi_start(multi, x, err);
	while (r == 0 && !http_multi_finished(multi))
		http_multi_wait(multi, -1);
	http_multi_close(multi);
	return r;
}

/* What a range of @size bytes from the beginning is of: "bytes 0-99/1000". */
static bool is_all(const struct http_exchange *x)
{
	char header[HEADER_SIZE];
	uint64_t total = 0;

	if (x->status != 206)
		return true;
	return http_exchange_header(x, "content-range", header, sizeof(header)) &&
	       sscanf(header, "bytes 0-%*u/%" SCNu64, &total) == 1 && total == x->reply.size;
}

static int failed(const struct http_exchange *x, const char *url, size_t most, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	text_quote(url, quoted);
	if (x->result == HTTP_TOO_LARGE)
		return error_data(err, "too_large",
				  "%s: larger than %zu MiB, and the server sends no parts of it",
				  quoted, most >> 20);
	if (x->result != HTTP_REPLY)
		return error_set(err,
				 x->result == HTTP_BAD_REQUEST || x->result == HTTP_UNTRUSTED
				     ? ERR_CONFIG
				     : ERR_TRANSIENT,
				 "%s: %s", quoted, x->why);
	return error_set(err, x->status >= 500 ? ERR_TRANSIENT : ERR_CONFIG, "%s: status %ld",
			 quoted, x->status);
}

/* 0 with *next where it is redirected. */
static int fetch_once(const char *url, size_t most, struct buffer *out, bool *whole, char **next,
		      struct error *err)
{
	char location[HEADER_SIZE];
	struct http_exchange x;
	int r = 0;

	if (request(url, most, &x, err) < 0)
		return -1;
	if (x.result == HTTP_REPLY && (x.status == 200 || x.status == 206)) {
		*whole = is_all(&x);
		buffer_release(out);
		*out = x.reply; /* no copy: it may be gigabytes */
		x.reply = (struct buffer)BUFFER_INIT;
	} else if (x.result == HTTP_REPLY && x.status >= 300 && x.status < 400 &&
		   http_exchange_header(&x, "location", location, sizeof(location))) {
		*next = redirected(url, location);
		r = *next ? 0 : failed(&x, url, most, err);
	} else {
		r = failed(&x, url, most, err);
	}
	http_exchange_release(&x);
	return r;
}

int http_fetch_begin(const char *url, size_t most, struct buffer *out, bool *whole,
		     struct error *err)
{
	cleanup_free char *at = xstrdup(url);
	char quoted[TEXT_QUOTE_SIZE];

	for (size_t i = 0; i <= REDIRECTS_MAX; i++) {
		char *next = NULL;

		if (fetch_once(at, most, out, whole, &next, err) < 0)
			return -1;
		if (!next)
			return 0;
		free(at);
		at = next;
	}
	return error_set(err, ERR_CONFIG, "%s: redirected more than %d times",
			 text_quote(url, quoted), REDIRECTS_MAX);
}

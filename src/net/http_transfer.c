/*
 * Callbacks look at what comes while it comes: too much of it, or no HTTP at all, ends the transfer at once.
 */
#include "net/http_transfer.h"

#include "base/checked.h"
#include "net/http_address.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	HEAD_MAX = 64 << 10,
	STALL_BYTES = 1024, /* a second */
	ERROR_PAGE_MAX = 1 << 20,
	RETRY_AFTER_MAX_S = 3600,
	TLS_ALERT = 0x15, /* a record's first bytes, RFC 8446 5.1 */
	TLS_MAJOR = 3,
};

struct http_transfer *http_transfer_new(void)
{
	struct http_transfer *t = xcalloc(1, sizeof(*t));

	t->easy = curl_easy_init();
	if (t->easy)
		return t;
	free(t);
	return NULL;
}

void http_transfer_free(struct http_transfer *t)
{
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->headers);
	free(t);
}

/* -- what comes ----------------------------------------------------------------------------------- */

/* An error in a few words, and not the page that comes with it, which is read for the sake of the connection, but not without end. */
static size_t keep_start(struct http_transfer *t, const char *data, size_t n)
{
	struct http_exchange *x = t->x;
	size_t room = HTTP_ERROR_BODY - x->reply.size;

	buffer_append(&x->reply, data, n < room ? n : room);
	x->received += n;
	t->enough = x->received > ERROR_PAGE_MAX;
	return t->enough ? 0 : n;
}

/* Of the file, whole or in part, and not of an error. */
static bool has_file(long status)
{
	return status == 200 || status == 206;
}

/* Before anything of it is read. */
static bool says_too_large(const struct http_transfer *t)
{
	curl_off_t length = -1;

	curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	return length > 0 && (uint64_t)length > t->x->response_max;
}

static bool is_too_large(const struct http_transfer *t)
{
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	return has_file(status) && says_too_large(t);
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_transfer *t = arg;

	if (purpose == CURLSOCKTYPE_IPCXN && !http_address_is_public(&address->addr)) {
		t->not_public = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
	struct http_transfer *t = arg;
	struct http_exchange *x = t->x;

	(void)one;
	if (x->head.size == 0) { /* libcurl takes it for HTTP/0.9 */
		t->no_http = true;
		t->tls = n >= 2 && data[0] == TLS_ALERT && data[1] == TLS_MAJOR;
		return 0;
	}
	if (x->received == 0 && x->on_body)
		curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &x->status);
	if (x->on_body && !has_file(x->status))
		return keep_start(t, data, n);
	if (x->received == 0 && says_too_large(t))
		t->too_large = true;
	if (t->too_large || n > x->response_max - x->received) {
		t->too_large = true;
		return 0;
	}
	x->received += n;
	if (x->on_body)
		return x->on_body(x, data, n) ? n : 0;
	buffer_append(&x->reply, data, n);
	return n;
}

static size_t on_header(char *data, size_t one, size_t n, void *arg)
{
	struct http_transfer *t = arg;
	struct http_exchange *x = t->x;

	(void)one;
	if (n >= 5 && memcmp(data, "HTTP/", 5) == 0) /* a new reply, after an interim one */
		buffer_reset(&x->head);
	if (n > HEAD_MAX - x->head.size) {
		t->too_large = true;
		return 0;
	}
	buffer_append(&x->head, data, n);
	if (n <= 2 && x->on_body &&
	    is_too_large(t)) { /* the empty line: what follows need not be waited for */
		t->too_large = true;
		return 0;
	}
	return n;
}

/* -- what it is to do ------------------------------------------------------------------------------ */

/*
 * HTTP/2 only where TLS negotiates it: there the handshake of the first connection tells whether it can carry many, and
 * others wait for that instead of making their own. Without TLS they would wait for its first reply.
 */
static void set_version(CURL *easy, const char *url)
{
	bool tls = strncasecmp(url, "https://", 8) == 0;

	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
			 (long)(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
	curl_easy_setopt(easy, CURLOPT_PIPEWAIT, tls ? 1L : 0L);
}

/*
 * Where only public addresses are connected to, a proxy of the environment is asked nonetheless, for all hosts: where that
 * leads is its own matter, and what goes past it is not told from what goes to it.
 */
static void set_guards(struct http_transfer *t)
{
	const struct http_exchange *x = t->x;

	if (x->stall_ms > 0) {
		curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES);
		curl_easy_setopt(t->easy, CURLOPT_LOW_SPEED_TIME,
				 (long)((x->stall_ms + 999) / 1000));
	}
	if (x->only_public && http_address_has_proxy(x->url)) {
		curl_easy_setopt(t->easy, CURLOPT_NOPROXY, "");
	} else if (x->only_public) {
		curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
		curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETDATA, t);
	}
}

void http_transfer_begin(struct http_transfer *t, struct http_exchange *x,
			 const struct http_curl_options *options)
{
	t->x = x;
	t->too_large = t->enough = t->not_public = t->no_http = t->tls = false;
	x->received = 0;
	t->why[0] = '\0';
	t->headers = http_curl_headers(x->headers);
	http_curl_setup(t->easy, options, t->why);
	http_curl_method(t->easy, x->method, x->body, x->body_size);
	curl_easy_setopt(t->easy, CURLOPT_URL, x->url);
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
	curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)x->timeout_ms);
	set_version(t->easy, x->url);
	set_guards(t);
	curl_easy_setopt(t->easy, CURLOPT_HTTP09_ALLOWED, 1L); /* on_body looks at what it is */
	curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
	x->transfer = t;
}

struct http_exchange *http_transfer_end(struct http_transfer *t)
{
	struct http_exchange *x = TAKE(t->x);

	x->transfer = NULL;
	curl_slist_free_all(TAKE(t->headers));
	curl_easy_reset(t->easy);
	return x;
}

/* -- how it went ----------------------------------------------------------------------------------- */

/* A proxy's answer to CONNECT, where that is none that helps; 0: it is another matter. */
static long refusal_of_proxy(const struct http_transfer *t, CURLcode code)
{
	long status = 0;

	if (code == CURLE_OK || curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &status))
		return 0;
	return status >= 300 ? status : 0;
}

static enum http_result result_of(const struct http_transfer *t, CURLcode code)
{
	long refusal = refusal_of_proxy(t, code);

	if (t->enough)
		return HTTP_REPLY;
	if (t->too_large)
		return HTTP_TOO_LARGE;
	if (t->not_public && code == CURLE_COULDNT_CONNECT)
		return HTTP_NOT_PUBLIC;
	if (t->no_http)
		return t->tls ? HTTP_WRONG_SCHEME : HTTP_NO_HTTP;
	if (code == CURLE_SSL_CONNECT_ERROR && strstr(t->why, "wrong version number"))
		return HTTP_WRONG_SCHEME;
	if (refusal > 0) {
		t->x->status = refusal;
		return HTTP_PROXY_REFUSES;
	}
	return http_curl_result(code);
}

/* For people. */
static void say_why(const struct http_transfer *t, CURLcode code, char *out, size_t size)
{
	if (t->x->result == HTTP_TOO_LARGE)
		snprintf(out, size, "the reply is larger than %zu bytes", t->x->response_max);
	else if (t->x->result == HTTP_NOT_PUBLIC)
		snprintf(out, size, "it leads to an address that is not public");
	else if (t->no_http)
		snprintf(out, size, "what came is %s", t->tls ? "TLS" : "no HTTP");
	else if (t->x->result != HTTP_REPLY)
		snprintf(out, size, "%.255s", t->why[0] ? t->why : curl_easy_strerror(code));
}

void http_transfer_judge(struct http_transfer *t, CURLcode code)
{
	struct http_exchange *x = t->x;
	curl_off_t up = 0, down = 0, after = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &x->status);
	x->result = result_of(t, code);
	curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &after);
	x->sent = (uint64_t)up;
	x->received = (uint64_t)down;
	if (after > RETRY_AFTER_MAX_S)
		after = RETRY_AFTER_MAX_S;
	x->retry_after_ms = after > 0 ? (int64_t)after * 1000 : 0;
	say_why(t, code, x->why, sizeof(x->why));
}

/*
 * libcurl says which sockets it waits for and until when (curl_multi_socket_action); those are in an epoll set together with
 * a timer and an eventfd, so one descriptor stands for everything and a wait costs what has happened, not what is in flight.
 * Handles are used again: they own the buffers that uploads go through.
 */
#include "net/http_multi.h"

#include "base/checked.h"
#include "base/clock.h"
#include "net/http_address.h"
#include "net/http_curl.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

enum {
	HEAD_MAX = 64 << 10,
	IDLE_CONNECTIONS = 512,
	IDLE_HANDLES = 64,
	STALL_BYTES = 1024, /* a second */
	ERROR_PAGE_MAX = 1 << 20,
	STREAMS = 1024, /* of one connection with HTTP/2; servers allow fewer */
	EVENTS = 64,
	RETRY_AFTER_MAX_S = 3600,
	TLS_ALERT = 0x15, /* a record's first bytes, RFC 8446 5.1 */
	TLS_MAJOR = 3,
};

/* A handle of libcurl, and the exchange that it works for. */
struct http_transfer {
	struct http_multi *multi;
	CURL *easy;
	struct curl_slist *headers;
	struct http_exchange *x;
	bool too_large;
	bool enough;	   /* of a page that came with an error */
	bool not_public;   /* an address was not connected to */
	bool no_http, tls; /* what came is something else, and that is TLS */
	char why[CURL_ERROR_SIZE];
	struct http_transfer *prev, *next; /* in flight, or idle */
};

struct http_multi {
	CURLM *curl;
	int epoll, timer, wake;
	struct http_curl_options options;
	char *ca_file, *proxy, *proxy_auth;
	struct http_transfer *flying, *idle;
	size_t n_flying, n_idle;
	struct http_exchange **finished; /* a line: the next to be given out at head */
	size_t head, n_finished, capacity;
};

static void list_push(struct http_transfer **list, struct http_transfer *t)
{
	t->prev = NULL;
	t->next = *list;
	if (*list)
		(*list)->prev = t;
	*list = t;
}

static void list_remove(struct http_transfer **list, struct http_transfer *t)
{
	if (t->prev)
		t->prev->next = t->next;
	else
		*list = t->next;
	if (t->next)
		t->next->prev = t->prev;
}

/* ---- what libcurl asks for -------------------------------------------------------------------------------------- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct http_multi *m = arg;
	struct epoll_event event = {.data.fd = fd};

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(m->epoll, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	event.events =
	    (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (epoll_ctl(m->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
		return -1;
	if (!known)
		curl_multi_assign(m->curl, fd, m);
	return 0;
}

static int on_timer(CURLM *curl, long ms, void *arg)
{
	struct http_multi *m = arg;
	struct itimerspec at = {.it_value = {0}};

	(void)curl;
	if (ms > 0)
		at.it_value = (struct timespec){ms / 1000, ms % 1000 * 1000000};
	else if (ms == 0)
		at.it_value.tv_nsec = 1; /* at once; 0 would stop it */
	timerfd_settime(m->timer, 0, &at, NULL);
	return 0;
}

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

/* ---- open and close --------------------------------------------------------------------------------------------- */

static int add_to_epoll(struct http_multi *m, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(m->epoll, EPOLL_CTL_ADD, fd, &event);
}

static int open_descriptors(struct http_multi *m, struct error *err)
{
	m->epoll = epoll_create1(EPOLL_CLOEXEC);
	m->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	m->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->epoll < 0 || m->timer < 0 || m->wake < 0 || add_to_epoll(m, m->timer) < 0 ||
	    add_to_epoll(m, m->wake) < 0)
		return error_sys(err, "descriptors for HTTP requests");
	return 0;
}

int http_multi_open(const struct http_multi_options *options, struct http_multi **out,
		    struct error *err)
{
	struct http_multi *m;

	http_curl_init();
	if (http_curl_check_ca(options->ca_file, err) < 0)
		return -1;
	m = xcalloc(1, sizeof(*m));
	m->epoll = m->timer = m->wake = -1;
	m->ca_file = options->ca_file ? xstrdup(options->ca_file) : NULL;
	m->proxy = options->proxy ? xstrdup(options->proxy) : NULL;
	if (options->proxy_user)
		m->proxy_auth = http_curl_auth(options->proxy_user, options->proxy_password);
	m->options = (struct http_curl_options){
	    .connect_ms = options->connect_ms > 0 ? (long)options->connect_ms : 10000,
	    .ca_file = m->ca_file,
	    .proxy = m->proxy,
	    .proxy_auth = m->proxy_auth,
	};
	m->curl = curl_multi_init();
	if (!m->curl || (options->proxy_user && !m->proxy_auth))
		error_set(err, ERR_NOMEM, "libcurl gives no handle");
	if (err->code != ERR_NONE || open_descriptors(m, err) < 0) {
		http_multi_close(m);
		return -1;
	}
	curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
	curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
	curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
	curl_multi_setopt(m->curl, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
	curl_multi_setopt(m->curl, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS);
	*out = m;
	return 0;
}

static void transfer_free(struct http_transfer *t)
{
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->headers);
	free(t);
}

static void close_descriptor(int fd)
{
	if (fd >= 0)
		close(fd);
}

void http_multi_close(struct http_multi *m)
{
	if (!m)
		return;
	while (m->flying)
		http_multi_cancel(m, m->flying->x);
	for (struct http_transfer *t = m->idle, *next; t; t = next) {
		next = t->next;
		transfer_free(t);
	}
	if (m->curl)
		curl_multi_cleanup(m->curl);
	close_descriptor(m->epoll);
	close_descriptor(m->timer);
	close_descriptor(m->wake);
	free(m->finished);
	free(m->ca_file);
	free(m->proxy);
	if (m->proxy_auth)
		explicit_bzero(m->proxy_auth, strlen(m->proxy_auth));
	free(m->proxy_auth);
	free(m);
}

/* ---- exchanges -------------------------------------------------------------------------------------------------- */

static struct http_transfer *transfer_get(struct http_multi *m)
{
	struct http_transfer *t = m->idle;

	if (t) {
		list_remove(&m->idle, t);
		m->n_idle--;
		curl_easy_reset(t->easy);
		return t;
	}
	t = xcalloc(1, sizeof(*t));
	t->multi = m;
	t->easy = curl_easy_init();
	if (!t->easy) {
		free(t);
		return NULL;
	}
	return t;
}

/* Out of libcurl's hands, and its exchange without it. */
static void transfer_put(struct http_transfer *t)
{
	struct http_multi *m = t->multi;

	curl_multi_remove_handle(m->curl, t->easy);
	list_remove(&m->flying, t);
	m->n_flying--;
	t->x->transfer = NULL;
	t->x = NULL;
	curl_slist_free_all(TAKE(t->headers));
	if (m->n_idle >= IDLE_HANDLES) {
		transfer_free(t);
		return;
	}
	list_push(&m->idle, t);
	m->n_idle++;
}

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

int http_multi_start(struct http_multi *m, struct http_exchange *x, struct error *err)
{
	struct http_transfer *t = transfer_get(m);

	assert(!x->transfer && !x->reply.data && !x->head.data);
	if (!t)
		return error_set(err, ERR_NOMEM, "libcurl gives no handle");
	t->x = x;
	t->too_large = t->enough = t->not_public = t->no_http = t->tls = false;
	x->received = 0;
	t->why[0] = '\0';
	t->headers = http_curl_headers(x->headers);
	http_curl_setup(t->easy, &m->options, t->why);
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
	list_push(&m->flying, t);
	m->n_flying++;
	if (curl_multi_add_handle(m->curl, t->easy) != CURLM_OK) {
		transfer_put(t);
		return error_set(err, ERR_NOMEM, "libcurl takes no request");
	}
	return 0;
}

void http_multi_cancel(struct http_multi *m, struct http_exchange *x)
{
	if (x->transfer) {
		transfer_put(x->transfer);
	} else { /* finished, but not given out yet */
		for (size_t i = m->head; i < m->n_finished; i++) {
			if (m->finished[i] != x)
				continue;
			m->n_finished--;
			memmove(&m->finished[i], &m->finished[i + 1],
				(m->n_finished - i) * sizeof(*m->finished));
			break;
		}
	}
	http_exchange_release(x);
}

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

static void finish(struct http_multi *m, struct http_transfer *t, CURLcode code)
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
	if (x->result == HTTP_TOO_LARGE)
		snprintf(x->why, sizeof(x->why), "the reply is larger than %zu bytes",
			 x->response_max);
	else if (x->result == HTTP_NOT_PUBLIC)
		snprintf(x->why, sizeof(x->why), "it leads to an address that is not public");
	else if (t->no_http)
		snprintf(x->why, sizeof(x->why), "what came is %s", t->tls ? "TLS" : "no HTTP");
	else if (x->result != HTTP_REPLY)
		snprintf(x->why, sizeof(x->why), "%.255s",
			 t->why[0] ? t->why : curl_easy_strerror(code));
	transfer_put(t);
	ARRAY_GROW(m->finished, m->n_finished, m->capacity);
	m->finished[m->n_finished++] = x;
}

static void take_finished(struct http_multi *m)
{
	CURLMsg *message;
	int left = 0;

	while ((message = curl_multi_info_read(m->curl, &left))) {
		CURLcode code = message->data.result;
		char *private = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
		finish(m, (struct http_transfer *)(void *)private, code);
	}
}

static void drain(int fd)
{
	uint64_t count = 0;

	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		continue;
}

/* False: it was woken up. */
static bool handle_events(struct http_multi *m, const struct epoll_event *events, int n)
{
	bool woken = false;
	int running = 0;

	for (int i = 0; i < n; i++) {
		int fd = events[i].data.fd, what = 0;

		if (fd == m->wake) {
			drain(fd);
			woken = true;
			continue;
		}
		if (fd == m->timer) {
			drain(fd);
			curl_multi_socket_action(m->curl, CURL_SOCKET_TIMEOUT, 0, &running);
			continue;
		}
		what |= events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0;
		what |= events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0;
		what |= events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0;
		curl_multi_socket_action(m->curl, fd, what, &running);
	}
	return !woken;
}

void http_multi_wait(struct http_multi *m, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int64_t end = timeout_ms < 0 ? INT64_MAX : clock_mono_ms() + timeout_ms;
	bool on = true;

	while (on && m->head == m->n_finished) {
		int64_t left = timeout_ms < 0 ? -1 : end - clock_mono_ms();
		int n;

		if (timeout_ms >= 0 && left < 0)
			left = 0;
		n = epoll_wait(m->epoll, events, EVENTS, (int)left);
		on = n > 0 ? handle_events(m, events, n) : n < 0 && errno == EINTR;
		take_finished(m);
	}
}

struct http_exchange *http_multi_finished(struct http_multi *m)
{
	if (m->head < m->n_finished)
		return m->finished[m->head++];
	m->head = m->n_finished = 0;
	return NULL;
}

size_t http_multi_in_flight(const struct http_multi *m)
{
	return m->n_flying;
}

void http_multi_wake(struct http_multi *m)
{
	uint64_t one = 1;

	while (write(m->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
}

int http_multi_fd(const struct http_multi *m)
{
	return m->epoll;
}

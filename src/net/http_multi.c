/*
 * libcurl says which sockets it waits for and until when (curl_multi_socket_action); those are in an epoll set together with
 * a timer and an eventfd, so one descriptor stands for everything and a wait costs what has happened, not what is in flight.
 */
#include "net/http_multi.h"

#include "base/checked.h"
#include "base/clock.h"
#include "net/http_curl.h"
#include "net/http_transfer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

enum {
	IDLE_CONNECTIONS = 512,
	IDLE_HANDLES = 64,
	STREAMS = 1024, /* of one connection with HTTP/2; servers allow fewer */
	EVENTS = 64,
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
		http_transfer_free(t);
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

	if (!t)
		return http_transfer_new();
	list_remove(&m->idle, t);
	m->n_idle--;
	return t;
}

/* Out of libcurl's hands, and its exchange without it. */
static void transfer_put(struct http_multi *m, struct http_transfer *t)
{
	curl_multi_remove_handle(m->curl, t->easy);
	list_remove(&m->flying, t);
	m->n_flying--;
	http_transfer_end(t);
	if (m->n_idle >= IDLE_HANDLES) {
		http_transfer_free(t);
		return;
	}
	list_push(&m->idle, t);
	m->n_idle++;
}

int http_multi_start(struct http_multi *m, struct http_exchange *x, struct error *err)
{
	struct http_transfer *t = transfer_get(m);

	assert(!x->transfer && !x->reply.data && !x->head.data);
	if (!t)
		return error_set(err, ERR_NOMEM, "libcurl gives no handle");
	http_transfer_begin(t, x, &m->options);
	list_push(&m->flying, t);
	m->n_flying++;
	if (curl_multi_add_handle(m->curl, t->easy) != CURLM_OK) {
		transfer_put(m, t);
		return error_set(err, ERR_NOMEM, "libcurl takes no request");
	}
	return 0;
}

void http_multi_cancel(struct http_multi *m, struct http_exchange *x)
{
	if (x->transfer) {
		transfer_put(m, x->transfer);
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

static void finish(struct http_multi *m, struct http_transfer *t, CURLcode code)
{
	struct http_exchange *x = t->x;

	http_transfer_judge(t, code);
	transfer_put(m, t);
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

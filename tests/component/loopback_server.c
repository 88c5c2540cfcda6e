/*
 * One epoll loop. A connection reads a request, has an answer and perhaps a time when it is due, writes it, and begins again.
 */
#include "tests/component/loopback_server.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/thread.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

enum { EVENTS = 64, HEAD_MAX = 64 << 10, PIECE = 256 << 10 };

struct connection {
	int fd;
	struct buffer head, body;
	bool headed;   /* head is whole */
	size_t length; /* of the body, as announced */
	size_t got;    /* bytes of the body, kept or not */
	bool answering, close_after;
	int64_t due; /* ms; of the answer */
	struct buffer out;
	size_t written;
	struct connection *prev, *next;
};

struct loopback_server {
	struct loopback_options options;
	int listener, epoll, stop;
	char url[48];
	struct thread thread;
	struct connection *connections;
	atomic_size_t requests, accepted, most;
	size_t answering;
	uint8_t piece[PIECE];
};

static void die(const char *what)
{
	perror(what);
	abort();
}

static void watch(struct loopback_server *s, struct connection *c, uint32_t events, int op)
{
	struct epoll_event event = {.events = events, .data.ptr = c};

	if (epoll_ctl(s->epoll, op, c->fd, &event) < 0)
		die("epoll_ctl");
}

static void connection_close(struct loopback_server *s, struct connection *c)
{
	if (c->answering)
		s->answering--;
	if (c->prev)
		c->prev->next = c->next;
	else
		s->connections = c->next;
	if (c->next)
		c->next->prev = c->prev;
	close(c->fd);
	buffer_release(&c->head);
	buffer_release(&c->body);
	buffer_release(&c->out);
	free(c);
}

static void accept_one(struct loopback_server *s)
{
	int one = 1, fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct connection *c;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c = xcalloc(1, sizeof(*c));
	c->fd = fd;
	c->next = s->connections;
	if (c->next)
		c->next->prev = c;
	s->connections = c;
	atomic_fetch_add(&s->accepted, 1);
	watch(s, c, EPOLLIN, EPOLL_CTL_ADD);
}

static size_t announced_length(const char *head)
{
	for (const char *line = head; (line = strchr(line, '\n')); line++) {
		if (strncasecmp(line + 1, "content-length:", 15) == 0)
			return strtoul(line + 16, NULL, 10);
	}
	return 0;
}

static void put_reply(struct connection *c, const struct loopback_reply *reply)
{
	size_t n = reply->how == LOOPBACK_CUT ? reply->body.size / 2 : reply->body.size;

	c->close_after = reply->how != LOOPBACK_WHOLE;
	if (reply->how == LOOPBACK_CLOSE)
		return;
	if (reply->how != LOOPBACK_RAW)
		buffer_appendf(&c->out, "HTTP/1.1 %d Said\r\nContent-Length: %zu\r\n%s\r\n",
			       reply->status ? reply->status : 200, reply->body.size,
			       reply->headers);
	if (n > 0)
		buffer_append(&c->out, reply->body.data, n);
}

/* The request is whole. */
static void answer(struct loopback_server *s, struct connection *c)
{
	const char *head = (const char *)c->head.data, *space = strchr(head, ' ');
	size_t length = space ? strcspn(space + 1, " \r\n") : 0;
	cleanup_free char *target = xmalloc(length + 1);
	struct loopback_reply reply = {.how = LOOPBACK_WHOLE};
	struct loopback_request request = {
	    .number = atomic_fetch_add(&s->requests, 1),
	    .head = head,
	    .target = target,
	    .post = strncmp(head, "POST ", 5) == 0,
	    .body = c->body.data,
	    .body_size = c->length,
	};

	memcpy(target, space ? space + 1 : "", length);
	target[length] = '\0';
	c->answering = true;
	if (++s->answering > atomic_load(&s->most))
		atomic_store(&s->most, s->answering);
	s->options.answer(s->options.arg, &request, &reply);
	c->due = reply.how == LOOPBACK_NEVER ? INT64_MAX : clock_mono_ms() + reply.delay_ms;
	put_reply(c, &reply);
	buffer_release(&reply.body);
}

/* False: the connection is over. */
static bool answer_goes_out(struct loopback_server *s, struct connection *c)
{
	while (c->written < c->out.size) {
		ssize_t n =
		    send(c->fd, c->out.data + c->written, c->out.size - c->written, MSG_NOSIGNAL);

		if (n < 0)
			return true; /* later, or never: reading will tell */
		c->written += (size_t)n;
	}
	if (c->close_after)
		return false;
	s->answering--;
	c->answering = c->headed = false;
	c->written = c->got = c->length = 0;
	buffer_reset(&c->head);
	buffer_reset(&c->body);
	buffer_reset(&c->out);
	watch(s, c, EPOLLIN, EPOLL_CTL_MOD);
	return true;
}

static bool keep(struct loopback_server *s, struct connection *c, const uint8_t *data, size_t n)
{
	size_t most = s->options.body_kept ? s->options.body_kept : SIZE_MAX;
	size_t room = most - c->body.size;

	c->got += n;
	if (s->options.upload_max && c->got > s->options.upload_max)
		return false;
	buffer_append(&c->body, data, n < room ? n : room);
	return true;
}

/* As servers of http do with a client that speaks TLS. */
static bool refuse_no_http(const struct connection *c)
{
	static const char bad[] = "HTTP/1.1 400 Bad Request\r\n\r\n";

	send(c->fd, bad, sizeof(bad) - 1, MSG_NOSIGNAL);
	return false;
}

/* Bytes of the head, and what came of the body with it. */
static bool read_head(struct loopback_server *s, struct connection *c, size_t n)
{
	size_t before = c->head.size, end;
	const char *found;

	buffer_append(&c->head, s->piece, n);
	if (c->head.data[0] < 'A')
		return refuse_no_http(c);
	found = strstr((const char *)c->head.data, "\r\n\r\n");
	if (!found)
		return c->head.size < HEAD_MAX;
	end = (size_t)(found - (const char *)c->head.data) + 4;
	c->headed = true;
	c->head.size = end;
	c->head.data[end - 1] = '\0';
	c->length = announced_length((const char *)c->head.data);
	return keep(s, c, s->piece + (end - before), n - (end - before));
}

static bool read_some(struct loopback_server *s, struct connection *c)
{
	bool skipping = c->headed && s->options.body_kept && c->got >= s->options.body_kept;
	/* What is not kept is not even copied. */
	ssize_t n = recv(c->fd, s->piece, PIECE, skipping ? MSG_TRUNC : 0);

	if (n <= 0)
		return n < 0 && !c->answering;
	if (c->answering)
		return true;
	if (!(c->headed ? keep(s, c, s->piece, (size_t)n) : read_head(s, c, (size_t)n)))
		return false;
	if (!c->headed || c->got < c->length)
		return true;
	answer(s, c);
	if (c->due > clock_mono_ms()) {
		watch(s, c, EPOLLRDHUP, EPOLL_CTL_MOD);
		return true;
	}
	watch(s, c, EPOLLOUT, EPOLL_CTL_MOD);
	return answer_goes_out(s, c);
}

/* Sends what is due; milliseconds until the next, -1: nothing waits. */
static int send_due(struct loopback_server *s)
{
	int64_t now = clock_mono_ms(), first = INT64_MAX;

	for (struct connection *c = s->connections, *next; c; c = next) {
		next = c->next;
		if (!c->answering || c->due == INT64_MAX)
			continue;
		if (c->due <= now) {
			watch(s, c, EPOLLOUT, EPOLL_CTL_MOD);
			c->due = INT64_MAX;
			if (!answer_goes_out(s, c))
				connection_close(s, c);
		} else if (c->due < first) {
			first = c->due;
		}
	}
	return first == INT64_MAX ? -1 : (int)(first - now);
}

static void *server_run(void *arg)
{
	struct loopback_server *s = arg;

	for (;;) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(s->epoll, events, EVENTS, send_due(s));

		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;
			bool on;

			if (events[i].data.ptr == &s->stop)
				return NULL;
			if (events[i].data.ptr == &s->listener) {
				accept_one(s);
				continue;
			}
			if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
				on = false;
			else if (events[i].events & EPOLLIN)
				on = read_some(s, c);
			else
				on = answer_goes_out(s, c);
			if (!on)
				connection_close(s, c);
		}
	}
}

static int listen_somewhere(char url[48])
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		die("a port of 127.0.0.1");
	snprintf(url, 48, "http://127.0.0.1:%d/", ntohs(address.sin_port));
	return fd;
}

struct loopback_server *loopback_start(const struct loopback_options *options)
{
	struct loopback_server *s = xcalloc(1, sizeof(*s));
	struct epoll_event stop = {.events = EPOLLIN, .data.ptr = &s->stop};
	struct epoll_event listener = {.events = EPOLLIN, .data.ptr = &s->listener};
	struct error err = ERROR_INIT;

	s->options = *options;
	s->listener = listen_somewhere(s->url);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->stop = eventfd(0, EFD_CLOEXEC);
	if (listen(s->listener, 512) < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->stop, &stop) < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->listener, &listener) < 0)
		die("loopback server");
	if (thread_start(&s->thread, "loopback", server_run, s, &err) < 0)
		die(err.message);
	return s;
}

const char *loopback_url(const struct loopback_server *s)
{
	return s->url;
}

size_t loopback_requests(const struct loopback_server *s)
{
	return atomic_load(&s->requests);
}

size_t loopback_connections(const struct loopback_server *s)
{
	return atomic_load(&s->accepted);
}

size_t loopback_most_at_once(const struct loopback_server *s)
{
	return atomic_load(&s->most);
}

int64_t loopback_cpu_ns(const struct loopback_server *s)
{
	struct timespec t = {0};
	clockid_t id;

	if (pthread_getcpuclockid(s->thread.id, &id) != 0)
		return 0;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void loopback_stop(struct loopback_server *s)
{
	uint64_t one = 1;

	if (!s)
		return;
	if (write(s->stop, &one, sizeof(one)) < 0)
		die("stop");
	thread_join(&s->thread);
	while (s->connections)
		connection_close(s, s->connections);
	close(s->listener);
	close(s->epoll);
	close(s->stop);
	free(s);
}

char *loopback_nobody(void)
{
	char url[48];

	/* Bound, so that nobody else gets the port, and never listening. */
	(void)listen_somewhere(url);
	return xstrdup(url);
}

const char *loopback_query(const char *target, const char *name, char *out, size_t size)
{
	size_t length = strlen(name);
	const char *at = strchr(target, '?');

	out[0] = '\0';
	for (; at; at = strchr(at + 1, '&')) {
		if (strncmp(at + 1, name, length) == 0 && at[1 + length] == '=') {
			snprintf(out, size, "%.*s", (int)strcspn(at + length + 2, "&"),
				 at + length + 2);
			break;
		}
	}
	return out;
}

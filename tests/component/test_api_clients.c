/*
 * Clients of the API that are slow, silent or many: what they hold, and for how long.
 */
#include "tests/testing.h"

#include "tests/component/api_rig.h"

#include "base/checked.h"
#include "base/clock.h"

#include "net/http_client.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char health[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
static const char events[] = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct fixture {
	char *dir;
	struct api_rig rig;
	struct sockaddr_in tcp;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	cleanup_free char *url = NULL;
	unsigned port = 0;

	f->dir = testing_tempdir();
	api_rig_open(&f->rig, f->dir);
	f->rig.listen = "127.0.0.1:0";
	status_board_publish(f->rig.board, api_rig_status(&f->rig));
	api_rig_serve(&f->rig);
	url = api_server_url(f->rig.server);
	assert_int_equal(sscanf(url, "http://127.0.0.1:%u/", &port), 1);
	f->tcp = (struct sockaddr_in){.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	api_rig_close(&f->rig);
	testing_tempdir_remove(f->dir);
	free(f);
	return 0;
}

/* -- clients -------------------------------------------------------------------------------------- */

static int over_tcp(const struct fixture *f)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&f->tcp, sizeof(f->tcp)), 0);
	return fd;
}

static int over_socket(const struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->rig.socket);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The status of the answer; 0: the connection was closed without one. */
static int answer(int fd)
{
	char line[16];
	size_t n = 0;
	ssize_t got = 1;

	while (n < sizeof(line) - 1 && got > 0) {
		got = recv(fd, line + n, sizeof(line) - 1 - n, 0);
		n += got > 0 ? (size_t)got : 0;
	}
	line[n] = '\0';
	return n == 0 ? 0 : atoi(strchr(line, ' '));
}

/* What comes of a client that sends a request, which the server may not even read. */
static int ask(int fd, const char *request)
{
	int status;

	send(fd, request, strlen(request), MSG_NOSIGNAL);
	status = answer(fd);
	close(fd);
	return status;
}

/* -- the tests ------------------------------------------------------------------------------------ */

static void slow_clients_over_tcp_leave_the_socket_alone_and_lose_their_places(void **state)
{
	const struct fixture *f = *state;
	int slow[API_CONNECTIONS];

	for (size_t i = 0; i < API_CONNECTIONS; i++) {
		slow[i] = over_tcp(f);
		say(slow[i], "G");
	}
	/* Those before it are in by now, and it is one too many. */
	assert_int_equal(ask(over_tcp(f), health), 0);
	assert_int_equal(ask(over_socket(f), health), 200);
	api_server_tick(f->rig.server, clock_mono_ms() + API_IDLE_S * 1000);
	for (size_t i = 0; i < API_CONNECTIONS; i++) {
		assert_int_equal(answer(slow[i]), 0);
		close(slow[i]);
	}
	/* The server has still to notice that they are gone. */
	while (ask(over_tcp(f), health) != 200)
		continue;
}

static void a_client_that_needs_no_longer_than_it_may_is_answered(void **state)
{
	const struct fixture *f = *state;
	int64_t before = clock_mono_ms();
	int fd = over_tcp(f);

	say(fd, "GET /healthz HT");
	api_server_tick(f->rig.server, before + API_IDLE_S * 1000 - 1);
	assert_int_equal(ask(fd, "TP/1.1\r\nHost: localhost\r\n\r\n"), 200);
}

static void a_body_that_never_comes_ends_the_connection(void **state)
{
	const struct fixture *f = *state;
	int fd = over_socket(f);

	say(fd, "POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
		"Content-Length: 2\r\n\r\n");
	assert_int_equal(answer(fd), 100); /* its headers have been read */
	api_server_tick(f->rig.server, clock_mono_ms() + 60 * 1000);
	while (recv(fd, (char[64]){0}, 64, 0) > 0)
		continue;
	assert_int_equal(f->rig.asked, 0);
	close(fd);
}

static void those_who_listen_over_tcp_leave_room_for_one_on_the_socket(void **state)
{
	const struct fixture *f = *state;
	int listeners[API_EVENTS_MAX];

	for (size_t i = 0; i < API_EVENTS_MAX; i++) {
		listeners[i] = over_tcp(f);
		say(listeners[i], events);
		assert_int_equal(answer(listeners[i]), 200);
	}
	assert_int_equal(ask(over_tcp(f), events), 503);
	assert_int_equal(ask(over_socket(f), events), 200);
	/* They stay as long as they like. */
	api_server_tick(f->rig.server, clock_mono_ms() + 3600 * 1000);
	for (size_t i = 0; i < API_EVENTS_MAX; i++) {
		char piece[16];

		assert_true(recv(listeners[i], piece, sizeof(piece), 0) > 0);
		close(listeners[i]);
	}
}

static bool on_piece(void *arg, const void *data, size_t size)
{
	struct buffer *seen = arg;

	buffer_append(seen, data, size);
	return seen->size < 6000; /* more than one event */
}

static void events_are_followed_until_there_are_enough_or_they_end(void **state)
{
	struct fixture *f = *state;
	const struct http_client_options options = {.unix_socket = f->rig.socket};
	cleanup_http_client struct http_client *client = NULL;
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	const struct http_request after = {.method = "GET", .url = "http://latentd/healthz"};
	struct buffer seen = BUFFER_INIT;
	struct error err = ERROR_INIT;
	long status = 0;

	assert_ok(http_client_open(&options, &client, &err), &err);
	assert_ok(http_client_follow(client, "http://latentd/api/v1/events", on_piece, &seen,
				     &status, &err),
		  &err);
	assert_int_equal(status, 200);
	assert_true(seen.size >= 6000);
	assert_memory_equal(seen.data, "data: {\"health\":", 16);
	buffer_reset(&seen);
	/* what is no stream ends by itself, and one that is refused has no pieces */
	assert_ok(http_client_follow(client, "http://latentd/dashboard.css", on_piece, &seen,
				     &status, &err),
		  &err);
	assert_int_equal(status, 200);
	assert_memory_equal(seen.data, ":root", 5);
	buffer_reset(&seen);
	assert_ok(
	    http_client_follow(client, "http://latentd/nothing", on_piece, &seen, &status, &err),
	    &err);
	assert_int_equal(status, 404);
	assert_int_equal(seen.size, 0);
	/* and what is asked next is answered as ever */
	assert_ok(http_client_request(client, &after, &response, &err), &err);
	assert_int_equal(response.status, 200);
	assert_true(response.body.size > 0);
	buffer_release(&seen);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(slow_clients_over_tcp_leave_the_socket_alone_and_lose_their_places),
	    TEST(a_client_that_needs_no_longer_than_it_may_is_answered),
	    TEST(a_body_that_never_comes_ends_the_connection),
	    TEST(those_who_listen_over_tcp_leave_room_for_one_on_the_socket),
	    TEST(events_are_followed_until_there_are_enough_or_they_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

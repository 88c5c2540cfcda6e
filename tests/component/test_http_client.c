/*
 * The HTTP client against servers that answer badly, or not at all.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/thread.h"

#include "net/http_client.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Accepts one connection, reads a request's headers and sends @answer. */
struct server {
	char *dir, *path;
	int fd;
	const char *answer; /* NULL: says nothing until the client goes */
	size_t size;
	char request[4096];
	struct thread thread;
};

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->fd, NULL, NULL);
	size_t n = 0;
	ssize_t got;

	while (n < sizeof(s->request) - 1 &&
	       (got = recv(fd, s->request + n, sizeof(s->request) - 1 - n, 0)) > 0) {
		n += (size_t)got;
		s->request[n] = '\0';
		if (s->answer && strstr(s->request, "\r\n\r\n"))
			break;
	}
	for (size_t sent = 0; s->answer && sent < s->size; sent += (size_t)got) {
		got = send(fd, s->answer + sent, s->size - sent, MSG_NOSIGNAL);
		if (got <= 0)
			break;
	}
	close(fd);
	return NULL;
}

static int setup(void **state)
{
	struct server *s = xcalloc(1, sizeof(*s));

	s->dir = testing_tempdir();
	s->path = testing_path(s->dir, "http.sock");
	s->fd = listen_at(s->path);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct server *s = *state;

	thread_join(&s->thread);
	close(s->fd);
	free(s->path);
	testing_tempdir_remove(s->dir);
	free(s);
	return 0;
}

static void start(struct server *s, const char *answer)
{
	struct error err = ERROR_INIT;

	s->answer = answer;
	s->size = answer ? strlen(answer) : 0;
	assert_ok(thread_start(&s->thread, "server", serve, s, &err), &err);
}

static int ask(const char *path, const struct http_client_options *limits,
	       struct http_response *response, struct error *err)
{
	cleanup_http_client struct http_client *client = NULL;
	struct http_client_options options = *limits;
	struct http_request request = {.method = "GET", .url = "http://latentd/x"};

	options.unix_socket = path;
	assert_ok(http_client_open(&options, &client, err), err);
	return http_client_request(client, &request, response, err);
}

static void an_answer_comes_back_whatever_its_status(void **state)
{
	struct server *s = *state;
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_client_options limits = {.unix_socket = NULL};
	struct error err = ERROR_INIT;

	start(s, "HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nhello");
	assert_ok(ask(s->path, &limits, &response, &err), &err);
	assert_int_equal(response.status, 503);
	assert_string_equal((const char *)response.body.data, "hello");
}

static void a_redirect_is_not_followed(void **state)
{
	struct server *s = *state;
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_client_options limits = {.unix_socket = NULL};
	struct error err = ERROR_INIT;

	start(s, "HTTP/1.1 302 There\r\nLocation: http://latentd/y\r\n"
		 "Content-Length: 0\r\nConnection: close\r\n\r\n");
	assert_ok(ask(s->path, &limits, &response, &err), &err);
	assert_int_equal(response.status, 302);
}

static void nobody_there_is_an_outcome_of_its_own(void **state)
{
	struct server *s = *state;
	cleanup_free char *missing = testing_path(s->dir, "missing.sock");
	cleanup_free char *dead = testing_path(s->dir, "dead.sock");
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_client_options limits = {.unix_socket = NULL};
	struct error err = ERROR_INIT;

	assert_int_equal(ask(missing, &limits, &response, &err), HTTP_NO_SERVER);
	assert_non_null(strstr(err.message, "missing.sock"));
	error_clear(&err);
	close(listen_at(dead));
	assert_int_equal(ask(dead, &limits, &response, &err), HTTP_NO_SERVER);
}

static void a_socket_without_permission_is_named(void **state)
{
	struct server *s = *state;
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_client_options limits = {.unix_socket = NULL};
	struct error err = ERROR_INIT;
	int r;

	assert_int_equal(chmod(s->path, 0), 0);
	/* As somebody else, because root may do anything. */
	if (geteuid() == 0)
		assert_int_equal(seteuid(65534), 0);
	chmod(s->dir, 0755);
	r = ask(s->path, &limits, &response, &err);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_error(r, &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "permission"));
}

static void a_server_that_hangs_is_given_up(void **state)
{
	struct server *s = *state;
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_client_options limits = {.timeout_ms = 200};
	struct error err = ERROR_INIT;

	start(s, NULL);
	assert_error(ask(s->path, &limits, &response, &err), &err, ERR_TRANSIENT);
	assert_non_null(strstr(err.message, "no answer within 0.2 s"));
}

static void garbage_is_no_answer(void **state)
{
	struct server *s = *state;
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_client_options limits = {.unix_socket = NULL};
	struct error err = ERROR_INIT;

	start(s, "\x16\x03 what is this\r\n\r\n");
	assert_error(ask(s->path, &limits, &response, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "protocol");
}

static void an_answer_that_breaks_off_is_no_answer(void **state)
{
	struct server *s = *state;
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_client_options limits = {.unix_socket = NULL};
	struct error err = ERROR_INIT;

	start(s, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello");
	assert_error(ask(s->path, &limits, &response, &err), &err, ERR_TRANSIENT);
}

static void an_answer_that_is_too_large_is_not_taken(void **state)
{
	struct server *s = *state;
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_client_options limits = {.response_max = 4};
	struct error err = ERROR_INIT;

	start(s, "HTTP/1.1 200 OK\r\n\r\nhello");
	assert_error(ask(s->path, &limits, &response, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_large");
}

static void a_post_has_its_body_and_type(void **state)
{
	struct server *s = *state;
	cleanup_http_client struct http_client *client = NULL;
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_client_options options = {.unix_socket = s->path};
	struct http_request request = {.method = "POST",
				       .url = "http://latentd/x",
				       .body = "{}",
				       .body_size = 2,
				       .content_type = "application/json"};
	struct error err = ERROR_INIT;

	start(s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_ok(http_client_open(&options, &client, &err), &err);
	assert_ok(http_client_request(client, &request, &response, &err), &err);
	thread_join(&s->thread);
	assert_ptr_equal(strstr(s->request, "POST /x HTTP/1.1\r\n"), s->request);
	assert_non_null(strstr(s->request, "Content-Type: application/json\r\n"));
	assert_non_null(strstr(s->request, "Content-Length: 2\r\n"));
	assert_null(strstr(s->request, "Expect"));
}

static void only_http_is_spoken(void **state)
{
	cleanup_http_client struct http_client *client = NULL;
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_client_options options = {.unix_socket = NULL};
	struct http_request request = {.method = "GET", .url = "file:///etc/hostname"};
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(http_client_open(&options, &client, &err), &err);
	assert_true(http_client_request(client, &request, &response, &err) < 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(an_answer_comes_back_whatever_its_status),
	    TEST(a_redirect_is_not_followed),
	    TEST(nobody_there_is_an_outcome_of_its_own),
	    TEST(a_socket_without_permission_is_named),
	    TEST(a_server_that_hangs_is_given_up),
	    TEST(garbage_is_no_answer),
	    TEST(an_answer_that_breaks_off_is_no_answer),
	    TEST(an_answer_that_is_too_large_is_not_taken),
	    TEST(a_post_has_its_body_and_type),
	    TEST(only_http_is_spoken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

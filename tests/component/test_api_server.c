/* The API as an HTTP server, and its socket. */
#include "tests/component/api_caller.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* What is answered to bytes as they are, up to the end of the connection; to be freed. */
static char *raw(struct api_caller *f, const void *bytes, size_t size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cleanup_buffer struct buffer answer = BUFFER_INIT;
	char piece[4096];
	ssize_t n;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->rig.socket);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	/* The server may have answered and closed before it has everything. */
	while (size > 0 && (n = send(fd, bytes, size, MSG_NOSIGNAL)) > 0) {
		bytes = (const char *)bytes + n;
		size -= (size_t)n;
	}
	shutdown(fd, SHUT_WR);
	while ((n = recv(fd, piece, sizeof(piece), 0)) > 0)
		buffer_append(&answer, piece, (size_t)n);
	return xstrdup(answer.data ? (const char *)answer.data : "");
}

static char *raw_text(struct api_caller *f, const char *text)
{
	return raw(f, text, strlen(text));
}

/* -- HTTP ----------------------------------------------------------------------------------------- */

static void unknown_paths_are_404(void **state)
{
	static const char *const paths[] = {"/index.html",
					    "/api",
					    "/api/v1/",
					    "/api/v1/status/",
					    "//healthz",
					    "/api/v2/status",
					    "/api/v1/datasets/",
					    "/api/v1/datasets/photos/nothing",
					    "/a/b/c/d/e/f/g/h/i/j/k/l"};
	struct api_caller *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		json_decref(api_get(f, paths[i], 404));
}

static void a_method_that_a_path_has_not_is_405_and_named(void **state)
{
	struct api_caller *f = *state;
	cleanup_free char *answer = NULL;

	api_post(f, "/api/v1/status", NULL, 405);
	json_decref(api_get(f, "/api/v1/pause", 405));
	json_decref(api_ask(f, "DELETE", "/api/v1/datasets/photos", NULL, 405));
	answer = raw_text(f, "PUT /api/v1/pause HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(answer, "Allow: POST"));
}

static void head_is_answered_without_a_body(void **state)
{
	cleanup_free char *answer =
	    raw_text(*state, "HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

	assert_ptr_equal(strstr(answer, "HTTP/1.1 200"), answer);
	assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void a_body_that_is_announced_too_large_is_413(void **state)
{
	cleanup_free char *answer = raw_text(
	    *state, "POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n");

	assert_non_null(strstr(answer, " 413 "));
	assert_non_null(strstr(answer, "too_large"));
}

static void a_body_that_only_turns_out_too_large_ends_the_connection(void **state)
{
	struct api_caller *f = *state;
	cleanup_buffer struct buffer request = BUFFER_INIT;
	cleanup_free char *answer = NULL;

	buffer_append_string(&request, "POST /api/v1/pause HTTP/1.1\r\nHost: x\r\n"
				       "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 20; i++) {
		buffer_append_string(&request, "1000\r\n");
		buffer_appendf(&request, "%4096s\r\n", "");
	}
	buffer_append_string(&request, "2\r\n{}\r\n0\r\n\r\n");
	answer = raw(f, request.data, request.size);
	assert_null(strstr(answer, " 200 "));
	assert_int_equal(f->rig.asked, 0);
	json_decref(api_get(f, "/healthz", 200));
}

static void what_is_no_http_does_no_harm(void **state)
{
	struct api_caller *f = *state;
	cleanup_buffer struct buffer many = BUFFER_INIT;
	static const char *const texts[] = {
	    "\r\n\r\n\r\n",
	    "GET\r\n\r\n",
	    "GET  HTTP/1.1\r\n\r\n",
	    "hello\n\n",
	    "GET /healthz HTTP/9.9\r\n\r\n",
	    "GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n",
	    "POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
	    "POST /api/v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
	    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(raw_text(f, texts[i]));
	buffer_append_string(&many, "GET /healthz HTTP/1.1\r\n");
	for (int i = 0; i < 20000; i++)
		buffer_append_string(&many, "X-Header: more and more\r\n");
	buffer_append_string(&many, "\r\n");
	free(raw(f, many.data, many.size));
	assert_int_equal(f->rig.asked, 0);
	json_decref(api_get(f, "/healthz", 200));
}

static void closing_does_not_wait_for_clients_that_say_nothing(void **state)
{
	struct api_caller *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int idle = socket(AF_UNIX, SOCK_STREAM, 0);
	cleanup_close int half = socket(AF_UNIX, SOCK_STREAM, 0);
	int64_t began;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->rig.socket);
	assert_int_equal(connect(idle, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(connect(half, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_true(send(half, "GET /heal", 9, MSG_NOSIGNAL) == 9);
	json_decref(api_get(f, "/healthz", 200));
	began = clock_mono_ms();
	api_server_close(f->rig.server);
	f->rig.server = NULL;
	assert_true(clock_mono_ms() - began < API_IDLE_S * 1000 / 2);
}

/* -- the socket ----------------------------------------------------------------------------------- */

static int open_at(struct api_caller *f, const char *path, unsigned mode, const char *group,
		   struct api_server **out, struct error *err)
{
	const struct api_config config = {.socket = path, .mode = mode, .group = group};
	const struct api_context context = {.board = f->rig.board};

	return api_server_open(&config, &context, out, err);
}

static void the_socket_has_the_mode_and_group_that_were_asked_for(void **state)
{
	struct api_caller *f = *state;
	cleanup_free char *path = testing_path(f->dir, "made/for/it/api.sock");
	struct api_server *server = NULL;
	struct error err = ERROR_INIT;
	cleanup_free char *group = xasprintf("%u", (unsigned)getgid());
	struct stat st;

	assert_ok(open_at(f, path, 0660, group, &server, &err), &err);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_gid, getgid());
	api_server_close(server);
	assert_false(file_exists(path));
	assert_error(open_at(f, path, 0660, "no-such-group", &server, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "no-such-group"));
}

static void a_socket_that_is_served_is_refused(void **state)
{
	struct api_caller *f = *state;
	struct api_server *server = NULL;
	struct error err = ERROR_INIT;

	assert_error(open_at(f, f->rig.socket, 0600, NULL, &server, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "another daemon serves"));
	json_decref(api_get(f, "/healthz", 200));
}

/* Binds without listening, or listens, as a program that knows no lock. */
static int stranger_at(const char *path, bool listens)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (listens)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void a_stale_socket_is_replaced_and_that_of_another_program_is_not(void **state)
{
	struct api_caller *f = *state;
	cleanup_free char *stale = testing_path(f->dir, "stale.sock");
	cleanup_free char *served = testing_path(f->dir, "served.sock");
	cleanup_close int fd = stranger_at(served, true);
	struct api_server *server = NULL;
	struct error err = ERROR_INIT;

	close(stranger_at(stale, false));
	assert_true(file_exists(stale));
	assert_ok(open_at(f, stale, 0600, NULL, &server, &err), &err);
	api_server_close(server);
	assert_error(open_at(f, served, 0600, NULL, &server, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "another program"));
}

static void what_is_no_socket_is_left_alone(void **state)
{
	struct api_caller *f = *state;
	cleanup_free char *path = testing_path(f->dir, "precious");
	struct api_server *server = NULL;
	struct error err = ERROR_INIT;
	struct buffer kept;

	testing_write(path, "words", 5);
	assert_error(open_at(f, path, 0600, NULL, &server, &err), &err, ERR_CONFIG);
	kept = testing_read(path);
	assert_int_equal(kept.size, 5);
	buffer_release(&kept);
}

static void a_path_that_is_too_long_is_named_with_the_limit(void **state)
{
	struct api_caller *f = *state;
	struct api_server *server = NULL;
	struct error err = ERROR_INIT;
	char path[200];

	snprintf(path, sizeof(path), "/tmp/%0150d", 7);
	assert_error(open_at(f, path, 0600, NULL, &server, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "155 bytes"));
	assert_non_null(strstr(err.message, "107"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    api_test(unknown_paths_are_404),
	    api_test(a_method_that_a_path_has_not_is_405_and_named),
	    api_test(head_is_answered_without_a_body),
	    api_test(a_body_that_is_announced_too_large_is_413),
	    api_test(a_body_that_only_turns_out_too_large_ends_the_connection),
	    api_test(what_is_no_http_does_no_harm),
	    api_test(closing_does_not_wait_for_clients_that_say_nothing),
	    api_test(the_socket_has_the_mode_and_group_that_were_asked_for),
	    api_test(a_socket_that_is_served_is_refused),
	    api_test(a_stale_socket_is_replaced_and_that_of_another_program_is_not),
	    api_test(what_is_no_socket_is_left_alone),
	    api_test(a_path_that_is_too_long_is_named_with_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

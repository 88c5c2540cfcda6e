/*
 * Many requests at once against a server that answers as each asks: ?how=...
 */
#include "tests/testing.h"

#include "tests/component/loopback_server.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/thread.h"
#include "net/http_multi.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { MANY = 60 };

struct rig {
	struct loopback_server *server;
	struct http_multi *multi;
	char last_head[4096];
};

static void answer(void *arg, const struct loopback_request *request, struct loopback_reply *reply)
{
	struct rig *rig = arg;
	char how[32], delay[16];

	snprintf(rig->last_head, sizeof(rig->last_head), "%s", request->head);
	loopback_query(request->target, "how", how, sizeof(how));
	reply->delay_ms = atoi(loopback_query(request->target, "delay", delay, sizeof(delay)));
	if (request->post)
		buffer_append(&reply->body, request->body, request->body_size);
	else
		buffer_append_string(&reply->body, "0123456789");
	if (strcmp(how, "cut") == 0)
		reply->how = LOOPBACK_CUT;
	else if (strcmp(how, "close") == 0)
		reply->how = LOOPBACK_CLOSE;
	else if (strcmp(how, "never") == 0)
		reply->how = LOOPBACK_NEVER;
	else if (strcmp(how, "raw") == 0)
		reply->how = LOOPBACK_RAW;
	else if (strcmp(how, "tls") == 0) {
		reply->how = LOOPBACK_RAW;
		buffer_reset(&reply->body);
		buffer_append(&reply->body, "\x15\x03\x01\x00\x02\x02\x46", 7);
	} else if (strcmp(how, "redirect") == 0) {
		reply->status = 307;
		strcpy(reply->headers, "Location: /elsewhere\r\n");
	} else if (strcmp(how, "later") == 0) {
		reply->status = 429;
		strcpy(reply->headers, "Retry-After: 7\r\n");
	} else if (strcmp(how, "much") == 0) {
		reply->status = 503;
		strcpy(reply->headers, "retry-after:  999999\r\n");
	} else if (strcmp(how, "headers") == 0) {
		strcpy(reply->headers, "Shape: \t[1, 4,8,8] \r\ndtype:float16\r\nshape: [2]\r\n"
				       "Empty:\r\n");
	}
}

static int setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));
	const struct loopback_options server = {.answer = answer, .arg = rig};
	const struct http_multi_options options = {.proxy = ""};
	struct error err = ERROR_INIT;

	rig->server = loopback_start(&server);
	assert_ok(http_multi_open(&options, &rig->multi, &err), &err);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	http_multi_close(rig->multi);
	loopback_stop(rig->server);
	free(rig);
	return 0;
}

/* To be freed with free(x->url) by done(). */
static void start(struct rig *rig, struct http_exchange *x, const char *query)
{
	struct error err = ERROR_INIT;

	if (!x->method)
		x->method = "GET";
	if (x->timeout_ms == 0)
		x->timeout_ms = 20000;
	if (x->response_max == 0)
		x->response_max = 1 << 20;
	x->url = xasprintf("%s%s", loopback_url(rig->server), query);
	assert_ok(http_multi_start(rig->multi, x, &err), &err);
}

static void done(struct http_exchange *x)
{
	http_exchange_release(x);
	free((void *)(uintptr_t)x->url);
	x->url = NULL;
}

static struct http_exchange *next(struct rig *rig)
{
	struct http_exchange *x;

	while (!(x = http_multi_finished(rig->multi)))
		http_multi_wait(rig->multi, -1);
	return x;
}

static enum http_result result_of(struct rig *rig, const char *query, int64_t timeout_ms)
{
	struct http_exchange x = {.timeout_ms = timeout_ms};
	enum http_result result;

	start(rig, &x, query);
	assert_ptr_equal(next(rig), &x);
	result = x.result;
	assert_true(result == HTTP_REPLY || x.why[0] != '\0');
	done(&x);
	return result;
}

static void many_requests_are_in_flight_at_once_and_connections_are_kept(void **state)
{
	struct rig *rig = *state;
	struct http_exchange x[MANY] = {{.method = NULL}};

	for (size_t round = 0; round < 2; round++) {
		size_t left = MANY;

		for (size_t i = 0; i < MANY; i++)
			start(rig, &x[i], "?delay=100");
		assert_int_equal(http_multi_in_flight(rig->multi), MANY);
		for (; left > 0; left--) {
			struct http_exchange *got = next(rig);

			assert_int_equal(got->result, HTTP_REPLY);
			assert_int_equal(got->status, 200);
			assert_string_equal((const char *)got->reply.data, "0123456789");
			done(got);
		}
		assert_int_equal(http_multi_in_flight(rig->multi), 0);
	}
	assert_true(loopback_most_at_once(rig->server) > 1);
	assert_int_equal(loopback_requests(rig->server), 2 * MANY);
	assert_int_equal(loopback_connections(rig->server), MANY);
}

static void a_body_goes_up_and_comes_back(void **state)
{
	struct rig *rig = *state;
	size_t size = 3 << 20;
	cleanup_free uint8_t *body = xmalloc(size);
	static const char *const headers[] = {"Content-Type:", "X-Mine: 1", NULL};
	struct http_exchange x = {.method = "POST",
				  .headers = headers,
				  .body = body,
				  .body_size = size,
				  .response_max = size};

	for (size_t i = 0; i < size; i++)
		body[i] = (uint8_t)(i * 7 >> 3);
	start(rig, &x, "?a=b");
	assert_ptr_equal(next(rig), &x);
	assert_int_equal(x.result, HTTP_REPLY);
	assert_int_equal(x.reply.size, size);
	assert_memory_equal(x.reply.data, body, size);
	assert_true(x.sent == size && x.received == size);
	assert_ptr_equal(strstr(rig->last_head, "POST /?a=b HTTP/1.1\r\n"), rig->last_head);
	assert_non_null(strstr(rig->last_head, "X-Mine: 1\r\n"));
	assert_non_null(strstr(rig->last_head, "Accept: */*\r\n"));
	assert_null(strstr(rig->last_head, "Content-Type"));
	assert_null(strstr(rig->last_head, "Expect"));
	done(&x);
}

static void what_is_no_reply_has_its_reason(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(result_of(rig, "?how=cut", 0), HTTP_BROKEN);
	assert_int_equal(result_of(rig, "?how=close", 0), HTTP_BROKEN);
	assert_int_equal(result_of(rig, "?how=raw", 0), HTTP_NO_HTTP);
	assert_int_equal(result_of(rig, "?how=tls", 0), HTTP_WRONG_SCHEME);
	assert_int_equal(result_of(rig, "?how=never", 400), HTTP_TIMEOUT);
	assert_int_equal(result_of(rig, "?how=redirect", 0), HTTP_REPLY);
	assert_int_equal(loopback_requests(rig->server), 6);
}

/* A label of 64 bytes: no name server is asked. */
#define NO_NAME "http://" LABEL16 LABEL16 LABEL16 LABEL16 ".test/"
#define LABEL16 "aaaaaaaaaaaaaaaa"

static void a_server_that_is_not_there_or_has_no_name_is_not_reached(void **state)
{
	struct rig *rig = *state;
	cleanup_free char *nobody = loopback_nobody();
	const char *urls[] = {nobody, NO_NAME};
	const enum http_result results[] = {HTTP_NOT_REACHED, HTTP_NO_NAME};

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct http_exchange x = {.method = "GET", .url = urls[i], .timeout_ms = 20000};
		struct error err = ERROR_INIT;

		assert_ok(http_multi_start(rig->multi, &x, &err), &err);
		assert_ptr_equal(next(rig), &x);
		assert_int_equal(x.result, results[i]);
		http_exchange_release(&x);
	}
}

static void only_http_is_spoken_and_urls_must_be_some(void **state)
{
	struct rig *rig = *state;
	struct http_exchange file = {.method = "GET",
				     .url = "file:///etc/hostname",
				     .timeout_ms = 1000,
				     .response_max = 1000},
			     none = {.method = "GET", .url = "http://", .timeout_ms = 1000};
	struct error err = ERROR_INIT;

	assert_ok(http_multi_start(rig->multi, &file, &err), &err);
	next(rig);
	assert_int_not_equal(file.result, HTTP_REPLY);
	assert_int_equal(file.reply.size, 0);
	http_exchange_release(&file);
	assert_ok(http_multi_start(rig->multi, &none, &err), &err);
	next(rig);
	assert_int_equal(none.result, HTTP_BAD_REQUEST);
	http_exchange_release(&none);
}

static void a_reply_that_is_too_large_is_not_taken(void **state)
{
	struct rig *rig = *state;
	struct http_exchange x = {.response_max = 9};

	start(rig, &x, "");
	assert_ptr_equal(next(rig), &x);
	assert_int_equal(x.result, HTTP_TOO_LARGE);
	assert_true(x.reply.size <= 9);
	done(&x);
}

static void headers_are_found_in_any_case_and_without_spaces(void **state)
{
	struct rig *rig = *state;
	struct http_exchange x = {.method = NULL};
	char value[16] = "";

	start(rig, &x, "?how=headers");
	next(rig);
	assert_true(http_exchange_header(&x, "shape", value, sizeof(value)));
	assert_string_equal(value, "[1, 4,8,8]");
	assert_true(http_exchange_header(&x, "DTYPE", value, sizeof(value)));
	assert_string_equal(value, "float16");
	assert_true(http_exchange_header(&x, "empty", value, sizeof(value)));
	assert_string_equal(value, "");
	assert_false(http_exchange_header(&x, "shap", value, sizeof(value)));
	assert_false(http_exchange_header(&x, "shape", value, 10));
	done(&x);
}

static void retry_after_is_read_and_bounded(void **state)
{
	struct rig *rig = *state;
	struct http_exchange later = {.method = NULL}, much = {.method = NULL};

	start(rig, &later, "?how=later");
	next(rig);
	assert_int_equal(later.status, 429);
	assert_int_equal(later.retry_after_ms, 7000);
	done(&later);
	start(rig, &much, "?how=much");
	next(rig);
	assert_int_equal(much.retry_after_ms, 3600 * 1000);
	done(&much);
}

static void one_of_many_can_be_cancelled(void **state)
{
	struct rig *rig = *state;
	struct http_exchange a = {.method = NULL}, b = {.method = NULL}, c = {.method = NULL};

	start(rig, &a, "?how=never");
	start(rig, &b, "?delay=50");
	http_multi_cancel(rig->multi, &a);
	done(&a);
	assert_int_equal(http_multi_in_flight(rig->multi), 1);
	assert_ptr_equal(next(rig), &b);
	done(&b);
	/* also between its end and its handing out */
	start(rig, &c, "");
	while (http_multi_in_flight(rig->multi) > 0)
		http_multi_wait(rig->multi, 1000);
	http_multi_cancel(rig->multi, &c);
	done(&c);
	assert_null(http_multi_finished(rig->multi));
}

static void what_is_in_flight_at_the_end_is_dropped(void **state)
{
	struct rig *rig = *state;
	const struct http_multi_options options = {.proxy = ""};
	struct http_exchange x = {.method = NULL};
	struct error err = ERROR_INIT;

	start(rig, &x, "?how=never");
	http_multi_wait(rig->multi, 10);
	http_multi_close(rig->multi);
	done(&x);
	assert_ok(http_multi_open(&options, &rig->multi, &err), &err);
}

static void *wake(void *arg)
{
	http_multi_wake(arg);
	return NULL;
}

static void a_wait_ends_in_time_or_when_woken(void **state)
{
	struct rig *rig = *state;
	struct thread t = THREAD_INIT;
	struct error err = ERROR_INIT;
	int64_t before = clock_mono_ms();

	http_multi_wait(rig->multi, 20);
	assert_true(clock_mono_ms() - before >= 19);
	assert_ok(thread_start(&t, "wake", wake, rig->multi, &err), &err);
	http_multi_wait(rig->multi, -1); /* for ever, otherwise */
	thread_join(&t);
	http_multi_wake(rig->multi);
	http_multi_wait(rig->multi, -1);
}

static void the_descriptor_is_readable_when_there_is_something_to_do(void **state)
{
	struct rig *rig = *state;
	struct pollfd fd = {.fd = http_multi_fd(rig->multi), .events = POLLIN};
	struct http_exchange x = {.method = NULL}, *got = NULL;

	assert_int_equal(poll(&fd, 1, 0), 0);
	start(rig, &x, "?delay=30");
	while (!(got = http_multi_finished(rig->multi))) {
		assert_int_equal(poll(&fd, 1, 20000), 1);
		http_multi_wait(rig->multi, 0);
	}
	assert_ptr_equal(got, &x);
	done(&x);
}

static void a_ca_file_that_cannot_be_read_is_named(void **state)
{
	const struct http_multi_options options = {.ca_file = "/nowhere/ca.pem"};
	struct http_multi *multi = NULL;
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(http_multi_open(&options, &multi, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "/nowhere/ca.pem"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(many_requests_are_in_flight_at_once_and_connections_are_kept),
	    TEST(a_body_goes_up_and_comes_back),
	    TEST(what_is_no_reply_has_its_reason),
	    TEST(a_server_that_is_not_there_or_has_no_name_is_not_reached),
	    TEST(only_http_is_spoken_and_urls_must_be_some),
	    TEST(a_reply_that_is_too_large_is_not_taken),
	    TEST(headers_are_found_in_any_case_and_without_spaces),
	    TEST(retry_after_is_read_and_bounded),
	    TEST(one_of_many_can_be_cancelled),
	    TEST(what_is_in_flight_at_the_end_is_dropped),
	    TEST(a_wait_ends_in_time_or_when_woken),
	    TEST(the_descriptor_is_readable_when_there_is_something_to_do),
	    TEST(a_ca_file_that_cannot_be_read_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The API over real sockets, with a service that only notes what it is asked.
 */
#include "tests/testing.h"

#include "tests/component/api_rig.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include "net/http_client.h"

#include <grp.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

struct fixture {
	char *dir;
	struct api_rig rig;
	struct http_client *client;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct http_client_options options = {.timeout_ms = 20000};
	struct error err = ERROR_INIT;

	f->dir = testing_tempdir();
	api_rig_open(&f->rig, f->dir);
	status_board_publish(f->rig.board, api_rig_status(&f->rig));
	api_rig_serve(&f->rig);
	options.unix_socket = f->rig.socket;
	assert_ok(http_client_open(&options, &f->client, &err), &err);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_client_close(f->client);
	api_rig_close(&f->rig);
	testing_tempdir_remove(f->dir);
	free(f);
	return 0;
}

/* -- asking --------------------------------------------------------------------------------------- */

/* The answer's body, which is always JSON; *status. */
static json_t *ask_as(struct fixture *f, const char *method, const char *path, const char *body,
		      long status)
{
	cleanup_free char *url = xasprintf("http://latentd%s", path);
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_request request = {.method = method,
				       .url = url,
				       .body = body,
				       .body_size = body ? strlen(body) : 0,
				       .content_type = "application/json"};
	struct error err = ERROR_INIT;
	json_t *root;

	assert_ok(http_client_request(f->client, &request, &response, &err), &err);
	if (response.status != status)
		fail_msg("%s %s: %ld instead of %ld: %s", method, path, response.status, status,
			 (const char *)response.body.data);
	root = json_loadb((const char *)response.body.data, response.body.size, 0, NULL);
	assert_non_null(root);
	return root;
}

static json_t *get(struct fixture *f, const char *path, long status)
{
	return ask_as(f, "GET", path, NULL, status);
}

static void post(struct fixture *f, const char *path, const char *body, long status)
{
	json_decref(ask_as(f, "POST", path, body, status));
}

static const char *text_of(json_t *root, const char *a, const char *b)
{
	json_t *value = json_object_get(root, a);

	return json_string_value(b ? json_object_get(value, b) : value);
}

/* What is answered to bytes as they are, up to the end of the connection; to be freed. */
static char *raw(struct fixture *f, const void *bytes, size_t size)
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

static char *raw_text(struct fixture *f, const char *text)
{
	return raw(f, text, strlen(text));
}

/* -- reading -------------------------------------------------------------------------------------- */

static void health_is_200_while_it_works_and_names_what_is_blocked(void **state)
{
	struct fixture *f = *state;
	json_t *root = get(f, "/healthz", 200);

	assert_string_equal(text_of(root, "state", NULL), "running");
	assert_string_equal(json_string_value(json_array_get(json_object_get(root, "problems"), 0)),
			    "dataset old scans: /models/gone is not there");
	json_decref(root);
}

static void health_is_503_with_the_reason_when_the_disk_is_full(void **state)
{
	struct fixture *f = *state;
	struct service_status *s = api_rig_status(&f->rig);
	json_t *root;

	s->intake_paused = xstrdup("/data has 12 MiB left");
	status_board_publish(f->rig.board, s);
	root = get(f, "/healthz", 503);
	assert_string_equal(json_string_value(json_array_get(json_object_get(root, "problems"), 0)),
			    "nothing new is begun until there is room: /data has 12 MiB left");
	json_decref(root);
}

static void health_is_503_while_it_stops(void **state)
{
	struct fixture *f = *state;
	struct service_status *s = api_rig_status(&f->rig);

	s->state = SERVICE_STOPPING;
	status_board_publish(f->rig.board, s);
	json_decref(get(f, "/healthz", 503));
}

static void status_has_every_dataset_and_encoder(void **state)
{
	struct fixture *f = *state;
	json_t *root = get(f, "/api/v1/status", 200);
	json_t *datasets = json_object_get(root, "datasets");
	json_t *photos = json_array_get(datasets, 0), *scans = json_array_get(datasets, 1);

	assert_string_equal(text_of(root, "daemon", "state"), "running");
	assert_int_equal(json_array_size(datasets), 2);
	assert_string_equal(text_of(photos, "name", NULL), "photos");
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(photos, "jobs"), "completed")),
	    1200000);
	assert_string_equal(text_of(photos, "last_shard", "path"), "train/512x512/000123.tar");
	assert_string_equal(text_of(scans, "why", NULL), "/models/gone is not there");
	assert_true(json_is_null(json_object_get(scans, "eta_s")));
	/* A path that is not UTF-8 loses nothing. */
	assert_string_equal(text_of(scans, "output", NULL), "/data/latents/old%FF scans");
	assert_int_equal(json_array_size(json_object_get(root, "encoders")), 1);
	json_decref(root);
}

static void status_reads_no_database(void **state)
{
	struct fixture *f = *state;
	struct service_status *s = api_rig_status(&f->rig);

	free(s->datasets[0].state_folder);
	s->datasets[0].state_folder = xstrdup("/no/such/state");
	status_board_publish(f->rig.board, s);
	json_decref(get(f, "/api/v1/status", 200));
	json_decref(get(f, "/api/v1/datasets/photos", 200));
	json_decref(get(f, "/api/v1/datasets/photos/jobs?state=gone", 500));
}

static void a_dataset_is_found_by_its_encoded_name(void **state)
{
	struct fixture *f = *state;
	json_t *root = get(f, "/api/v1/datasets/old%20scans", 200);

	assert_string_equal(text_of(root, "name", NULL), "old scans");
	json_decref(root);
	json_decref(get(f, "/api/v1/datasets/nobody", 404));
	json_decref(get(f, "/api/v1/datasets/photos%2Fjobs", 404));
	json_decref(get(f, "/api/v1/datasets/photos%00", 404));
}

static void before_the_first_picture_the_answer_is_503(void **state)
{
	struct api_context context = {.board = status_board_new()};
	const char *const paths[] = {"/healthz", "/metrics", "/api/v1/status",
				     "/api/v1/datasets/photos"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct api_call call = {.method = "GET", .uri = paths[i]};
		struct http_answer answer = HTTP_ANSWER_INIT;

		api_handle(&context, &call, &answer);
		assert_int_equal(answer.status, 503);
		buffer_release(&answer.body);
	}
	status_board_free(context.board);
}

static void jobs_come_in_pages(void **state)
{
	struct fixture *f = *state;
	json_t *first = get(f, "/api/v1/datasets/photos/jobs?state=quarantined&limit=3", 200);
	json_t *second, *jobs = json_object_get(first, "jobs");
	cleanup_free char *next =
	    xasprintf("/api/v1/datasets/photos/jobs?state=quarantined&limit=3&after=%lld",
		      (long long)json_integer_value(json_object_get(first, "next")));

	assert_int_equal(json_array_size(jobs), 3);
	assert_string_equal(text_of(json_array_get(jobs, 0), "source", NULL), "a.jpg");
	assert_string_equal(text_of(json_array_get(jobs, 0), "message", NULL),
			    "ends \xef\xbf\xbd early");
	second = get(f, next, 200);
	assert_int_equal(json_array_size(json_object_get(second, "jobs")), 1);
	assert_true(json_is_null(json_object_get(second, "next")));
	json_decref(first);
	json_decref(second);
}

static void jobs_are_filtered_by_reason(void **state)
{
	struct fixture *f = *state;
	json_t *root =
	    get(f, "/api/v1/datasets/photos/jobs?state=quarantined&reason=unsupported", 200);
	json_t *jobs = json_object_get(root, "jobs");

	assert_int_equal(json_array_size(jobs), 1);
	assert_string_equal(text_of(json_array_get(jobs, 0), "source", NULL), "deep/d.jpg");
	json_decref(root);
}

static void one_job_is_found_by_its_key_whatever_its_state(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *query, *state;
	} cases[] = {{"key=key-0", "quarantined"},
		     {"key=key-5", "available"},
		     {"key=key-5&state=gone", NULL},
		     {"key=nobody", NULL}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *path =
		    xasprintf("/api/v1/datasets/photos/jobs?%s", cases[i].query);
		json_t *root = get(f, path, 200);
		json_t *jobs = json_object_get(root, "jobs");

		assert_int_equal(json_array_size(jobs), cases[i].state ? 1 : 0);
		if (cases[i].state)
			assert_string_equal(text_of(json_array_get(jobs, 0), "state", NULL),
					    cases[i].state);
		json_decref(root);
	}
}

static void failures_are_counted_by_state_and_reason(void **state)
{
	static const char *const wanted[] = {"quarantined truncated 3", "quarantined unsupported 1",
					     "skipped too_small 1"};
	json_t *root = get(*state, "/api/v1/datasets/photos/failures", 200);
	json_t *reasons = json_object_get(root, "reasons");

	assert_int_equal(json_array_size(reasons), ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const json_t *row = json_array_get(reasons, i);
		cleanup_free char *got =
		    xasprintf("%s %s %lld", json_string_value(json_object_get(row, "state")),
			      json_string_value(json_object_get(row, "reason")),
			      (long long)json_integer_value(json_object_get(row, "jobs")));

		assert_string_equal(got, wanted[i]);
	}
	json_decref(root);
}

static void a_query_that_is_wrong_is_400_and_says_what_is_expected(void **state)
{
	static const char *const queries[] = {"",
					      "state=nothing",
					      "state=gone&state=gone",
					      "state=gone&x=1",
					      "state=gone&limit=0",
					      "state=gone&limit=1001",
					      "state=gone&limit=9999999999999999999999",
					      "state=gone&limit=1x",
					      "state=gone&after=-1",
					      "state=gone&after=x",
					      "state=%zz",
					      "state=gone%00",
					      "state=gone&after=9223372036854775807"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		cleanup_free char *path = xasprintf("/api/v1/datasets/photos/jobs?%s", queries[i]);
		json_t *root = get(f, path, 400);

		assert_string_equal(text_of(root, "error", "code"), "bad_request");
		assert_true(strlen(text_of(root, "error", "message")) > 10);
		json_decref(root);
	}
}

static void lists_of_a_dataset_that_is_not_open_yet_are_503(void **state)
{
	json_decref(get(*state, "/api/v1/datasets/old%20scans/jobs?state=skipped", 503));
}

/* -- commands ------------------------------------------------------------------------------------- */

static void commands_reach_the_service_with_all_they_say(void **state)
{
	struct fixture *f = *state;
	json_t *root;

	f->rig.reply = (struct service_reply){.count = 3, .message = "they are tried again"};
	root = ask_as(f, "POST", "/api/v1/datasets/photos/retry",
		      "{\"state\": \"skipped\", \"reason\": \"too_small\", \"key\": \"a b\"}", 200);
	assert_int_equal(json_integer_value(json_object_get(root, "count")), 3);
	assert_string_equal(text_of(root, "message", NULL), "they are tried again");
	json_decref(root);
	assert_int_equal(f->rig.request.command, REQUEST_RETRY);
	assert_int_equal(f->rig.request.state, JOB_SKIPPED);
	assert_string_equal(f->rig.dataset, "photos");
	assert_string_equal(f->rig.reason, "too_small");
	assert_string_equal(f->rig.key, "a b");
}

static void commands_without_a_dataset_are_for_all(void **state)
{
	struct fixture *f = *state;

	post(f, "/api/v1/pause", NULL, 200);
	assert_int_equal(f->rig.request.command, REQUEST_PAUSE);
	assert_null(f->rig.dataset);
	post(f, "/api/v1/reload", "{}", 200);
	assert_int_equal(f->rig.request.command, REQUEST_RELOAD);
}

static void priority_needs_its_number(void **state)
{
	struct fixture *f = *state;

	post(f, "/api/v1/datasets/photos/priority", "{\"priority\": -7}", 200);
	assert_int_equal(f->rig.request.priority, -7);
	post(f, "/api/v1/datasets/photos/priority", NULL, 400);
	post(f, "/api/v1/datasets/photos/priority", "{\"priority\": 1001}", 400);
	post(f, "/api/v1/datasets/photos/priority", "{\"priority\": 1.5}", 400);
	assert_int_equal(f->rig.asked, 1);
}

static void captions_are_texts_or_null_by_key(void **state)
{
	static const char path[] = "/api/v1/datasets/photos/captions";
	static const char *const wrong[] = {
	    "{}",
	    "{\"captions\": []}",
	    "{\"captions\": {\"a\": 1}}",
	    "{\"captions\": {\"\": null}}",
	    "{\"captions\": {\"a\": \"x\", \"a\": \"y\"}}",
	    "{\"captions\": {}, \"dry_run\": 1}",
	};
	struct fixture *f = *state;

	post(f, path, "{\"captions\": {\"a\": \"x\", \"b\": null}, \"dry_run\": true}", 200);
	assert_int_equal(f->rig.request.command, REQUEST_CAPTIONS);
	assert_true(f->rig.request.dry_run);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		post(f, path, wrong[i], 400);
	post(f, "/api/v1/datasets/photos/retry?captions=1", NULL, 400);
	assert_int_equal(f->rig.asked, 1);
}

static void arrays_have_a_name_and_an_absolute_path(void **state)
{
	static const char path[] = "/api/v1/datasets/photos/attach";
	static const char *const wrong[] = {
	    "{}",
	    "{\"array\": \"te\"}",
	    "{\"path\": \"/te.safetensors\"}",
	    "{\"array\": \"te\", \"path\": \"te.safetensors\"}",
	    "{\"array\": \"te\", \"path\": \"\"}",
	    "{\"array\": \"latent\", \"path\": \"/te.safetensors\"}",
	    "{\"array\": \"../te\", \"path\": \"/te.safetensors\"}",
	    "{\"array\": 1, \"path\": \"/te.safetensors\"}",
	};
	struct fixture *f = *state;

	post(f, path, "{\"array\": \"te\", \"path\": \"/te.safetensors\"}", 200);
	assert_int_equal(f->rig.request.command, REQUEST_ATTACH);
	assert_false(f->rig.request.dry_run);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		post(f, path, wrong[i], 400);
	assert_int_equal(f->rig.asked, 1);
}

static void gc_and_compact_reach_the_service_with_their_sizes(void **state)
{
	static const char gc[] = "/api/v1/datasets/photos/gc";
	static const char compact[] = "/api/v1/datasets/photos/compact";
	struct fixture *f = *state;
	const struct upkeep_order *order = &f->rig.request.upkeep;

	post(f, gc, NULL, 200);
	assert_int_equal(f->rig.request.command, REQUEST_GC);
	assert_int_equal(order->kind, UPKEEP_GC);
	assert_int_equal(order->grace_hours, 24);
	assert_false(order->dry_run);
	post(f, gc, "{\"grace_hours\": 0, \"dry_run\": true}", 200);
	assert_int_equal(order->grace_hours, 0);
	assert_true(order->dry_run);
	post(f, compact, "{\"shard_samples\": 20, \"shard_size\": 68719476736}", 200);
	assert_int_equal(f->rig.request.command, REQUEST_COMPACT);
	assert_int_equal(order->kind, UPKEEP_COMPACT);
	assert_int_equal(order->shard_samples, 20);
	assert_true(order->shard_bytes == (size_t)64 << 30);
	post(f, compact, NULL, 200);
	assert_int_equal(order->shard_samples, 0); /* as the dataset has it */
	post(f, compact, "{\"shard_size\": 68719476737}", 400);
	post(f, gc, "{\"grace_hours\": 87601}", 400);
}

static void a_body_of_captions_may_be_larger_than_others(void **state)
{
	cleanup_buffer struct buffer body = BUFFER_INIT;
	struct fixture *f = *state;

	buffer_append_string(&body, "{\"captions\": {\"a\": \"");
	while (body.size < (1 << 20))
		buffer_append_string(&body, "0123456789abcdef");
	buffer_append_string(&body, "\"}}");
	post(f, "/api/v1/datasets/photos/captions", (char *)body.data, 200);
	assert_int_equal(f->rig.asked, 1);
}

static void a_body_that_is_wrong_is_400_and_asks_for_nothing(void **state)
{
	static const char *const bodies[] = {"{",
					     "[]",
					     "{\"state\": 1}",
					     "{\"state\": \"running\"}",
					     "{\"what\": 1}",
					     "{\"key\": \"a\", \"key\": \"b\"}",
					     "{\"key\": \"a\\u0000b\"}",
					     "{} x",
					     "\xff"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		post(f, "/api/v1/datasets/photos/retry", bodies[i], 400);
	assert_int_equal(f->rig.asked, 0);
}

static void what_the_service_refuses_has_the_status_of_its_reason(void **state)
{
	static const struct {
		int outcome;
		enum error_code error;
		long status;
	} cases[] = {{-1, ERR_CONFIG, 409},
		     {-1, ERR_TRANSIENT, 503},
		     {-1, ERR_IO, 500},
		     {SERVICE_NO_DATASET, ERR_NONE, 404},
		     {SERVICE_NO_KEY, ERR_NONE, 404}};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		f->rig.outcome = cases[i].outcome;
		f->rig.error = cases[i].error;
		post(f, "/api/v1/datasets/photos/scan", NULL, cases[i].status);
	}
}

static void *post_drain(void *arg)
{
	post(arg, "/api/v1/drain", NULL, 200);
	return NULL;
}

static void status_does_not_wait_for_a_command_that_waits(void **state)
{
	struct fixture *f = *state;
	struct fixture other = *f;
	struct http_client_options options = {.unix_socket = f->rig.socket};
	struct error err = ERROR_INIT;
	pthread_t thread;

	assert_ok(http_client_open(&options, &other.client, &err), &err);
	f->rig.hold = true;
	assert_int_equal(pthread_create(&thread, NULL, post_drain, f), 0);
	api_rig_wait_asked(&f->rig, 1);
	json_decref(get(&other, "/api/v1/status", 200));
	api_rig_release(&f->rig);
	pthread_join(thread, NULL);
	http_client_close(other.client);
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
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		json_decref(get(f, paths[i], 404));
}

static void a_method_that_a_path_has_not_is_405_and_named(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *answer = NULL;

	post(f, "/api/v1/status", NULL, 405);
	json_decref(get(f, "/api/v1/pause", 405));
	json_decref(ask_as(f, "DELETE", "/api/v1/datasets/photos", NULL, 405));
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
	struct fixture *f = *state;
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
	json_decref(get(f, "/healthz", 200));
}

static void what_is_no_http_does_no_harm(void **state)
{
	struct fixture *f = *state;
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
	json_decref(get(f, "/healthz", 200));
}

static void closing_does_not_wait_for_clients_that_say_nothing(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int idle = socket(AF_UNIX, SOCK_STREAM, 0);
	cleanup_close int half = socket(AF_UNIX, SOCK_STREAM, 0);
	int64_t began;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->rig.socket);
	assert_int_equal(connect(idle, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(connect(half, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_true(send(half, "GET /heal", 9, MSG_NOSIGNAL) == 9);
	json_decref(get(f, "/healthz", 200));
	began = clock_mono_ms();
	api_server_close(f->rig.server);
	f->rig.server = NULL;
	assert_true(clock_mono_ms() - began < API_IDLE_S * 1000 / 2);
}

/* -- the socket ----------------------------------------------------------------------------------- */

static int open_at(struct fixture *f, const char *path, unsigned mode, const char *group,
		   struct api_server **out, struct error *err)
{
	const struct api_config config = {.socket = path, .mode = mode, .group = group};
	const struct api_context context = {.board = f->rig.board};

	return api_server_open(&config, &context, out, err);
}

static void the_socket_has_the_mode_and_group_that_were_asked_for(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;
	struct api_server *server = NULL;
	struct error err = ERROR_INIT;

	assert_error(open_at(f, f->rig.socket, 0600, NULL, &server, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "another daemon serves"));
	json_decref(get(f, "/healthz", 200));
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
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(health_is_200_while_it_works_and_names_what_is_blocked),
	    TEST(health_is_503_with_the_reason_when_the_disk_is_full),
	    TEST(health_is_503_while_it_stops),
	    TEST(status_has_every_dataset_and_encoder),
	    TEST(status_reads_no_database),
	    TEST(a_dataset_is_found_by_its_encoded_name),
	    TEST(before_the_first_picture_the_answer_is_503),
	    TEST(jobs_come_in_pages),
	    TEST(jobs_are_filtered_by_reason),
	    TEST(one_job_is_found_by_its_key_whatever_its_state),
	    TEST(failures_are_counted_by_state_and_reason),
	    TEST(a_query_that_is_wrong_is_400_and_says_what_is_expected),
	    TEST(lists_of_a_dataset_that_is_not_open_yet_are_503),
	    TEST(commands_reach_the_service_with_all_they_say),
	    TEST(commands_without_a_dataset_are_for_all),
	    TEST(priority_needs_its_number),
	    TEST(captions_are_texts_or_null_by_key),
	    TEST(arrays_have_a_name_and_an_absolute_path),
	    TEST(gc_and_compact_reach_the_service_with_their_sizes),
	    TEST(a_body_of_captions_may_be_larger_than_others),
	    TEST(a_body_that_is_wrong_is_400_and_asks_for_nothing),
	    TEST(what_the_service_refuses_has_the_status_of_its_reason),
	    TEST(status_does_not_wait_for_a_command_that_waits),
	    TEST(unknown_paths_are_404),
	    TEST(a_method_that_a_path_has_not_is_405_and_named),
	    TEST(head_is_answered_without_a_body),
	    TEST(a_body_that_is_announced_too_large_is_413),
	    TEST(a_body_that_only_turns_out_too_large_ends_the_connection),
	    TEST(what_is_no_http_does_no_harm),
	    TEST(closing_does_not_wait_for_clients_that_say_nothing),
	    TEST(the_socket_has_the_mode_and_group_that_were_asked_for),
	    TEST(a_socket_that_is_served_is_refused),
	    TEST(a_stale_socket_is_replaced_and_that_of_another_program_is_not),
	    TEST(what_is_no_socket_is_left_alone),
	    TEST(a_path_that_is_too_long_is_named_with_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

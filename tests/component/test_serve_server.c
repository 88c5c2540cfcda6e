/*
 * The server in this process, with real decode workers and the fake encoder, and clients in threads: what e2e tests see
 * from outside, for the thread sanitizer.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/thread.h"
#include "daemon/pipeline.h"
#include "daemon/program.h"
#include "daemon/serve_server.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { CLIENTS = 8, REQUESTS = 6, SIDE = 16, BODY = 3 * SIDE * SIDE };

struct rig {
	sd_event *event;
	struct inbox *inbox;
	struct decode_pool *pool;
	struct memory_budget memory;
	struct engines *engines;
	struct serve_server *server;
	char *program;
	uint16_t port;
	struct buffer picture; /* an image file */
	atomic_size_t answered, running;
};

static void on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	struct rig *rig = arg;

	assert_true(serve_server_owns(rig->server, batch));
	serve_server_on_batch(rig->server, batch, failure);
}

static void on_change(void *arg)
{
	(void)arg;
}

static void no_log(void *arg, enum log_event event, const char *dataset, const char *line)
{
	(void)arg, (void)event, (void)dataset, (void)line;
}

static void turn(struct rig *rig)
{
	serve_server_pump(rig->server);
	assert_true(sd_event_run(rig->event, 10 * 1000) >= 0);
}

/* One request on a connection of its own; the first line of the answer's status is 200. */
static bool ask(const struct rig *rig, const char *head, const void *body, size_t size)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(rig->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cleanup_buffer struct buffer request = BUFFER_INIT, answer = BUFFER_INIT;
	struct error err = ERROR_INIT;

	buffer_appendf(&request, "%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", head);
	buffer_appendf(&request, "Content-Length: %zu\r\n\r\n", size);
	buffer_append(&request, body, size);
	return connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	       fd_write_all(fd, request.data, request.size, &err) == 0 &&
	       fd_read_all(fd, 1 << 20, &answer, &err) == 0 && answer.size > 12 &&
	       memcmp(answer.data, "HTTP/1.1 200", 12) == 0;
}

static void *client(void *arg)
{
	struct rig *rig = arg;
	uint8_t pixels[BODY] = {0};

	for (size_t i = 0; i < REQUESTS; i++) {
		bool well =
		    i % 3 == 0	 ? ask(rig, "POST /?seed=3", rig->picture.data, rig->picture.size)
		    : i % 3 == 1 ? ask(rig,
				       "POST /?shape=1&shape=3&shape=16&shape=16&dtype=uint8"
				       "&posterior=moments",
				       pixels, BODY)
				 : ask(rig, "GET /metrics", "", 0);

		atomic_fetch_add(&rig->answered, well);
	}
	atomic_fetch_sub(&rig->running, 1);
	return NULL;
}

static void open_rig(struct rig *rig, const struct serve_options *options)
{
	const struct encoder_config encoder = {.type = ENCODER_TYPE_FAKE, .name = "fake"};
	const struct engines_options engines = {
	    .model_idle_ms = INT64_MAX, .on_batch = on_batch, .on_change = on_change, .arg = rig};
	struct decode_pool_options pool = {.workers = 1, .slot_bytes = 3 * options->max_pixels};
	struct serve_shared shared = {.log = no_log};
	cleanup_free char *picture = testing_golden("images/rgb_interlaced.png");
	struct error err = ERROR_INIT;

	rig->program = xasprintf("%s/daemon/latentd-decode", getenv("LATENTD_BUILD_DIR"));
	rig->picture = testing_read(picture);
	rig->memory.limit = 64 << 20;
	pipeline_decode_options(&pool);
	pool.program = rig->program;
	pool.time_limit_ms = 60 * 1000; /* sanitizers are slow */
	assert_true(sd_event_new(&rig->event) >= 0);
	assert_ok(inbox_open(rig->event, &rig->inbox, &err), &err);
	assert_ok(decode_pool_open(rig->event, &pool, &rig->pool, &err), &err);
	assert_ok(engines_open(rig->inbox, &encoder, 1, &engines, &rig->engines, &err), &err);
	shared.event = rig->event;
	shared.inbox = rig->inbox;
	shared.pool = rig->pool;
	shared.memory = &rig->memory;
	shared.engines = rig->engines;
	assert_ok(serve_server_open(&shared, options, &rig->server, &err), &err);
	while (!serve_server_is_ready(rig->server))
		turn(rig);
	rig->port = (uint16_t)atoi(strrchr(serve_server_url(rig->server), ':') + 1);
}

static void close_rig(struct rig *rig)
{
	serve_server_stop(rig->server);
	while (!serve_server_is_done(rig->server) || engines_busy(rig->engines))
		turn(rig);
	assert_int_equal(rig->memory.used, 0);
	serve_server_close(rig->server);
	engines_close(rig->engines);
	decode_pool_close(rig->pool);
	inbox_close(rig->inbox);
	sd_event_unref(rig->event);
	buffer_release(&rig->picture);
	free(rig->program);
}

static void clients_at_once_are_answered_and_nothing_is_left(void **state)
{
	struct serve_options options = {.listen = NULL};
	struct thread threads[CLIENTS];
	struct rig rig = {.picture = BUFFER_INIT};
	struct error err = ERROR_INIT;

	(void)state;
	settings_defaults(serve_settings.rows, serve_settings.n, &options);
	options.listen = "127.0.0.1:0";
	options.vae = "fake";
	options.stop_timeout = 600 * 1000;
	open_rig(&rig, &options);
	atomic_init(&rig.answered, 0);
	atomic_init(&rig.running, CLIENTS);
	for (size_t i = 0; i < CLIENTS; i++) {
		threads[i] = (struct thread)THREAD_INIT;
		assert_ok(thread_start(&threads[i], "client", client, &rig, &err), &err);
	}
	while (atomic_load(&rig.running) > 0) {
		turn(&rig);
		serve_server_tick(rig.server);
	}
	for (size_t i = 0; i < CLIENTS; i++)
		thread_join(&threads[i]);
	assert_int_equal(atomic_load(&rig.answered), CLIENTS * REQUESTS);
	close_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clients_at_once_are_answered_and_nothing_is_left),
	};

	program_block_signals(false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "daemon/serve_run.h"

#include "daemon/exit_codes.h"
#include "daemon/pipeline.h"
#include "daemon/program.h"
#include "daemon/serve_server.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/thread.h"
#include "config/serve_options.h"
#include "config/settings_complete.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

struct serve_run {
	const struct serve_command *command;
	sd_event *event;
	sd_event_source *on_int, *on_term, *on_second;
	struct inbox *inbox;
	struct decode_pool *pool;
	struct memory_budget memory;
	struct engines *engines;
	struct serve_server *server;
	bool stopping, cancelled, said_ready, warned;
};

static void write_log(void *arg, enum log_event event, const char *dataset, const char *line)
{
	(void)arg;
	(void)event;
	fprintf(stderr, "latentd: %s: %s\n", dataset, line);
}

/* -- what happens -------------------------------------------------------------------------------- */

/* The first one ends it in order; a second one at once. */
static int on_end(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct serve_run *run = arg;

	(void)source;
	if (run->stopping)
		_exit(128 + (int)info->ssi_signo);
	run->stopping = true;
	sd_notify(0, "STOPPING=1\nSTATUS=Stopping");
	if (run->server)
		serve_server_stop(run->server);
	return 0;
}

static int on_second(sd_event_source *source, uint64_t usec, void *arg)
{
	struct serve_run *run = arg;
	const char *warning = decode_pool_warning(run->pool);

	serve_server_tick(run->server);
	if (warning && !run->warned)
		write_log(NULL, LOG_PLAIN_WARNING, "serve", warning);
	run->warned = warning != NULL;
	sd_event_source_set_time(source, usec + 1000 * 1000);
	return 0;
}

static void on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	struct serve_run *run = arg;

	serve_server_on_batch(run->server, batch, failure);
}

static void on_engine(void *arg)
{
	(void)arg; /* the server looks at it after this turn */
}

static void on_left_out(void *arg, const char *name, const char *why)
{
	(void)arg;
	fprintf(stderr, "latentd: encoder %s: %s\n", name, why);
}

/* What could not be loaded at the start is a mistake; later the server waits until it is there again. */
static int turn(struct serve_run *run, struct error *err)
{
	const struct error *failure;

	serve_server_pump(run->server);
	failure = serve_server_failure(run->server);
	if (failure && !run->said_ready && !run->stopping) {
		*err = *failure;
		return -1;
	}
	if (!run->said_ready && serve_server_is_ready(run->server)) {
		run->said_ready = true;
		sd_notifyf(0, "READY=1\nSTATUS=%s", serve_server_url(run->server));
	}
	if (run->stopping && !run->cancelled && !serve_server_is_patient(run->server)) {
		run->cancelled = true;
		engines_cancel(run->engines);
	}
	return 0;
}

static int turn_loop(struct serve_run *run, struct error *err)
{
	while (!run->stopping || !serve_server_is_done(run->server) || engines_busy(run->engines)) {
		int r;

		if (turn(run, err) < 0)
			return -1;
		r = sd_event_run(run->event, run->stopping ? 50 * 1000 : 1000 * 1000);
		if (r < 0) {
			errno = -r;
			return error_sys(err, "wait for events");
		}
	}
	return EXIT_OK;
}

/* -- opening ------------------------------------------------------------------------------------- */

static int open_loop(struct serve_run *run, struct error *err)
{
	int r = sd_event_new(&run->event);

	if (r >= 0)
		r = sd_event_add_signal(run->event, &run->on_int, SIGINT, on_end, run);
	if (r >= 0)
		r = sd_event_add_signal(run->event, &run->on_term, SIGTERM, on_end, run);
	if (r < 0) {
		errno = -r;
		return error_sys(err, "open the event loop");
	}
	return inbox_open(run->event, &run->inbox, err);
}

static int open_workers(struct serve_run *run, struct error *err)
{
	const struct serve_command *c = run->command;
	bool fake = strcmp(c->serve.vae, RECIPE_VAE_FAKE) == 0;
	struct encoder_config encoder = {.type = fake ? ENCODER_TYPE_FAKE : ENCODER_TYPE_CPU,
					 .name = fake ? "fake" : "cpu",
					 .cpu = c->encoder};
	const struct engines_options engines = {.model_idle_ms = INT64_MAX,
						.memory_limit = c->memory_limit,
						.on_batch = on_batch,
						.on_change = on_engine,
						.on_left_out = on_left_out,
						.arg = run};
	size_t half = thread_cores() / 2;
	struct decode_pool_options pool = {.workers = c->jobs ? c->jobs
						      : half  ? half
							      : 1,
					   .slot_bytes = 3 * c->serve.max_pixels};

	if (serve_command_cuda(c, &encoder.cuda)) {
		encoder.type = ENCODER_TYPE_CUDA;
		encoder.name = "cuda";
	}
	pipeline_decode_options(&pool);
	run->memory.limit = c->memory_limit;
	if (decode_pool_open(run->event, &pool, &run->pool, err) < 0)
		return -1;
	return engines_open(run->inbox, &encoder, 1, &engines, &run->engines, err);
}

static int open_server(struct serve_run *run, struct error *err)
{
	const struct serve_shared shared = {.event = run->event,
					    .inbox = run->inbox,
					    .pool = run->pool,
					    .memory = &run->memory,
					    .engines = run->engines,
					    .log = write_log};
	int r;

	if (serve_server_open(&shared, &run->command->serve, &run->server, err) < 0)
		return -1;
	r = sd_event_add_time_relative(run->event, &run->on_second, CLOCK_MONOTONIC, 0, 0,
				       on_second, run);
	if (r >= 0)
		r = sd_event_source_set_enabled(run->on_second, SD_EVENT_ON);
	if (r < 0) {
		errno = -r;
		return error_sys(err, "open the event loop");
	}
	write_log(NULL, LOG_PLAIN_INFO, "serve", "loading the model");
	return 0;
}

static void close_all(struct serve_run *run)
{
	serve_server_close(run->server);
	engines_close(run->engines);
	decode_pool_close(run->pool);
	inbox_close(run->inbox);
	sd_event_source_disable_unref(run->on_int);
	sd_event_source_disable_unref(run->on_term);
	sd_event_source_disable_unref(run->on_second);
	sd_event_unref(run->event);
}

static int serve_run(const struct serve_command *command, struct error *err)
{
	struct serve_run run = {.command = command};
	int r;

	program_block_signals(false);
	r = open_loop(&run, err);
	if (r == 0)
		r = open_workers(&run, err);
	if (r == 0)
		r = open_server(&run, err);
	if (r == 0)
		r = turn_loop(&run, err);
	close_all(&run);
	return r;
}

/* -- the command line ---------------------------------------------------------------------------- */

static void print_help(FILE *out)
{
	fprintf(
	    out,
	    "usage: latentd serve --vae VAE --listen HOST:PORT [options]\n\n"
	    "Encodes images that are sent over HTTP, as the endpoints of diffusers' remote_encode "
	    "do; docs/SERVE.md.\n\n");
	settings_help(out, serve_command_settings, n_serve_command_settings);
}

static int parse(int argc, char **argv, struct serve_command *c, struct error *err)
{
	cleanup_free const char **rest = xcalloc((size_t)argc, sizeof(*rest));
	const char *which = NULL;
	size_t n = 0;

	settings_defaults(serve_command_settings, n_serve_command_settings, c);
	if (settings_parse(serve_command_settings, n_serve_command_settings, argc, argv, c, rest,
			   &n, err) < 0)
		return -1;
	if (n > 0)
		return error_set(err, ERR_CONFIG, "unexpected: %s", rest[0]);
	if (c->help)
		return 0;
	return serve_command_check(c, err) < 0 ? -1
					       : serve_options_check_files(&c->serve, &which, err);
}

int serve_main(int argc, char **argv, struct error *err)
{
	struct serve_command command = {.jobs = 0};
	struct error wrong = ERROR_INIT;
	int r;

	if (settings_complete(stdout, serve_command_settings, n_serve_command_settings, false, argc,
			      argv))
		return EXIT_OK;
	if (parse(argc, argv, &command, &wrong) < 0) {
		fprintf(stderr, "latentd serve: %s (latentd serve --help)\n", wrong.message);
		return EXIT_USAGE;
	}
	if (command.help) {
		print_help(stdout);
		return EXIT_OK;
	}
	r = serve_run(&command, err);
	if (r == 0 || err->code != ERR_CONFIG)
		return r;
	fprintf(stderr, "latentd serve: %s\n", err->message);
	return EXIT_USAGE;
}

/* One thread turns the loop and decides everything. */
#include "daemon/service_parts.h"

#include "daemon/dataset_open.h"
#include "daemon/db_queue.h"
#include "daemon/pipeline.h"
#include "daemon/program.h"
#include "daemon/state_queue.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define GPU_AGAIN_MS ((int64_t)60 * 1000)

/* -- talking ---------------------------------------------------------------------------------------- */

static void write_log(void *arg, enum log_event event, const char *dataset, const char *line)
{
	daemon_log_write(((struct service *)arg)->log, event, dataset, line);
}

void service_log(struct service *s, enum log_event event, const char *dataset, const char *fmt, ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	daemon_log_write(s->log, event, dataset, line);
}

/* -- signals ---------------------------------------------------------------------------------------- */

/* The first one ends it in order; a second one at once. */
static int on_end(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct service *s = arg;

	(void)source;
	if (s->signalled)
		_exit(128 + (int)info->ssi_signo);
	s->signalled = true;
	service_stop(s, s->options.once ? EXIT_INTERRUPTED : EXIT_OK);
	return 0;
}

static int on_hup(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct service_reply reply = {.count = 0};
	struct error err = ERROR_INIT;

	(void)source;
	(void)info;
	service_reload(arg, &reply, &err); /* says itself what came of it */
	return 0;
}

/* -- lanes ------------------------------------------------------------------------------------------ */

struct lane *service_lane(const struct service *s, const char *name)
{
	for (size_t i = 0; i < s->n_lanes; i++) {
		if (strcmp(lane_name(s->lanes[i]), name) == 0)
			return s->lanes[i];
	}
	return NULL;
}

void service_add_lane(struct service *s, const struct dataset_config *config)
{
	struct lane *l = lane_new(&s->shared, config);

	if (s->options.once || s->state == SERVICE_DRAINING)
		lane_drain(l);
	ARRAY_GROW(s->lanes, s->n_lanes, s->lanes_capacity);
	s->lanes[s->n_lanes++] = l;
	s->order = xrealloc(s->order, s->n_lanes, sizeof(*s->order));
}

/* -- the loop --------------------------------------------------------------------------------------- */

static int on_second(sd_event_source *source, uint64_t usec, void *arg)
{
	struct service *s = arg;

	service_check_disks(s);
	for (size_t i = 0; i < s->n_lanes; i++)
		lane_tick(s->lanes[i]);
	engines_tick(s->engines);
	service_nodes_tick(s);
	service_stages_tick(s->last_minute);
	if (s->serve)
		serve_server_tick(s->serve);
	if (!s->warned && decode_pool_warning(s->pool)) {
		s->warned = true;
		service_log(s, LOG_PLAIN_WARNING, NULL, "%s", decode_pool_warning(s->pool));
	}
	daemon_log_tick(s->log);
	api_server_tick(s->api, clock_mono_ms());
	service_publish(s);
	service_watchdog_tick(s->watchdog);
	sd_event_source_set_time(source, usec + 1000 * 1000);
	return 0;
}

static int turn_loop(struct service *s, struct error *err)
{
	for (;;) {
		int r;

		service_pump_lanes(s);
		if (service_end_drain(s))
			service_pump_lanes(s);
		if (service_has_ended(s))
			return s->exit_code;
		service_end_serve(s);
		service_follow_news(s);
		/* Answers that are on their way to clients at the end wake nobody here. */
		r = sd_event_run(s->event, s->serve && s->state == SERVICE_STOPPING ? 50 * 1000
										    : 1000 * 1000);
		if (r < 0) {
			errno = -r;
			return error_sys(err, "wait for events");
		}
	}
}

/* -- opening ---------------------------------------------------------------------------------------- */

/*
 * All cores less what the encoders use. Where they use all of them, half as many as there are cores: decoding is
 * short beside encoding, and must not take the cores from it.
 */
size_t service_decode_workers(const struct daemon_config *config)
{
	size_t cores = thread_cores(), used = 0;

	if (config->decode.workers > 0)
		return config->decode.workers;
	for (size_t i = 0; i < config->n_encoders; i++) {
		const struct encoder_config *e = &config->encoders[i];

		if (e->type == ENCODER_TYPE_CPU)
			used += e->cpu.threads > 0 ? e->cpu.threads : cores;
	}
	if (used < cores)
		return cores - used;
	return cores / 2 > 0 ? cores / 2 : 1;
}

static void on_batch(void *arg, struct encode_batch *batch, const struct error *failure)
{
	struct service *s = arg;

	if (serve_server_owns(s->serve, batch))
		serve_server_on_batch(s->serve, batch, failure);
	else
		pipeline_on_batch(batch, failure);
}

static void on_engine(void *arg)
{
	((struct service *)arg)->news = true; /* the lanes look at it after this turn */
}

static void on_health(void *arg, const char *name, enum encode_remote_health health,
		      const char *why)
{
	if (health == ENCODE_REMOTE_FINE)
		service_log(arg, LOG_EVENT_ENCODER_BACK, NULL, "encoder %s: encodes again%s%s",
			    name, *why ? "; " : "", why);
	else
		service_log(arg, LOG_EVENT_ENCODER_FAILED, NULL, "encoder %s: %s", name, why);
}

static void on_left_out(void *arg, const char *name, const char *why)
{
	service_log(arg, LOG_EVENT_ENCODER_FAILED, NULL,
		    "encoder %s: %s; it is left out until it is opened once more, a GPU a minute "
		    "after its first failure, or its model is loaded anew",
		    name, why);
}

static void on_back(void *arg, const char *name)
{
	service_log(arg, LOG_EVENT_ENCODER_BACK, NULL, "encoder %s: encodes again", name);
}

static int open_loop(struct service *s, struct error *err)
{
	int r = sd_event_new(&s->event);

	if (r >= 0)
		r = sd_event_add_signal(s->event, &s->on_int, SIGINT, on_end, s);
	if (r >= 0)
		r = sd_event_add_signal(s->event, &s->on_term, SIGTERM, on_end, s);
	if (r >= 0)
		r = sd_event_add_signal(s->event, &s->on_hup, SIGHUP, on_hup, s);
	if (r >= 0)
		r = sd_event_add_time_relative(s->event, &s->on_second, CLOCK_MONOTONIC, 0, 0,
					       on_second, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->on_second, SD_EVENT_ON);
	if (r >= 0)
		r = service_picture_open(s);
	if (r < 0) {
		errno = -r;
		return error_sys(err, "open the event loop");
	}
	return inbox_open(s->event, &s->inbox, err);
}

static int open_database(struct service *s, struct error *err)
{
	const struct daemon_config *c = s->config;
	const char *state = s->state_folder.path;
	struct queue *reader = NULL;
	int r;

	dataset_owner(s->owner);
	s->node = node_name(c->queue.node);
	if (c->queue.postgres)
		s->state_folder.node = s->node;
	if (state_queue_choose(state, c->queue.postgres, s->node, err) < 0 ||
	    state_queue_open(state, &s->queue, err) < 0)
		return -1;
	r = service_nodes_open(s, err);
	if (r != 0)
		return r;
	if (service_open_history(s, err) < 0 ||
	    db_open(s->inbox, s->queue, s->owner, &s->db, err) < 0 ||
	    state_queue_open_readonly(state, &reader, err) < 0)
		return -1;
	s->background_queue = db_queue_new(s->db, reader);
	return executor_open(s->inbox, "background", &s->background, err);
}

static int open_workers(struct service *s, struct error *err)
{
	const struct daemon_config *c = s->config;
	const struct engines_options engines = {
	    .model_idle_ms = c->model_idle > 0 ? (int64_t)c->model_idle : INT64_MAX,
	    .gpu_again_ms = GPU_AGAIN_MS,
	    .memory_limit = c->memory_limit,
	    .remote_memory = c->memory_limit / 4,
	    .queue = s->background_queue,
	    .db = s->db,
	    .stages = s->stages,
	    .on_batch = on_batch,
	    .on_change = on_engine,
	    .on_health = on_health,
	    .on_left_out = on_left_out,
	    .on_back = on_back,
	    .arg = s};
	struct decode_pool_options pool = {
	    .workers = service_decode_workers(c), .slot_bytes = 3, .stages = s->stages};

	pipeline_decode_options(&pool);
	s->memory.limit = c->memory_limit;
	if (decode_pool_open(s->event, &pool, &s->pool, err) < 0)
		return -1;
	if (engines_open(s->inbox, c->encoders, c->n_encoders, &engines, &s->engines, err) < 0)
		return -1;
	s->last_minute = service_stages_new(s);
	return 0;
}

static int open_api(struct service *s, struct error *err)
{
	const struct api_context context = {s->board,	service_commands_request, s->commands,
					    s->history, daemon_log_lines(s->log), s->pictures};

	return api_server_open(&s->config->api, &context, &s->api, err);
}

static void say_ready(struct service *s)
{
	cleanup_free char *url = api_server_url(s->api);

	sd_notifyf(0, "READY=1\nSTATUS=%zu dataset%s", s->n_lanes, s->n_lanes == 1 ? "" : "s");
	service_log(s, LOG_EVENT_STARTED, NULL, "version %s, %zu dataset%s, steered through %s",
		    LATENTD_VERSION, s->n_lanes, s->n_lanes == 1 ? "" : "s", s->config->api.socket);
	if (url)
		service_log(s, LOG_PLAIN_INFO, NULL, "dashboard at %s", url);
}

static int open_all(struct service *s, struct error *err)
{
	int r = open_loop(s, err);

	if (r == 0)
		r = open_database(s, err);
	if (r == 0)
		r = open_workers(s, err);
	if (r != 0)
		return r;
	s->board = status_board_new();
	s->pictures = api_pictures_new();
	s->commands = service_commands_new(s);
	s->watchdog = service_watchdog_new(s);
	s->shared = (struct lane_shared){.event = s->event,
					 .inbox = s->inbox,
					 .db = s->db,
					 .background = s->background,
					 .queue = s->background_queue,
					 .outputs = &s->outputs,
					 .state = &s->state_folder,
					 .owner = s->owner,
					 .pool = s->pool,
					 .memory = &s->memory,
					 .engines = s->engines,
					 .stages = s->stages,
					 .part = s->options.part,
					 .poll_ms = (int64_t)s->config->queue.poll,
					 .upkeep_ms = (int64_t)s->config->queue.upkeep,
					 .log = write_log,
					 .arg = s};
	if (service_open_serve(s, err) < 0 || service_open_webhook(s, err) < 0)
		return -1;
	s->state = s->options.once ? SERVICE_DRAINING : SERVICE_RUNNING;
	for (size_t i = 0; i < s->config->n_datasets; i++)
		service_add_lane(s, &s->config->datasets[i]);
	if (service_listen_open(s, err) < 0)
		return -1;
	/* Whoever comes early is answered with a picture that has the datasets. */
	service_publish(s);
	if (open_api(s, err) < 0)
		return -1;
	say_ready(s);
	return 0;
}

/* -- closing: the same way back, safe at any point ---------------------------------------------------- */

static void close_lanes(struct service *s)
{
	for (size_t i = 0; i < s->n_lanes; i++)
		lane_free(s->lanes[i]);
	for (size_t i = 0; i < s->n_leaving; i++)
		lane_free(s->leaving[i]);
	free(s->lanes);
	free(s->leaving);
	free(s->order);
}

static void close_all(struct service *s)
{
	if (s->commands)
		service_commands_close(s->commands);
	api_server_close(s->api);
	api_pictures_free(s->pictures);
	serve_server_close(s->serve);
	service_commands_free(s->commands);
	service_listen_close(s);
	service_close_webhook(s);
	status_board_free(s->board);
	close_lanes(s);
	if (s->abandons_load)
		engines_abandon(s->engines);
	else
		engines_close(s->engines);
	decode_pool_close(s->pool);
	service_close_disks(s);
	executor_close(s->background);
	queue_close(s->background_queue);
	db_close(s->db);
	if (!s->abandons_load) /* it may still come back there */
		inbox_close(s->inbox);
	service_watchdog_free(s->watchdog);
	service_stages_free(s->last_minute);
	sd_event_source_disable_unref(s->on_int);
	sd_event_source_disable_unref(s->on_term);
	sd_event_source_disable_unref(s->on_hup);
	sd_event_source_disable_unref(s->on_second);
	sd_event_source_disable_unref(s->on_picture);
	if (!s->abandons_load)
		sd_event_unref(s->event);
	service_close_history(s);
	service_nodes_close(s);
	queue_close(s->queue);
	outputs_close(&s->outputs);
	daemon_log_keep_end(s->log);
	state_folder_close(&s->state_folder);
	stage_meter_free(s->stages);
	free(s->node);
	free(s->full);
	free(s->reload_error);
	if (s->abandons_load)
		return;
	for (size_t i = 0; i < s->n_old; i++)
		daemon_config_free(s->old_configs[i]);
	free(s->old_configs);
	daemon_config_free(s->config);
	daemon_log_free(s->log);
}

int service_run(struct daemon_config *config, const struct service_options *options,
		struct error *err)
{
	struct service s = {.config = config,
			    .options = *options,
			    .state = SERVICE_STARTING,
			    .started_at = clock_wall_ms(),
			    .state_folder = STATE_FOLDER_INIT,
			    .outputs = OUTPUTS_INIT};
	struct error lost = ERROR_INIT;
	int r;

	s.log = daemon_log_new();
	daemon_log_set(s.log, config->log_level, config->log_format);
	s.stages = stage_meter_new();
	program_block_signals(true);
	r = state_folder_open(config->state_dir, config->api.socket, &s.state_folder, err);
	if (r == OUTPUT_BUSY) {
		fprintf(stderr, "latentd: %s\n", s.state_folder.owner);
		r = EXIT_BUSY;
	} else if (r == 0) {
		if (daemon_log_keep(s.log, s.state_folder.path, &lost) < 0)
			service_log(&s, LOG_PLAIN_WARNING, NULL, "what is said is not kept: %s",
				    lost.message);
		r = open_all(&s, err);
		if (r == 0)
			r = turn_loop(&s, err);
		else if (r == SERVICE_ENDED)
			r = options->once ? EXIT_INTERRUPTED : EXIT_OK;
		if (r < 0)
			daemon_log_keep_last(s.log, err->message);
	}
	close_all(&s);
	if (s.abandons_load)
		_exit(r);
	return r;
}

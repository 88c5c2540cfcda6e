/*
 * What the parts of the service share; nobody else includes it.
 *
 *	service.c            opening, the loop, closing
 *	service_turn.c       whose turn it is
 *	service_end.c        when it ends, and how
 *	service_commands.c   what the API asks for
 *	service_disks.c      which of them are full
 *	service_reload.c     another configuration
 *	service_picture.c    what people see
 *	service_stages.c     what limits it
 *	service_nodes.c      which other machines share the queue
 *	service_listen.c     what they say
 *	service_serve.c      the server for others, beside the lanes
 *	service_webhook.c    messages to those who do not look
 *	service_watchdog.c   systemd, and whether the threads get on
 */
#ifndef LATENTD_DAEMON_SERVICE_PARTS_H
#define LATENTD_DAEMON_SERVICE_PARTS_H

#include "daemon/api_server.h"
#include "daemon/daemon_log.h"
#include "daemon/history.h"
#include "daemon/lane.h"
#include "daemon/notices.h"
#include "daemon/serve_server.h"
#include "daemon/service.h"
#include "daemon/service_stages.h"
#include "daemon/webhook.h"

#include <pthread.h>
#include <stdatomic.h>

struct service {
	struct daemon_config *config;
	struct daemon_config **old_configs; /* lanes and encoders may still use their text */
	size_t n_old, old_capacity;
	struct service_options options;
	enum service_state state;
	int64_t started_at; /* wall clock */

	struct state_folder state_folder;
	char owner[QUEUE_OWNER_SIZE];
	char *node; /* what this machine is called */
	struct queue *queue;
	sd_event *event;
	sd_event_source *on_int, *on_term, *on_hup, *on_second, *on_picture;
	struct inbox *inbox;
	struct db *db;
	struct history *history;
	struct executor *background;
	struct service_disk **disks; /* how full they are */
	size_t n_disks, disks_capacity;
	struct queue *background_queue;
	struct outputs outputs;
	struct decode_pool *pool;
	struct memory_budget memory;
	struct engines *engines;
	struct stage_meter *stages;
	struct service_stages *last_minute;
	struct lane_shared shared;
	struct lane **lanes; /* in the order of the configuration */
	size_t n_lanes, lanes_capacity;
	struct lane **leaving; /* of datasets that are no longer configured */
	size_t n_leaving, leaving_capacity;
	struct lane **order; /* of a turn: who goes first */

	struct service_nodes *nodes;	   /* NULL: the queue is not shared */
	struct service_listener *listener; /* likewise */
	struct serve_server *serve;	   /* NULL: nothing is served */
	bool encoders_cancelled;	   /* at the end */
	bool abandons_load; /* then too: the thread that loads a model is left to itself */

	struct webhook *webhook;
	struct notices *notices;

	struct status_board *board;
	int64_t published_at; /* monotonic */
	bool news;	      /* of what is no lane's */
	struct api_server *api;
	struct api_pictures *pictures;
	struct service_commands *commands;
	char *full; /* why nothing new is begun: a disk is full */
	int64_t reloaded_at;
	char *reload_error;
	struct service_watchdog *watchdog;
	struct daemon_log *log;
	bool signalled; /* to end: a second time ends it at once */
	bool warned;	/* that decoders are not confined */
	int exit_code;
	int64_t stopping_at; /* monotonic */
};

/* -- service.c -------------------------------------------------------------------------------------- */

/* @dataset: NULL where it is about none. */
void service_log(struct service *s, enum log_event event, const char *dataset, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* NULL: there is none. */
struct lane *service_lane(const struct service *s, const char *name);
void service_add_lane(struct service *s, const struct dataset_config *config);
/* As many as @config says or, where it leaves that open, as the encoders leave cores for. */
size_t service_decode_workers(const struct daemon_config *config);

/* -- service_turn.c --------------------------------------------------------------------------------- */

/* After each turn of the loop: what can go on does, in the order of who is to go first. */
void service_pump_lanes(struct service *s);

/* -- service_end.c ---------------------------------------------------------------------------------- */

/* Ends in order; the exit code is @code unless one is set already. */
void service_stop(struct service *s, int code);
/*
 * With `once`, or after a drain of everything: stops when every lane is done, or cannot go on. True: that is now.
 */
bool service_end_drain(struct service *s);
/*
 * It was stopped, and everything has come back, but for a model's load perhaps, which is abandoned. What has not after
 * SERVICE_STOP_MS is left: it does not return then.
 */
bool service_has_ended(struct service *s);

/* -- service_commands.c ----------------------------------------------------------------------------- */

struct service_commands *service_commands_new(struct service *s);
/* service_request_fn; @arg is the struct service_commands. Any thread. */
int service_commands_request(void *arg, const struct service_request *request,
			     struct service_reply *reply, struct error *err);
/* Whoever waits is answered with ERR_TRANSIENT, and whoever comes. From the loop's thread. */
void service_commands_close(struct service_commands *c);
/* When nobody can call any more. NULL is fine. */
void service_commands_free(struct service_commands *c);

/* -- service_reload.c ------------------------------------------------------------------------------- */

/* 0 with the number of changes in reply->count and a line about what waits for a restart; or ERR_CONFIG. */
int service_reload(struct service *s, struct service_reply *reply, struct error *err);

/* -- service_disks.c -------------------------------------------------------------------------------- */

struct service_disk;

/* Once a second. */
void service_check_disks(struct service *s);
/* After the datasets. */
void service_picture_disks(const struct service *s, struct service_status *p);
/* One of them has not answered yet. */
bool service_awaits_disks(const struct service *s);
/* None may be awaited any more, or this waits for it. */
void service_close_disks(struct service *s);

/* -- service_picture.c ------------------------------------------------------------------------------ */

/* With what an earlier process kept of its history. The queue must be nobody else's yet. */
int service_open_history(struct service *s, struct error *err);
/* Keeps what is new of it. The queue must be nobody else's any more. */
void service_close_history(struct service *s);
/* 0, or a negative errno as of sd_event. */
int service_picture_open(struct service *s);
void service_publish(struct service *s);
/* After each turn: publishes what is new, or makes the loop turn when that is due. */
void service_follow_news(struct service *s);

/* -- service_nodes.c -------------------------------------------------------------------------------- */

#define SERVICE_ENDED 1 /* a signal asked for it before it began */

/*
 * With the queue open and still nobody else's: makes this node known. Where another process had the name, on another machine or
 * with another state folder, it waits until that is silent for long enough; ERR_CONFIG: it is alive. Where the queue is not shared
 * it does nothing.
 */
int service_nodes_open(struct service *s, struct error *err);
/* Once a second: says that it is alive, and does what it is told. */
void service_nodes_tick(struct service *s);
/* With the queue nobody else's any more: others need not wait. */
void service_nodes_close(struct service *s);
/* Its part of @p, whose datasets are there already. */
void service_picture_node(const struct service *s, struct service_status *p);

/* -- service_listen.c ------------------------------------------------------------------------------- */

/* Where the queue is shared: lanes are told from now on what others make available. */
int service_listen_open(struct service *s, struct error *err);
/* Before the inbox. */
void service_listen_close(struct service *s);
/* Why lanes are not told; NULL: they are, or nobody could. */
const char *service_listen_why(const struct service *s);

/* -- service_serve.c -------------------------------------------------------------------------------- */

int service_open_serve(struct service *s, struct error *err);
/* What people see of it, if there is one. */
void service_picture_serve(const struct service *s, struct service_serve *out);
/*
 * The server shares encoders with the lanes as if it were one of them: by priority, equal ones by pixels, and where
 * that is equal too it goes first, because somebody waits.
 */
bool service_serve_goes_before(const struct service *s, const struct lane *l);
/* As lanes that had nothing to do it has no claim to what they had, @least at least. */
void service_forgive_serve(struct service *s, uint64_t least);
/* After service_stop(): encoders are cancelled as soon as no request waits for them any more, or not for longer. */
void service_end_serve(struct service *s);

/* -- service_webhook.c ------------------------------------------------------------------------------ */

int service_open_webhook(struct service *s, struct error *err);
/* After another configuration is in force. */
void service_reload_webhook(struct service *s);
/* At the end of a picture: tells what it shows, and adds what has become of that. */
void service_picture_webhook(struct service *s, struct service_status *p);
/* What waits may still go, for a few seconds. */
void service_close_webhook(struct service *s);

/* -- service_watchdog.c ----------------------------------------------------------------------------- */

struct service_watchdog *service_watchdog_new(struct service *s);
/* Once a second. */
void service_watchdog_tick(struct service_watchdog *w);
/* NULL is fine. */
void service_watchdog_free(struct service_watchdog *w);
/* What systemd shows of it. */
void service_say_status(const struct service *s);

#endif

/*
 * The server that encodes for others, put together: what stands in `serve:` of a configuration, or `latentd serve` alone.
 *
 *	serve_server_open(&shared, options, &server, err)    takes connections from now on
 *	after each turn of the loop: serve_server_pump(server); once a second serve_server_tick(server)
 *	if (serve_server_owns(server, batch)) serve_server_on_batch(server, batch, failure)
 *	serve_server_stop(server)
 *	serve_server_is_done(server)              then serve_server_close(server)
 *
 * Loop, decode workers, memory and encoders are shared with whoever else is on the loop. Everything is of its thread.
 */
#ifndef LATENTD_DAEMON_SERVE_SERVER_H
#define LATENTD_DAEMON_SERVE_SERVER_H

#include "config/daemon_config.h"
#include "config/serve_options.h"
#include "daemon/decode_pool.h"
#include "daemon/engines.h"
#include "daemon/log_event.h"
#include "daemon/memory_budget.h"
#include "daemon/serve_stats.h"

struct serve_server;

struct serve_shared {
	sd_event *event;
	struct inbox *inbox;
	struct decode_pool *pool;
	struct memory_budget *memory;
	struct engines *engines;
	/* One line for people, any thread. */
	void (*log)(void *arg, enum log_event event, const char *dataset, const char *line);
	void *arg;
};

/* @options outlive it. Errors of serve_listen_open(). */
int serve_server_open(const struct serve_shared *shared, const struct serve_options *options,
		      struct serve_server **out, struct error *err);
void serve_server_pump(struct serve_server *s);
void serve_server_tick(struct serve_server *s);
bool serve_server_owns(const struct serve_server *s, const struct encode_batch *batch);
void serve_server_on_batch(struct serve_server *s, struct encode_batch *batch,
			   const struct error *failure);
/* "http://127.0.0.1:8188" */
const char *serve_server_url(const struct serve_server *s);
/* Requests are taken: not outside the hours of its encoders. */
bool serve_server_is_ready(const struct serve_server *s);
/* Why the model could not be loaded; NULL: it could, or is being loaded. It is tried again every half a minute. */
const struct error *serve_server_failure(const struct serve_server *s);

/* What people see of it. */
struct serve_view {
	const char *model; /* NULL: not known yet */
	bool ready, stopping;
	const struct error *failure;	  /* serve_server_failure() */
	const struct work_hours *resting; /* engine_rests() */
	size_t connections, in_flight;	  /* requests to encode */
	struct serve_sums sums;
	double images_per_second; /* over the last minute */
};

void serve_server_view(struct serve_server *s, struct serve_view *view);

/* Pixels given to encoders, as lane_served(); something waits for them. */
uint64_t serve_server_served(const struct serve_server *s);
void serve_server_set_served(struct serve_server *s, uint64_t pixels);
bool serve_server_is_busy(const struct serve_server *s);

/*
 * No more connections and no more requests; what is under way is answered within options->stop_timeout, and after that
 * with 503 as soon as the encoders give it back: they are to be cancelled once serve_server_is_patient() is false.
 */
void serve_server_stop(struct serve_server *s);
bool serve_server_is_patient(const struct serve_server *s);
bool serve_server_is_done(const struct serve_server *s);
/* NULL is fine. */
void serve_server_close(struct serve_server *s);

#endif

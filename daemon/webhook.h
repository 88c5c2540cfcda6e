/*
 * Sends messages to a server that may be slow, wrong or gone, and never lets anybody here wait for it.
 *
 *	w = webhook_new(on_line, arg)
 *	webhook_set(w, &options, err)               whom; also while it runs
 *	webhook_post(w, body)                       a message, JSON
 *	webhook_close(w, WEBHOOK_END_MS)            what waits may still go, for so long
 *
 * Messages go one after another, in their order, from a thread that exists once there is somebody to tell. One that did not
 * arrive is sent again, after pauses that grow to a minute, until it does; so it may arrive twice, and has an id. One that the server
 * refuses for what it is (400, 409, 413, 415, 422 and the like) is lost, and so is the oldest where more than WEBHOOK_MOST wait.
 */
#ifndef LATENTD_DAEMON_WEBHOOK_H
#define LATENTD_DAEMON_WEBHOOK_H

#include "config/daemon_config.h"
#include "daemon/log_event.h"

#define WEBHOOK_MOST	   64
#define WEBHOOK_TIMEOUT_MS 10000 /* of a request */
#define WEBHOOK_END_MS	   3000

struct webhook;

/* For the log; on the webhook's thread. */
typedef void (*webhook_line_fn)(void *arg, enum log_event event, const char *line);

struct webhook *webhook_new(webhook_line_fn line, void *arg);
/*
 * Copies what it needs; url NULL: nobody is told, and what waits is dropped. Else what waits goes to the new one.
 * ERR_TRANSIENT and kin: no thread can be had.
 */
int webhook_set(struct webhook *w, const struct webhook_options *options, struct error *err);
/* Takes @body, malloc. From any thread, at once. */
void webhook_post(struct webhook *w, char *body);

struct webhook_view {
	char *server; /* "https://host": a path may be secret. To be freed; NULL: nobody is told */
	size_t waiting;
	uint64_t sent, lost; /* messages, since the beginning */
	char *why;	     /* the last try failed; to be freed; NULL: it did not */
};

void webhook_view(struct webhook *w, struct webhook_view *view);
/* NULL is fine. */
void webhook_close(struct webhook *w, int64_t within_ms);

#endif

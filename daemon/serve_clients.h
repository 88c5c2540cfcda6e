/*
 * The connections of a server over HTTP, and how long each may take. libmicrohttpd closes those on which nothing happens; one on
 * which a byte comes every few seconds is closed here, so that a few slow clients cannot hold every connection. So are
 * those whose client has hung up: libmicrohttpd does not notice that where it comes together with the last bytes.
 */
#ifndef LATENTD_DAEMON_SERVE_CLIENTS_H
#define LATENTD_DAEMON_SERVE_CLIENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum serve_client_stage {
	CLIENT_IDLE,	  /* no request line is complete */
	CLIENT_RECEIVING, /* a request is coming in */
	CLIENT_WAITING,	  /* for us: as long as that takes */
	CLIENT_SENDING,	  /* its answer is on the way */
};

struct serve_client {
	int fd;
	enum serve_client_stage stage;
	int64_t until; /* monotonic ms */
	bool hung_up;  /* when it was looked at last, in this stage */
	struct serve_client *next, *before;
};

struct serve_clients {
	int64_t idle_ms; /* until the request line is complete */
	pthread_mutex_t mutex;
	struct serve_client *first;
	size_t n;
};

/* @idle_ms: what a client has for a request line, from its connection or its last answer on. */
void serve_clients_init(struct serve_clients *c, int64_t idle_ms);
/* None may be left. */
void serve_clients_release(struct serve_clients *c);
/* @fd stays open until remove. */
struct serve_client *serve_clients_add(struct serve_clients *c, int fd);
void serve_clients_remove(struct serve_clients *c, struct serve_client *client);
/* @bytes: what is to come or go in this stage, for which it gets time. */
void serve_clients_stage(struct serve_clients *c, struct serve_client *client,
			 enum serve_client_stage stage, size_t bytes);
/* Shuts the sockets of those whose time is over at @now (monotonic ms), or who are gone. Every second. */
void serve_clients_check(struct serve_clients *c, int64_t now);
size_t serve_clients_count(struct serve_clients *c);

#endif

/*
 * An API server over a service that only notes what it is asked: a board with two datasets, of which `photos` has a
 * database with six images, and a socket in a folder of its own.
 */
#ifndef LATENTD_TESTS_API_RIG_H
#define LATENTD_TESTS_API_RIG_H

#include "daemon/api_events.h"
#include "daemon/api_server.h"

#include <pthread.h>

struct api_rig {
	char *socket, *state, *database;
	const char *listen; /* over TCP as well; NULL: the socket alone */
	int64_t photos;	    /* its number in the database */
	struct status_board *board;
	struct history *history;
	struct event_log *log;
	struct api_pictures *pictures;
	struct api_server *server; /* NULL: not started */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* What was asked last, of how many. */
	size_t asked;
	struct service_request request;
	char *dataset, *reason, *key;
	bool print; /* each request, on stdout */
	/* What is answered. */
	bool hold; /* until api_rig_release */
	int outcome;
	enum error_code error;
	struct service_reply reply;
};

/* In @dir, which stays the caller's. Ends the process where that fails. */
void api_rig_open(struct api_rig *rig, const char *dir);
void api_rig_close(struct api_rig *rig);
/* Serves; ends the process where that fails. */
void api_rig_serve(struct api_rig *rig);
/* A picture as a busy daemon gives it. */
struct service_status *api_rig_status(const struct api_rig *rig);
/* Waits until @n requests have come. */
void api_rig_wait_asked(struct api_rig *rig, size_t n);
/* Lets those go on that are held. */
void api_rig_release(struct api_rig *rig);

#endif

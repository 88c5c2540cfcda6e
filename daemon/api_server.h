/*
 * The API over HTTP/1.1 on a Unix socket (api_socket.h: who may write to it may steer), and on TCP where that is asked
 * for (api_guard.h: who may there); with the dashboard (api_web.h) and its events (api_events.h).
 *
 *	api_server_open(&options, &server, err)     serves from now on, with threads of its own
 *	...
 *	api_server_close(server)
 *
 * Each connection has a thread: an answer may wait for the loop or for the disk, and nobody else's status may wait
 * with it. Threads are there only while somebody is connected, at most API_CONNECTIONS; further clients wait.
 *
 * Close waits for the requests that are under way, so whoever calls it sees to it that options.request returns (the
 * service answers what waits with ERR_TRANSIENT).
 */
#ifndef LATENTD_DAEMON_API_SERVER_H
#define LATENTD_DAEMON_API_SERVER_H

#include "daemon/api_routes.h"

#define API_CONNECTIONS	 64
#define API_IDLE_S	 30	    /* a connection on which nothing happens is closed */
#define API_HEADERS_MAX	 (32 << 10) /* request line and headers, for MHD's own buffers too */
#define API_BODY_MAX	 (64 << 10)
#define API_CAPTIONS_MAX (4 << 20) /* a body of .../captions */

struct api_options {
	const char *socket;	/* path */
	unsigned mode;		/* of it: 0660 */
	const char *group;	/* NULL: the process's */
	const char *listen;	/* HOST:PORT on this machine, TCP; NULL: the socket alone */
	const char *token_file; /* for changes over TCP; NULL: there are none */
	struct api_context context;
};

struct api_server;

/* Errors of api_socket_open and serve_listen_open. */
int api_server_open(const struct api_options *options, struct api_server **out, struct error *err);
/* Where it is reached over TCP, "127.0.0.1:8190"; NULL: nowhere. */
const char *api_server_address(const struct api_server *server);
/* Nobody finds it any more; for a process that ends without closing. */
void api_server_unlink(const struct api_server *server);
/* NULL is fine. */
void api_server_close(struct api_server *server);

#endif

/*
 * The API over HTTP/1.1 on a Unix socket (api_socket.h: who may write to it may steer), and on TCP where that is asked
 * for (api_guard.h: who may there); with the dashboard (api_web.h) and its events (api_events.h).
 *
 *	api_server_open(&config, &context, &server, err)     serves from now on, with threads of its own
 *	api_server_tick(server, clock_mono_ms())             once a second: closes those of slow clients
 *	api_server_close(server)
 *
 * Each connection has a thread: an answer may wait for the loop or for the disk, and nobody else's status may wait
 * with it. Threads are there only while somebody is connected, at most API_CONNECTIONS on the socket and as many on TCP, of
 * which one address has API_PER_ADDRESS where addresses tell clients apart; further connections are closed at once. A
 * connection has API_IDLE_S for the line of a request, however many bytes come meanwhile, and serve_clients.h says how
 * long for the rest. What clients over TCP do leaves the socket as it is, so that latentctl always gets through.
 *
 * Close waits for the requests that are under way, so whoever calls it sees to it that context.request returns (the
 * service answers what waits with ERR_TRANSIENT).
 */
#ifndef LATENTD_DAEMON_API_SERVER_H
#define LATENTD_DAEMON_API_SERVER_H

#include "config/api_config.h"
#include "daemon/api_routes.h"

#define API_CONNECTIONS	 64
#define API_PER_ADDRESS	 32
#define API_IDLE_S	 30	    /* a connection on which nothing happens is closed */
#define API_HEADERS_MAX	 (32 << 10) /* request line and headers, for MHD's own buffers too */
#define API_BODY_MAX	 (64 << 10)
#define API_CAPTIONS_MAX (4 << 20) /* a body of .../captions */

struct api_server;

/*
 * @config is read only meanwhile, but for the texts in its hosts. Errors of api_socket_open and serve_listen_open;
 * ERR_CONFIG too where other machines would reach it without TLS, here or in a proxy.
 */
int api_server_open(const struct api_config *config, const struct api_context *context,
		    struct api_server **out, struct error *err);
/* Where it is reached over TCP, "http://127.0.0.1:8190/", to be freed; NULL: nowhere. */
char *api_server_url(const struct api_server *server);
/* @now: monotonic ms. NULL is fine. */
void api_server_tick(struct api_server *server, int64_t now);
/* Nobody finds it any more; for a process that ends without closing. */
void api_server_unlink(const struct api_server *server);
/* NULL is fine. */
void api_server_close(struct api_server *server);

#endif

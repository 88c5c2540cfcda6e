/*
 * What libmicrohttpd does: HTTP, threads, limits on headers and time. What happens here: a request is gathered whole,
 * with the URI as it was sent, and handed to api_handle().
 */
#include "daemon/api_server.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include "daemon/api_events.h"
#include "daemon/api_guard.h"
#include "daemon/api_socket.h"
#include "daemon/api_web.h"
#include "daemon/http_send.h"
#include "daemon/serve_clients.h"

#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <string.h>

/* A place where clients come in. Those of one take nothing from those of the other: neither connections nor events. */
struct side {
	struct api_server *server;
	struct MHD_Daemon *http; /* NULL: nobody comes in here */
	struct serve_clients clients;
	struct api_events *events;
};

struct api_server {
	struct api_context context;
	struct api_socket socket;
	struct api_door door;
	struct side local, tcp;
};

/* One request, from its first line to its answer. */
struct request {
	struct side *side;
	struct serve_client *client;
	char *uri;
	struct buffer body;
	bool begun; /* its headers have been seen */
};

/* Called when the request line is there; what it returns is on_request's *state. */
static void *on_uri(void *arg, const char *uri, struct MHD_Connection *connection)
{
	struct request *request = xcalloc(1, sizeof(*request));

	request->side = arg;
	request->client =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
	request->uri = xstrdup(uri);
	serve_clients_stage(&request->side->clients, request->client, CLIENT_RECEIVING, 0);
	return request;
}

static void on_end(void *arg, struct MHD_Connection *connection, void **state,
		   enum MHD_RequestTerminationCode how)
{
	struct request *request = *state;

	(void)arg;
	(void)connection;
	(void)how;
	if (!request)
		return;
	serve_clients_stage(&request->side->clients, request->client, CLIENT_IDLE, 0);
	free(request->uri);
	buffer_release(&request->body);
	free(request);
	*state = NULL;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct side *side = arg;

	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		*context = serve_clients_add(
		    &side->clients,
		    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
			->connect_fd);
	else
		serve_clients_remove(&side->clients, *context);
}

static size_t body_max(const struct request *request)
{
	static const char end[] = "/captions";
	size_t n = strlen(request->uri);

	return n >= strlen(end) && strcmp(request->uri + n - strlen(end), end) == 0
		   ? API_CAPTIONS_MAX
		   : API_BODY_MAX;
}

/* Whether the headers announce a body that is too large. */
static bool announces_too_much(const struct request *request, struct MHD_Connection *connection)
{
	const char *size = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_CONTENT_LENGTH);

	return size && (strlen(size) > 9 || strtoul(size, NULL, 10) > body_max(request));
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* For how long depends on whoever reads it. */
static enum MHD_Result send_answer(struct MHD_Connection *connection, const struct request *request,
				   struct http_answer *answer)
{
	serve_clients_stage(&request->side->clients, request->client, CLIENT_SENDING,
			    answer->body.size);
	return http_answer_send(connection, answer);
}

static enum MHD_Result refuse(struct MHD_Connection *connection, const struct request *request,
			      unsigned status, const char *why)
{
	struct http_answer answer = HTTP_ANSWER_INIT;

	api_error(&answer, status, why);
	return send_answer(connection, request, &answer);
}

/* A browser asks the person in front of it, where that is of use: to read. */
static enum MHD_Result refuse_visit(struct MHD_Connection *connection,
				    const struct request *request, const struct api_visit *visit,
				    unsigned status, const char *why)
{
	struct http_answer answer = HTTP_ANSWER_INIT;

	api_error(&answer, status, why);
	if (status == MHD_HTTP_UNAUTHORIZED && api_visit_reads(visit))
		http_answer_header(&answer, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
				   "Basic realm=\"latentd: the user is " SERVE_USER
				   ", the password the token\", charset=\"UTF-8\"");
	return send_answer(connection, request, &answer);
}

static enum MHD_Result send_events(struct MHD_Connection *connection, const struct request *request)
{
	struct MHD_Response *response = api_events_response(request->side->events);
	enum MHD_Result r;

	if (!response)
		return refuse(connection, request, MHD_HTTP_SERVICE_UNAVAILABLE,
			      "too many listen already: close another page");
	r = MHD_queue_response(connection, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return r;
}

/* A request that has come whole. */
static enum MHD_Result answer_request(struct MHD_Connection *connection, const char *method,
				      const struct request *request)
{
	struct http_answer answer = HTTP_ANSWER_INIT;
	struct api_call call = {.method = method,
				.uri = request->uri,
				.accept = header(connection, MHD_HTTP_HEADER_ACCEPT),
				.body = request->body.data,
				.body_size = request->body.size};
	bool get = strcmp(method, "GET") == 0, reads = get || strcmp(method, "HEAD") == 0;

	serve_clients_stage(&request->side->clients, request->client, CLIENT_WAITING, 0);
	if (get && strcmp(request->uri, API_EVENTS_PATH) == 0)
		return send_events(connection, request);
	if (!reads || !api_web_file(request->uri, &answer))
		api_handle(&request->side->server->context, &call, &answer);
	return send_answer(connection, request, &answer);
}

/*
 * Called with the headers, then with each piece of the body, then once more. MHD_NO closes the connection: nothing
 * else can be done about a body that is too large without having said so.
 */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *piece,
				  size_t *piece_size, void **state)
{
	struct request *request = *state;

	(void)arg;
	(void)url;
	(void)version;
	if (!request->begun) {
		request->begun = true;
		return announces_too_much(request, connection)
			   ? refuse(connection, request, MHD_HTTP_CONTENT_TOO_LARGE,
				    "the body is larger than 64 KiB, or 4 MiB of captions")
			   : MHD_YES;
	}
	if (*piece_size > 0) {
		if (*piece_size > body_max(request) - request->body.size)
			return MHD_NO;
		buffer_append(&request->body, piece, *piece_size);
		*piece_size = 0;
		return MHD_YES;
	}
	return answer_request(connection, method, request);
}

static enum MHD_Result on_tcp_request(void *arg, struct MHD_Connection *connection, const char *url,
				      const char *method, const char *version, const char *piece,
				      size_t *piece_size, void **state)
{
	const struct side *side = arg;
	const struct api_visit visit = {method,
					header(connection, MHD_HTTP_HEADER_HOST),
					header(connection, MHD_HTTP_HEADER_ORIGIN),
					header(connection, MHD_HTTP_HEADER_AUTHORIZATION),
					header(connection, "Sec-Fetch-Site"),
					header(connection, "Sec-Fetch-Dest")};
	const struct request *request = *state;
	const char *why = NULL;
	unsigned status = request->begun ? 0 : api_guard(&side->server->door, &visit, &why);

	if (status != 0)
		return refuse_visit(connection, request, &visit, status, why);
	return on_request(arg, connection, url, method, version, piece, piece_size, state);
}

/*
 * *fd is MHD's from then on, and closed where it cannot serve. @tls: its certificate and key; NULL: plain HTTP. @each: the
 * connections of one address; 0: as many as of all.
 */
static bool start_http(struct side *side, int *fd, const struct MHD_OptionItem *tls, unsigned each,
		       MHD_AccessHandlerCallback handler)
{
	const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
	unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION |
			 MHD_USE_ITC | (tls ? MHD_USE_TLS : 0);
	sigset_t all, before;

	/* Its threads take the mask over: signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	side->http = MHD_start_daemon(
	    flags, 0, NULL, NULL, handler, side, MHD_OPTION_LISTEN_SOCKET, *fd,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)API_CONNECTIONS,
	    MHD_OPTION_PER_IP_CONNECTION_LIMIT, each, MHD_OPTION_CONNECTION_TIMEOUT,
	    (unsigned)API_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)API_HEADERS_MAX,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, on_uri, side,
	    MHD_OPTION_NOTIFY_COMPLETED, on_end, side, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
	    side, MHD_OPTION_ARRAY, tls ? tls : none, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	*fd = -1;
	return side->http != NULL;
}

static void side_init(struct side *side, struct api_server *server)
{
	side->server = server;
	serve_clients_init(&side->clients, API_IDLE_S * 1000);
	side->events = api_events_new(server->context.board, server->context.log);
}

static void side_release(struct side *side)
{
	if (side->http)
		MHD_stop_daemon(side->http);
	api_events_free(side->events);
	serve_clients_release(&side->clients);
}

static int open_tcp(struct api_server *server, const struct api_config *config, struct error *err)
{
	const struct serve_options options = {.listen = config->listen,
					      .token_file = config->token_file,
					      .tls_cert = config->tls_cert,
					      .tls_key = config->tls_key};
	struct serve_listen *l = &server->door.listen;
	unsigned each;
	struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, NULL},
				       {MHD_OPTION_HTTPS_MEM_KEY, 0, NULL},
				       {MHD_OPTION_HTTPS_PRIORITIES, 0, (char *)SERVE_TLS},
				       {MHD_OPTION_END, 0, NULL}};

	if (serve_listen_open(&options, l, err) < 0)
		return error_wrap(err, "api");
	if (!l->loopback && !l->cert && !config->behind_proxy)
		return error_set(err, ERR_CONFIG,
				 "api: listen: other machines reach %s without TLS: expected "
				 "tls_cert and tls_key",
				 l->address);
	tls[0].ptr_value = l->cert;
	tls[1].ptr_value = l->key;
	server->door.hosts = config->hosts;
	server->door.published = !l->loopback || config->behind_proxy;
	/* All who come through a proxy, or from this machine, have one address. */
	each = l->loopback || config->behind_proxy ? 0 : API_PER_ADDRESS;
	if (start_http(&server->tcp, &l->fd, l->cert ? tls : NULL, each, on_tcp_request))
		return 0;
	return error_set(err, ERR_CONFIG, "api: cannot serve %s%s", config->listen,
			 l->cert ? ": are tls_cert and tls_key PEM, and do they belong together?"
				 : "");
}

int api_server_open(const struct api_config *config, const struct api_context *context,
		    struct api_server **out, struct error *err)
{
	struct api_server *server = xcalloc(1, sizeof(*server));

	server->context = *context;
	server->socket = (struct api_socket)API_SOCKET_INIT;
	server->door.listen = (struct serve_listen)SERVE_LISTEN_INIT;
	if (api_socket_open(config->socket, config->mode, config->group, &server->socket, err) <
	    0) {
		free(server);
		return -1;
	}
	side_init(&server->local, server);
	side_init(&server->tcp, server);
	if (!start_http(&server->local, &server->socket.fd, NULL, 0, on_request)) {
		error_sys(err, "serve %s", config->socket);
		api_server_close(server);
		return -1;
	}
	if (config->listen && open_tcp(server, config, err) < 0) {
		api_server_close(server);
		return -1;
	}
	*out = server;
	return 0;
}

char *api_server_url(const struct api_server *server)
{
	return server->tcp.http ? xasprintf("%s://%s/", server->door.listen.cert ? "https" : "http",
					    server->door.listen.address)
				: NULL;
}

void api_server_tick(struct api_server *server, int64_t now)
{
	if (!server)
		return;
	serve_clients_check(&server->local.clients, now);
	serve_clients_check(&server->tcp.clients, now);
}

void api_server_unlink(const struct api_server *server)
{
	api_socket_unlink(&server->socket);
}

void api_server_close(struct api_server *server)
{
	if (!server)
		return;
	api_events_end(server->tcp.events);
	api_events_end(server->local.events);
	side_release(&server->tcp);
	side_release(&server->local);
	serve_listen_close(&server->door.listen);
	api_socket_close(&server->socket);
	free(server);
}

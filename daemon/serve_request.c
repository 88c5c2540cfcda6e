/*
 * One table of routes. A request is admitted by its headers: what it asks for, how large it is, and whether there is room
 * in the queue and in memory.
 */
#include "daemon/serve_http_parts.h"

#include "base/checked.h"

#include <string.h>

void serve_request_decide(struct serve_request *r, unsigned status, const char *message)
{
	serve_error_answer(&r->answer, status, message);
	r->stage = REQUEST_DECIDED;
}

void serve_request_decide_error(struct serve_request *r, const struct error *err)
{
	serve_request_decide(r, serve_error_status(err), err->message);
}

/* -- routes without a body ----------------------------------------------------------------------- */

static void answer_text(struct serve_request *r, const char *text)
{
	buffer_append_string(&r->answer.body, text);
	r->answer.type = "text/plain; charset=utf-8";
	r->answer.status = 200;
}

static void get_root(struct serve_request *r)
{
	answer_text(r, "Ok");
}

/* The mutex is held: what is not ready yet, or not any more. False: it is ready. */
static bool decide_not_ready(struct serve_request *r)
{
	const struct serve_http *h = r->http;

	if (h->stopping)
		serve_request_decide(r, 503, "the server stops");
	else if (!h->ready)
		serve_request_decide(r, 503, h->why_not ? h->why_not : "the model is being loaded");
	else
		return false;
	return true;
}

static void get_health(struct serve_request *r)
{
	if (!decide_not_ready(r))
		answer_text(r, "Ok");
}

static void get_model(struct serve_request *r)
{
	if (decide_not_ready(r))
		return;
	buffer_append_string(&r->answer.body, r->http->model);
	r->answer.status = 200;
}

static void get_metrics(struct serve_request *r)
{
	struct serve_http *h = r->http;
	const struct serve_gauges now = {.images = h->images,
					 .bytes = h->bytes,
					 .connections = serve_clients_count(&h->clients),
					 .ready = h->ready};

	serve_stats_text(h->stats, &now, &r->answer.body);
	r->answer.type = "text/plain; version=0.0.4; charset=utf-8";
	r->answer.status = 200;
}

static const struct route {
	const char *path;
	void (*get)(struct serve_request *r);
	bool encodes; /* takes a POST */
	bool open;    /* GET without a token */
} routes[] = {
    {"/", get_root, true, true},
    {"/predict", NULL, true, false},
    {"/health", get_health, false, true},
    {"/v1/model", get_model, false, false},
    {"/metrics", get_metrics, false, false},
};

static const struct route *find_route(const char *uri)
{
	size_t n = strcspn(uri, "?#");

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (strlen(routes[i].path) == n && strncmp(routes[i].path, uri, n) == 0)
			return &routes[i];
	}
	return NULL;
}

/* -- admission ----------------------------------------------------------------------------------- */

const char *serve_request_header(const struct serve_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

size_t serve_request_announced(const struct serve_request *r)
{
	const char *length = serve_request_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);

	if (serve_request_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING))
		return SIZE_MAX;
	return length ? (size_t)strtoull(length, NULL, 10) : 0;
}

/* The mutex is held. */
static void admit(struct serve_request *r, size_t size)
{
	struct serve_http *h = r->http;
	struct error err = ERROR_INIT;
	size_t body = size == SIZE_MAX ? h->options->max_body : size;
	const char *query = strchr(r->uri, '?');

	if (decide_not_ready(r))
		return;
	if (serve_ask_read(query ? query + 1 : NULL,
			   serve_request_header(r, MHD_HTTP_HEADER_ACCEPT), &h->bounds, &r->ask,
			   &err) < 0 ||
	    (size <= h->options->max_body && serve_ask_check_size(&r->ask, size, &err) < 0)) {
		serve_request_decide_error(r, &err);
	} else if (size != SIZE_MAX && size > h->options->max_body) {
		serve_request_decide(r, 413, "the body is larger than this server takes");
	} else if (body + serve_ask_bytes(&r->ask) > h->options->memory) {
		serve_request_decide(r, 413,
				     "this needs more memory than the server has for all requests");
	} else if (h->images + r->ask.n > h->options->queue) {
		serve_request_decide(r, 429, "the queue is full: try again later");
	} else if (h->bytes + body + serve_ask_bytes(&r->ask) > h->options->memory) {
		serve_request_decide(r, 429, "too much is under way: try again later");
	} else {
		h->encodes++;
		r->images = r->ask.n;
		r->bytes = body + serve_ask_bytes(&r->ask);
		h->images += r->images;
		h->bytes += r->bytes;
		r->stage = REQUEST_BODY;
	}
}

/* It is an encode, and comes in now. */
static void begin_encode(struct serve_request *r)
{
	struct error err = ERROR_INIT;
	size_t size = serve_request_announced(r);

	r->encodes = true;
	pthread_mutex_lock(&r->http->mutex);
	admit(r, size);
	pthread_mutex_unlock(&r->http->mutex);
	if (r->stage != REQUEST_BODY)
		return;
	serve_desk_expect(r->http->desk);
	r->expected = true;
	if (size != SIZE_MAX && buffer_reserve(&r->body, size, &err) < 0)
		serve_request_decide_error(r, &err);
}

void serve_request_begin(struct serve_request *r, const char *method)
{
	const struct route *route = find_route(r->uri);
	bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
	bool post = strcmp(method, "POST") == 0;
	bool open = route && route->open && get;

	if (!open && !serve_listen_admits(r->http->listen,
					  serve_request_header(r, MHD_HTTP_HEADER_AUTHORIZATION))) {
		serve_request_decide(r, 401,
				     "this endpoint wants its token: Authorization: Bearer TOKEN");
	} else if (!route) {
		serve_request_decide(
		    r, 404, "there is no such path: POST / encodes, GET /v1/model tells what with");
	} else if (post && route->encodes) {
		begin_encode(r);
	} else if (get && route->get) {
		r->stage = REQUEST_DECIDED;
		pthread_mutex_lock(&r->http->mutex);
		route->get(r);
		pthread_mutex_unlock(&r->http->mutex);
	} else {
		serve_request_decide(r, 405, "this path has no such method");
		r->answer.allow = !route->encodes ? "GET, HEAD"
				  : route->get	  ? "GET, HEAD, POST"
						  : "POST";
	}
}

/*
 * One table of routes: method, path, what it takes, what answers. A word of a path in braces stands for the name of a
 * dataset.
 */
#include "daemon/api_routes.h"

#include "base/checked.h"
#include "base/text.h"

#include "daemon/api_commands.h"
#include "daemon/api_history.h"
#include "daemon/api_lists.h"
#include "daemon/api_log.h"
#include "daemon/api_shards.h"
#include "daemon/json_text.h"
#include "daemon/metrics.h"
#include "daemon/status_json.h"

#include <jansson.h>
#include <string.h>

/* What a handler works with; it answers through reply() or fail(). */
struct exchange {
	const struct api_context *context;
	const struct route *route;
	const struct service_status *status;   /* NULL: none yet */
	const struct service_dataset *dataset; /* that the path names */
	const char *encoder;		       /* that it names */
	struct api_params params;
	const char *accept;
	struct http_answer *answer;
};

struct route {
	const char *method, *path;
	const char *takes; /* parameters of the query, or of the body of a POST */
	void (*handle)(struct exchange *x);
	api_list_fn list;
	enum service_command command;
};

static void get_health(struct exchange *x);
static void get_metrics(struct exchange *x);
static void get_routes(struct exchange *x);
static void get_status(struct exchange *x);
static void get_history(struct exchange *x);
static void get_log(struct exchange *x);
static void get_events(struct exchange *x);
static void get_datasets(struct exchange *x);
static void get_dataset(struct exchange *x);
static void get_list(struct exchange *x);
static void get_thumbnail(struct exchange *x);
static void get_preview(struct exchange *x);
static void ask_service(struct exchange *x);

#define DATASET "/api/v1/datasets/{name}"
#define ENCODER "/api/v1/encoders/{name}"
#define LIST(word, takes, fn)                                                                      \
	{                                                                                          \
		"GET", DATASET "/" word, takes, get_list, fn, 0                                    \
	}
#define COMMAND(path, takes, command)                                                              \
	{                                                                                          \
		"POST", path, takes, ask_service, NULL, command                                    \
	}

static const struct route routes[] = {
    {"GET", "/healthz", "", get_health, NULL, 0},
    {"GET", "/metrics", "", get_metrics, NULL, 0},
    {"GET", "/api/v1", "", get_routes, NULL, 0},
    {"GET", "/api/v1/status", "", get_status, NULL, 0},
    {"GET", "/api/v1/history", "", get_history, NULL, 0},
    {"GET", "/api/v1/log", "level dataset after limit", get_log, NULL, 0},
    {"GET", API_EVENTS_PATH, "", get_events, NULL, 0},
    {"GET", "/api/v1/datasets", "", get_datasets, NULL, 0},
    {"GET", DATASET, "", get_dataset, NULL, 0},
    LIST("jobs", "state reason key after limit", api_list_jobs),
    LIST("failures", "", api_list_failures),
    LIST("dupes", "after limit", api_list_dupes),
    LIST("shards", "limit", api_list_shards),
    LIST("samples", "limit", api_list_samples),
    {"GET", DATASET "/thumbnail", "key", get_thumbnail, NULL, 0},
    {"GET", DATASET "/preview", "shard offset", get_preview, NULL, 0},
    {"GET", DATASET "/upkeep", "", ask_service, NULL, REQUEST_UPKEEP},
    COMMAND("/api/v1/scan", "", REQUEST_SCAN),
    COMMAND("/api/v1/pause", "", REQUEST_PAUSE),
    COMMAND("/api/v1/resume", "", REQUEST_RESUME),
    COMMAND("/api/v1/drain", "", REQUEST_DRAIN),
    COMMAND("/api/v1/seal", "", REQUEST_SEAL),
    COMMAND("/api/v1/retry", "state reason", REQUEST_RETRY),
    COMMAND("/api/v1/reload", "", REQUEST_RELOAD),
    COMMAND(ENCODER "/pause", "", REQUEST_PAUSE),
    COMMAND(ENCODER "/resume", "", REQUEST_RESUME),
    COMMAND(DATASET "/scan", "", REQUEST_SCAN),
    COMMAND(DATASET "/pause", "", REQUEST_PAUSE),
    COMMAND(DATASET "/resume", "", REQUEST_RESUME),
    COMMAND(DATASET "/drain", "", REQUEST_DRAIN),
    COMMAND(DATASET "/seal", "", REQUEST_SEAL),
    COMMAND(DATASET "/retry", "state reason key", REQUEST_RETRY),
    COMMAND(DATASET "/cancel", "key", REQUEST_CANCEL),
    COMMAND(DATASET "/priority", "priority", REQUEST_PRIORITY),
    COMMAND(DATASET "/accept-deletions", "", REQUEST_ACCEPT_DELETIONS),
    COMMAND(DATASET "/captions", "captions dry_run", REQUEST_CAPTIONS),
    COMMAND(DATASET "/reset-captions", "", REQUEST_RESET_CAPTIONS),
    COMMAND(DATASET "/attach", "array path dry_run", REQUEST_ATTACH),
    COMMAND(DATASET "/gc", "grace_hours dry_run", REQUEST_GC),
    COMMAND(DATASET "/compact", "shard_samples shard_size dry_run", REQUEST_COMPACT),
};

/* -- answers -------------------------------------------------------------------------------------- */

static const char *error_word(unsigned status)
{
	switch (status) {
	case 400:
		return "bad_request";
	case 401:
		return "unauthorized";
	case 403:
		return "forbidden";
	case 404:
		return "not_found";
	case 405:
		return "method_not_allowed";
	case 409:
		return "conflict";
	case 413:
		return "too_large";
	case 503:
		return "unavailable";
	default:
		return "internal";
	}
}

void api_error(struct http_answer *answer, unsigned status, const char *message)
{
	json_t *root = json_object(), *error = json_object();

	json_object_set_new(error, "code", json_string(error_word(status)));
	json_object_set_new(error, "message", json_clean(message));
	json_object_set_new(root, "error", error);
	http_answer_json(answer, status, root);
}

static void reply(struct exchange *x, json_t *body)
{
	http_answer_json(x->answer, 200, body);
}

static void fail(struct exchange *x, unsigned status, const char *message)
{
	api_error(x->answer, status, message);
}

/* An error of the service or the queue; @config: what ERR_CONFIG means here. */
static void fail_error(struct exchange *x, const struct error *err, unsigned config)
{
	unsigned status = err->code == ERR_CONFIG ? config : err->code == ERR_TRANSIENT ? 503 : 500;

	fail(x, status, err->message);
}

/* -- reading -------------------------------------------------------------------------------------- */

static void get_health(struct exchange *x)
{
	bool healthy = false;
	json_t *body =
	    status_json_health(x->status, status_board_age_ms(x->context->board), &healthy);

	http_answer_json(x->answer, healthy ? 200 : 503, body);
}

static void get_metrics(struct exchange *x)
{
	bool open = x->accept && strstr(x->accept, "application/openmetrics-text"), healthy = false;

	json_decref(
	    status_json_health(x->status, status_board_age_ms(x->context->board), &healthy));
	metrics_text(x->status, healthy, open, &x->answer->body);
	x->answer->status = 200;
	x->answer->type = open ? METRICS_TYPE_OPEN : METRICS_TYPE;
}

static void get_routes(struct exchange *x)
{
	json_t *body = json_object(), *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		json_t *route = json_object();

		json_object_set_new(route, "method", json_string(routes[i].method));
		json_object_set_new(route, "path", json_string(routes[i].path));
		json_array_append_new(list, route);
	}
	json_object_set_new(body, "version", json_string(LATENTD_VERSION));
	json_object_set_new(body, "routes", list);
	reply(x, body);
}

static void get_status(struct exchange *x)
{
	reply(x, status_json(x->status));
}

static void get_history(struct exchange *x)
{
	reply(x, api_history_json(x->context->history, x->status->taken_at));
}

static void get_log(struct exchange *x)
{
	struct error err = ERROR_INIT;
	json_t *body = NULL;

	if (api_log_page(x->context->log, &x->params, &body, &err) < 0)
		fail_error(x, &err, 400);
	else
		reply(x, body);
}

/* The server itself has answered those that stay (api_events.h): this is a HEAD. */
static void get_events(struct exchange *x)
{
	x->answer->status = 200;
	x->answer->type = API_EVENTS_TYPE;
}

static void get_datasets(struct exchange *x)
{
	json_t *body = json_object(), *list = json_array();

	for (size_t i = 0; i < x->status->n_datasets; i++)
		json_array_append_new(list, status_json_dataset(&x->status->datasets[i], true));
	json_object_set_new(body, "datasets", list);
	reply(x, body);
}

static void get_dataset(struct exchange *x)
{
	reply(x, status_json_dataset(x->dataset, true));
}

static bool has_opened(struct exchange *x)
{
	if (x->dataset->state_folder && x->dataset->queue_id != 0)
		return true;
	fail(x, 503, "this dataset is only being opened: ask again in a moment");
	return false;
}

static void get_list(struct exchange *x)
{
	struct error err = ERROR_INIT;
	json_t *body = NULL;

	if (!has_opened(x))
		return;
	if (x->route->list(x->dataset, &x->params, &body, &err) < 0)
		fail_error(x, &err, 400);
	else
		reply(x, body);
}

/* -- pictures ------------------------------------------------------------------------------------- */

/* @cache: how long a browser may keep it. */
static void reply_picture(struct exchange *x, int r, const struct error *err, const char *cache)
{
	if (r < 0 && err->code == ERR_DATA) {
		fail(x, 404, err->message);
	} else if (r < 0) {
		fail_error(x, err, 404);
	} else {
		x->answer->status = 200;
		x->answer->type = "image/png";
		x->answer->cache = cache;
		http_answer_header(x->answer, "X-Content-Type-Options", "nosniff");
		http_answer_header(x->answer, "Cross-Origin-Resource-Policy", "same-origin");
	}
}

static void get_thumbnail(struct exchange *x)
{
	struct error err = ERROR_INIT;
	int r;

	if (!has_opened(x))
		return;
	if (!x->params.key) {
		fail(x, 400, "key is missing");
		return;
	}
	r = api_pictures_thumbnail(x->context->pictures, x->dataset, x->params.key,
				   &x->answer->body, &err);
	reply_picture(x, r, &err, "private, max-age=60");
}

static void get_preview(struct exchange *x)
{
	const struct api_params *p = &x->params;
	struct api_preview preview = {.png = &x->answer->body};
	struct error err = ERROR_INIT;
	int r;

	if (!has_opened(x))
		return;
	if (p->shard < 0 || p->offset < 0) {
		fail(x, 400, "shard or offset is missing");
		return;
	}
	r = api_pictures_preview(x->context->pictures, x->dataset, p->shard, (uint64_t)p->offset,
				 &preview, &err);
	reply_picture(x, r, &err, preview.fitted ? "private, max-age=3600" : "private, max-age=60");
	if (r == 0)
		http_answer_header(x->answer, "Latentd-Colors",
				   preview.fitted ? "fitted" : "false");
}

/* -- commands ------------------------------------------------------------------------------------- */

static void ask_service(struct exchange *x)
{
	const struct api_command command = {x->route->command, x->dataset ? x->dataset->name : NULL,
					    x->encoder, &x->params};
	struct error err = ERROR_INIT;
	json_t *body = NULL;
	unsigned status = api_command(x->context, &command, &body, &err);

	if (status == 200)
		reply(x, body);
	else
		fail(x, status, err.message);
}

/* -- finding the route ---------------------------------------------------------------------------- */

/* Whether @path has the words of @pattern; *name: the word that stands for a dataset. */
static bool matches(const char *pattern, const struct api_path *path, const char **name)
{
	size_t i = 0;

	for (const char *p = pattern; *p; i++) {
		size_t n = strcspn(++p, "/");

		if (i == path->n)
			return false;
		if (*p == '{')
			*name = path->words[i];
		else if (strlen(path->words[i]) != n || strncmp(p, path->words[i], n) != 0)
			return false;
		p += n;
	}
	return i == path->n;
}

/*
 * The route of @path for @method. NULL: *allow says which methods there are, or is NULL too where there is no such
 * path.
 */
static const struct route *find_route(const char *method, const struct api_path *path,
				      const char **name, const char **allow)
{
	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!matches(routes[i].path, path, name))
			continue;
		if (strcmp(routes[i].method, method) == 0)
			return &routes[i];
		*allow = strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : "POST";
	}
	return NULL;
}

static int read_params(struct exchange *x, const struct api_call *call, struct error *err)
{
	bool post = strcmp(x->route->method, "POST") == 0;

	if (api_params_query(call->uri, post ? "" : x->route->takes, &x->params, err) < 0)
		return -1;
	return post ? api_params_body(call->body, call->body_size, x->route->takes, &x->params, err)
		    : 0;
}

static void handle_route(struct exchange *x, const struct api_call *call, const char *name)
{
	struct error err = ERROR_INIT;

	if (read_params(x, call, &err) < 0) {
		fail(x, 400, err.message);
		return;
	}
	if (!x->status && x->route->handle != get_health && x->route->handle != get_routes) {
		fail(x, 503, "the daemon is starting: ask again in a moment");
		return;
	}
	if (name && strncmp(x->route->path, ENCODER, strlen(ENCODER)) == 0) {
		x->encoder = name;
	} else if (name) {
		x->dataset = service_status_dataset(x->status, name);
		if (!x->dataset) {
			char quoted[TEXT_QUOTE_SIZE];
			cleanup_free char *message =
			    xasprintf("there is no dataset %s", text_quote(name, quoted));

			fail(x, 404, message);
			return;
		}
	}
	x->route->handle(x);
}

void api_handle(const struct api_context *context, const struct api_call *call,
		struct http_answer *answer)
{
	struct exchange x = {.context = context,
			     .params = API_PARAMS_INIT,
			     .accept = call->accept,
			     .answer = answer};
	struct api_path path = {.n = 0};
	const char *name = NULL, *allow = NULL;

	if (api_path_parse(call->uri, &path))
		x.route = find_route(call->method, &path, &name, &allow);
	answer->allow = x.route ? NULL : allow;
	if (x.route) {
		x.status = status_board_get(context->board);
		handle_route(&x, call, name);
		service_status_unref(x.status);
		api_params_release(&x.params);
	} else if (allow) {
		fail(&x, 405, "this path has no such method");
	} else {
		fail(&x, 404, "there is no such path; GET /api/v1 lists those there are");
	}
	api_path_release(&path);
}

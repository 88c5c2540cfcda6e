#include "daemon/ctl_api.h"

#include "base/checked.h"
#include "base/text.h"

#include "daemon/service_request.h"

#include "net/http_client.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

/* Bytes of one event: status and log of a daemon with very many datasets. */
#define EVENT_MAX ((size_t)64 << 20)

struct ctl_api {
	char *socket;
	struct http_client *http;
};

int ctl_api_open(const char *socket, struct ctl_api **out, struct error *err)
{
	/* The daemon itself answers within SERVICE_REQUEST_MS, if it answers. */
	struct http_client_options options = {.unix_socket = socket,
					      .timeout_ms = SERVICE_REQUEST_MS + 5000};
	struct ctl_api *api = xcalloc(1, sizeof(*api));

	api->socket = xstrdup(socket);
	if (http_client_open(&options, &api->http, err) < 0) {
		ctl_api_close(api);
		return -1;
	}
	*out = api;
	return 0;
}

void ctl_api_close(struct ctl_api *api)
{
	if (!api)
		return;
	http_client_close(api->http);
	free(api->socket);
	free(api);
}

/* What is no success, as an error: in the daemon's words where it has some. */
static int refused(const struct ctl_api *api, long status, const json_t *root, struct error *err)
{
	const json_t *error = json_object_get(root, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	enum error_code code = status == 503 ? ERR_TRANSIENT : status >= 500 ? ERR_IO : ERR_CONFIG;

	if (message)
		return error_set(err, code, "%s", message);
	return error_set(err, code, "%s answers with status %ld", api->socket, status);
}

static int send_request(struct ctl_api *api, const struct http_request *request, json_t **out,
			struct error *err)
{
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	json_t *root;
	int r = http_client_request(api->http, request, &response, err);

	if (r != 0)
		return r == HTTP_NO_SERVER ? CTL_API_NOBODY : r;
	root = json_loadb((const char *)response.body.data, response.body.size,
			  JSON_REJECT_DUPLICATES, NULL);
	if (response.status != 200) {
		refused(api, response.status, root, err);
		json_decref(root);
		return -1;
	}
	if (!json_is_object(root)) {
		json_decref(root);
		return error_data(err, "protocol", "what answers at %s is no latentd", api->socket);
	}
	*out = root;
	return 0;
}

static char *url_of(const char *path)
{
	return xasprintf("http://latentd%s", path);
}

int ctl_api_get(struct ctl_api *api, const char *path, json_t **out, struct error *err)
{
	cleanup_free char *url = url_of(path);
	struct http_request request = {.method = "GET", .url = url};

	return send_request(api, &request, out, err);
}

int ctl_api_post(struct ctl_api *api, const char *path, json_t *body, json_t **out,
		 struct error *err)
{
	cleanup_free char *url = url_of(path);
	cleanup_free char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct http_request request = {.method = "POST",
				       .url = url,
				       .body = text,
				       .body_size = text ? strlen(text) : 0,
				       .content_type = "application/json"};

	json_decref(body);
	return send_request(api, &request, out, err);
}

struct follower {
	ctl_event_fn on_event;
	void *arg;
	struct buffer text; /* that is not a whole event yet */
};

/* An event is one line "data: JSON" and an empty one; a comment has no data. */
static bool take_event(struct follower *f, const char *text, size_t size)
{
	static const char data[] = "data: ";
	size_t skip = strlen(data);
	json_t *event = NULL;
	bool goes_on = true;

	if (size > skip && memcmp(text, data, skip) == 0)
		event = json_loadb(text + skip, size - skip, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(event))
		goes_on = f->on_event(f->arg, event);
	json_decref(event);
	return goes_on;
}

static bool on_piece(void *arg, const void *piece, size_t size)
{
	struct follower *f = arg;
	bool goes_on = true;
	size_t done = 0;

	if (f->text.size + size > EVENT_MAX)
		return false;
	buffer_append(&f->text, piece, size);
	while (goes_on) {
		const char *text = (const char *)f->text.data + done;
		const char *end = memmem(text, f->text.size - done, "\n\n", 2);

		if (!end)
			break;
		goes_on = take_event(f, text, (size_t)(end - text));
		done += (size_t)(end - text) + 2;
	}
	memmove(f->text.data, f->text.data + done, f->text.size - done);
	f->text.size -= done;
	return goes_on;
}

int ctl_api_follow(struct ctl_api *api, const char *path, ctl_event_fn on_event, void *arg,
		   struct error *err)
{
	cleanup_free char *url = url_of(path);
	struct follower f = {.on_event = on_event, .arg = arg, .text = BUFFER_INIT};
	long status = 0;
	int r = http_client_follow(api->http, url, on_piece, &f, &status, err);

	buffer_release(&f.text);
	if (r != 0)
		return r == HTTP_NO_SERVER ? CTL_API_NOBODY : r;
	return status == 200 ? 0 : refused(api, status, NULL, err);
}

char *ctl_api_word(const char *s)
{
	cleanup_buffer struct buffer word = BUFFER_INIT;

	/* Stricter than percent_encode(): what separates the parts of a URL is encoded too. */
	for (; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			buffer_append(&word, s, 1);
		else
			buffer_appendf(&word, "%%%02X", (unsigned)(unsigned char)*s);
	}
	return xstrdup(word.data ? (const char *)word.data : "");
}

char *ctl_api_path(const char *dataset, const char *what)
{
	cleanup_free char *word = dataset ? ctl_api_word(dataset) : NULL;

	return word ? xasprintf("/api/v1/datasets/%s/%s", word, what)
		    : xasprintf("/api/v1/%s", what);
}

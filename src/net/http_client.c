#include "net/http_client.h"

#include "base/checked.h"
#include "base/text.h"
#include "net/http_curl.h"

#include <errno.h>
#include <string.h>

struct http_client {
	CURL *easy;
	char *unix_socket;
	long timeout_ms;
	size_t response_max;
	char why[CURL_ERROR_SIZE];
	/* Of the request that is under way. */
	struct buffer body;
	bool too_large;
};

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
	struct http_client *client = arg;

	(void)one;
	if (n > client->response_max - client->body.size) {
		client->too_large = true;
		return 0;
	}
	buffer_append(&client->body, data, n);
	return n;
}

static long or_default(long value, long fallback)
{
	return value > 0 ? value : fallback;
}

static void set_always(struct http_client *client, const struct http_client_options *options)
{
	const struct http_curl_options common = {
	    .connect_ms = or_default(options->connect_ms, 5000),
	    .proxy = "",
	};
	CURL *easy = client->easy;

	http_curl_setup(easy, &common, client->why);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, client);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, client->timeout_ms);
	if (client->unix_socket)
		curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->unix_socket);
}

int http_client_open(const struct http_client_options *options, struct http_client **out,
		     struct error *err)
{
	struct http_client *client;

	http_curl_init();
	client = xcalloc(1, sizeof(*client));
	client->easy = curl_easy_init();
	if (!client->easy) {
		free(client);
		return error_set(err, ERR_NOMEM, "libcurl gives no handle");
	}
	client->unix_socket = options->unix_socket ? xstrdup(options->unix_socket) : NULL;
	client->timeout_ms = or_default(options->timeout_ms, 30000);
	client->response_max = options->response_max ? options->response_max : 64 << 20;
	set_always(client, options);
	*out = client;
	return 0;
}

/* Where it goes, for messages. To be freed. */
static char *target(const struct http_client *client, const struct http_request *request)
{
	char quoted[TEXT_QUOTE_SIZE];

	return xstrdup(
	    text_quote(client->unix_socket ? client->unix_socket : request->url, quoted));
}

/* No connection was made. */
static int not_connected(struct http_client *client, const char *where, struct error *err)
{
	long code = 0;

	curl_easy_getinfo(client->easy, CURLINFO_OS_ERRNO, &code);
	if (code == EACCES || code == EPERM)
		return error_set(err, ERR_CONFIG, "%s: no permission to connect to it", where);
	if (code == ENOENT || code == ECONNREFUSED || code == ENOTSOCK || code == ENOTDIR) {
		error_set(err, ERR_TRANSIENT, "nothing listens at %s", where);
		return HTTP_NO_SERVER;
	}
	return error_set(err, ERR_TRANSIENT, "%s: %s", where, client->why);
}

static int failed(struct http_client *client, const struct http_request *request, CURLcode code,
		  struct error *err)
{
	cleanup_free char *where = target(client, request);

	if (client->too_large)
		return error_data(err, "too_large", "%s answers with more than %zu bytes", where,
				  client->response_max);
	switch (http_curl_result(code)) {
	case HTTP_NO_NAME:
	case HTTP_NOT_REACHED:
		return not_connected(client, where, err);
	case HTTP_BAD_REQUEST:
		return error_set(err, ERR_CONFIG, "%s: %s", where, client->why);
	case HTTP_TIMEOUT:
		return error_set(err, ERR_TRANSIENT, "%s gave no answer within %.1f s", where,
				 (double)client->timeout_ms / 1000);
	case HTTP_NO_HTTP:
		return error_data(err, "protocol", "%s does not speak HTTP: %s", where,
				  client->why);
	default:
		return error_set(err, ERR_TRANSIENT, "%s: %s", where,
				 client->why[0] ? client->why : curl_easy_strerror(code));
	}
}

int http_client_request(struct http_client *client, const struct http_request *request,
			struct http_response *response, struct error *err)
{
	CURL *easy = client->easy;
	cleanup_free char *type =
	    request->content_type ? xasprintf("Content-Type: %s", request->content_type) : NULL;
	const char *const lines[] = {type, NULL};
	struct curl_slist *headers = http_curl_headers(lines);
	CURLcode code;

	client->why[0] = '\0';
	client->too_large = false;
	buffer_reset(&client->body);
	curl_easy_setopt(easy, CURLOPT_URL, request->url);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	http_curl_method(easy, request->method, request->body, request->body_size);
	code = curl_easy_perform(easy);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	if (code != CURLE_OK)
		return failed(client, request, code, err);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &response->status);
	response->body = client->body;
	client->body = (struct buffer)BUFFER_INIT;
	return 0;
}

struct follower {
	CURL *easy;
	http_piece_fn on_piece;
	void *arg;
	bool ended;
};

static size_t on_piece(char *data, size_t one, size_t n, void *arg)
{
	struct follower *f = arg;
	long status = 0;

	(void)one;
	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	f->ended = status == 200 && !f->on_piece(f->arg, data, n);
	return f->ended ? 0 : n;
}

int http_client_follow(struct http_client *client, const char *url, http_piece_fn fn, void *arg,
		       long *status, struct error *err)
{
	const struct http_request request = {.method = "GET", .url = url};
	struct follower f = {.easy = client->easy, .on_piece = fn, .arg = arg};
	CURL *easy = client->easy;
	CURLcode code;

	client->why[0] = '\0';
	client->too_large = false;
	curl_easy_setopt(easy, CURLOPT_URL, url);
	http_curl_method(easy, request.method, NULL, 0);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_piece);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &f);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 0L);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (client->timeout_ms + 999) / 1000);
	code = curl_easy_perform(easy);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, client);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, client->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, 0L);
	if (code != CURLE_OK && !f.ended)
		return failed(client, &request, code, err);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, status);
	return 0;
}

void http_client_close(struct http_client *client)
{
	if (!client)
		return;
	curl_easy_cleanup(client->easy);
	buffer_release(&client->body);
	free(client->unix_socket);
	free(client);
}

void http_response_release(struct http_response *response)
{
	buffer_release(&response->body);
	response->status = 0;
}

#include "net/http_client.h"

#include "base/checked.h"
#include "base/text.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
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

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

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
	CURL *easy = client->easy;

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, client->why);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, client);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, or_default(options->connect_ms, 5000));
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, client->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "latentd/" LATENTD_VERSION);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	if (client->unix_socket)
		curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->unix_socket);
}

int http_client_open(const struct http_client_options *options, struct http_client **out,
		     struct error *err)
{
	struct http_client *client = xcalloc(1, sizeof(*client));

	pthread_once(&once, init_curl);
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

	switch (code) {
	case CURLE_COULDNT_CONNECT:
		return not_connected(client, where, err);
	case CURLE_URL_MALFORMAT:
		return error_set(err, ERR_CONFIG, "%s: %s", where, client->why);
	case CURLE_OPERATION_TIMEDOUT:
		return error_set(err, ERR_TRANSIENT, "%s gave no answer within %.1f s", where,
				 (double)client->timeout_ms / 1000);
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL: /* "HTTP/0.9 when not allowed" */
		return error_data(err, "protocol", "%s does not speak HTTP: %s", where,
				  client->why);
	default:
		break;
	}
	if (client->too_large)
		return error_data(err, "too_large", "%s answers with more than %zu bytes", where,
				  client->response_max);
	return error_set(err, ERR_TRANSIENT, "%s: %s", where,
			 client->why[0] ? client->why : curl_easy_strerror(code));
}

static struct curl_slist *headers_of(const struct http_request *request)
{
	cleanup_free char *type =
	    request->content_type ? xasprintf("Content-Type: %s", request->content_type) : NULL;
	/* Bodies are small: waiting for "100 Continue" would only cost time. */
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");

	return type ? curl_slist_append(list, type) : list;
}

int http_client_request(struct http_client *client, const struct http_request *request,
			struct http_response *response, struct error *err)
{
	CURL *easy = client->easy;
	struct curl_slist *headers = headers_of(request);
	bool post = strcmp(request->method, "POST") == 0;
	CURLcode code;

	client->why[0] = '\0';
	client->too_large = false;
	buffer_reset(&client->body);
	curl_easy_setopt(easy, CURLOPT_URL, request->url);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (post) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST,
			 post || strcmp(request->method, "GET") == 0 ? NULL : request->method);
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

#include "net/http_curl.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

void http_curl_init(void)
{
	pthread_once(&once, init_curl);
}

/* libcurl decodes what comes percent-encoded, so that a user may have a colon. */
char *http_curl_auth(const char *user, const char *password)
{
	char *u = curl_easy_escape(NULL, user, 0), *p = curl_easy_escape(NULL, password, 0);
	char *both = u && p ? xasprintf("%s:%s", u, p) : NULL;

	if (p)
		explicit_bzero(p, strlen(p));
	curl_free(u);
	curl_free(p);
	return both;
}

void http_curl_setup(CURL *easy, const struct http_curl_options *options, char *why)
{
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, options->connect_ms);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "latentd/" LATENTD_VERSION);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* A resolver that does not answer holds up nobody: what waits for it is left to end by itself. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
	if (options->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
	if (options->proxy)
		curl_easy_setopt(easy, CURLOPT_PROXY, options->proxy);
	if (options->proxy_auth)
		curl_easy_setopt(easy, CURLOPT_PROXYUSERPWD, options->proxy_auth);
}

struct curl_slist *http_curl_headers(const char *const *headers)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");

	for (; headers && *headers; headers++)
		list = curl_slist_append(list, *headers);
	return list;
}

void http_curl_method(CURL *easy, const char *method, const void *body, size_t size)
{
	bool post = strcmp(method, "POST") == 0;

	if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	}
	if (post || strcmp(method, "PUT") == 0) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body ? body : "");
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST,
			 post || strcmp(method, "GET") == 0 ? NULL : method);
}

enum http_result http_curl_result(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return HTTP_REPLY;
	case CURLE_COULDNT_RESOLVE_HOST:
		return HTTP_NO_NAME;
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_PROXY:
		return HTTP_NOT_REACHED;
	case CURLE_OPERATION_TIMEDOUT:
		return HTTP_TIMEOUT;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL: /* "HTTP/0.9 when not allowed" */
		return HTTP_NO_HTTP;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
		return HTTP_UNTRUSTED;
	case CURLE_URL_MALFORMAT:
		return HTTP_BAD_REQUEST;
	default:
		return HTTP_BROKEN;
	}
}

int http_curl_check_ca(const char *ca_file, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_close int fd = ca_file ? open(ca_file, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;

	if (!ca_file || fd >= 0)
		return 0;
	return error_set(err, ERR_CONFIG, "the CA file %s cannot be read: %s",
			 text_quote(ca_file, quoted), strerror(errno));
}

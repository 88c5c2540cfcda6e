#include "net/http_url.h"

#include "net/http_curl.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

bool http_url_is_https(const char *url)
{
	return strncasecmp(url, "https://", 8) == 0;
}

static void url_free(CURLU **u)
{
	curl_url_cleanup(*u);
}

static void text_free(char **s)
{
	curl_free(*s);
}

/* NULL: it is none. To be cleaned up. */
static CURLU *parse(const char *url)
{
	CURLU *u = NULL;

	if (!http_url_is_https(url) && strncasecmp(url, "http://", 7) != 0)
		return NULL;
	http_curl_init();
	u = curl_url();
	if (!u)
		memory_is_out();
	if (curl_url_set(u, CURLUPART_URL, url, CURLU_URLENCODE | CURLU_DISALLOW_USER) == CURLUE_OK)
		return u;
	curl_url_cleanup(u);
	return NULL;
}

bool http_url_is_valid(const char *url)
{
	cleanup_with(url_free) CURLU *u = parse(url);

	return u != NULL;
}

char *http_url_encode(const char *url)
{
	cleanup_with(url_free) CURLU *u = parse(url);
	cleanup_with(text_free) char *encoded = NULL;

	return u && curl_url_get(u, CURLUPART_URL, &encoded, 0) == CURLUE_OK ? xstrdup(encoded)
									     : NULL;
}

char *http_url_origin(const char *url)
{
	cleanup_with(url_free) CURLU *u = parse(url);
	cleanup_with(text_free) char *host = NULL;
	cleanup_with(text_free) char *port = NULL;

	if (!u || curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		return NULL;
	for (char *c = host; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return xasprintf("%s://%s:%s", http_url_is_https(url) ? "https" : "http", host, port);
}

char *http_url_join(const char *url, const char *location)
{
	cleanup_with(url_free) CURLU *u = parse(url);
	cleanup_with(text_free) char *joined = NULL;

	if (!u || curl_url_set(u, CURLUPART_URL, location, CURLU_URLENCODE) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_URL, &joined, 0) != CURLUE_OK || !http_url_is_valid(joined))
		return NULL;
	return xstrdup(joined);
}

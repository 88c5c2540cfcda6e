/*
 * What every handle of libcurl in the tree has in common. Only src/net includes this.
 *
 * TLS is always verified, at least version 1.2; redirects are not followed; nothing but http and https is spoken; no
 * signals; "Expect: 100-continue" is never sent.
 */
#ifndef LATENTD_NET_HTTP_CURL_H
#define LATENTD_NET_HTTP_CURL_H

#include "base/error.h"
#include "net/http_result.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Once in the process; from any thread. */
void http_curl_init(void);

struct http_curl_options {
	long connect_ms;
	const char *ca_file;	/* NULL: the system's */
	const char *proxy;	/* NULL: as the environment says; "" for none */
	const char *proxy_auth; /* of http_curl_auth(); NULL: the proxy is told no user */
};

/* "USER:PASSWORD" as libcurl takes it, to be wiped and freed. NULL: memory is out. */
char *http_curl_auth(const char *user, const char *password);

/* On a fresh or reset handle. @why: [CURL_ERROR_SIZE], lives as long as the handle. */
void http_curl_setup(CURL *easy, const struct http_curl_options *options, char *why);

/*
 * @headers: lines "Name: value", the last NULL; NULL: none. "Name:" leaves out what libcurl would send by itself. The
 * caller frees the list.
 */
struct curl_slist *http_curl_headers(const char *const *headers);

/* @size bytes at @body, which are read from there, go with POST and PUT. */
void http_curl_method(CURL *easy, const char *method, const void *body, size_t size);

enum http_result http_curl_result(CURLcode code);
/* ERR_CONFIG if it cannot be read. */
int http_curl_check_ca(const char *ca_file, struct error *err);

#endif

/*
 * Addresses of files on web servers, taken apart as libcurl does.
 */
#ifndef LATENTD_NET_HTTP_URL_H
#define LATENTD_NET_HTTP_URL_H

#include <stdbool.h>

/* Whether it is a whole http:// or https:// URL with a host, and without a user or password, which would end up in logs. */
bool http_url_is_valid(const char *url);
/* As it is sent: what may not stand in a URL (spaces, bytes that are no ASCII) as %XX; NULL: it is none. To be freed. */
char *http_url_encode(const char *url);
/* "https://example.org:443", in small letters; NULL: it is none. To be freed. */
char *http_url_origin(const char *url);
/* Where @location leads from @url; NULL: to no URL of http or https. To be freed. */
char *http_url_join(const char *url, const char *location);
bool http_url_is_https(const char *url);

#endif

#include "daemon/api_guard.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* "localhost", an address of the loopback device, each with a port or without. */
static bool is_this_machine(const char *host)
{
	char name[64];
	size_t n =
	    *host == '[' ? strcspn(host, "]") + (strchr(host, ']') != NULL) : strcspn(host, ":");
	struct in_addr v4;

	if (n >= sizeof(name))
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	if (host[n] == ':' && host[n + 1 + strspn(host + n + 1, "0123456789")] != '\0')
		return false;
	if (host[n] != ':' && host[n] != '\0')
		return false;
	if (strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0)
		return true;
	return inet_pton(AF_INET, name, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

/* The page that asks came from @host; https: from behind a proxy. */
static bool is_same_origin(const char *origin, const char *host)
{
	if (strncmp(origin, "http://", 7) == 0)
		return strcasecmp(origin + 7, host) == 0;
	return strncmp(origin, "https://", 8) == 0 && strcasecmp(origin + 8, host) == 0;
}

unsigned api_guard(const struct serve_listen *listen, const struct api_visit *v, const char **why)
{
	bool reads = strcmp(v->method, "GET") == 0 || strcmp(v->method, "HEAD") == 0;

	if (!v->host || !is_this_machine(v->host)) {
		*why = "this address answers only to localhost, 127.0.0.1 and [::1]";
		return MHD_HTTP_FORBIDDEN;
	}
	if (v->origin && !is_same_origin(v->origin, v->host)) {
		*why = "this address answers only to its own page";
		return MHD_HTTP_FORBIDDEN;
	}
	if (reads)
		return 0;
	if (!listen->has_token) {
		*why = "nothing is changed over TCP without api.token_file: use latentctl";
		return MHD_HTTP_FORBIDDEN;
	}
	if (!serve_listen_admits(listen, v->authorization)) {
		*why = "the token is missing or wrong: Authorization: Bearer TOKEN";
		return MHD_HTTP_UNAUTHORIZED;
	}
	return 0;
}

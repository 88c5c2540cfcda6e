#include "daemon/api_guard.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The name of @host, "NAME", "NAME:PORT", "[ADDRESS]:PORT". False: it is none of them. */
static bool name_of(const char *host, char name[256])
{
	size_t n =
	    *host == '[' ? strcspn(host, "]") + (strchr(host, ']') != NULL) : strcspn(host, ":");

	if (n >= 256)
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	if (host[n] == ':')
		return host[n + 1 + strspn(host + n + 1, "0123456789")] == '\0';
	return host[n] == '\0';
}

static bool is_this_machine(const char *name)
{
	struct in_addr v4;

	if (strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0)
		return true;
	return inet_pton(AF_INET, name, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool is_any_address(const char *name)
{
	unsigned char address[sizeof(struct in6_addr)];
	char bare[INET6_ADDRSTRLEN] = "";
	size_t n = strlen(name);

	if (*name != '[')
		return inet_pton(AF_INET, name, address) == 1;
	if (n < 2 || name[n - 1] != ']' || n - 2 >= sizeof(bare))
		return false;
	memcpy(bare, name + 1, n - 2);
	return inet_pton(AF_INET6, bare, address) == 1;
}

static bool answers_to(const struct api_door *door, const char *host)
{
	char name[256];

	if (!host || !name_of(host, name))
		return false;
	for (size_t i = 0; i < door->hosts.n; i++) {
		if (strcasecmp(name, door->hosts.items[i]) == 0)
			return true;
	}
	return is_this_machine(name) || (!door->listen.loopback && is_any_address(name));
}

/* The page that asks came from @host; https: from behind a proxy. */
static bool is_same_origin(const char *origin, const char *host)
{
	if (strncmp(origin, "http://", 7) == 0)
		return strcasecmp(origin + 7, host) == 0;
	return strncmp(origin, "https://", 8) == 0 && strcasecmp(origin + 8, host) == 0;
}

/*
 * What a page of elsewhere embeds (a picture, a script) comes without an Origin; it could not read the answer, but it would cost
 * pictures and places. A link to here is followed.
 */
static bool is_embedded_elsewhere(const struct api_visit *v)
{
	return v->fetch_site && strcmp(v->fetch_site, "same-origin") != 0 &&
	       strcmp(v->fetch_site, "none") != 0 &&
	       (!v->fetch_dest || strcmp(v->fetch_dest, "document") != 0);
}

bool api_visit_reads(const struct api_visit *v)
{
	return strcmp(v->method, "GET") == 0 || strcmp(v->method, "HEAD") == 0;
}

unsigned api_guard(const struct api_door *door, const struct api_visit *v, const char **why)
{
	const struct serve_listen *listen = &door->listen;

	if (!answers_to(door, v->host)) {
		*why = "it does not answer to this name: expected localhost, 127.0.0.1, [::1] or "
		       "one of api.hosts";
		return MHD_HTTP_FORBIDDEN;
	}
	if ((v->origin && !is_same_origin(v->origin, v->host)) || is_embedded_elsewhere(v)) {
		*why = "this address answers only to its own page";
		return MHD_HTTP_FORBIDDEN;
	}
	if (api_visit_reads(v) &&
	    (!door->published || serve_listen_admits_reader(listen, v->authorization)))
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

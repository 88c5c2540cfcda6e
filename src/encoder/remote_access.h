/*
 * How one endpoint is reached: its address, as it is sent and as it may be shown, and its token, which is never shown.
 *
 *	remote_access_init(&access, url, token_file, err)
 *	remote_access_target(&access, query, &url)           where a request goes
 *	remote_access_mask(&access, text)                    before anything that the server said is passed on
 */
#ifndef LATENTD_ENCODER_REMOTE_ACCESS_H
#define LATENTD_ENCODER_REMOTE_ACCESS_H

#include "base/buffer.h"

#include <stdbool.h>

struct remote_access {
	char *url;	  /* as given */
	char *shown;	  /* without user, query and fragment */
	char *token_file; /* NULL: none */
	char *bearer;	  /* "Authorization: Bearer TOKEN"; NULL: none */
};

/* ERR_CONFIG: not http:// or https:// with a host; a token that cannot be read or is none. */
int remote_access_init(struct remote_access *a, const char *url, const char *token_file,
		       struct error *err);
void remote_access_release(struct remote_access *a);

/* @out becomes the URL with @query behind what the endpoint's own has. */
void remote_access_target(const struct remote_access *a, const char *query, struct buffer *out);
/* True: the file has another token than before, which is used from now on. False also where it cannot be read. */
bool remote_access_reload(struct remote_access *a);
/* Every appearance of the token in @text becomes stars. */
void remote_access_mask(const struct remote_access *a, char *text);

/* How endpoints are reached through a proxy. The password is shown nowhere. */
struct remote_proxy {
	const char *url;       /* the caller's; as of struct http_multi_options */
	char *user, *password; /* NULL: the proxy is told none */
};

/* @auth_file: its first line is USER:PASSWORD; NULL: none is sent. ERR_CONFIG. */
int remote_proxy_init(struct remote_proxy *p, const char *url, const char *auth_file,
		      struct error *err);
void remote_proxy_release(struct remote_proxy *p);

/* @url without user, query and fragment, to be freed. */
char *remote_url_shown(const char *url);

#endif

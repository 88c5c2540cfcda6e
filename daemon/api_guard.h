/*
 * Who may what over TCP, where a browser may be made to ask on behalf of any page: the API there answers only to
 * names of this machine itself (a page of elsewhere cannot make its own name point here), only to pages that it served
 * itself, and changes something only for those who have the token.
 */
#ifndef LATENTD_DAEMON_API_GUARD_H
#define LATENTD_DAEMON_API_GUARD_H

#include "daemon/serve_listen.h"

struct api_visit { /* headers of a request, NULL where it has none; none of it is trusted */
	const char *method;
	const char *host, *origin, *authorization;
};

/* 0: it is answered. Else the HTTP status, with *why: for people. */
unsigned api_guard(const struct serve_listen *listen, const struct api_visit *visit,
		   const char **why);

#endif

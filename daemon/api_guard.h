/*
 * Who may what over TCP, where a browser may be made to ask on behalf of any page: the API there answers only to
 * names of this machine itself (a page of elsewhere cannot make its own name point here), only to pages that it served
 * itself, and changes something only for those who have the token. Where others than those on this machine reach it, they have the token to
 * read too, and it answers to addresses as well: no name of a page's can be one.
 *
 * What a browser sends by itself (Basic, after it has asked a person) is enough to read, never to change something: a
 * page of elsewhere could make it send that. Headers of proxies (X-Forwarded-For and its kin) are not looked at.
 */
#ifndef LATENTD_DAEMON_API_GUARD_H
#define LATENTD_DAEMON_API_GUARD_H

#include "config/api_config.h"
#include "daemon/serve_listen.h"

/* Where it listens. */
struct api_door {
	struct serve_listen listen;
	bool published; /* others than those on this machine reach it, perhaps by a proxy */
	struct setting_texts hosts; /* further names that it answers to */
};

struct api_visit { /* headers of a request, NULL where it has none; none of it is trusted */
	const char *method;
	const char *host, *origin, *authorization;
	const char *fetch_site,
	    *fetch_dest; /* Sec-Fetch-*, which no page can make a browser change */
};

/* GET or HEAD. */
bool api_visit_reads(const struct api_visit *visit);
/* 0: it is answered. Else the HTTP status, with *why: for people. */
unsigned api_guard(const struct api_door *door, const struct api_visit *visit, const char **why);

#endif

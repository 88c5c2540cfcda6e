/*
 * One exchange of http_multi.h in libcurl's hands: what it is asked, what it says while the reply comes, how it went. For
 * http_multi.c alone; transfers are used again, since a handle owns the buffers that uploads go through.
 *
 *	t = http_transfer_new()                      NULL: libcurl gives no handle
 *	http_transfer_begin(t, x, &options)          t->easy is ready to be added to a multi handle
 *	http_transfer_judge(t, code)                 when that says that it is done: the result of x
 *	x = http_transfer_end(t)                     t->easy was taken out of it; t can begin another
 *	http_transfer_free(t)
 */
#ifndef LATENTD_NET_HTTP_TRANSFER_H
#define LATENTD_NET_HTTP_TRANSFER_H

#include "net/http_curl.h"
#include "net/http_multi.h"

struct http_transfer {
	CURL *easy; /* its private pointer is the transfer */
	struct curl_slist *headers;
	struct http_exchange *x; /* NULL: idle */
	bool too_large;
	bool enough;	   /* of a page that came with an error */
	bool not_public;   /* an address was not connected to */
	bool no_http, tls; /* what came is something else, and that is TLS */
	char why[CURL_ERROR_SIZE];
	struct http_transfer *prev, *next; /* the multi's: in flight, or idle */
};

struct http_transfer *http_transfer_new(void);
/* Of no exchange. */
void http_transfer_free(struct http_transfer *t);

/* The exchange, its options and what they name stay where they are until it ends. */
void http_transfer_begin(struct http_transfer *t, struct http_exchange *x,
			 const struct http_curl_options *options);
void http_transfer_judge(struct http_transfer *t, CURLcode code);
struct http_exchange *http_transfer_end(struct http_transfer *t);

#endif

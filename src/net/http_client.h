/*
 * One HTTP request after another, each waited for: what a command needs to talk to a server.
 *
 *	struct http_client_options options = {.unix_socket = "/run/latentd/latentd.sock"};
 *	http_client_open(&options, &client, err)
 *	r = http_client_request(client, &request, &response, err)
 *	... response.status, response.body ...
 *	http_response_release(&response); http_client_close(client);
 *
 * Whatever the server says is a response, whichever its status: what it means is the caller's business. Redirects
 * are not followed, proxies of the environment not used, and nothing but HTTP is spoken. A client belongs to one
 * thread at a time; its connection is kept between requests.
 */
#ifndef LATENTD_NET_HTTP_CLIENT_H
#define LATENTD_NET_HTTP_CLIENT_H

#include "base/buffer.h"

#include <stdbool.h>

struct http_client;

struct http_client_options {
	const char *unix_socket; /* path; NULL: the host that the URL names */
	long connect_ms;	 /* 0: 5 s */
	long timeout_ms;	 /* from the call to the last byte; 0: 30 s */
	size_t response_max;	 /* bytes of a body; 0: 64 MiB */
};

struct http_request {
	const char *method; /* "GET", "POST" */
	const char *url;    /* whole; with a Unix socket the host is only a name */
	const void *body;   /* NULL: none */
	size_t body_size;
	const char *content_type; /* of the body */
};

struct http_response {
	long status;
	struct buffer body;
};

#define HTTP_RESPONSE_INIT                                                                         \
	{                                                                                          \
		0, BUFFER_INIT                                                                     \
	}

/* Of a request: nobody listens there. *err says so too, for whom that is a failure. */
#define HTTP_NO_SERVER 1

int http_client_open(const struct http_client_options *options, struct http_client **out,
		     struct error *err);
/*
 * ERR_CONFIG: no permission to use the socket; the URL is none. ERR_TRANSIENT: no answer in time, or the connection
 * broke. ERR_DATA: what came is not HTTP (`protocol`) or larger than is wanted (`too_large`).
 */
int http_client_request(struct http_client *client, const struct http_request *request,
			struct http_response *response, struct error *err);
/*
 * GET of a reply that has no end, piece by piece as it comes. 0: @on_piece returned false, or the server ended it. *status is
 * the reply's; only the body of a 200 comes in pieces. timeout_ms is how long nothing may come; errors as above.
 */
typedef bool (*http_piece_fn)(void *arg, const void *data, size_t size);
int http_client_follow(struct http_client *client, const char *url, http_piece_fn on_piece,
		       void *arg, long *status, struct error *err);
/* NULL is fine. */
void http_client_close(struct http_client *client);
void http_response_release(struct http_response *response);

static inline void http_client_close_p(struct http_client **client)
{
	http_client_close(*client);
}

#define cleanup_http_client   cleanup_with(http_client_close_p)
#define cleanup_http_response cleanup_with(http_response_release)

#endif

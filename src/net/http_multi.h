/*
 * Many HTTP requests in flight on one thread.
 *
 *	http_multi_open(&options, &multi, err)
 *	struct http_exchange x = {.url = ..., .method = "POST", .body = ..., .timeout_ms = ...};
 *	http_multi_start(multi, &x, err)             x and what it names belong to multi until it is finished or cancelled
 *	http_multi_wait(multi, timeout_ms)           moves bytes; returns when an exchange has finished, on wake, or in time
 *	while ((x = http_multi_finished(multi)))     ... x->result, x->status, x->reply; http_exchange_release(x)
 *	http_multi_close(multi)                      cancels what is left
 *
 * HTTP/1.1 with connections kept alive, HTTP/2 where a server offers it over TLS. Bodies go out of the caller's memory; replies
 * grow in a buffer up to response_max. A reply is a reply whatever its status; redirects are not followed. Everything
 * belongs to one thread but http_multi_wake.
 */
#ifndef LATENTD_NET_HTTP_MULTI_H
#define LATENTD_NET_HTTP_MULTI_H

#include "base/buffer.h"
#include "net/http_result.h"

#include <stdbool.h>

struct http_multi;
struct http_transfer;

#define HTTP_ERROR_BODY 4096

struct http_multi_options {
	int64_t connect_ms;			 /* 0: 10 s */
	const char *ca_file;			 /* NULL: the system's */
	const char *proxy;			 /* NULL: as the environment says; "" for none */
	const char *proxy_user, *proxy_password; /* NULL: the proxy is told none */
};

struct http_exchange {
	const char *method; /* "GET", "HEAD", "DELETE"; "POST", "PUT" */
	const char *url;
	/* Lines "Name: value", the last NULL; NULL: none. "Name:" leaves out one that libcurl would send. Copied. */
	const char *const *headers;
	const void *body; /* of a POST or PUT */
	size_t body_size;
	int64_t timeout_ms;  /* from start to the last byte */
	size_t response_max; /* bytes of the reply's body */
	void *owner;	     /* the caller's, not touched */
	/*
	 * Takes the body of a reply with status 200 or 206 instead of @reply, piece by piece; false: no further, as if the connection
	 * had ended. NULL: it becomes @reply, as do bodies of other replies, of which no more than HTTP_ERROR_BODY is kept then.
	 */
	bool (*on_body)(struct http_exchange *x, const void *data, size_t size);
	int64_t stall_ms; /* less than a kilobyte a second for so long is HTTP_TIMEOUT; 0: never */
	/* Connects to public addresses alone (http_address.h). Of all exchanges of a multi or none: they share connections. */
	bool only_public;
	/* The result. */
	enum http_result result;
	long status;		 /* of a reply, or of a proxy that refuses */
	struct buffer reply;	 /* its body */
	int64_t retry_after_ms;	 /* as it said, at most an hour; 0: nothing, or the past */
	uint64_t sent, received; /* bytes of bodies; received grows while the body comes */
	char why[256];		 /* of a result that is no reply, for people */
	struct buffer head;	 /* its headers, see http_exchange_header */
	struct http_transfer *transfer;
};

int http_multi_open(const struct http_multi_options *options, struct http_multi **out,
		    struct error *err);
/* What is in flight is dropped; its exchanges may be released. NULL is fine. */
void http_multi_close(struct http_multi *multi);

/* Fresh results are needed: zero them or release first. ERR_NOMEM. */
int http_multi_start(struct http_multi *multi, struct http_exchange *x, struct error *err);
/* It is the caller's again, without result; its connection is closed or, with HTTP/2, the stream. */
void http_multi_cancel(struct http_multi *multi, struct http_exchange *x);
/* -1: as long as it takes. */
void http_multi_wait(struct http_multi *multi, int timeout_ms);
/* The next one that has a result; NULL: none. */
struct http_exchange *http_multi_finished(struct http_multi *multi);
size_t http_multi_in_flight(const struct http_multi *multi);
/* From any thread: the wait that is under way, or the next one, returns. */
void http_multi_wake(struct http_multi *multi);
/* Readable when wait has something to do. */
int http_multi_fd(const struct http_multi *multi);

/*
 * The value of the reply's first header @name (in any case), without spaces around it, into @out. False: there is none,
 * or it does not fit.
 */
bool http_exchange_header(const struct http_exchange *x, const char *name, char *out, size_t size);
/* Frees the reply; the request's part stays as it is. */
void http_exchange_release(struct http_exchange *x);

#endif

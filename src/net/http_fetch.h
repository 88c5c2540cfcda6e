/*
 * The beginning of a file that lies on a web server.
 *
 *	http_fetch_begin("https://example.org/000000.tar", most, &bytes, &whole, err)
 *
 * One request for a range of bytes; redirects are followed, a few times and never from https to http, for files lie behind
 * them on hubs. Nothing of ours is sent along. A server that knows no ranges sends the whole file, if that is no larger.
 */
#ifndef LATENTD_NET_HTTP_FETCH_H
#define LATENTD_NET_HTTP_FETCH_H

#include "base/buffer.h"

#include <stdbool.h>

/* Whether @path is an http:// or https:// address. */
bool http_fetch_is_url(const char *path);

/*
 * At most the first @most bytes become @out; *whole: that is all of it. ERR_CONFIG: a wrong address, nothing there, too many
 * redirects, a certificate that is not trusted. ERR_TRANSIENT: no answer, 5xx. ERR_DATA `too_large`: the server knows no
 * ranges, and the file is larger.
 */
int http_fetch_begin(const char *url, size_t most, struct buffer *out, bool *whole,
		     struct error *err);

#endif

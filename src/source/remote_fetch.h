/*
 * Private to src/source: what a sample consists of, fetched together.
 *
 *	struct remote_fetch *fetch = remote_fetch_new(files);
 *	remote_fetch_add(fetch, REMOTE_IMAGE, &want)         each part once
 *	if (remote_fetch_waits(fetch))                       something of it is not at hand
 *		remote_fetch_start(fetch, done, owner)       returns at once; done is called on another thread, or before
 *	fd = remote_fetch_take(order, REMOTE_IMAGE, err)     after that, of the order whose fetch it is
 *	remote_fetch_free(fetch)                             not while it is under way
 */
#ifndef LATENTD_SOURCE_REMOTE_FETCH_H
#define LATENTD_SOURCE_REMOTE_FETCH_H

#include "source/remote_files.h"

enum remote_which { REMOTE_IMAGE, REMOTE_CAPTION, REMOTE_JSON, REMOTE_MASK, REMOTE_PARTS };

/* The @size bytes of @url from @offset on, where it has that ETag; size 0: all of it. Copied. */
struct remote_want {
	const char *url, *etag;
	uint64_t offset, size;
};

struct remote_fetch;

struct remote_fetch *remote_fetch_new(struct remote_files *files);
/* NULL is fine. */
void remote_fetch_free(struct remote_fetch *fetch);
void remote_fetch_add(struct remote_fetch *fetch, enum remote_which which,
		      const struct remote_want *want);
bool remote_fetch_has(const struct remote_fetch *fetch, enum remote_which which);
/* Of some bytes of it. */
bool remote_fetch_has_piece(const struct remote_fetch *fetch, enum remote_which which);
/* An object that was wanted and is not there is `gone`, but for the image, of which that is an error like others. */
bool remote_fetch_is_gone(const struct remote_fetch *fetch, enum remote_which which);
bool remote_fetch_waits(const struct remote_fetch *fetch);
void remote_fetch_start(struct remote_fetch *fetch, void (*done)(void *owner), void *owner);
/* The descriptor, the caller's, of one that was added. Errors as remote_files_open(), and @order's put_off_ms. */
int remote_fetch_take(struct source_order *order, enum remote_which which, struct error *err);
/* Appends the bytes of one; ERR_DATA `too_large`: more than @size_max. */
int remote_fetch_read(struct source_order *order, enum remote_which which, size_t size_max,
		      struct buffer *out, struct error *err);
/* Its mask into @order; ERR_DATA `mask`: it is empty. */
int remote_fetch_mask(struct source_order *order, struct error *err);
/* What most sources have to finish: the image into @order. */
int remote_fetch_image(struct source_order *order, struct error *err);

#endif

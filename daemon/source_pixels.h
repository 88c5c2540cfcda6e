/*
 * Image files to pixels, one after another, by a confined worker (decode_pool.h), for commands that have nothing else to do
 * meanwhile.
 *
 *	source_pixels_open(max_pixels, &reader, err)
 *	source_pixels_stop(reader, stop, arg)                                 for whoever cannot wait for each of them
 *	source_pixels_read(reader, fd, place, arg, &policy, &image, err)      for many files
 *	source_pixels_close(reader)
 */
#ifndef LATENTD_DAEMON_SOURCE_PIXELS_H
#define LATENTD_DAEMON_SOURCE_PIXELS_H

#include "base/hash.h"
#include "image/render.h"

struct source_pixels;

/* For pictures of at most @pixels. */
int source_pixels_open(size_t pixels, struct source_pixels **out, struct error *err);
void source_pixels_close(struct source_pixels *reader);
/*
 * @stop is asked a few times a second while a file is read; true: that ends with ERR_TRANSIENT, and the reader is only good for
 * closing.
 */
void source_pixels_stop(struct source_pixels *reader, bool (*stop)(void *arg), void *arg);

/* What to make of an image whose header this is: its geometry. Not 0: an error, which ends the reading. */
typedef int (*source_pixels_place_fn)(void *arg, const struct image_header *header,
				      struct render_geometry *geometry, struct error *err);

/*
 * The image in the file @fd, which stays the caller's. *content: XXH3-128 of the file's bytes; may be NULL. ERR_DATA: the
 * file is bad, with the reason, or its geometry is `too_large`; ERR_IO: no worker can be kept running.
 */
int source_pixels_read(struct source_pixels *reader, int fd, source_pixels_place_fn place,
		       void *arg, const struct image_policy *policy, struct image *out,
		       struct hash128 *content, struct error *err);

#endif

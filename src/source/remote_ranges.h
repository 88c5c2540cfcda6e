/*
 * Private to src/source: the bytes of an object, as much of them as somebody reads. What is read on from near where it
 * ended comes in ever larger requests, up to REMOTE_RANGE_MAX: a list of small members is one pass; what jumps far costs a small one each
 * time.
 *
 *	r = remote_ranges_new(files, url, etag, size, &options)
 *	remote_ranges_read(r, offset, out, n, err)       of struct unpack_input
 *	remote_ranges_free(r)
 *
 * A server that fails is asked again, after pauses, for two minutes. Errors: ERR_TRANSIENT: it did not answer, or stopped. ERR_CONFIG: keys.
 * ERR_DATA: `changed` (it has another ETag), `no_ranges`, `truncated`, `not_found`, `forbidden` and the like.
 */
#ifndef LATENTD_SOURCE_REMOTE_RANGES_H
#define LATENTD_SOURCE_REMOTE_RANGES_H

#include "source/remote_files.h"

#define REMOTE_RANGE_FIRST ((size_t)32 << 10)
#define REMOTE_RANGE_MAX   ((size_t)4 << 20)
/* What lies closer ahead than that is read through. */
#define REMOTE_RANGE_NEAR ((uint64_t)256 << 10)

struct remote_ranges;

/* Of options stop counts. */
struct remote_ranges *remote_ranges_new(struct remote_files *files, const char *url,
					const char *etag, uint64_t size,
					const struct source_folder_options *options);
/* NULL is fine. */
void remote_ranges_free(struct remote_ranges *r);
/* Bytes that lie within its size. */
int remote_ranges_read(void *ranges, uint64_t offset, void *out, size_t size, struct error *err);

#endif

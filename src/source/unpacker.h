/*
 * An archive in this process, through libarchive: hostile bytes are parsed here, so outside of tests only
 * latentd-unpack, which is confined, calls it.
 *
 *	unpacker_open(&input, &limits, &u, err)
 *	while ((r = unpacker_next(u, &member, err)) == 0)      lists, once, from the first to the last
 *		...
 *	n = unpacker_read(u, &member, bytes, size, err)         before, meanwhile or after
 *	unpacker_close(u)
 *
 * Read are tar (ustar, GNU, pax), plain or compressed with gzip, xz, zstd or bzip2, zip and 7-Zip. No other program is
 * started, and no password is known.
 *
 * A member of a plain tar is read by its offset. In every other archive members are read fast only in the order in which
 * they stand: what lies between is passed over, and for an earlier one it begins anew.
 */
#ifndef LATENTD_SOURCE_UNPACKER_H
#define LATENTD_SOURCE_UNPACKER_H

#include "source/unpack.h"

#include <sys/types.h>

struct unpacker;

/* @in stays the caller's; the position of a file is not used. ERR_DATA as unpack_list() gives; ERR_IO. */
int unpacker_open(const struct unpack_input *in, const struct unpack_limits *limits,
		  struct unpacker **out, struct error *err);
/* Called about ten times a second while it works. May be NULL. */
void unpacker_on_tick(struct unpacker *u, void (*tick)(void *arg), void *arg);
/* *@m is valid until the next call. UNPACK_END after the last; an error ends the list as well. */
int unpacker_next(struct unpacker *u, struct unpack_member *m, struct error *err);
/*
 * Fills @out with the bytes of @m, of which it uses place, offset and name, as far as there is room. Returns how many
 * they are. ERR_DATA: `too_large` (more than @size), and as unpack_read() gives.
 */
ssize_t unpacker_read(struct unpacker *u, const struct unpack_member *m, uint8_t *out, size_t size,
		      struct error *err);
/* NULL is fine. */
void unpacker_close(struct unpacker *u);

#endif

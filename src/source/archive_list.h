/*
 * What an archive holds, kept in a file: one that has not changed is not read again to know that. A compressed archive
 * is unpacked to its end for its list.
 *
 *	FOLDER/HASH       of the archive's path in its source
 *
 * A list that cannot be read, is damaged, or is of another archive than is there now, is no list. Writing one may fail:
 * nothing is lost but time.
 */
#ifndef LATENTD_SOURCE_ARCHIVE_LIST_H
#define LATENTD_SOURCE_ARCHIVE_LIST_H

#include "base/buffer.h"
#include "source/unpack.h"

/* What the archive was known by when it was listed. */
struct archive_stamp {
	uint64_t size, inode;
	int64_t mtime_ns;
};

/* -- the bytes of one ---------------------------------------------------------------------------- */

/* begin, put for each member, end: of what is wrong with the archive, ERR_NONE or ERR_DATA. */
void archive_list_begin(struct buffer *out, const struct archive_stamp *stamp);
void archive_list_put(struct buffer *out, const struct unpack_member *m);
void archive_list_end(struct buffer *out, const struct error *damage);
/* False: it is no whole list of @stamp; @on_member is not called then. The members point into @bytes. */
bool archive_list_read(const uint8_t *bytes, size_t size, const struct archive_stamp *stamp,
		       void (*on_member)(void *arg, const struct unpack_member *m), void *arg,
		       struct error *damage);

/* -- a folder of them ---------------------------------------------------------------------------- */

struct archive_lists;

/* It is made when the first list is written. */
struct archive_lists *archive_lists_open(const char *folder);
/* NULL is fine. */
void archive_lists_close(struct archive_lists *l);
/* The list of archive @path, whatever it is of. False: there is none. */
bool archive_lists_load(struct archive_lists *l, const char *path, struct buffer *out);
void archive_lists_save(struct archive_lists *l, const char *path, const struct buffer *list);
/* Removes those that were neither loaded nor saved since: their archives are no longer there. */
void archive_lists_sweep(struct archive_lists *l);

#endif

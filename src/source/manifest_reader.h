/*
 * The records of a manifest, one after the other or at a place, with memory for one of them.
 *
 *	manifest_reader_open(fd, format, &columns, &reader, err)
 *	while ((r = manifest_reader_next(reader, false, &item, &place, err)) == 0)
 *		if (place.bad) ... else ...
 *	manifest_reader_seek(reader, place.offset)      item is read again by the next call
 *	manifest_reader_close(reader)
 *
 * A byte order mark, CRLF and empty lines are passed over. One record that is wrong does not spoil the others: a line
 * is given up at its end, a row too, at that of its first line: a quote too many makes rows look like fields. Of kohya's JSON a member that
 * is wrong is given up too; where the braces themselves do not match there is nothing more to find.
 */
#ifndef LATENTD_SOURCE_MANIFEST_READER_H
#define LATENTD_SOURCE_MANIFEST_READER_H

#include "source/manifest_record.h"

#include <stdint.h>

#define MANIFEST_END	    1
#define MANIFEST_RECORD_MAX ((size_t)4 << 20)

struct manifest_place {
	uint64_t offset; /* of its first byte */
	uint64_t line;	 /* from 1 */
	const char *bad; /* what is wrong with it; NULL: nothing */
};

struct manifest_reader;

/* @fd outlives it. ERR_CONFIG: as manifest_record_header(). ERR_IO. */
int manifest_reader_open(int fd, enum manifest_format format,
			 const struct manifest_columns *columns, struct manifest_reader **out,
			 struct error *err);
/* NULL is fine. */
void manifest_reader_close(struct manifest_reader *r);
/* MANIFEST_END; ERR_IO: the next call tries again. */
int manifest_reader_next(struct manifest_reader *r, bool paths_only, struct manifest_item *item,
			 struct manifest_place *place, struct error *err);
/* What is at @offset, where a record began, is next; lines are no longer known. */
void manifest_reader_seek(struct manifest_reader *r, uint64_t offset);
/* The first record is next. */
void manifest_reader_rewind(struct manifest_reader *r);

#endif

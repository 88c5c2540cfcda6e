/*
 * The spool: a durable log of finished records that are not yet in a shard.
 *
 *	spool_open("STATE/spool", &options, on_record, arg, &spool, err)   replays what a crash left
 *	spool_append(spool, &record, &where, err)                          not yet durable
 *	spool_sync(spool, err)                                             now it is: fdatasync
 *	spool_read(spool, &where, &record, err)                            checked
 *	spool_drop(spool, &where, err)                                     it is in a shard
 *	spool_close(spool);
 *
 * Segments `%016x.spool` of a bounded size hold records with length and XXH3-64 each. On open, the
 * last segment is cut back to its last whole record, and every record left is handed to @on_record
 * with its place. A segment none of whose records is live any more is removed. Damage that is not
 * at the end of the log is reported through @on_damage: the open goes on behind the record where
 * its length is still plausible, else leaves the rest of that segment.
 *
 * After a failed append or sync the spool refuses further ones (ERR_IO): nothing is known about
 * what is on disk; close it and open it again. Closing then gives up what was appended since the
 * last sync that worked, so that a record which may exist in the page cache only is not taken for a
 * durable one. What spool_open hands out is durable.
 *
 * A place is good until it is dropped or the spool is closed (ERR_BUG afterwards); drops are not
 * written down: after a crash on_record says again what is no longer needed. One thread at a time.
 */
#ifndef LATENTD_STORAGE_SPOOL_H
#define LATENTD_STORAGE_SPOOL_H

#include "storage/record.h"

struct spool_place {
	uint64_t segment;
	uint64_t offset;
	uint64_t size; /* of the stored record, frame included */
};

struct spool_options {
	size_t segment_bytes; /* 0: 64 MiB; a larger record has a segment to itself */
	/* One line about what was found damaged, or cut off, on open. May be NULL. */
	void (*on_damage)(void *arg, const char *line);
	void *damage_arg;
};

/* During open: a record that survived. Anything but 0 drops it at once. */
typedef int (*spool_record_fn)(void *arg, const struct spool_place *place,
			       const struct record *record);

struct spool;

/* @options may be NULL. ERR_CONFIG: a segment of a newer version is there; nothing was touched. */
int spool_open(const char *dir, const struct spool_options *options, spool_record_fn on_record,
	       void *arg, struct spool **out, struct error *err);
/* ERR_DATA `too_large`: a record of 4 GiB or more; the spool stays usable. */
int spool_append(struct spool *s, const struct record *record, struct spool_place *place,
		 struct error *err);
/* fdatasync of what was appended since the last one; nothing to do is 0. */
int spool_sync(struct spool *s, struct error *err);
int spool_read(struct spool *s, const struct spool_place *place, struct record *out,
	       struct error *err);
/* An error is a segment that could not be removed: the record is dropped, later drops try again. */
int spool_drop(struct spool *s, const struct spool_place *place, struct error *err);
/* Bytes on disk, and live records. */
uint64_t spool_bytes(const struct spool *s);
size_t spool_records(const struct spool *s);
/* NULL is fine. Does not sync. */
void spool_close(struct spool *s);

#endif

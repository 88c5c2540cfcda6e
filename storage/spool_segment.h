/*
 * One file of the spool: its layout, what is alive in it, and the scan that finds that out again.
 * Only spool.c uses it.
 */
#ifndef LATENTD_STORAGE_SPOOL_SEGMENT_H
#define LATENTD_STORAGE_SPOOL_SEGMENT_H

#include "storage/spool.h"

#include <stdbool.h>

#define SPOOL_HEADER_SIZE 32
#define SPOOL_FRAME_SIZE  16

struct spool_entry {
	uint64_t offset, size;
	bool live;
};

struct spool_segment {
	uint64_t number;
	uint64_t size;		     /* of the file */
	struct spool_entry *entries; /* by offset */
	size_t n_entries, capacity;
	size_t n_live;
};

void spool_segment_release(struct spool_segment *seg);
char *spool_segment_path(const char *dir, uint64_t number);
/* False if @name is not a segment's. */
bool spool_segment_number(const char *name, uint64_t *number);

/* A new file with its header, durable. The descriptor, open for appending, or -1. */
int spool_segment_create(const char *dir, uint64_t number, struct error *err);
/* The record with its frame, appended to @out. ERR_DATA `too_large`. */
int spool_frame_append(const struct record *record, struct buffer *out, struct error *err);
void spool_segment_add(struct spool_segment *seg, uint64_t offset, uint64_t size);
/* The live entry of a place, or NULL. */
struct spool_entry *spool_segment_find(struct spool_segment *seg, const struct spool_place *place);
/* The record of a place. ERR_DATA `spool`. */
int spool_segment_read(int fd, const struct spool_place *place, struct record *out,
		       struct error *err);

/*
 * Reads @seg's file of seg->size bytes, at least SPOOL_HEADER_SIZE, and fills its entries with what
 * @on_record keeps. *whole becomes the end of the last whole record: with @last, what is behind it
 * was being written when somebody died; otherwise it is reported.
 */
int spool_segment_scan(struct spool_segment *seg, int fd, bool last,
		       const struct spool_options *options, spool_record_fn on_record, void *arg,
		       uint64_t *whole, struct error *err);

#endif

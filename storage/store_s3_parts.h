/*
 * What the S3 store's parts share; nobody else includes it.
 *
 *	store_s3.c          opening, reading, listing, moving
 *	store_s3_write.c    writers, and uploads that another life goes on with
 */
#ifndef LATENTD_STORAGE_STORE_S3_PARTS_H
#define LATENTD_STORAGE_STORE_S3_PARTS_H

#include "net/s3.h"
#include "storage/store_s3.h"

#include <stdatomic.h>

struct s3_store {
	struct store base;
	struct store *local; /* of the folder: what is being written */
	struct s3 *s3;
	struct s3 *uploads;    /* of whoever publishes, perhaps on another thread (store.h) */
	char *folder, *prefix; /* "" or with a '/' behind it */
	size_t part_bytes;
	bool readonly;
	atomic_bool changed; /* something was published since the last read */
	/* Of the object that was read last. */
	char *name;
	uint64_t size, cached_at;
	struct buffer cached;
};

struct s3_store *s3_store_of(struct store *s);
/* The key of @name in @area; to be freed. */
char *s3_store_key(const struct s3_store *s, enum store_area area, const char *name);
/* What is known of the object that was read last is old. */
void s3_store_forget(struct s3_store *s);
int s3_store_refuse(const struct s3_store *s, struct error *err);

int s3_store_begin(struct store *base, struct store_writer **out, struct error *err);
int s3_store_flush(struct store_writer *base, struct error *err);
int s3_store_writer_read(struct store_writer *base, void *data, size_t size, uint64_t offset,
			 struct error *err);
int s3_store_publish(struct store_writer *base, enum store_area area, const char *name,
		     struct error *err);
void s3_store_discard(struct store_writer *base);

#endif

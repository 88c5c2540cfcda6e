/*
 * Shard formats: how records become one file, and come out of it again.
 *
 *	const struct shard_ops *wds = shard_format("wds");
 *	struct shard_writer *w = wds->writer_new(sink, NULL);
 *	wds->add(w, &record, &span, err) ...                same records, same order: same bytes
 *	wds->finish(w, err);
 *	wds->writer_free(w);
 *
 *	wds->read(read_at, arg, size, on_record, arg, err)  every record of a shard, in order
 *
 * Sealing (seal.h) composes this with a store.
 */
#ifndef LATENTD_STORAGE_SHARD_H
#define LATENTD_STORAGE_SHARD_H

#include "storage/record.h"
#include "storage/sink.h"

struct shard_span {
	uint64_t offset, bytes; /* of one record in the shard, headers and padding included */
};

/* Exactly @size bytes at @offset of the shard. */
typedef int (*shard_read_at_fn)(void *arg, void *data, size_t size, uint64_t offset,
				struct error *err);
/*
 * A record as read: key and members; other fields are zero. Not 0 ends the reading with that value.
 */
typedef int (*shard_record_fn)(void *arg, const struct record *record,
			       const struct shard_span *span, struct error *err);

struct shard_writer;

struct shard_ops {
	const char *name;      /* "wds", "mds" */
	const char *extension; /* ".tar", ".mds.zstd" */
	/* @columns: a specification of mds_columns.h, NULL or "" for none; only mds has columns. Lives as long. */
	struct shard_writer *(*writer_new)(struct sink *sink, const char *columns);
	/*
	 * ERR_DATA `name_too_long` where KEY.SUFFIX does not fit the format. *span is filled when finish() has returned,
	 * and must stay where it is until then.
	 */
	int (*add)(struct shard_writer *w, const struct record *record, struct shard_span *span,
		   struct error *err);
	int (*finish)(struct shard_writer *w, struct error *err);
	void (*writer_free)(struct shard_writer *w);
	/* ERR_DATA `shard`: damaged or foreign. Untrusted bytes are fine. */
	int (*read)(shard_read_at_fn read_at, void *read_arg, uint64_t size, shard_record_fn fn,
		    void *arg, struct error *err);
	/*
	 * The one record that lies at @span, which add() once gave. ERR_DATA `shard`: it is not
	 * exactly one record.
	 */
	int (*read_record)(shard_read_at_fn read_at, void *read_arg, const struct shard_span *span,
			   struct record *out, struct error *err);
};

/* A format by its name; NULL if there is none. */
const struct shard_ops *shard_format(const char *name);
/* The format of a file by its extension; NULL if there is none. */
const struct shard_ops *shard_format_of_file(const char *path);

#endif

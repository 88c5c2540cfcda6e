/*
 * MosaicML Streaming's shards (MDS, version 2), each one zstd frame: what mosaicml-streaming and LitData read, given the
 * index.json that belongs to it. Columns: mds_columns.h.
 *
 * The whole record stands in the columns, so a shard alone gives its records back. Its frame is written in pieces
 * (base/frame_pieces.h), a sample each: the place of a record is that of its piece, and it is read without the others.
 * Shards of other writers are ERR_DATA `shard`.
 *
 * A writer keeps the records of its shard in memory until finish(), because the places of all samples stand at the
 * beginning. Opened, a shard has less than 4 GiB: ERR_DATA `too_large`.
 */
#ifndef LATENTD_STORAGE_SHARD_MDS_H
#define LATENTD_STORAGE_SHARD_MDS_H

#include "storage/mds_columns.h"
#include "storage/shard.h"

extern const struct shard_ops shard_mds_ops;

/* The specification of the shard's columns; "" for none. ERR_DATA `shard`. */
int shard_mds_columns(shard_read_at_fn read_at, void *read_arg, uint64_t size,
		      char out[MDS_SPECIFICATION_SIZE], struct error *err);
/*
 * Appends the shard's entry in an index.json, a JSON object on one line: reads all of the shard. @sha256: of the file;
 * @basename: "000000.mds.zstd", or "512x512/000000.mds.zstd". ERR_DATA `shard`.
 */
int shard_mds_index_entry(shard_read_at_fn read_at, void *read_arg, uint64_t size,
			  const struct sha256 *sha256, const char *basename, struct buffer *out,
			  struct error *err);

#endif

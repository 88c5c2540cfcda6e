/*
 * WebDataset shards: plain ustar, one file KEY.SUFFIX a member, the members of a record side by
 * side in the record's order, two zero blocks at the end. A record's key ends at the first dot of
 * the file's base name, which is webdataset's own rule.
 *
 * A key may have folders ("a/b"). add refuses with ERR_DATA `bad_name` what would not come out
 * again as it went in: a dot in the base name, a part that is empty or begins with a dot, two
 * records of the same key in a row. ERR_DATA `too_large`: a member of 8 GiB or more.
 *
 * read takes regular files with plain headers only: anything else in the archive (folders, links,
 * pax or GNU extensions, bytes behind its end, no end) is ERR_DATA `shard`.
 */
#ifndef LATENTD_STORAGE_SHARD_WDS_H
#define LATENTD_STORAGE_SHARD_WDS_H

#include "storage/shard.h"

extern const struct shard_ops shard_wds_ops;

#endif

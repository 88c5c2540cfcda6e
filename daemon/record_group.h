/* Groups of records: the folders of an output, named after the size of their images. */
#ifndef LATENTD_DAEMON_RECORD_GROUP_H
#define LATENTD_DAEMON_RECORD_GROUP_H

#include "image/bucket.h"
#include "storage/record.h"

#include <stdbool.h>

/*
 * "512x768" of a placement: the group that a record belongs to. Where images have several resolutions the sizes of all are joined:
 * "512x512_768x768".
 */
void record_group(const struct bucket_placement *p, char out[RECORD_GROUP_SIZE]);
/* Of the shard "SPLIT/GROUP/NUMBER.EXT"; "" where that is not its name. */
void record_group_of_shard(const char *name, char out[RECORD_GROUP_SIZE]);
/* Whether records of this size are in such a group. */
bool record_group_has(const char *group, size_t width, size_t height);

#endif

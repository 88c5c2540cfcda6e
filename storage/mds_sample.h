/* A record as the bytes of an MDS sample, and back. */
#ifndef LATENTD_STORAGE_MDS_SAMPLE_H
#define LATENTD_STORAGE_MDS_SAMPLE_H

#include "storage/mds_columns.h"

struct json_t;

/* A sample's bytes, appended. ERR_DATA `too_large`: a value of 4 GiB. */
int mds_sample_put(const struct mds_columns *columns, const struct record *record,
		   struct buffer *out, struct error *err);
/* ERR_DATA `shard`: not exactly one sample of these columns. */
int mds_sample_read(const struct mds_columns *columns, const uint8_t *bytes, size_t size,
		    struct record *out, struct error *err);

/* Member `json`, parsed: a new reference; NULL where there is none. */
struct json_t *mds_record_json(const struct record *record);
/* A field of two whole numbers, as they are stored; false where it is something else. */
bool mds_pair_read(struct json_t *json, const char *field, uint32_t pair[2]);

#endif

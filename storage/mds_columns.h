/*
 * The columns of a MosaicML (MDS) shard, and records as their values. A shard's columns follow from its records:
 *
 *	column		encoding		of the record
 *	key		str			its key
 *	meta		json			member `json`
 *	caption		str			member `txt`
 *	NAME		ndarray:DTYPE		member `NAME.npy` (latent, moments), as far as all records have it
 *	original_size, crop_top_left, target_size
 *			ndarray:int32:2		fields of `json`, where all have them; for readers, not read back
 *	SUFFIX		bytes			any other member, as it is
 *	members		str			only where not all records have the same members: which, with '/' between
 *
 * A specification renames columns and stores them as `bytes`: "latent=latents_256:bytes,caption=text". What is stored as
 * bytes of an array are its values alone; the shape, which is then one for the shard, stands in the shard's config, as does the
 * specification, so that a dataset whose dataset.json is lost goes on with the same columns.
 */
#ifndef LATENTD_STORAGE_MDS_COLUMNS_H
#define LATENTD_STORAGE_MDS_COLUMNS_H

#include "base/ndarray.h"
#include "storage/record.h"

#define MDS_NAME_SIZE	       64
#define MDS_MAX_MEMBERS	       16
#define MDS_MAX_COLUMNS	       (MDS_MAX_MEMBERS + 5)
#define MDS_SPECIFICATION_SIZE 256

enum mds_encoding { MDS_STR, MDS_JSON, MDS_BYTES, MDS_NDARRAY, MDS_PAIR };
enum mds_role { MDS_KEY, MDS_MEMBER, MDS_MEMBERS, MDS_FIELD };

struct mds_column {
	char name[MDS_NAME_SIZE];
	enum mds_role role;
	char of[RECORD_SUFFIX_SIZE]; /* the member's suffix, or the field of `json` */
	enum mds_encoding encoding;
	bool array;	  /* of a member: values of an .npy, not the file */
	enum dtype dtype; /* of an array */
	size_t ndim;	  /* of an array that is stored as bytes */
	size_t shape[NDARRAY_MAX_DIMS];
	size_t rank; /* of a member: its place among those of a record */
};

struct mds_columns {
	struct mds_column items[MDS_MAX_COLUMNS]; /* by name */
	size_t n, n_members;
	char specification[MDS_SPECIFICATION_SIZE]; /* that they were chosen by; empty: none */
};

/* ERR_CONFIG: not such a specification, or one of MDS_SPECIFICATION_SIZE bytes and more. NULL and "" are one: nothing is renamed. */
int mds_specification_check(const char *specification, struct error *err);

/*
 * What @n records need. ERR_DATA `bad_name`: two columns of one name, or one that is too long; `too_large`: more members
 * than a shard can have.
 */
int mds_columns_choose(struct mds_columns *columns, const char *specification,
		       const struct record *records, size_t n, struct error *err);
/* The config in a shard, compact JSON; what every MDS shard has, and what reading back needs. */
int mds_columns_config(const struct mds_columns *columns, struct buffer *out, struct error *err);
/* And back. ERR_DATA `shard`: not one of ours. */
int mds_columns_parse(struct mds_columns *columns, const uint8_t *config, size_t size,
		      struct error *err);

#endif

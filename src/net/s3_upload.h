/*
 * A file into a bucket: in one request while it is small, else in parts, a few at a time.
 *
 *	struct s3_upload upload = {.key = key, .read = read_file, .size = size, .sha256 = hex, .mode = S3_NEW};
 *	r = s3_upload(s3, &upload, err)                      0, or S3_IN_THE_WAY; what is there is looked at with HEAD
 *
 * An upload in parts that was begun can go on in another life: on_begun gets its name, which .upload_id takes then, for a
 * file of the same bytes. Parts that are there are not sent again. A store that is throttling gets fewer parts at a time, half
 * of them with each SlowDown and one more with each window that went well.
 */
#ifndef LATENTD_NET_S3_UPLOAD_H
#define LATENTD_NET_S3_UPLOAD_H

#include "net/s3.h"

#define S3_PART_DEFAULT ((size_t)16 << 20)
#define S3_PARTS_MAX	9000 /* the store's limit is 10,000 */

struct s3_upload {
	const char *key;
	uint64_t size;
	const char *sha256; /* of the file, in hex */
	enum s3_mode mode;
	size_t part_bytes;     /* 0: S3_PART_DEFAULT; up to so much goes in one request */
	const char *upload_id; /* NULL: none was begun */
	/* Exactly these bytes of it. */
	int (*read)(void *arg, void *data, size_t size, uint64_t offset, struct error *err);
	int (*on_begun)(void *arg, const char *upload_id,
			struct error *err); /* NULL: nobody notes it */
	void *arg;
};

/* ERR_DATA `verify`: what is in the bucket afterwards is not this file. ERR_IO: nothing is, although the store said so. Others as in s3.h; and read's. */
int s3_upload(struct s3 *s3, const struct s3_upload *upload, struct error *err);

/* Forgets an upload and its parts; one that is not there any more is fine. */
int s3_abort(struct s3 *s3, const char *key, const char *upload_id, struct error *err);
/* Uploads below @prefix that were begun and not ended: item->key, ->upload_id, ->modified_ms. */
int s3_list_uploads(struct s3 *s3, const char *prefix, s3_item_fn fn, void *arg, struct error *err);

#endif

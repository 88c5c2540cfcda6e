/*
 * Private to src/source: objects "s3://BUCKET/KEY" as downloads. A client of each bucket is kept, with the keys, region and endpoint
 * that s3.h finds in the environment and in AWS's files.
 *
 *	struct remote_s3 *s = remote_s3_new();
 *	remote_s3_init(s, url, &object, err)
 *	struct download d = {.url = url, .sign = remote_s3_sign, .judge = remote_s3_judge, .arg = &object};
 *	remote_s3_release(&object)                        when d is done
 *	remote_s3_free(s)
 *
 * Errors beside those of download.h: `not_found` also where the bucket is not there, `forbidden` where the keys do not allow it, and
 * ERR_CONFIG about keys, region and clock. Any thread.
 */
#ifndef LATENTD_SOURCE_REMOTE_S3_H
#define LATENTD_SOURCE_REMOTE_S3_H

#include "net/download.h"

struct remote_s3;
struct remote_bucket;

struct remote_object {
	struct remote_bucket *bucket;
	char *key;
};

#define REMOTE_OBJECT_INIT                                                                         \
	{                                                                                          \
		NULL, NULL                                                                         \
	}

struct remote_s3 *remote_s3_new(void);
/* NULL is fine. */
void remote_s3_free(struct remote_s3 *s);

/* ERR_CONFIG: what says where the bucket is is wrong. ERR_DATA `bad_url`: no key, or too many buckets. */
int remote_s3_init(struct remote_s3 *s, const char *url, struct remote_object *out,
		   struct error *err);
void remote_s3_release(struct remote_object *object);

int remote_s3_sign(struct download *d, char **url, struct buffer *lines, struct error *err);
enum download_next remote_s3_judge(struct download *d, const struct http_exchange *x,
				   struct error *err);

#endif

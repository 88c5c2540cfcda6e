/*
 * Why a request to S3 did not give what was wanted, and what is done about it.
 */
#ifndef LATENTD_NET_S3_CAUSE_H
#define LATENTD_NET_S3_CAUSE_H

#include "net/http_multi.h"
#include "net/s3_xml.h"

enum s3_cause {
	S3_FINE,
	S3_NO_KEY,	 /* 404: the object is not there */
	S3_NO_BUCKET,	 /* nor is the bucket */
	S3_NO_UPLOAD,	 /* the multipart upload was completed, aborted or never was */
	S3_TAKEN,	 /* 412: an object of that name is there, and If-None-Match was asked for */
	S3_CONFLICT,	 /* 409: somebody else writes the same name at this moment */
	S3_THROTTLED,	 /* SlowDown, 429: fewer requests at a time */
	S3_UNAVAILABLE,	 /* 5xx, no connection, no answer in time: later */
	S3_CORRUPTED,	 /* the body that arrived is another (BadDigest): once more */
	S3_SKEWED,	 /* our clock and the server's differ by more than 15 minutes */
	S3_EXPIRED,	 /* keys that were issued for some hours */
	S3_WRONG_REGION, /* the bucket is in another region */
	S3_WRONG_KEYS,	 /* nobody has these keys, or the secret is another */
	S3_DENIED,	 /* they do not allow this */
	S3_FULL,	 /* a quota, or no room */
	S3_UNSUPPORTED,	 /* 501: the store does not know that */
	S3_REFUSED,	 /* anything else: asking again changes nothing */
};

struct s3_outcome {
	enum s3_cause cause;
	struct s3_fault fault; /* code "" where no <Error> came */
	int64_t server_ms;     /* the reply's Date; 0: none */
};

/* Of an exchange that is finished. An <Error> counts whatever the status says, but for what is read. @now_ms: our wall clock. */
void s3_outcome_of(const struct http_exchange *x, int64_t now_ms, struct s3_outcome *out);
/* The same request may work in a while. */
bool s3_cause_is_transient(enum s3_cause cause);
/*
 * ERR_TRANSIENT, ERR_CONFIG (access, bucket, clock), ERR_DATA `missing`, `exists` or `s3`, in one line that begins with @what:
 * "s3://bucket/key".
 */
int s3_outcome_error(const struct s3_outcome *outcome, const struct http_exchange *x,
		     const char *what, struct error *err);

#endif

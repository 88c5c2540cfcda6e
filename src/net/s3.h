/*
 * A bucket of an S3-compatible store: AWS, MinIO, Ceph, Swift, R2, GCS with HMAC keys.
 *
 *	struct s3_options options = {.place = {.bucket = "latents"}};
 *	s3_open(&options, &s3, err)                               no request yet
 *	s3_list(s3, "faces/", NULL, on_item, arg, err)            every key below a prefix, in order
 *	r = s3_head(s3, key, &object, err)                        0, or S3_NOT_THERE
 *	r = s3_get(s3, key, offset, size, &out, err)              exactly these bytes, or S3_NOT_THERE
 *	r = s3_put(s3, key, data, size, S3_NEW, &object, err)     0, or S3_IN_THE_WAY
 *	r = s3_copy(s3, from, to, S3_NEW, err)                    in the store, without passing here
 *	s3_delete(s3, key, err)                                   what is not there is fine
 *	s3_close(s3)
 *
 * Each call waits for its reply and is made again, after pauses that grow, while the cause passes (retry by s3_cause.h) and
 * patience lasts. A clock that is wrong is corrected by the server's Date, a region by what the server says, keys that
 * expired by fetching new ones, each once in a row. A client belongs to one thread at a time.
 *
 * Whoever wants many requests in flight makes them with s3_sign, sends them through a http_multi, and asks s3_judge about each:
 *
 *	s3_sign(s3, &what, &request, err)
 *	struct http_exchange x = {.method = what.method, .url = request.url, .headers = request.lines, ...};
 *	... S3_DONE: outcome.cause says what came of it; S3_AGAIN: sign and send it again, S3_LATER: after a pause
 *
 * Errors: ERR_CONFIG: credentials, rights, bucket, region, clock, certificate. ERR_TRANSIENT: patience is over, or stopped.
 * ERR_DATA: this key or reply.
 */
#ifndef LATENTD_NET_S3_H
#define LATENTD_NET_S3_H

#include "net/s3_cause.h"
#include "net/s3_request.h"

struct s3;

struct s3_options {
	struct s3_place place;
	int64_t
	    timeout_ms; /* of one request, from start to the last byte; 0: 10 min, and never longer than a minute without one */
	int64_t patience_ms; /* for one call, pauses and all; 0: 2 min; below 0: no second try */
	const char *ca_file; /* NULL: the system's */
	/* Whether to try nothing again, to pause no more, and to end lists: what else is under way comes to its end. NULL: never */
	bool (*stop)(void *arg);
	void (*on_wait)(void *arg); /* called a few times a second while waiting; NULL: not */
	void *arg;
};

/* Outcomes. */
#define S3_NOT_THERE  1
#define S3_IN_THE_WAY 2

struct s3_object {
	uint64_t size;
	char etag[S3_ETAG_SIZE];
	char sha256[SHA256_HEX_SIZE]; /* that s3_put noted with it; "": another program wrote it */
};

/* Whether a name that is taken may be written again. */
enum s3_mode {
	S3_REPLACE,
	S3_NEW, /* HEAD before, and If-None-Match: * where the store knows that */
};

/* @item->key is the whole key. Anything but 0 ends the listing and is returned; below 0 with *err set. */
typedef int (*s3_item_fn)(void *arg, const struct s3_item *item, struct error *err);

int s3_open(const struct s3_options *options, struct s3 **out, struct error *err);
/* NULL is fine. */
void s3_close(struct s3 *s3);

/* For people: why the last try of the call that is under way failed; "": none has. Of on_wait. */
const char *s3_trouble(const struct s3 *s3);

/*
 * @after: only keys behind it; NULL: all. Pages of 1,000, fetched as they are needed. ERR_DATA `protocol`: a page that is none, or
 * that does not say how the list goes on.
 */
int s3_list(struct s3 *s3, const char *prefix, const char *after, s3_item_fn fn, void *arg,
	    struct error *err);
int s3_head(struct s3 *s3, const char *key, struct s3_object *out, struct error *err);
/* Appends to *out. ERR_DATA `truncated`: the object ends before that. */
int s3_get(struct s3 *s3, const char *key, uint64_t offset, size_t size, struct buffer *out,
	   struct error *err);
/*
 * With Content-MD5 and a signed SHA-256: what is stored is what was in memory. An object of the same bytes that an earlier
 * try, or an earlier life, left there is no other: 0.
 */
int s3_put(struct s3 *s3, const char *key, const void *data, size_t size, enum s3_mode mode,
	   struct error *err);
int s3_copy(struct s3 *s3, const char *from, const char *to, enum s3_mode mode, struct error *err);
int s3_delete(struct s3 *s3, const char *key, struct error *err);

enum s3_next { S3_DONE, S3_AGAIN, S3_LATER };

/* With fresh keys and the server's idea of time. ERR_CONFIG, ERR_TRANSIENT: no keys. To be released. */
int s3_sign(struct s3 *s3, const struct s3_what *what, struct s3_request *out, struct error *err);
enum s3_next s3_judge(struct s3 *s3, const struct http_exchange *x, struct s3_outcome *out);

/* "s3://bucket/key", to be freed. */
char *s3_name(const struct s3 *s3, const char *key);

#endif

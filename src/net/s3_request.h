/*
 * A bucket's address, and requests to it as they are signed. No network: what is made here goes to http_multi.
 *
 *	s3_bucket_init(&bucket, &place, err)
 *	s3_request_make(&bucket, &what, &keys, wall_ms, &request, err)
 *	... http_exchange{.method = what.method, .url = request.url, .headers = request.lines, ...}
 *	s3_request_release(&request); s3_bucket_release(&bucket);
 */
#ifndef LATENTD_NET_S3_REQUEST_H
#define LATENTD_NET_S3_REQUEST_H

#include "net/s3_credentials.h"
#include "net/sigv4.h"

#include <stdbool.h>

/* "s3://BUCKET/KEY", "s3://BUCKET": both to be freed; *key is "" without one. ERR_CONFIG: it is no such address. */
int s3_url_parse(const char *url, char **bucket, char **key, struct error *err);
/* Whether @path is meant as such an address. */
bool s3_is_url(const char *path);

/* Where a bucket is. What is NULL is looked for in the environment, then in the profile. */
struct s3_place {
	const char *bucket;
	const char *
	    endpoint; /* "https://minio.lan:9000"; NULL: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS's own */
	const char *region;  /* NULL: AWS_REGION, AWS_DEFAULT_REGION, "us-east-1" */
	const char *profile; /* NULL: AWS_PROFILE, "default" */
	const char *
	    addressing; /* "path", "virtual"; NULL or "auto": virtual hosts at AWS, paths elsewhere */
};

struct s3_bucket {
	char *name, *region;
	char *origin; /* "https://minio.lan:9000", without the bucket */
	char *host;   /* as it is signed: with the bucket if that is in it */
	char *base;   /* before keys: "/bucket/", "/" */
	bool aws;     /* the address follows from the region */
	bool path_style;
};

/* ERR_CONFIG: an endpoint that is none, a bucket that cannot be in an address, a file that cannot be read. */
int s3_bucket_init(struct s3_bucket *bucket, const struct s3_place *place, struct error *err);
/* The server said that it is there. */
void s3_bucket_set_region(struct s3_bucket *bucket, const char *region);
void s3_bucket_release(struct s3_bucket *bucket);

#define S3_HEADERS_MAX 8

struct s3_what {
	const char *method;
	const char *key; /* NULL: the bucket itself */
	const struct sigv4_pair *query;
	size_t n_query;
	const struct sigv4_pair
	    *headers; /* beside those that signing needs; at most S3_HEADERS_MAX */
	size_t n_headers;
	const void
	    *body; /* its SHA-256 is signed, so a store that checks it takes no other bytes */
	size_t body_size;
};

struct s3_request {
	char *url;
	char *lines[S3_HEADERS_MAX + 6]; /* the last NULL */
};

/* @keys NULL: not signed. ERR_DATA `unsupported`: a key with "." or ".." as a part, which URLs cannot express. */
int s3_request_make(const struct s3_bucket *bucket, const struct s3_what *what,
		    const struct s3_keys *keys, int64_t wall_ms, struct s3_request *out,
		    struct error *err);
void s3_request_release(struct s3_request *request);

#define cleanup_s3_request cleanup_with(s3_request_release)

#endif

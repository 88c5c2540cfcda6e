/*
 * Who asks: the first that has keys of the environment, the files of AWS's tools, the container's service and the machine's
 * metadata service (IMDSv2); with a profile that was asked for by name the files alone. Keys that expire are fetched again five
 * minutes before they do. They are in no message.
 *
 *	credentials = s3_credentials_new(profile)
 *	s3_credentials_get(credentials, &key_id, ..., err)       before each request
 *	s3_credentials_refused(credentials)                      the server calls them expired: fetched again at the next get
 *	s3_credentials_free(credentials)
 *
 * The services are asked past any proxy, with two seconds of patience, and not again for five where nobody had keys.
 */
#ifndef LATENTD_NET_S3_CREDENTIALS_H
#define LATENTD_NET_S3_CREDENTIALS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct s3_credentials;

struct s3_keys {
	const char *key_id, *secret;
	const char *token; /* NULL: none belongs to them */
};

/* @profile NULL: none was asked for. */
struct s3_credentials *s3_credentials_new(const char *profile);
/* *out is good until the next call. ERR_CONFIG: nobody has keys, with where was looked. ERR_TRANSIENT: a service does not answer. */
int s3_credentials_get(struct s3_credentials *c, struct s3_keys *out, struct error *err);
void s3_credentials_refused(struct s3_credentials *c);
/* NULL is fine. */
void s3_credentials_free(struct s3_credentials *c);

/* {"AccessKeyId": ..., "SecretAccessKey": ..., "Token": ..., "Expiration": "2026-01-01T00:00:00Z"} as the services answer. */
struct s3_issued {
	char *key_id, *secret, *token;
	int64_t expires_ms; /* wall; INT64_MAX: never */
};
int s3_issued_parse(const void *json, size_t size, struct s3_issued *out, struct error *err);
void s3_issued_release(struct s3_issued *issued);

#endif

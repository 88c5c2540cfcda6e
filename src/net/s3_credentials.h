/*
 * Who asks: the first that has keys of the environment, a pod's token (IRSA), the files of AWS's tools, the container's service and
 * the machine's metadata service (IMDSv2); with a profile that was asked for by name the files alone. A profile has keys, a program
 * that writes them, or a role and where keys for that come from. Keys that expire are fetched again five minutes before they do.
 * They are in no message.
 *
 *	credentials = s3_credentials_new(profile)
 *	s3_credentials_get(credentials, &key_id, ..., err)       before each request
 *	s3_credentials_refused(credentials)                      the server calls them expired: fetched again at the next get
 *	s3_credentials_free(credentials)
 *
 * A machine's services are asked past any proxy, with two seconds of patience, and not again for five where nobody had keys.
 */
#ifndef LATENTD_NET_S3_CREDENTIALS_H
#define LATENTD_NET_S3_CREDENTIALS_H

#include "base/error.h"

struct s3_credentials;

struct s3_keys {
	const char *key_id, *secret;
	const char *token; /* NULL: none belongs to them */
};

/* @profile NULL: none was asked for. */
struct s3_credentials *s3_credentials_new(const char *profile);
/*
 * *out is good until the next call. ERR_CONFIG: nobody has keys, with where was looked, or who should have them refuses. ERR_TRANSIENT:
 * a service or program does not answer. ERR_DATA: what it answers are no keys.
 */
int s3_credentials_get(struct s3_credentials *c, struct s3_keys *out, struct error *err);
void s3_credentials_refused(struct s3_credentials *c);
/* NULL is fine. */
void s3_credentials_free(struct s3_credentials *c);

#endif

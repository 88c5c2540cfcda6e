/*
 * Keys that somebody issued for a while, and the documents in which services and programs write them.
 *
 *	cleanup_s3_issued struct s3_issued issued = S3_ISSUED_INIT;
 *	s3_issued_parse(body, size, &issued, err)
 */
#ifndef LATENTD_NET_S3_ISSUED_H
#define LATENTD_NET_S3_ISSUED_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct s3_issued {
	char *key_id, *secret;
	char *token;	    /* NULL: none belongs to them */
	int64_t expires_ms; /* wall; INT64_MAX: never */
};

#define S3_ISSUED_INIT                                                                             \
	{                                                                                          \
		NULL, NULL, NULL, INT64_MAX                                                        \
	}

/* {"AccessKeyId": ..., "SecretAccessKey": ..., "Token": ..., "Expiration": "2026-01-01T00:00:00Z"}: a service's. ERR_DATA. */
int s3_issued_parse(const void *json, size_t size, struct s3_issued *out, struct error *err);
/* {"Version": 1, ..., "SessionToken": ..., ...}: a program's. ERR_DATA, without any of it. */
int s3_issued_parse_program(const void *json, size_t size, struct s3_issued *out,
			    struct error *err);
/* The same of STS, in XML. */
int s3_issued_parse_sts(const void *xml, size_t size, struct s3_issued *out, struct error *err);
/* Wipes them. */
void s3_issued_release(struct s3_issued *issued);

#define cleanup_s3_issued cleanup_with(s3_issued_release)

#endif

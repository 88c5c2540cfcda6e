/*
 * Keys of a role, from AWS's Security Token Service or one that speaks like it: for the token of a pod of Kubernetes (IRSA), or for
 * other keys.
 *
 *	const struct s3_role role = {.arn = "arn:aws:iam::1:role/latents", .region = "eu-west-1"};
 *	s3_sts_with_token(&role, "/var/run/secrets/.../token", &issued, err)
 *	s3_sts_with_keys(&role, &keys, &issued, err)
 *
 * The service is at AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, the role's endpoint, or AWS's own of the region.
 */
#ifndef LATENTD_NET_S3_STS_H
#define LATENTD_NET_S3_STS_H

#include "net/s3_credentials.h"
#include "net/s3_issued.h"

struct s3_role {
	const char *arn;
	const char *session;		   /* its name in logs; NULL: "latentd" */
	const char *external_id, *seconds; /* that it asks for; NULL: none */
	const char *region,
	    *endpoint; /* NULL: AWS_REGION, AWS_DEFAULT_REGION, then the service of all regions */
};

/* ERR_CONFIG: it refuses, with what it says; or nobody but us may hear it. ERR_TRANSIENT: no answer. ERR_DATA: none of STS. */
int s3_sts_with_token(const struct s3_role *role, const char *token_file, struct s3_issued *out,
		      struct error *err);
int s3_sts_with_keys(const struct s3_role *role, const struct s3_keys *keys, struct s3_issued *out,
		     struct error *err);

#endif

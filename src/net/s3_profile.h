/*
 * What the files of AWS's tools say, ~/.aws/credentials and ~/.aws/config: keys, or where else they come from, region and endpoint
 * of one profile.
 *
 *	cleanup_s3_profile struct s3_profile profile = S3_PROFILE_INIT;
 *	s3_profile_load("training", &profile, err)
 *
 * Read are the settings that stand as fields below, and addressing_style below `s3 =`. What needs a person (sso_*, mfa_serial,
 * login_session) is told.
 */
#ifndef LATENTD_NET_S3_PROFILE_H
#define LATENTD_NET_S3_PROFILE_H

#include "base/cleanup.h"
#include "base/error.h"

/* NULL: it does not say. */
struct s3_profile {
	char *key_id, *secret,
	    *token; /* aws_access_key_id, aws_secret_access_key, aws_session_token */
	char *region, *endpoint, *addressing;
	char *process; /* credential_process */
	char *role;    /* role_arn, which keys are for, by one of: */
	char *role_profile, *role_source,
	    *role_web; /* source_profile, credential_source, web_identity_token_file */
	char *role_session, *role_external,
	    *role_seconds; /* role_session_name, external_id, duration_seconds */
	char *elsewhere;   /* the setting by which only other tools get keys: "sso_session" */
};

#define S3_PROFILE_INIT                                                                            \
	{                                                                                          \
		.key_id = NULL                                                                     \
	}

/* Adds what the sections [@name] and [profile @name] of @text say and *out has not yet; of repeated keys the first counts. */
void s3_profile_parse(const char *text, const char *name, struct s3_profile *out);
/*
 * Out of the files that AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE name, or those in ~/.aws. @name NULL: as AWS_PROFILE
 * says, or "default". Files that are not there say nothing. ERR_CONFIG: one cannot be read.
 */
int s3_profile_load(const char *name, struct s3_profile *out, struct error *err);
/* Wipes what is secret. */
void s3_profile_release(struct s3_profile *profile);

#define cleanup_s3_profile cleanup_with(s3_profile_release)

#endif

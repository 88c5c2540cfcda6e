/*
 * Nothing of the machine's own AWS settings, no metadata service, and no proxy on the way to this machine.
 */
#ifndef LATENTD_TESTS_S3_ENVIRONMENT_H
#define LATENTD_TESTS_S3_ENVIRONMENT_H

#include "base/checked.h"

#include <stdlib.h>

static inline void s3_environment_clear(void)
{
	static const char *const names[] = {"AWS_ACCESS_KEY_ID",
					    "AWS_SECRET_ACCESS_KEY",
					    "AWS_SESSION_TOKEN",
					    "AWS_PROFILE",
					    "AWS_REGION",
					    "AWS_DEFAULT_REGION",
					    "AWS_ENDPOINT_URL",
					    "AWS_ENDPOINT_URL_S3",
					    "AWS_ENDPOINT_URL_STS",
					    "AWS_ROLE_ARN",
					    "AWS_ROLE_SESSION_NAME",
					    "AWS_WEB_IDENTITY_TOKEN_FILE",
					    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
					    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
					    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
					    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
					    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
					    "http_proxy",
					    "https_proxy",
					    "HTTPS_PROXY",
					    "all_proxy",
					    "ALL_PROXY"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials", 1);
	setenv("AWS_CONFIG_FILE", "/nonexistent/config", 1);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
}

#endif

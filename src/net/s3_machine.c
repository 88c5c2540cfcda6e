/* https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html and feature-imds-credentials.html. */
#include "net/s3_machine.h"

#include "base/checked.h"
#include "base/files.h"
#include "net/s3_ask.h"

#include <string.h>
#include <strings.h>

enum { TOKEN_FILE_MAX = 64 << 10 };

#define CONTAINER_HOST "http://169.254.170.2"
#define METADATA_HOST  "http://169.254.169.254"

static const char *setting(const char *variable)
{
	const char *value = getenv(variable);

	return value && value[0] ? value : NULL;
}

/* The body of a 200. */
static int get(const char *url, const char *header, struct buffer *out, struct error *err)
{
	const char *const headers[] = {header, NULL};
	const struct s3_question question = {.method = "GET", .url = url, .headers = headers};
	long status = 0;

	if (s3_ask(&question, &status, out, err) < 0)
		return -1;
	return status == 200 ? 0 : error_set(err, ERR_CONFIG, "%s: status %ld", url, status);
}

static int issued_by(const char *url, const char *header, struct s3_issued *out, struct error *err)
{
	cleanup_s3_answer struct buffer answer = BUFFER_INIT;

	if (get(url, header, &answer, err) < 0)
		return -1;
	if (s3_issued_parse(answer.data, answer.size, out, err) < 0)
		return error_wrap(err, "%s", url);
	return 0;
}

/* -- the container's ---------------------------------------------------------------------------------- */

/* "Authorization: ..." in *out, to be freed; NULL: none is wanted. The file is written anew now and then. */
static int container_header(char **out, struct error *err)
{
	const char *file = setting("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = setting("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	cleanup_s3_answer struct buffer text = BUFFER_INIT;

	*out = NULL;
	if (file) {
		if (file_read_regular(file, TOKEN_FILE_MAX, &text, err) < 0)
			return -1;
		token = text.data ? (const char *)text.data : "";
	}
	if (token)
		*out = xasprintf("Authorization: %.*s", (int)strcspn(token, "\r\n"), token);
	return 0;
}

int s3_machine_container(struct s3_issued *out, struct error *err)
{
	const char *relative = setting("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = setting("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	cleanup_free char *url = relative ? xasprintf(CONTAINER_HOST "%s", relative)
				 : full	  ? xstrdup(full)
					  : NULL;
	cleanup_free char *header = NULL;

	if (!url)
		return S3_MACHINE_NONE;
	if (!s3_ask_is_safe(url))
		return error_set(err, ERR_CONFIG,
				 "AWS_CONTAINER_CREDENTIALS_FULL_URI leads off this machine "
				 "without TLS");
	if (container_header(&header, err) < 0)
		return -1;
	return issued_by(url, header, out, err);
}

/* -- the machine's ------------------------------------------------------------------------------------ */

/* The header that its other answers want; NULL: there is no such service. */
static char *metadata_header(const char *host)
{
	static const char *const headers[] = {"X-aws-ec2-metadata-token-ttl-seconds: 21600", NULL};
	cleanup_free char *url = xasprintf("%s/latest/api/token", host);
	const struct s3_question question = {
	    .method = "PUT", .url = url, .headers = headers, .once = true};
	cleanup_s3_answer struct buffer token = BUFFER_INIT;
	struct error why = ERROR_INIT;
	long status = 0;

	if (s3_ask(&question, &status, &token, &why) < 0 || status != 200 || token.size == 0)
		return NULL;
	return xasprintf("X-aws-ec2-metadata-token: %s", (char *)token.data);
}

int s3_machine_metadata(struct s3_issued *out, struct error *err)
{
	const char *given = setting("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *host = given ? given : METADATA_HOST,
		   *off = setting("AWS_EC2_METADATA_DISABLED");
	cleanup_free char *roles = xasprintf("%s/latest/meta-data/iam/security-credentials/", host);
	cleanup_free char *header = NULL;
	cleanup_free char *url = NULL;
	cleanup_buffer struct buffer role = BUFFER_INIT;
	struct error why = ERROR_INIT;

	if (off && strcasecmp(off, "true") == 0)
		return S3_MACHINE_NONE;
	header = metadata_header(host);
	if (!header)
		return S3_MACHINE_NONE;
	if (get(roles, header, &role, &why) < 0 || role.size == 0) {
		if (why.code != ERR_TRANSIENT)
			return S3_MACHINE_NONE;
		*err = why;
		return -1;
	}
	url =
	    xasprintf("%s%.*s", roles, (int)strcspn((char *)role.data, "\r\n"), (char *)role.data);
	return issued_by(url, header, out, err);
}

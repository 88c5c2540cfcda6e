/* https://docs.aws.amazon.com/STS/latest/APIReference/: AssumeRoleWithWebIdentity is not signed, AssumeRole is. */
#include "net/s3_sts.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "net/http_url.h"
#include "net/s3_ask.h"
#include "net/s3_xml.h"
#include "net/sigv4.h"

#include <stdio.h>
#include <string.h>

enum { TOKEN_FILE_MAX = 64 << 10, PAIRS_MAX = 8 };

#define VERSION		     "2011-06-15"
#define FORM_TYPE	     "application/x-www-form-urlencoded; charset=utf-8"
#define SIGNED_REGION_OF_ALL "us-east-1"

/* The first of them that says something. */
static const char *first_of(const char *a, const char *b, const char *c)
{
	return a && a[0] ? a : b && b[0] ? b : c && c[0] ? c : NULL;
}

static const char *region_of(const struct s3_role *role)
{
	return first_of(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"), role->region);
}

/* To be freed. ERR_CONFIG: what is sent there would not stay between us. */
static int find_service(const struct s3_role *role, char **out, struct error *err)
{
	const char *endpoint =
	    first_of(getenv("AWS_ENDPOINT_URL_STS"), getenv("AWS_ENDPOINT_URL"), role->endpoint);
	const char *region = region_of(role);
	cleanup_free char *own = NULL;
	size_t length;

	if (region && region[strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
		return error_set(err, ERR_CONFIG,
				 "the region is none: AWS_REGION, or region of the profile");
	own = region ? xasprintf("https://sts.%s.amazonaws.com%s", region,
				 strncmp(region, "cn-", 3) == 0 ? ".cn" : "")
		     : xstrdup("https://sts.amazonaws.com");
	if (!endpoint)
		endpoint = own;
	if (!http_url_is_valid(endpoint))
		return error_set(err, ERR_CONFIG, "the token service's address is none");
	if (!s3_ask_is_safe(endpoint))
		return error_set(err, ERR_CONFIG,
				 "%s leads off this machine without TLS, and keys would come from "
				 "there in the clear: name the token service in "
				 "AWS_ENDPOINT_URL_STS",
				 endpoint);
	for (length = strlen(endpoint); length > 0 && endpoint[length - 1] == '/';)
		length--;
	*out = xasprintf("%.*s/", (int)length, endpoint);
	return 0;
}

/* -- one request -------------------------------------------------------------------------------------- */

static void form(const struct s3_role *role, const char *action, const char *token,
		 struct buffer *out)
{
	struct sigv4_pair pairs[PAIRS_MAX] = {
	    {"Action", action},
	    {"Version", VERSION},
	    {"RoleArn", role->arn},
	    {"RoleSessionName", role->session ? role->session : "latentd"}};
	size_t n = 4;

	if (token)
		pairs[n++] = (struct sigv4_pair){"WebIdentityToken", token};
	if (role->external_id)
		pairs[n++] = (struct sigv4_pair){"ExternalId", role->external_id};
	if (role->seconds)
		pairs[n++] = (struct sigv4_pair){"DurationSeconds", role->seconds};
	sigv4_query_format(out, pairs, n);
}

static int refused(const char *url, long status, const struct buffer *answer, struct error *err)
{
	struct s3_fault fault;
	bool passes;

	if (!s3_fault_parse(answer->data, answer->size, &fault))
		return error_set(err, ERR_CONFIG, "%s: status %ld", url, status);
	passes = strcmp(fault.code, "Throttling") == 0 ||
		 strcmp(fault.code, "IDPCommunicationError") == 0;
	return error_set(err, passes ? ERR_TRANSIENT : ERR_CONFIG, "%s: %s: %s", url, fault.code,
			 fault.message);
}

static int ask(const char *url, const char *const *headers, const struct buffer *body,
	       struct s3_issued *out, struct error *err)
{
	const struct s3_question question = {.method = "POST",
					     .url = url,
					     .headers = headers,
					     .body = body->data,
					     .body_size = body->size,
					     .far = true};
	cleanup_s3_answer struct buffer answer = BUFFER_INIT;
	long status = 0;

	if (s3_ask(&question, &status, &answer, err) < 0)
		return -1;
	if (status != 200)
		return refused(url, status, &answer, err);
	if (s3_issued_parse_sts(answer.data, answer.size, out, err) < 0)
		return error_wrap(err, "%s", url);
	return 0;
}

int s3_sts_with_token(const struct s3_role *role, const char *token_file, struct s3_issued *out,
		      struct error *err)
{
	static const char *const headers[] = {"Content-Type: " FORM_TYPE, NULL};
	cleanup_free char *url = NULL;
	cleanup_s3_answer struct buffer token = BUFFER_INIT, body = BUFFER_INIT;
	struct error why = ERROR_INIT;

	if (find_service(role, &url, err) < 0)
		return -1;
	if (file_read_regular(token_file, TOKEN_FILE_MAX, &token, &why) < 0)
		return error_set(err, ERR_CONFIG, "%s", why.message);
	if (token.size == 0)
		return error_set(err, ERR_CONFIG, "%s: empty", token_file);
	((char *)token.data)[strcspn((char *)token.data, "\r\n")] = '\0';
	form(role, "AssumeRoleWithWebIdentity", (const char *)token.data, &body);
	return ask(url, headers, &body, out, err);
}

/* -- signed ------------------------------------------------------------------------------------------- */

/* The host as libcurl sends it, to be freed; *path is the rest of @url. */
static char *host_of(const char *url, const char **path)
{
	const char *at = strstr(url, "://") + 3, *usual = http_url_is_https(url) ? ":443" : ":80";
	size_t tail = strlen(usual), length;

	*path = strchr(at, '/');
	length = (size_t)(*path - at);
	if (length > tail && memcmp(*path - tail, usual, tail) == 0)
		length -= tail;
	return xasprintf("%.*s", (int)length, at);
}

/* "Authorization: ...", to be freed. */
static char *sign(const char *host, const char *path, const char *time, const char *region,
		  const struct buffer *body, const struct s3_keys *keys)
{
	const struct sigv4_pair headers[] = {{"content-type", FORM_TYPE},
					     {"host", host},
					     {"x-amz-date", time},
					     {"x-amz-security-token", keys->token}};
	struct sha256 hash = sha256_of(body->data, body->size);
	char hex[SHA256_HEX_SIZE];
	const struct sigv4_request request = {.method = "POST",
					      .path = path,
					      .headers = headers,
					      .n_headers = keys->token ? 4 : 3,
					      .body_hash = hex,
					      .time = time,
					      .region = region ? region : SIGNED_REGION_OF_ALL,
					      .service = "sts"};
	const struct sigv4_credentials credentials = {keys->key_id, keys->secret};
	cleanup_buffer struct buffer value = BUFFER_INIT;

	sha256_hex(&hash, hex);
	sigv4_authorization(&request, &credentials, &value);
	return xasprintf("Authorization: %s", (const char *)value.data);
}

int s3_sts_with_keys(const struct s3_role *role, const struct s3_keys *keys, struct s3_issued *out,
		     struct error *err)
{
	cleanup_free char *url = NULL;
	cleanup_free char *host = NULL;
	cleanup_free char *authorization = NULL;
	cleanup_free char *date = NULL;
	cleanup_free char *token = NULL;
	cleanup_s3_answer struct buffer body = BUFFER_INIT;
	char time[SIGV4_TIME_SIZE];
	const char *path;

	if (find_service(role, &url, err) < 0)
		return -1;
	form(role, "AssumeRole", NULL, &body);
	host = host_of(url, &path);
	sigv4_time(clock_wall_ms(), time);
	authorization = sign(host, path, time, region_of(role), &body, keys);
	date = xasprintf("X-Amz-Date: %s", time);
	token = keys->token ? xasprintf("X-Amz-Security-Token: %s", keys->token) : NULL;
	const char *const headers[] = {"Content-Type: " FORM_TYPE, date, authorization, token,
				       NULL};
	return ask(url, headers, &body, out, err);
}

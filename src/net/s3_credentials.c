/*
 * https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html has the order, the variables and the services.
 */
#include "net/s3_credentials.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/files.h"
#include "net/http_multi.h"
#include "net/s3_profile.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
	SERVICE_MS = 2000,
	SERVICE_TRIES = 3,
	ANSWER_MAX = 64 << 10,
	BEFORE_MS = 5 * 60 * 1000, /* that new keys are fetched before the old ones end */
	FAILED_MS = 5000,	   /* for so long nobody asks again who had none */
	TOKEN_FILE_MAX = 64 << 10,
};

#define CONTAINER_HOST "http://169.254.170.2"
#define METADATA_HOST  "http://169.254.169.254"

struct s3_credentials {
	char *profile;		 /* NULL: none was asked for */
	struct s3_issued issued; /* of the environment, a file or a service */
	bool refused;
	struct error failure; /* of the last look for keys, */
	int64_t failed_at;    /* monotonic, ms; 0: it found some */
};

static const char *setting(const char *variable)
{
	const char *value = getenv(variable);

	return value && value[0] ? value : NULL;
}

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void s3_issued_release(struct s3_issued *issued)
{
	wipe(&issued->key_id);
	wipe(&issued->secret);
	wipe(&issued->token);
}

/* -- what services answer --------------------------------------------------------------------------- */

static int64_t parse_time(const char *s)
{
	struct tm tm = {.tm_year = 0};

	if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
		   &tm.tm_min, &tm.tm_sec) != 6)
		return INT64_MAX;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (int64_t)timegm(&tm) * 1000;
}

int s3_issued_parse(const void *json, size_t size, struct s3_issued *out, struct error *err)
{
	json_t *root = json_loadb(json, size, 0, NULL);
	const char *key = json_string_value(json_object_get(root, "AccessKeyId"));
	const char *secret = json_string_value(json_object_get(root, "SecretAccessKey"));
	const char *token = json_string_value(json_object_get(root, "Token"));
	const char *expires = json_string_value(json_object_get(root, "Expiration"));
	int r = 0;

	if (!key || !secret || !key[0] || !secret[0])
		r = error_data(err, "protocol", "what it answers are no credentials");
	else
		*out = (struct s3_issued){
		    .key_id = xstrdup(key),
		    .secret = xstrdup(secret),
		    .token = token && token[0] ? xstrdup(token) : NULL,
		    .expires_ms = expires ? parse_time(expires) : INT64_MAX,
		};
	json_decref(root);
	return r;
}

/* One try. 0: *out is the body of a 200. */
static int ask_once(const char *method, const char *url, const char *header, struct buffer *out,
		    struct error *err)
{
	const struct http_multi_options options = {.connect_ms = SERVICE_MS, .proxy = ""};
	const char *const headers[] = {header, NULL};
	struct http_exchange x = {.method = method,
				  .url = url,
				  .headers = headers,
				  .timeout_ms = SERVICE_MS,
				  .response_max = ANSWER_MAX};
	struct http_multi *multi = NULL;
	int r = http_multi_open(&options, &multi, err);

	if (r == 0)
		r = http_multi_start(multi, &x, err);
	while (r == 0 && !http_multi_finished(multi))
		http_multi_wait(multi, -1);
	if (r == 0 && x.result != HTTP_REPLY)
		r = error_set(err, ERR_TRANSIENT, "%s: %s", url, x.why);
	else if (r == 0 && x.status != 200)
		r = error_set(err, x.status >= 500 || x.status == 429 ? ERR_TRANSIENT : ERR_CONFIG,
			      "%s: status %ld", url, x.status);
	http_multi_close(multi);
	if (r == 0) {
		*out = x.reply;
		x.reply = (struct buffer)BUFFER_INIT;
	}
	http_exchange_release(&x);
	return r;
}

static int ask(const char *method, const char *url, const char *header, struct buffer *out,
	       struct error *err)
{
	for (int i = 1;; i++) {
		struct error why = ERROR_INIT;

		if (ask_once(method, url, header, out, &why) == 0)
			return 0;
		if (i == SERVICE_TRIES || why.code != ERR_TRANSIENT) {
			*err = why;
			return -1;
		}
	}
}

static int issued_by(const char *url, const char *header, struct s3_issued *out, struct error *err)
{
	struct buffer answer = BUFFER_INIT;
	int r = ask("GET", url, header, &answer, err);

	if (r == 0 && s3_issued_parse(answer.data, answer.size, out, err) < 0)
		r = error_wrap(err, "%s", url);
	if (answer.data)
		explicit_bzero(answer.data, answer.size);
	buffer_release(&answer);
	return r;
}

/* -- the four places. Each: 0 with keys, NOT_HERE, or -1 ----------------------------------------------- */

enum { NOT_HERE = 1 };

static int from_environment(struct s3_issued *out)
{
	const char *key = setting("AWS_ACCESS_KEY_ID"), *secret = setting("AWS_SECRET_ACCESS_KEY");
	const char *token = setting("AWS_SESSION_TOKEN");

	if (!key || !secret)
		return NOT_HERE;
	*out = (struct s3_issued){xstrdup(key), xstrdup(secret), token ? xstrdup(token) : NULL,
				  INT64_MAX};
	return 0;
}

/* Read each time: who issues keys for some hours writes new ones there. *elsewhere: as in s3_profile.h, to be freed. */
static int from_files(const char *profile, struct s3_issued *out, char **elsewhere,
		      struct error *err)
{
	cleanup_s3_profile struct s3_profile p = S3_PROFILE_INIT;

	if (s3_profile_load(profile, &p, err) < 0)
		return -1;
	if (!p.key_id || !p.secret) {
		*elsewhere = TAKE(p.elsewhere);
		return NOT_HERE;
	}
	*out = (struct s3_issued){TAKE(p.key_id), TAKE(p.secret), TAKE(p.token), INT64_MAX};
	return 0;
}

/* The keys travel there in the clear, so without TLS only to where nobody listens. */
static bool is_trusted(const char *url)
{
	static const char *const hosts[] = {"127.0.0.1",     "localhost",      "[::1]",
					    "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
	const char *host = url + 7;
	size_t length;

	if (strncasecmp(url, "https://", 8) == 0)
		return true;
	if (strncasecmp(url, "http://", 7) != 0)
		return false;
	length = host[0] == '[' ? strcspn(host, "]/") + 1 : strcspn(host, ":/");
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		if (strlen(hosts[i]) == length && strncasecmp(hosts[i], host, length) == 0)
			return true;
	}
	return false;
}

/* "Authorization: ..." in *out, to be freed; NULL: none is wanted. */
static int container_header(char **out, struct error *err)
{
	const char *file = setting("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = setting("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	cleanup_buffer struct buffer text = BUFFER_INIT;

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

static int from_container(struct s3_issued *out, struct error *err)
{
	const char *relative = setting("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = setting("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	cleanup_free char *url = relative ? xasprintf(CONTAINER_HOST "%s", relative)
				 : full	  ? xstrdup(full)
					  : NULL;
	cleanup_free char *header = NULL;

	if (!url)
		return NOT_HERE;
	if (!is_trusted(url))
		return error_set(err, ERR_CONFIG,
				 "AWS_CONTAINER_CREDENTIALS_FULL_URI leads off this machine "
				 "without TLS");
	if (container_header(&header, err) < 0)
		return -1;
	return issued_by(url, header, out, err);
}

static int from_metadata(struct s3_issued *out, struct error *err)
{
	const char *given = setting("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *host = given ? given : METADATA_HOST,
		   *off = setting("AWS_EC2_METADATA_DISABLED");
	cleanup_free char *token_url = xasprintf("%s/latest/api/token", host);
	cleanup_free char *roles = xasprintf("%s/latest/meta-data/iam/security-credentials/", host);
	cleanup_buffer struct buffer token = BUFFER_INIT, role = BUFFER_INIT;
	struct error why = ERROR_INIT;

	if (off && strcasecmp(off, "true") == 0)
		return NOT_HERE;
	/* Most machines have no such service; then nobody waits for it thrice. */
	if (ask_once("PUT", token_url, "X-aws-ec2-metadata-token-ttl-seconds: 21600", &token,
		     &why) < 0)
		return NOT_HERE;
	cleanup_free char *header = xasprintf("X-aws-ec2-metadata-token: %s", (char *)token.data);
	if (token.size == 0 || ask("GET", roles, header, &role, &why) < 0 || role.size == 0)
		return why.code == ERR_TRANSIENT ? (*err = why, -1) : NOT_HERE;
	cleanup_free char *url =
	    xasprintf("%s%.*s", roles, (int)strcspn((char *)role.data, "\r\n"), (char *)role.data);
	return issued_by(url, header, out, err);
}

/* -- all of it -------------------------------------------------------------------------------------- */

/* @elsewhere: what the profile has instead; NULL: nothing. */
static int no_keys(const char *profile, const char *elsewhere, struct error *err)
{
	const char *name = profile ? profile : setting("AWS_PROFILE");

	if (elsewhere)
		return error_set(
		    err, ERR_CONFIG,
		    "no S3 credentials: profile %s has %s, which is not supported; `aws "
		    "configure export-credentials --profile %s --format env` prints "
		    "keys for the environment",
		    name ? name : "default", elsewhere, name ? name : "default");
	if (profile)
		return error_set(err, ERR_CONFIG,
				 "no S3 credentials: profile %s has none in ~/.aws/credentials",
				 profile);
	return error_set(err, ERR_CONFIG,
			 "no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
			 "write them into ~/.aws/credentials");
}

static int find(struct s3_credentials *c, struct s3_issued *out, struct error *err)
{
	cleanup_free char *elsewhere = NULL;
	int r = c->profile ? NOT_HERE : from_environment(out);

	if (r == NOT_HERE)
		r = from_files(c->profile, out, &elsewhere, err);
	if (r == NOT_HERE && !c->profile)
		r = from_container(out, err);
	if (r == NOT_HERE && !c->profile)
		r = from_metadata(out, err);
	return r == NOT_HERE ? no_keys(c->profile, elsewhere, err) : r;
}

/* Services that do not answer cost seconds, and each request wants keys. */
static int find_now_and_then(struct s3_credentials *c, struct s3_issued *out, struct error *err)
{
	if (c->failed_at > 0 && clock_mono_ms() - c->failed_at < FAILED_MS) {
		*err = c->failure;
		return -1;
	}
	c->failed_at = 0;
	if (find(c, out, err) == 0)
		return 0;
	c->failure = *err;
	c->failed_at = clock_mono_ms();
	return -1;
}

struct s3_credentials *s3_credentials_new(const char *profile)
{
	struct s3_credentials *c = xcalloc(1, sizeof(*c));

	c->profile = profile ? xstrdup(profile) : NULL;
	return c;
}

int s3_credentials_get(struct s3_credentials *c, struct s3_keys *out, struct error *err)
{
	int64_t now = clock_wall_ms();
	struct s3_issued fresh = {.key_id = NULL};
	struct error why = ERROR_INIT;

	if (!c->issued.key_id || c->refused || c->issued.expires_ms - BEFORE_MS <= now) {
		if (find_now_and_then(c, &fresh, &why) == 0) {
			s3_issued_release(&c->issued);
			c->issued = fresh;
		} else if (!c->issued.key_id || c->refused || c->issued.expires_ms <= now) {
			*err = why;
			return -1;
		}
		c->refused = false;
	}
	*out = (struct s3_keys){c->issued.key_id, c->issued.secret, c->issued.token};
	return 0;
}

void s3_credentials_refused(struct s3_credentials *c)
{
	c->refused = true;
}

void s3_credentials_free(struct s3_credentials *c)
{
	if (!c)
		return;
	free(c->profile);
	s3_issued_release(&c->issued);
	free(c);
}

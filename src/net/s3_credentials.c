/*
 * https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html has the order and the variables.
 */
#include "net/s3_credentials.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "net/s3_issued.h"
#include "net/s3_machine.h"
#include "net/s3_process.h"
#include "net/s3_profile.h"
#include "net/s3_sts.h"

#include <string.h>

enum {
	BEFORE_MS = 5 * 60 * 1000, /* that new keys are fetched before the old ones end; */
	AGAIN_MS = 30 * 1000, /* those that are issued for less than that are kept for so long */
	FAILED_MS = 5000,     /* for so long nobody asks again who had none */
	PROFILES_MAX = 5,     /* that name each other */
};

struct s3_credentials {
	char *profile;		 /* NULL: none was asked for */
	struct s3_issued issued; /* of the environment, a file, a program or a service */
	int64_t looked_at;	 /* for them; monotonic, ms */
	bool refused;
	struct error failure; /* of the last look for keys, */
	int64_t failed_at;    /* monotonic, ms; 0: it found some */
};

static const char *setting(const char *variable)
{
	const char *value = getenv(variable);

	return value && value[0] ? value : NULL;
}

/* -- the environment. Each: 0 with keys, NOT_HERE, or -1 ------------------------------------------------ */

enum { NOT_HERE = S3_MACHINE_NONE };

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

static int from_pod(struct s3_issued *out, struct error *err)
{
	const char *file = setting("AWS_WEB_IDENTITY_TOKEN_FILE");
	const struct s3_role role = {.arn = setting("AWS_ROLE_ARN"),
				     .session = setting("AWS_ROLE_SESSION_NAME")};

	return file && role.arn ? s3_sts_with_token(&role, file, out, err) : NOT_HERE;
}

/* -- profiles ------------------------------------------------------------------------------------------- */

/* What has to be said of the last profile that was looked at; to be freed. */
struct search {
	size_t profiles; /* so far */
	char *name, *elsewhere;
};

static int from_profile(struct search *search, const char *name, struct s3_issued *out,
			struct error *err);

static int static_keys(struct s3_profile *p, struct s3_issued *out)
{
	if (!p->key_id || !p->secret)
		return NOT_HERE;
	*out = (struct s3_issued){TAKE(p->key_id), TAKE(p->secret), TAKE(p->token), INT64_MAX};
	return 0;
}

/* credential_source of a profile. */
static int from_source(const char *source, struct s3_issued *out, struct error *err)
{
	if (strcmp(source, "Environment") == 0)
		return from_environment(out);
	if (strcmp(source, "EcsContainer") == 0)
		return s3_machine_container(out, err);
	if (strcmp(source, "Ec2InstanceMetadata") == 0)
		return s3_machine_metadata(out, err);
	return error_set(err, ERR_CONFIG,
			 "credential_source is Environment, EcsContainer or Ec2InstanceMetadata");
}

/* The keys that may take the role of profile @name. */
static int keys_for_role(struct search *search, const char *name, struct s3_profile *p,
			 struct s3_issued *out, struct error *err)
{
	if (!p->role_profile)
		return from_source(p->role_source, out, err);
	if (strcmp(p->role_profile, name) == 0)
		return static_keys(p, out);
	return from_profile(search, p->role_profile, out, err);
}

static int from_role(struct search *search, const char *name, struct s3_profile *p,
		     struct s3_issued *out, struct error *err)
{
	const struct s3_role role = {.arn = p->role,
				     .session = p->role_session,
				     .external_id = p->role_external,
				     .seconds = p->role_seconds,
				     .region = p->region,
				     .endpoint = p->endpoint};
	cleanup_s3_issued struct s3_issued with = S3_ISSUED_INIT;
	int r;

	if (p->role_web)
		return s3_sts_with_token(&role, p->role_web, out, err);
	r = keys_for_role(search, name, p, &with, err);
	if (r != 0)
		return r;
	return s3_sts_with_keys(&role, &(struct s3_keys){with.key_id, with.secret, with.token}, out,
				err);
}

/* Of a role that no keys are for. */
static int no_source(const struct s3_profile *p, struct error *err)
{
	if (p->elsewhere)
		return NOT_HERE;
	return error_set(err, ERR_CONFIG,
			 "role_arn without source_profile, credential_source or "
			 "web_identity_token_file");
}

/* A role that wants a code of a person's device is left to other tools. */
static int from_settings(struct search *search, const char *name, struct s3_profile *p,
			 struct s3_issued *out, struct error *err)
{
	bool with_code = p->elsewhere && strcmp(p->elsewhere, "mfa_serial") == 0;
	bool has_source = p->role_web || p->role_profile || p->role_source;

	if (p->role && has_source)
		return with_code ? NOT_HERE : from_role(search, name, p, out, err);
	if (static_keys(p, out) == 0)
		return 0;
	if (p->process)
		return s3_process_keys(p->process, out, err);
	return p->role ? no_source(p, err) : NOT_HERE;
}

/* Read each time: who issues keys for some hours writes new ones there. */
static int from_profile(struct search *search, const char *name, struct s3_issued *out,
			struct error *err)
{
	cleanup_s3_profile struct s3_profile p = S3_PROFILE_INIT;
	int r;

	if (++search->profiles > PROFILES_MAX)
		return error_set(err, ERR_CONFIG, "source_profile leads in circles");
	if (s3_profile_load(name, &p, err) < 0)
		return -1;
	r = from_settings(search, name, &p, out, err);
	if (r == NOT_HERE && !search->name) {
		search->name = xstrdup(name);
		search->elsewhere = TAKE(p.elsewhere);
	}
	return r;
}

/* -- all of it -------------------------------------------------------------------------------------- */

static int no_keys(const struct s3_credentials *c, const struct search *search, struct error *err)
{
	if (search->elsewhere)
		return error_set(
		    err, ERR_CONFIG,
		    "no S3 credentials: profile %s has %s, which wants a person: let it "
		    "have credential_process = aws configure export-credentials "
		    "--profile NAME --format process, of a profile NAME that has signed in",
		    search->name, search->elsewhere);
	if (c->profile)
		return error_set(err, ERR_CONFIG,
				 "no S3 credentials: profile %s has none in ~/.aws/credentials",
				 search->name);
	return error_set(err, ERR_CONFIG,
			 "no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
			 "write them into ~/.aws/credentials");
}

static int find(struct s3_credentials *c, struct s3_issued *out, struct error *err)
{
	const char *given = setting("AWS_PROFILE");
	const char *name = c->profile ? c->profile : given ? given : "default";
	struct search search = {.profiles = 0};
	int r = c->profile ? NOT_HERE : from_environment(out);

	if (r == NOT_HERE && !c->profile)
		r = from_pod(out, err);
	if (r == NOT_HERE)
		r = from_profile(&search, name, out, err);
	if (r < 0 && search.profiles > 0)
		error_wrap(err, "profile %s", name);
	if (r == NOT_HERE && !c->profile)
		r = s3_machine_container(out, err);
	if (r == NOT_HERE && !c->profile)
		r = s3_machine_metadata(out, err);
	if (r == NOT_HERE)
		r = no_keys(c, &search, err);
	free(search.name);
	free(search.elsewhere);
	return r;
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

static bool are_old(const struct s3_credentials *c)
{
	if (!c->issued.key_id || c->refused)
		return true;
	return c->issued.expires_ms - BEFORE_MS <= clock_wall_ms() &&
	       clock_mono_ms() - c->looked_at >= AGAIN_MS;
}

int s3_credentials_get(struct s3_credentials *c, struct s3_keys *out, struct error *err)
{
	int64_t now = clock_wall_ms();
	struct s3_issued fresh = S3_ISSUED_INIT;
	struct error why = ERROR_INIT;

	if (are_old(c)) {
		if (find_now_and_then(c, &fresh, &why) == 0) {
			s3_issued_release(&c->issued);
			c->issued = fresh;
		} else if (!c->issued.key_id || c->refused || c->issued.expires_ms <= now) {
			*err = why;
			return -1;
		}
		c->looked_at = clock_mono_ms();
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

/*
 * Where keys come from, against programs and services that a test makes.
 */
#include "tests/testing.h"

#include "tests/component/loopback_server.h"
#include "tests/component/s3_environment.h"

#include "base/checked.h"
#include "base/clock.h"
#include "net/s3_credentials.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { STEPS = 6, TEXT_SIZE = 4096 };

#define STS_KEYS(id)                                                                               \
	"<AssumeRoleWithWebIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'>"    \
	"<AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>a</Arn></AssumedRoleUser>"         \
	"<Credentials><SessionToken>tok</SessionToken><SecretAccessKey>hush</SecretAccessKey>"     \
	"<Expiration>2100-01-01T00:00:00Z</Expiration><AccessKeyId>" id "</AccessKeyId>"           \
	"</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"

#define STS_FAULT(code, message)                                                                   \
	"<ErrorResponse><Error><Type>Sender</Type><Code>" code "</Code><Message>" message          \
	"</Message></Error><RequestId>r</RequestId></ErrorResponse>"

struct step {
	int status;
	const char *body;
};

struct rig {
	char *dir;
	struct s3_credentials *credentials;
	struct loopback_server *server;
	pthread_mutex_t lock;
	struct step steps[STEPS]; /* the last one stays */
	size_t asked;
	char heads[STEPS][TEXT_SIZE], bodies[STEPS][TEXT_SIZE];
};

static void answer(void *arg, const struct loopback_request *request, struct loopback_reply *reply)
{
	struct rig *rig = arg;
	const struct step *step;

	pthread_mutex_lock(&rig->lock);
	step = &rig->steps[rig->asked];
	snprintf(rig->heads[rig->asked], TEXT_SIZE, "%s", request->head);
	snprintf(rig->bodies[rig->asked], TEXT_SIZE, "%.*s", (int)request->body_size,
		 request->body_size > 0 ? (const char *)request->body : "");
	if (rig->asked < STEPS - 1)
		rig->asked++;
	reply->status = step->status ? step->status : 404;
	buffer_append_string(&reply->body, step->body ? step->body : "");
	pthread_mutex_unlock(&rig->lock);
}

static void script(struct rig *rig, const struct step *steps, size_t n)
{
	pthread_mutex_lock(&rig->lock);
	memset(rig->steps, 0, sizeof(rig->steps));
	memcpy(rig->steps, steps, n * sizeof(*steps));
	rig->asked = 0;
	pthread_mutex_unlock(&rig->lock);
}

#define SCRIPT(rig, ...)                                                                           \
	do {                                                                                       \
		const struct step steps_[] = {__VA_ARGS__};                                        \
		script(rig, steps_, ARRAY_SIZE(steps_));                                           \
	} while (0)

static void set_file(const struct rig *rig, const char *variable, const char *name,
		     const char *text)
{
	cleanup_free char *path = testing_path(rig->dir, name);

	testing_write(path, text, strlen(text));
	setenv(variable, path, 1);
}

static void set_config(const struct rig *rig, const char *text)
{
	set_file(rig, "AWS_CONFIG_FILE", "config", text);
}

/* [default] with a program that is this script of a shell. */
static void set_program(const struct rig *rig, const char *text)
{
	cleanup_free char *path = testing_path(rig->dir, "my keys.sh");
	cleanup_free char *config =
	    xasprintf("[default]\ncredential_process = sh '%s' \"two words\"\n", path);

	testing_write(path, text, strlen(text));
	set_config(rig, config);
}

static void use_profile(struct rig *rig, const char *profile)
{
	s3_credentials_free(rig->credentials);
	rig->credentials = s3_credentials_new(profile);
}

static int set_up(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));
	const struct loopback_options options = {.answer = answer, .arg = rig};

	s3_environment_clear();
	pthread_mutex_init(&rig->lock, NULL);
	rig->server = loopback_start(&options);
	rig->dir = testing_tempdir();
	setenv("AWS_ENDPOINT_URL_STS", loopback_url(rig->server), 1);
	use_profile(rig, NULL);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	s3_credentials_free(rig->credentials);
	loopback_stop(rig->server);
	pthread_mutex_destroy(&rig->lock);
	testing_tempdir_remove(rig->dir);
	free(rig);
	return 0;
}

static void expect_keys(struct rig *rig, const char *id, const char *secret, const char *token)
{
	struct error err = ERROR_INIT;
	struct s3_keys keys;

	assert_ok(s3_credentials_get(rig->credentials, &keys, &err), &err);
	assert_string_equal(keys.key_id, id);
	assert_string_equal(keys.secret, secret);
	if (token)
		assert_string_equal(keys.token, token);
	else
		assert_null(keys.token);
}

/* With a client of its own: who had no keys is not asked for a while. */
static void expect_error(const char *profile, enum error_code code, const char *text)
{
	struct s3_credentials *credentials = s3_credentials_new(profile);
	struct error err = ERROR_INIT;
	struct s3_keys keys;

	assert_true(s3_credentials_get(credentials, &keys, &err) < 0);
	if (err.code != code || !strstr(err.message, text))
		fail_msg("not '%s' with code %d: %s, %d", text, code, err.message, err.code);
	assert_null(strstr(err.message, "hush"));
	s3_credentials_free(credentials);
}

/* -- programs ----------------------------------------------------------------------------------------- */

static void a_program_writes_the_keys_of_its_profile(void **state)
{
	struct rig *rig = *state;

	set_program(rig, "printf '{\"Version\": 1, \"AccessKeyId\": \"%s\", \"SecretAccessKey\": "
			 "\"hush\", \"SessionToken\": \"t\"}' \"$1\"");
	expect_keys(rig, "two words", "hush", "t");
}

static void keys_of_a_program_are_kept_until_shortly_before_they_expire(void **state)
{
	struct rig *rig = *state;
	cleanup_free char *count = testing_path(rig->dir, "count");
	cleanup_free char *text = xasprintf(
	    "echo x >> '%s'\n"
	    "n=$(wc -l < '%s')\n"
	    "[ $n = 1 ] && end=$(date -u -d '+2 minutes' +%%Y-%%m-%%dT%%H:%%M:%%S+00:00) || "
	    "end=2100-01-01T00:00:00Z\n"
	    "echo '{\"Version\": 1, \"AccessKeyId\": \"k'$n'\", \"SecretAccessKey\": \"hush\", "
	    "\"Expiration\": \"'$end'\"}'\n",
	    count, count);
	cleanup_buffer struct buffer runs = BUFFER_INIT;

	set_program(rig, text);
	expect_keys(rig, "k1", "hush", NULL);
	expect_keys(rig, "k1", "hush", NULL); /* two minutes: not asked for with each request */
	s3_credentials_refused(rig->credentials);
	for (int i = 0; i < 3; i++)
		expect_keys(rig, "k2", "hush", NULL);
	runs = testing_read(count);
	assert_int_equal(runs.size, 4);
}

static void a_program_that_writes_no_keys_is_said_without_what_it_writes(void **state)
{
	static const struct {
		const char *writes, *why;
	} cases[] = {
	    {"echo hush", "no JSON"},
	    {"true", "no JSON"},
	    {"echo '{\"AccessKeyId\": \"k\", \"SecretAccessKey\": \"hush\"}'", "Version 1"},
	    {"echo '{\"Version\": 2, \"AccessKeyId\": \"k\", \"SecretAccessKey\": \"hush\"}'",
	     "Version 1"},
	    {"echo '{\"Version\": 1, \"AccessKeyId\": \"k\", \"Secret\": \"hush\"}'",
	     "no credentials"},
	    {"echo '{\"Version\": 1, \"AccessKeyId\": 5, \"SecretAccessKey\": \"hush\"}'",
	     "no credentials"},
	    {"echo '{\"Version\": 1, \"AccessKeyId\": \"k\", \"SecretAccessKey\": \"hush\", "
	     "\"Expiration\": \"tomorrow\"}'",
	     "ISO 8601"},
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		set_program(rig, cases[i].writes);
		expect_error(NULL, ERR_DATA, cases[i].why);
	}
	set_program(rig,
		    "echo '{\"SecretAccessKey\": \"hush\"}'; echo 'sign in first' >&2; exit 1");
	expect_error(NULL, ERR_CONFIG,
		     "profile default: credential_process: \"sh\" ended with "
		     "status 1: \"sign in first\"");
	set_config(rig, "[default]\ncredential_process = keys 'a\n");
	expect_error(NULL, ERR_CONFIG, "quote");
}

/* -- roles -------------------------------------------------------------------------------------------- */

static void a_pod_gets_keys_for_its_token(void **state)
{
	struct rig *rig = *state;

	set_file(rig, "AWS_WEB_IDENTITY_TOKEN_FILE", "token", "ey.J+/=\n");
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/latents", 1);
	SCRIPT(rig, {503, NULL}, {200, STS_KEYS("pod")}, {200, STS_KEYS("later")});
	expect_keys(rig, "pod", "hush", "tok");
	expect_keys(rig, "pod", "hush", "tok");
	assert_int_equal(rig->asked, 2);
	assert_non_null(strstr(rig->heads[1], "POST / HTTP"));
	assert_null(strstr(rig->heads[1], "Authorization"));
	assert_string_equal(rig->bodies[1],
			    "Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole"
			    "%2Flatents&RoleSessionName=latentd&Version=2011-06-15&"
			    "WebIdentityToken=ey.J%2B%2F%3D");
	set_file(rig, "AWS_WEB_IDENTITY_TOKEN_FILE", "token", "renewed");
	s3_credentials_refused(rig->credentials);
	expect_keys(rig, "later", "hush", "tok");
	assert_non_null(strstr(rig->bodies[2], "WebIdentityToken=renewed"));
}

static void a_token_service_that_refuses_or_answers_nonsense_is_said(void **state)
{
	struct rig *rig = *state;

	set_file(rig, "AWS_WEB_IDENTITY_TOKEN_FILE", "token", "hush");
	setenv("AWS_ROLE_ARN", "arn", 1);
	SCRIPT(rig, {400, STS_FAULT("ExpiredTokenException", "Token expired")});
	expect_error(NULL, ERR_CONFIG, "ExpiredTokenException: Token expired");
	SCRIPT(rig, {400, STS_FAULT("IDPCommunicationError", "later")});
	expect_error(NULL, ERR_TRANSIENT, "IDPCommunicationError");
	SCRIPT(rig, {403, "<html>"});
	expect_error(NULL, ERR_CONFIG, "status 403");
	SCRIPT(rig, {500, NULL}, {500, NULL}, {500, STS_KEYS("k")});
	expect_error(NULL, ERR_TRANSIENT, "status 500");
	SCRIPT(rig, {200, "<html><SecretAccessKey>hush</SecretAccessKey></html>"});
	expect_error(NULL, ERR_DATA, "no credentials");
	SCRIPT(rig, {200, "<!DOCTYPE a [<!ENTITY b 'c'>]>" STS_KEYS("&b;")});
	expect_error(NULL, ERR_DATA, "no credentials");
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token", 1);
	expect_error(NULL, ERR_CONFIG, "/nonexistent/token");
}

static void tokens_do_not_travel_in_the_clear(void **state)
{
	struct rig *rig = *state;

	set_file(rig, "AWS_WEB_IDENTITY_TOKEN_FILE", "token", "hush");
	setenv("AWS_ROLE_ARN", "arn", 1);
	setenv("AWS_ENDPOINT_URL_STS", "http://sts.example.org", 1);
	expect_error(NULL, ERR_CONFIG, "without TLS");
	unsetenv("AWS_ENDPOINT_URL_STS");
	setenv("AWS_REGION", "x.example.org/", 1);
	expect_error(NULL, ERR_CONFIG, "region");
}

static void a_role_is_taken_with_the_keys_of_another_profile(void **state)
{
	struct rig *rig = *state;

	set_config(rig, "[profile work]\nrole_arn = arn:r\nsource_profile = base\n"
			"external_id = e 1\nrole_session_name = nightly\nduration_seconds = 900\n"
			"region = eu-west-3\n"
			"[profile base]\naws_access_key_id = BASE\naws_secret_access_key = hush\n"
			"aws_session_token = basetoken\n");
	use_profile(rig, "work");
	SCRIPT(rig, {200, STS_KEYS("role")});
	expect_keys(rig, "role", "hush", "tok");
	assert_string_equal(
	    rig->bodies[0],
	    "Action=AssumeRole&DurationSeconds=900&ExternalId=e%201&RoleArn=arn%3Ar&"
	    "RoleSessionName=nightly&Version=2011-06-15");
	assert_non_null(strstr(rig->heads[0], "Credential=BASE/"));
	assert_non_null(strstr(rig->heads[0], "/eu-west-3/sts/aws4_request"));
	assert_non_null(strstr(rig->heads[0],
			       "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token"));
	assert_non_null(strstr(rig->heads[0], "X-Amz-Security-Token: basetoken"));
}

static void profiles_that_name_each_other_end(void **state)
{
	struct rig *rig = *state;

	set_config(rig, "[profile a]\nrole_arn = r\nsource_profile = b\n"
			"[profile b]\nrole_arn = r\nsource_profile = a\n");
	expect_error("a", ERR_CONFIG, "circles");
	set_config(rig, "[profile a]\nrole_arn = r\n");
	expect_error("a", ERR_CONFIG, "role_arn without source_profile");
	assert_int_equal(rig->asked, 0);
}

static void what_wants_a_person_is_told_with_the_way_out(void **state)
{
	struct rig *rig = *state;

	set_config(rig, "[profile sso]\nsso_session = us\n"
			"[profile mfa]\nrole_arn = r\nsource_profile = sso\nmfa_serial = m\n");
	expect_error("sso", ERR_CONFIG, "profile sso has sso_session");
	expect_error("sso", ERR_CONFIG, "aws configure export-credentials");
	expect_error("mfa", ERR_CONFIG, "profile mfa has mfa_serial");
}

/* -- the container's ---------------------------------------------------------------------------------- */

static void the_token_of_a_pod_is_read_again_each_time(void **state)
{
	struct rig *rig = *state;

	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", loopback_url(rig->server), 1);
	set_file(rig, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "token", "one\n");
	SCRIPT(rig, {200, "{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"hush\"}"},
	       {200, "{\"AccessKeyId\": \"b\", \"SecretAccessKey\": \"hush\"}"});
	expect_keys(rig, "a", "hush", NULL);
	set_file(rig, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "token", "two\n");
	s3_credentials_refused(rig->credentials);
	expect_keys(rig, "b", "hush", NULL);
	assert_non_null(strstr(rig->heads[0], "Authorization: one\r\n"));
	assert_non_null(strstr(rig->heads[1], "Authorization: two\r\n"));
	SCRIPT(rig, {403, "hush"});
	expect_error(NULL, ERR_CONFIG, "status 403");
	SCRIPT(rig, {200, "hush"});
	expect_error(NULL, ERR_DATA, "no credentials");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_program_writes_the_keys_of_its_profile),
	    TEST(keys_of_a_program_are_kept_until_shortly_before_they_expire),
	    TEST(a_program_that_writes_no_keys_is_said_without_what_it_writes),
	    TEST(a_pod_gets_keys_for_its_token),
	    TEST(a_token_service_that_refuses_or_answers_nonsense_is_said),
	    TEST(tokens_do_not_travel_in_the_clear),
	    TEST(a_role_is_taken_with_the_keys_of_another_profile),
	    TEST(profiles_that_name_each_other_end),
	    TEST(what_wants_a_person_is_told_with_the_way_out),
	    TEST(the_token_of_a_pod_is_read_again_each_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The S3 client against a server that answers in the order that a test says.
 */
#include "tests/testing.h"

#include "tests/component/loopback_server.h"
#include "tests/component/s3_environment.h"

#include "base/checked.h"
#include "base/clock.h"
#include "net/s3.h"
#include "net/s3_upload.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { STEPS = 8, HEAD_SIZE = 4096 };

#define FAULT(code) "<Error><Code>" code "</Code><Message>said so</Message></Error>"

struct step {
	int status;
	const char *headers, *body;
	enum loopback_how how;
};

struct rig {
	struct loopback_server *server;
	struct s3 *s3;
	pthread_mutex_t lock;
	struct step steps[STEPS]; /* the last one stays */
	const char *expired;	  /* of PUTs with this in their head no step is taken; NULL: none */
	size_t asked;
	char heads[STEPS][HEAD_SIZE];
};

static void answer(void *arg, const struct loopback_request *request, struct loopback_reply *reply)
{
	struct rig *rig = arg;
	const struct step *step;

	pthread_mutex_lock(&rig->lock);
	if (rig->expired && strncmp(request->head, "PUT ", 4) == 0 &&
	    strstr(request->head, rig->expired)) {
		reply->status = 400;
		buffer_append_string(&reply->body, FAULT("ExpiredToken"));
		pthread_mutex_unlock(&rig->lock);
		return;
	}
	step = &rig->steps[rig->asked];
	snprintf(rig->heads[rig->asked], HEAD_SIZE, "%s", request->head);
	if (rig->asked < STEPS - 1)
		rig->asked++;
	reply->status = step->status ? step->status : 500;
	reply->how = step->how;
	if (step->headers)
		snprintf(reply->headers, sizeof(reply->headers), "%s", step->headers);
	buffer_append_string(&reply->body, step->body ? step->body : "");
	pthread_mutex_unlock(&rig->lock);
}

static void open_client(struct rig *rig)
{
	struct s3_options s3 = {.place = {.bucket = "b", .endpoint = loopback_url(rig->server)}};
	struct error err = ERROR_INIT;

	s3_close(rig->s3);
	rig->s3 = NULL;
	assert_ok(s3_open(&s3, &rig->s3, &err), &err);
}

static int set_up(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));
	const struct loopback_options options = {.answer = answer, .arg = rig};

	s3_environment_clear();
	setenv("AWS_ACCESS_KEY_ID", "id", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	pthread_mutex_init(&rig->lock, NULL);
	rig->server = loopback_start(&options);
	open_client(rig);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	s3_close(rig->s3);
	loopback_stop(rig->server);
	pthread_mutex_destroy(&rig->lock);
	free(rig);
	return 0;
}

static void script(struct rig *rig, const struct step *steps, size_t n)
{
	assert_true(n <= STEPS);
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

static int collect(void *arg, const struct s3_item *item, struct error *err)
{
	(void)err;
	buffer_appendf(arg, "%s=%zu ", item->key, (size_t)item->size);
	return 0;
}

static void a_list_goes_on_with_the_next_page(void **state)
{
	struct rig *rig = *state;
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;

	SCRIPT(rig,
	       {200, NULL,
		"<ListBucketResult><Contents><Key>p/a</Key><Size>1</Size></Contents>"
		"<IsTruncated>true</IsTruncated><NextContinuationToken>t+1</NextContinuationToken>"
		"</ListBucketResult>",
		0},
	       {200, NULL,
		"<ListBucketResult><Contents><Key>p/b</Key><Size>2</Size></Contents>"
		"<IsTruncated>false</IsTruncated></ListBucketResult>",
		0});
	assert_ok(s3_list(rig->s3, "p/", NULL, collect, &got, &err), &err);
	assert_string_equal((char *)got.data, "p/a=1 p/b=2 ");
	assert_non_null(
	    strstr(rig->heads[0], "GET /b?encoding-type=url&list-type=2&prefix=p%2F HTTP"));
	assert_non_null(
	    strstr(rig->heads[1], "?continuation-token=t%2B1&encoding-type=url&list-type=2"));
	assert_non_null(strstr(rig->heads[1], "Signature="));
	assert_null(strstr(rig->heads[1], "secret"));
}

/* Silence would say that what was not listed is not there. */
static void a_list_that_does_not_say_how_it_goes_on_is_an_error(void **state)
{
	static const char same[] =
	    "<ListBucketResult><Contents><Key>p/a</Key><Size>1</Size></Contents>"
	    "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
	    "</ListBucketResult>";
	struct rig *rig = *state;
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;

	SCRIPT(rig, {200, NULL,
		     "<ListBucketResult><Contents><Key>p/a</Key><Size>1</Size></Contents>"
		     "<IsTruncated>true</IsTruncated></ListBucketResult>",
		     0});
	assert_int_equal(s3_list(rig->s3, "p/", NULL, collect, &got, &err), -1);
	assert_string_equal(err.reason, "protocol");
	err = (struct error)ERROR_INIT;
	SCRIPT(rig, {200, NULL, same, 0}, {200, NULL, same, 0});
	assert_int_equal(s3_list(rig->s3, "p/", NULL, collect, &got, &err), -1);
	assert_string_equal(err.reason, "protocol");
	assert_int_equal(rig->asked, 2);
}

static void what_passes_is_asked_again_and_what_stays_is_not(void **state)
{
	struct rig *rig = *state;
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;

	SCRIPT(rig, {503, NULL, FAULT("SlowDown"), 0}, {0, NULL, NULL, LOOPBACK_CLOSE},
	       {206, NULL, "cde", 0}, {403, NULL, FAULT("AccessDenied"), 0});
	assert_ok(s3_get(rig->s3, "k", 2, 3, &got, &err), &err);
	assert_string_equal((char *)got.data, "cde");
	assert_int_equal(rig->asked, 3);
	assert_non_null(strstr(rig->heads[2], "range: bytes=2-4"));
	assert_error(s3_get(rig->s3, "k", 2, 3, &got, &err), &err, ERR_CONFIG);
	assert_int_equal(rig->asked, 4);
	assert_non_null(strstr(err.message, "AccessDenied"));
}

static void a_range_is_exactly_what_was_asked_for(void **state)
{
	struct rig *rig = *state;
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;

	SCRIPT(rig, {200, NULL, "abcdef", 0}, {206, NULL, "c", 0}, {416, NULL, FAULT("x"), 0},
	       {404, NULL, FAULT("NoSuchKey"), 0}, {404, NULL, FAULT("NoSuchBucket"), 0});
	assert_ok(s3_get(rig->s3, "k", 2, 3, &got, &err), &err);
	assert_string_equal((char *)got.data, "cde");
	for (int i = 0; i < 2; i++) {
		error_clear(&err);
		assert_error(s3_get(rig->s3, "k", 2, 3, &got, &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "truncated");
	}
	assert_int_equal(s3_get(rig->s3, "k", 2, 3, &got, &err), S3_NOT_THERE);
	error_clear(&err);
	assert_error(s3_get(rig->s3, "k", 2, 3, &got, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "bucket does not exist"));
}

static char *sha_header(const char *data)
{
	struct sha256 hash = sha256_of(data, strlen(data));
	char hex[SHA256_HEX_SIZE];

	sha256_hex(&hash, hex);
	return xasprintf("x-amz-meta-sha256: %s\r\n", hex);
}

static void an_error_inside_a_200_is_one(void **state)
{
	struct rig *rig = *state;
	struct error err = ERROR_INIT;

	SCRIPT(rig, {200, NULL, NULL, 0}, {200, NULL, FAULT("InternalError"), 0},
	       {200, NULL, "<CopyObjectResult/>", 0}, {200, NULL, NULL, 0});
	assert_ok(s3_copy(rig->s3, "a b", "c", S3_REPLACE, &err), &err);
	assert_int_equal(rig->asked, 4);
	assert_non_null(strstr(rig->heads[2], "x-amz-copy-source: /b/a%20b"));
}

static void a_copy_that_the_store_did_not_make_is_none(void **state)
{
	struct rig *rig = *state;
	cleanup_free char *theirs = sha_header("other");
	struct error err = ERROR_INIT;

	SCRIPT(rig, {200, NULL, NULL, 0}, {200, NULL, "<CopyObjectResult/>", 0},
	       {404, NULL, NULL, 0}, {200, NULL, NULL, 0}, {200, NULL, "<CopyObjectResult/>", 0},
	       {200, theirs, NULL, 0});
	for (int i = 0; i < 2; i++) {
		error_clear(&err);
		assert_error(s3_copy(rig->s3, "a", "b", S3_REPLACE, &err), &err, ERR_IO);
	}
	assert_int_equal(rig->asked, 6);
}

static void a_list_that_lies_is_refused(void **state)
{
	struct rig *rig = *state;
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;

	SCRIPT(
	    rig,
	    {200, NULL,
	     "<ListBucketResult><Contents><Key>q</Key><Size>1</Size></Contents>"
	     "</ListBucketResult>",
	     0},
	    {200, NULL, "<ListBucketResult><Contents/></ListBucketResult>", 0},
	    {200, NULL, "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", 0});
	for (int i = 0; i < 3; i++) {
		error_clear(&err);
		assert_error(s3_list(rig->s3, "p/", NULL, collect, &got, &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "protocol");
	}
	assert_int_equal(got.size, 0);
}

/* Who takes it for lost or for another makes it again. */
static void an_object_of_which_nothing_is_told_is_neither_missing_nor_empty(void **state)
{
	struct rig *rig = *state;
	struct s3_object object;
	struct error err = ERROR_INIT;

	SCRIPT(rig, {200, NULL, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", LOOPBACK_RAW},
	       {400, NULL, NULL, 0}, {400, NULL, NULL, 0}, {400, NULL, FAULT("ExpiredToken"), 0});
	assert_error(s3_head(rig->s3, "k", &object, &err), &err, ERR_TRANSIENT);
	error_clear(&err);
	assert_error(s3_head(rig->s3, "k", &object, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "the credentials have expired"));
	assert_int_equal(rig->asked, 4);
}

static void why_a_head_was_refused_is_asked_for(void **state)
{
	struct rig *rig = *state;
	struct s3_object object;
	struct error err = ERROR_INIT;

	SCRIPT(rig, {403, NULL, NULL, 0}, {403, NULL, FAULT("SignatureDoesNotMatch"), 0});
	assert_error(s3_head(rig->s3, "k", &object, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "the credentials are wrong"));
	assert_int_equal(rig->asked, 2);
	/* twice, since keys may have expired */
	error_clear(&err);
	SCRIPT(
	    rig, {400, NULL, NULL, 0}, {400, NULL, NULL, 0},
	    {400, NULL,
	     "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>",
	     0},
	    {206, NULL, "x", 0}, {200, "ETag: \"e\"\r\n", NULL, 0});
	assert_ok(s3_head(rig->s3, "k", &object, &err), &err);
	assert_non_null(strstr(rig->heads[2], "range: bytes=0-0"));
	assert_non_null(strstr(rig->heads[4], "/eu-west-3/s3/"));
	assert_string_equal(object.etag, "\"e\"");
	assert_int_equal(rig->asked, 5);
}

/* "Date: ...\r\n" so many seconds from now. */
static const char *date_header(int64_t ahead, char out[64])
{
	time_t at = (time_t)(clock_wall_ms() / 1000 + ahead);
	struct tm tm;

	gmtime_r(&at, &tm);
	strftime(out, 64, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
	return out;
}

static void a_wrong_clock_is_corrected_once_by_the_date_of_the_server(void **state)
{
	struct rig *rig = *state;
	struct s3_object object;
	struct error err = ERROR_INIT;
	static const char long_ago[] = "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
	char date[64], day[SIGV4_TIME_SIZE];

	date_header(86400, date); /* HEAD has no body that says why */
	SCRIPT(rig, {403, date, NULL, 0}, {200, NULL, NULL, 0}, {403, long_ago, NULL, 0},
	       {403, date, NULL, 0});
	assert_ok(s3_head(rig->s3, "k", &object, &err), &err);
	sigv4_time(clock_wall_ms() + 86400000, day);
	day[8] = '\0';
	assert_non_null(strstr(strstr(rig->heads[1], "x-amz-date: "), day));
	assert_int_equal(rig->asked, 2);
	assert_error(s3_head(rig->s3, "k", &object, &err), &err, ERR_CONFIG);
	assert_int_equal(rig->asked, 4);
	assert_non_null(strstr(err.message, "clock"));
}

static void a_bucket_of_another_region_is_asked_there(void **state)
{
	struct rig *rig = *state;
	struct s3_object object;
	struct error err = ERROR_INIT;

	SCRIPT(rig, {301, "x-amz-bucket-region: eu-west-3\r\n", NULL, 0},
	       {200, "ETag: \"e\"\r\n", NULL, 0});
	assert_ok(s3_head(rig->s3, "k", &object, &err), &err);
	assert_non_null(strstr(rig->heads[0], "/us-east-1/s3/"));
	assert_non_null(strstr(rig->heads[1], "/eu-west-3/s3/"));
	assert_string_equal(object.etag, "\"e\"");
}

static void a_region_that_would_be_another_host_is_not_believed(void **state)
{
	struct rig *rig = *state;
	struct s3_object object;
	struct error err = ERROR_INIT;

	SCRIPT(rig, {301, "x-amz-bucket-region: example.org/\r\n", NULL, 0});
	assert_error(s3_head(rig->s3, "k", &object, &err), &err, ERR_CONFIG);
	assert_int_equal(rig->asked, 1);
	SCRIPT(rig,
	       {400, NULL,
		"<Error><Code>AuthorizationHeaderMalformed</Code><Region>a@b</Region></Error>", 0});
	cleanup_buffer struct buffer got = BUFFER_INIT;
	err = (struct error)ERROR_INIT;
	assert_int_equal(s3_get(rig->s3, "k", 0, 1, &got, &err), -1);
	assert_int_equal(rig->asked, 1);
}

static void a_put_whose_reply_was_lost_knows_its_own_object(void **state)
{
	struct rig *rig = *state;
	cleanup_free char *ours = sha_header(""), *theirs = sha_header("other");
	struct error err = ERROR_INIT;

	SCRIPT(rig, {404, NULL, NULL, 0}, {0, NULL, NULL, LOOPBACK_CLOSE},
	       {412, NULL, FAULT("PreconditionFailed"), 0}, {200, ours, NULL, 0},
	       {200, theirs, NULL, 0});
	assert_ok(s3_put(rig->s3, "k", "", 0, S3_NEW, &err), &err);
	assert_int_equal(rig->asked, 4);
	assert_non_null(strstr(rig->heads[1], "if-none-match: *"));
	assert_non_null(strstr(rig->heads[1], "content-md5: 1B2M2Y8AsgTpgAmY7PhCfg=="));
	assert_int_equal(s3_put(rig->s3, "k", "", 0, S3_NEW, &err), S3_IN_THE_WAY);
	assert_int_equal(rig->asked, 5);
}

static void a_store_without_conditions_is_asked_without(void **state)
{
	struct rig *rig = *state;
	struct error err = ERROR_INIT;

	SCRIPT(rig, {404, NULL, NULL, 0}, {501, NULL, FAULT("NotImplemented"), 0},
	       {200, NULL, NULL, 0}, {404, NULL, NULL, 0}, {200, NULL, NULL, 0});
	assert_ok(s3_put(rig->s3, "k", "x", 1, S3_NEW, &err), &err);
	assert_ok(s3_put(rig->s3, "l", "x", 1, S3_NEW, &err), &err);
	assert_null(strstr(rig->heads[2], "if-none-match"));
	assert_null(strstr(rig->heads[4], "if-none-match"));
	assert_int_equal(rig->asked, 5);
}

static bool always(void *arg)
{
	(void)arg;
	return true;
}

static void who_stops_is_told_the_cause_and_does_not_wait(void **state)
{
	struct rig *rig = *state;
	struct s3_options options = {
	    .place = {.bucket = "b", .endpoint = loopback_url(rig->server)}, .stop = always};
	struct error err = ERROR_INIT;
	struct s3 *s3 = NULL;

	assert_ok(s3_open(&options, &s3, &err), &err);
	SCRIPT(rig, {503, "Retry-After: 3600\r\n", FAULT("SlowDown"), 0});
	assert_error(s3_delete(s3, "k", &err), &err, ERR_TRANSIENT);
	assert_non_null(strstr(err.message, "SlowDown"));
	assert_int_equal(rig->asked, 1);
	s3_close(s3);
}

static bool once_asked(void *arg)
{
	struct rig *rig = arg;
	bool asked;

	pthread_mutex_lock(&rig->lock);
	asked = rig->asked > 0;
	pthread_mutex_unlock(&rig->lock);
	return asked;
}

static int any_item(void *arg, const struct s3_item *item, struct error *err)
{
	(void)arg;
	(void)item;
	(void)err;
	return 0;
}

static void a_list_that_does_not_come_is_not_waited_for_by_who_stops(void **state)
{
	struct rig *rig = *state;
	struct s3_options options = {
	    .place = {.bucket = "b", .endpoint = loopback_url(rig->server)},
	    .stop = once_asked,
	    .arg = rig};
	struct error err = ERROR_INIT;
	struct s3 *s3 = NULL;

	assert_ok(s3_open(&options, &s3, &err), &err);
	rig->steps[0].how = LOOPBACK_NEVER;
	assert_error(s3_list(s3, "", NULL, any_item, NULL, &err), &err, ERR_TRANSIENT);
	assert_string_equal(err.message, "interrupted"); /* and not that it came too late */
	s3_close(s3);
}

static void keys_come_from_the_metadata_service_and_again_when_they_expired(void **state)
{
	struct rig *rig = *state;
	struct error err = ERROR_INIT;

	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_EC2_METADATA_DISABLED");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", loopback_url(rig->server), 1);
	SCRIPT(rig, {200, NULL, "token", 0}, {200, NULL, "role\n", 0},
	       {200, NULL,
		"{\"AccessKeyId\": \"issued\", \"SecretAccessKey\": \"s\", \"Token\": \"t1\", "
		"\"Expiration\": \"2100-01-01T00:00:00Z\"}",
		0},
	       {400, NULL, FAULT("ExpiredToken"), 0}, {200, NULL, "token", 0},
	       {200, NULL, "role", 0},
	       {200, NULL, "{\"AccessKeyId\": \"next\", \"SecretAccessKey\": \"s\"}", 0},
	       {204, NULL, NULL, 0});
	assert_ok(s3_delete(rig->s3, "k", &err), &err);
	assert_non_null(strstr(rig->heads[0], "PUT "));
	assert_non_null(strstr(rig->heads[2], "security-credentials/role HTTP"));
	assert_non_null(strstr(rig->heads[2], "X-aws-ec2-metadata-token: token"));
	assert_non_null(strstr(rig->heads[3], "Credential=issued/"));
	assert_non_null(strstr(rig->heads[3], "x-amz-security-token: t1"));
	assert_non_null(strstr(rig->heads[7], "Credential=next/"));
}

static int read_zeros(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	(void)arg;
	(void)offset;
	(void)err;
	memset(data, 0, size);
	return 0;
}

static void parts_that_were_under_way_when_keys_expired_are_sent_again(void **state)
{
	struct rig *rig = *state;
	const struct s3_upload upload = {.key = "k",
					 .size = 20,
					 .sha256 = "",
					 .mode = S3_REPLACE,
					 .part_bytes = 10,
					 .read = read_zeros};
	struct error err = ERROR_INIT;

	unsetenv("AWS_ACCESS_KEY_ID");
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", loopback_url(rig->server), 1);
	rig->expired = "Credential=old/";
	SCRIPT(rig, {200, NULL, "{\"AccessKeyId\": \"old\", \"SecretAccessKey\": \"s\"}", 0},
	       {200, NULL,
		"<InitiateMultipartUploadResult><UploadId>u</UploadId>"
		"</InitiateMultipartUploadResult>",
		0},
	       {200, NULL, "{\"AccessKeyId\": \"new\", \"SecretAccessKey\": \"s\"}", 0},
	       {200, "ETag: \"e\"\r\n", NULL, 0}, {200, "ETag: \"e\"\r\n", NULL, 0},
	       {200, NULL, "<CompleteMultipartUploadResult/>", 0},
	       {200, NULL, "01234567890123456789", 0}); /* the last tells its size */
	assert_ok(s3_upload(rig->s3, &upload, &err), &err);
	assert_int_equal(rig->asked, 7);
}

static void what_a_store_took_and_did_not_keep_is_sent_later(void **state)
{
	struct rig *rig = *state;
	const struct s3_upload upload = {
	    .key = "k", .size = 5, .sha256 = "", .mode = S3_REPLACE, .read = read_zeros};
	struct error err = ERROR_INIT;

	SCRIPT(rig, {200, NULL, NULL, 0}, {404, NULL, NULL, 0});
	assert_error(s3_upload(rig->s3, &upload, &err), &err, ERR_IO);
}

static void a_list_of_parts_that_goes_in_circles_ends(void **state)
{
	static const char circle[] =
	    "<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>"
	    "111111111111111111111111111111</NextPartNumberMarker></ListPartsResult>";
	struct rig *rig = *state;
	const struct s3_upload upload = {.key = "k",
					 .size = 20,
					 .sha256 = "",
					 .mode = S3_REPLACE,
					 .part_bytes = 10,
					 .upload_id = "u",
					 .read = read_zeros};
	struct error err = ERROR_INIT;

	SCRIPT(rig, {200, NULL, circle, 0}, {200, NULL, circle, 0},
	       {200, "ETag: \"e\"\r\n", NULL, 0}, {200, "ETag: \"e\"\r\n", NULL, 0},
	       {200, NULL, "<CompleteMultipartUploadResult/>", 0},
	       {200, NULL, "01234567890123456789", 0});
	assert_ok(s3_upload(rig->s3, &upload, &err), &err);
	assert_int_equal(rig->asked, 6);
}

static void a_container_gives_keys_only_to_who_is_on_its_machine(void **state)
{
	struct rig *rig = *state;
	struct error err = ERROR_INIT;

	unsetenv("AWS_ACCESS_KEY_ID");
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic x", 1);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1.example.org/c", 1);
	assert_error(s3_delete(rig->s3, "k", &err), &err, ERR_CONFIG);
	assert_int_equal(rig->asked, 0);
	error_clear(&err);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", loopback_url(rig->server), 1);
	open_client(rig);
	SCRIPT(rig, {200, NULL, "{\"AccessKeyId\": \"pod\", \"SecretAccessKey\": \"s\"}", 0},
	       {204, NULL, NULL, 0});
	assert_ok(s3_delete(rig->s3, "k", &err), &err);
	assert_non_null(strstr(rig->heads[0], "Authorization: Basic x"));
	assert_non_null(strstr(rig->heads[1], "Credential=pod/"));
}

static void a_service_without_keys_is_not_asked_for_each_request(void **state)
{
	struct rig *rig = *state;
	struct error err = ERROR_INIT;

	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_EC2_METADATA_DISABLED");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", loopback_url(rig->server), 1);
	for (int i = 0; i < 3; i++) {
		error_clear(&err);
		assert_error(s3_delete(rig->s3, "k", &err), &err, ERR_CONFIG);
		assert_non_null(strstr(err.message, "no S3 credentials"));
	}
	assert_int_equal(rig->asked, 1);
}

static void nobody_with_keys_is_said(void **state)
{
	struct rig *rig = *state;
	struct error err = ERROR_INIT;

	unsetenv("AWS_ACCESS_KEY_ID");
	assert_error(s3_delete(rig->s3, "k", &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "no S3 credentials"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_list_goes_on_with_the_next_page),
	    TEST(a_list_that_does_not_say_how_it_goes_on_is_an_error),
	    TEST(what_passes_is_asked_again_and_what_stays_is_not),
	    TEST(a_range_is_exactly_what_was_asked_for),
	    TEST(an_error_inside_a_200_is_one),
	    TEST(a_copy_that_the_store_did_not_make_is_none),
	    TEST(a_list_that_lies_is_refused),
	    TEST(an_object_of_which_nothing_is_told_is_neither_missing_nor_empty),
	    TEST(why_a_head_was_refused_is_asked_for),
	    TEST(a_wrong_clock_is_corrected_once_by_the_date_of_the_server),
	    TEST(a_bucket_of_another_region_is_asked_there),
	    TEST(a_region_that_would_be_another_host_is_not_believed),
	    TEST(a_put_whose_reply_was_lost_knows_its_own_object),
	    TEST(a_store_without_conditions_is_asked_without),
	    TEST(who_stops_is_told_the_cause_and_does_not_wait),
	    TEST(a_list_that_does_not_come_is_not_waited_for_by_who_stops),
	    TEST(keys_come_from_the_metadata_service_and_again_when_they_expired),
	    TEST(parts_that_were_under_way_when_keys_expired_are_sent_again),
	    TEST(what_a_store_took_and_did_not_keep_is_sent_later),
	    TEST(a_list_of_parts_that_goes_in_circles_ends),
	    TEST(a_container_gives_keys_only_to_who_is_on_its_machine),
	    TEST(a_service_without_keys_is_not_asked_for_each_request),
	    TEST(nobody_with_keys_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

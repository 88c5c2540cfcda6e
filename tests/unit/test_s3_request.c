/*
 * Expected values: the example "GET Object" of "Signature Calculations for the Authorization Header" in the Amazon S3 API
 * reference; addresses as botocore makes them.
 */
#include "tests/testing.h"

#include "tests/component/s3_environment.h"

#include "base/checked.h"
#include "net/s3_process.h"
#include "net/s3_profile.h"
#include "net/s3_request.h"
#include "net/s3_xml.h"

#include <string.h>

static int clear(void **state)
{
	(void)state;
	s3_environment_clear();
	return 0;
}

static void the_example_of_amazon_is_signed_as_it_says(void **state)
{
	const struct s3_place place = {.bucket = "examplebucket",
				       .endpoint = "https://s3.amazonaws.com",
				       .addressing = "virtual"};
	const struct s3_keys keys = {"AKIAIOSFODNN7EXAMPLE",
				     "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", NULL};
	const struct sigv4_pair range = {"range", "bytes=0-9"};
	const struct s3_what what = {
	    .method = "GET", .key = "test.txt", .headers = &range, .n_headers = 1};
	cleanup_s3_request struct s3_request request = {.url = NULL};
	struct error err = ERROR_INIT;
	struct s3_bucket bucket;

	(void)state;
	assert_ok(s3_bucket_init(&bucket, &place, &err), &err);
	assert_ok(s3_request_make(&bucket, &what, &keys, 1369353600000, &request, &err), &err);
	assert_string_equal(request.url, "https://examplebucket.s3.amazonaws.com/test.txt");
	assert_string_equal(
	    request.lines[4],
	    "Authorization: AWS4-HMAC-SHA256 "
	    "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
	    "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
	    "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	s3_bucket_release(&bucket);
}

static void check_url(const struct s3_place *place, const char *key, const char *url)
{
	const struct s3_what what = {.method = "GET", .key = key};
	cleanup_s3_request struct s3_request request = {.url = NULL};
	struct error err = ERROR_INIT;
	struct s3_bucket bucket;

	assert_ok(s3_bucket_init(&bucket, place, &err), &err);
	assert_ok(s3_request_make(&bucket, &what, NULL, 0, &request, &err), &err);
	assert_string_equal(request.url, url);
	s3_bucket_release(&bucket);
}

static void a_bucket_is_addressed_as_its_store_wants(void **state)
{
	(void)state;
	check_url(&(struct s3_place){.bucket = "b", .region = "eu-west-1"}, "x/a b+.tar",
		  "https://b.s3.eu-west-1.amazonaws.com/x/a%20b%2B.tar");
	check_url(&(struct s3_place){.bucket = "b.c", .region = "cn-north-1"}, NULL,
		  "https://s3.cn-north-1.amazonaws.com.cn/b.c");
	check_url(&(struct s3_place){.bucket = "b", .endpoint = "http://minio:9000/"}, "k",
		  "http://minio:9000/b/k");
	check_url(&(struct s3_place){.bucket = "b", .endpoint = "https://a:443/s3"}, NULL,
		  "https://a/s3/b");
	check_url(&(struct s3_place){.bucket = "b",
				     .endpoint = "https://oss.example",
				     .addressing = "virtual"},
		  NULL, "https://b.oss.example/");
	setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1", 1);
	check_url(&(struct s3_place){.bucket = "b"}, "k", "http://127.0.0.1:1/b/k");
}

static void an_address_that_is_none_is_refused(void **state)
{
	static const char *const urls[] = {"s3://", "s3:///k", "s3://a b/k", "s3://.a/k", "/a", ""};
	char *bucket = NULL, *key = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct error err = ERROR_INIT;

		assert_error(s3_url_parse(urls[i], &bucket, &key, &err), &err, ERR_CONFIG);
	}
	struct error err = ERROR_INIT;
	assert_ok(s3_url_parse("s3://latents/sdxl/faces", &bucket, &key, &err), &err);
	assert_string_equal(bucket, "latents");
	assert_string_equal(key, "sdxl/faces");
	free(bucket);
	free(key);
}

static void a_key_that_no_url_can_express_is_data_error(void **state)
{
	const struct s3_place place = {.bucket = "b"};
	struct s3_request request;
	struct s3_bucket bucket;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(s3_bucket_init(&bucket, &place, &err), &err);
	assert_error(s3_request_make(&bucket, &(struct s3_what){.method = "GET", .key = "a/../b"},
				     NULL, 0, &request, &err),
		     &err, ERR_DATA);
	s3_bucket_release(&bucket);
}

static void a_profile_is_read_as_the_tools_of_amazon_do(void **state)
{
	cleanup_s3_profile struct s3_profile p = S3_PROFILE_INIT;

	(void)state;
	s3_profile_parse("[default]\naws_access_key_id = other\n# x = y\n"
			 "[profile  training]\r\nregion=eu-west-1\ns3 =\n"
			 "  addressing_style = path\n  region = nested\nendpoint_url = http://m:1\n"
			 "[training]\naws_access_key_id=K\naws_secret_access_key = S = /+ \n"
			 "region = second\n[x]\naws_session_token = no",
			 "training", &p);
	assert_string_equal(p.key_id, "K");
	assert_string_equal(p.secret, "S = /+");
	assert_null(p.token);
	assert_string_equal(p.region, "eu-west-1");
	assert_string_equal(p.endpoint, "http://m:1");
	assert_string_equal(p.addressing, "path");
	assert_null(p.elsewhere);
}

static void what_a_profile_has_in_the_place_of_keys_is_read_or_told(void **state)
{
	cleanup_s3_profile struct s3_profile p = S3_PROFILE_INIT;

	(void)state;
	s3_profile_parse("[profile other]\nrole_arn = r\n[profile sso]\nregion = here\n"
			 "sso_session = us\ncredential_process = /bin/keys 'a b' # c\n"
			 "source_profile = other\n",
			 "sso", &p);
	assert_string_equal(p.elsewhere, "sso_session");
	assert_string_equal(p.process, "/bin/keys 'a b' # c");
	assert_string_equal(p.role_profile, "other");
	assert_null(p.key_id);
	assert_null(p.role);
}

static void a_line_is_parted_into_words_as_by_shlex(void **state)
{
	/* python3 -c 'import shlex; print(shlex.split(LINE))' */
	static const char *const wanted[] = {"/a b/keys", "x\\ny", "q\"\\n", "it's", "",
					     "#z",	  "a b",   "$HOME;", NULL};
	char **words = NULL;
	struct error err = ERROR_INIT;
	size_t n = 0;

	(void)state;
	assert_ok(
	    s3_process_split("  '/a b/keys'\t'x\\ny' \"q\\\"\\n\" it\\'s '' #z a\\ b $HOME;\n",
			     &words, &err),
	    &err);
	for (; wanted[n]; n++)
		assert_string_equal(words[n], wanted[n]);
	assert_null(words[n]);
	free(words);
	assert_error(s3_process_split("a 'b", &words, &err), &err, ERR_CONFIG);
	error_clear(&err);
	assert_error(s3_process_split("a \\", &words, &err), &err, ERR_CONFIG);
	error_clear(&err);
	assert_error(s3_process_split(" \t", &words, &err), &err, ERR_CONFIG);
}

static void a_list_is_read(void **state)
{
	static const char xml[] =
	    "<?xml version='1.0'?><ListBucketResult "
	    "xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
	    "<Name>b</Name><Contents><Key>a&amp;b</Key><Size>12</Size><ETag>&quot;e&quot;</ETag>"
	    "<LastModified>2026-01-31T23:59:59.000Z</LastModified><Owner><ID>no</ID></Owner>"
	    "</Contents><Contents><Key>c</Key><Size>0</Size></Contents>"
	    "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
	    "</ListBucketResult>";
	cleanup_s3_page struct s3_page page = {.n = 0};
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(s3_page_parse(xml, sizeof(xml) - 1, &page, &err), &err);
	assert_int_equal(page.n, 2);
	assert_string_equal(page.items[0].key, "a&b");
	assert_int_equal(page.items[0].size, 12);
	assert_string_equal(page.items[0].etag, "\"e\"");
	assert_true(page.items[0].modified_ms == 1769903999000);
	assert_true(page.truncated);
	assert_string_equal(page.next, "t");
}

static void keys_that_are_encoded_are_bytes(void **state)
{
	static const char xml[] =
	    "<ListMultipartUploadsResult><Upload><Key>a%01%0A+b%2B%C3%A4%25</Key></Upload>"
	    "<Upload><Key>none%00</Key></Upload><Upload><Key>100%</Key></Upload>"
	    "<NextKeyMarker>100%25+</NextKeyMarker><EncodingType>url</EncodingType>"
	    "</ListMultipartUploadsResult>";
	static const char plain[] =
	    "<ListBucketResult><Contents><Key>a%01+b</Key></Contents></ListBucketResult>";
	cleanup_s3_page struct s3_page page = {.n = 0}, as_is = {.n = 0};
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(s3_page_parse(xml, sizeof(xml) - 1, &page, &err), &err);
	assert_int_equal(page.n, 2);
	assert_string_equal(page.items[0].key, "a\x01\n b+\xc3\xa4%");
	assert_string_equal(page.items[1].key, "100%");
	assert_string_equal(page.next, "100% ");
	assert_ok(s3_page_parse(plain, sizeof(plain) - 1, &as_is, &err), &err);
	assert_string_equal(as_is.items[0].key, "a%01+b");
}

static void what_decodes_to_no_text_is_no_key(void **state)
{
	static const char xml[] =
	    "<ListBucketResult><EncodingType>url</EncodingType>"
	    "<Contents><Key>a%C3</Key></Contents><Contents><Key>a%00b</Key></Contents>"
	    "<Contents><Key>b</Key></Contents></ListBucketResult>";
	cleanup_s3_page struct s3_page page = {.n = 0};
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(s3_page_parse(xml, sizeof(xml) - 1, &page, &err), &err);
	assert_int_equal(page.n, 1);
	assert_string_equal(page.items[0].key, "b");
}

static void a_document_that_is_dangerous_or_none_of_s3_is_refused(void **state)
{
	static const char *const documents[] = {
	    "",
	    "{}",
	    "<html></html>",
	    "<ListBucketResult><Contents><Key>a</Key>",
	    "<ListBucketResult><Contents><Size>-1</Size></Contents></ListBucketResult>",
	    "<ListBucketResult><Contents><Size>99999999999999999999</Size></Contents>"
	    "</ListBucketResult>",
	    "<!DOCTYPE a [<!ENTITY b 'c'>]><ListBucketResult><Name>&b;</Name></ListBucketResult>",
	    "<a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a>",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		struct s3_page page = {.n = 0};
		struct error err = ERROR_INIT;

		assert_error(s3_page_parse(documents[i], strlen(documents[i]), &page, &err), &err,
			     ERR_DATA);
		assert_string_equal(err.reason, "protocol");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(the_example_of_amazon_is_signed_as_it_says, clear),
	    cmocka_unit_test_setup(a_bucket_is_addressed_as_its_store_wants, clear),
	    cmocka_unit_test_setup(an_address_that_is_none_is_refused, clear),
	    cmocka_unit_test_setup(a_key_that_no_url_can_express_is_data_error, clear),
	    cmocka_unit_test(a_profile_is_read_as_the_tools_of_amazon_do),
	    cmocka_unit_test(what_a_profile_has_in_the_place_of_keys_is_read_or_told),
	    cmocka_unit_test(a_line_is_parted_into_words_as_by_shlex),
	    cmocka_unit_test(a_list_is_read),
	    cmocka_unit_test(keys_that_are_encoded_are_bytes),
	    cmocka_unit_test(what_decodes_to_no_text_is_no_key),
	    cmocka_unit_test(a_document_that_is_dangerous_or_none_of_s3_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

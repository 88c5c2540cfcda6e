/*
 * Expected values: AWS's own test suite (tests/golden/sigv4.json, see sigv4_make.py), the example of a ranged GET in "Signature
 * Calculations for the Authorization Header" of the Amazon S3 API reference, and RFC 4231.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "net/sigv4.h"

#include <jansson.h>
#include <string.h>

enum { PAIRS = 16 };

static size_t pairs_of(json_t *list, struct sigv4_pair out[PAIRS])
{
	size_t n = json_array_size(list);

	assert_true(n <= PAIRS);
	for (size_t i = 0; i < n; i++) {
		json_t *pair = json_array_get(list, i);

		out[i].name = json_string_value(json_array_get(pair, 0));
		out[i].value = json_string_value(json_array_get(pair, 1));
	}
	return n;
}

static const char *text_of(json_t *c, const char *name)
{
	return json_string_value(json_object_get(c, name));
}

static void check_case(json_t *c)
{
	static const struct sigv4_credentials credentials = {
	    "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
	cleanup_buffer struct buffer path = BUFFER_INIT, got = BUFFER_INIT;
	struct sigv4_pair query[PAIRS], headers[PAIRS];
	const char *body = text_of(c, "body");
	struct sha256 hash = sha256_of(body, strlen(body));
	char hex[SHA256_HEX_SIZE];
	struct sigv4_request r = {.method = text_of(c, "method"),
				  .query = query,
				  .n_query = pairs_of(json_object_get(c, "query"), query),
				  .headers = headers,
				  .n_headers = pairs_of(json_object_get(c, "headers"), headers),
				  .body_hash = hex,
				  .time = "20150830T123600Z",
				  .region = "us-east-1",
				  .service = "service"};

	sha256_hex(&hash, hex);
	sigv4_uri_encode(&path, text_of(c, "path"), strlen(text_of(c, "path")), true);
	r.path = (const char *)path.data;
	sigv4_canonical(&got, &r);
	if (strcmp((const char *)got.data, text_of(c, "canonical")) != 0)
		fail_msg("%s: %s", text_of(c, "name"), got.data);
	buffer_reset(&got);
	sigv4_authorization(&r, &credentials, &got);
	if (strcmp((const char *)got.data, text_of(c, "authorization")) != 0)
		fail_msg("%s: %s", text_of(c, "name"), got.data);
}

static void every_case_of_the_published_suite_is_signed_as_published(void **state)
{
	cleanup_free char *path = testing_golden("sigv4.json");
	json_t *cases = json_load_file(path, 0, NULL), *c;
	size_t i;

	(void)state;
	assert_true(json_array_size(cases) >= 20);
	json_array_foreach(cases, i, c) check_case(c);
	json_decref(cases);
}

static void a_ranged_get_is_signed_as_the_s3_reference_shows_it(void **state)
{
	static const struct sigv4_pair headers[] = {{"x-amz-date", "20130524T000000Z"},
						    {"Range", "bytes=0-9"},
						    {"x-amz-content-sha256", SIGV4_NO_BODY},
						    {"Host", "examplebucket.s3.amazonaws.com"}};
	static const struct sigv4_credentials credentials = {
	    "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
	const struct sigv4_request r = {.method = "GET",
					.path = "/test.txt",
					.headers = headers,
					.n_headers = ARRAY_SIZE(headers),
					.body_hash = SIGV4_NO_BODY,
					.time = "20130524T000000Z",
					.region = "us-east-1",
					.service = "s3"};
	cleanup_buffer struct buffer got = BUFFER_INIT;

	(void)state;
	sigv4_authorization(&r, &credentials, &got);
	assert_string_equal(
	    (const char *)got.data,
	    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
	    "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
	    "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void the_time_is_utc_without_separators(void **state)
{
	char out[SIGV4_TIME_SIZE];

	(void)state;
	assert_string_equal(sigv4_time(1440938160999, out), "20150830T123600Z");
	assert_string_equal(sigv4_time(0, out), "19700101T000000Z");
}

static void hmac_gives_the_values_of_rfc_4231(void **state)
{
	uint8_t long_key[131];
	char hex[SHA256_HEX_SIZE];
	struct sha256 h = sha256_hmac("Jefe", 4, "what do ya want for nothing?", 28);

	(void)state;
	sha256_hex(&h, hex);
	assert_string_equal(hex,
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(long_key, 0xaa, sizeof(long_key));
	h = sha256_hmac(long_key, sizeof(long_key),
			"Test Using Larger Than Block-Size Key - Hash Key First", 54);
	sha256_hex(&h, hex);
	assert_string_equal(hex,
			    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_case_of_the_published_suite_is_signed_as_published),
	    cmocka_unit_test(a_ranged_get_is_signed_as_the_s3_reference_shows_it),
	    cmocka_unit_test(the_time_is_utc_without_separators),
	    cmocka_unit_test(hmac_gives_the_values_of_rfc_4231),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

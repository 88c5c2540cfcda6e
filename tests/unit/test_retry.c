/* Statuses and their classes are those of docs/decisions.md. */
#include "tests/testing.h"

#include "base/checked.h"
#include "net/retry.h"

static const int64_t MINUTE = 60 * 1000;

static struct retry_random rnd;

static void a_status_has_its_class(void **state)
{
	static const struct {
		long status;
		int64_t after;
		enum retry_class want;
	} cases[] = {
	    {200, 0, RETRY_NOT_NEEDED}, {204, 0, RETRY_NOT_NEEDED}, {301, 0, RETRY_STOP},
	    {307, 0, RETRY_STOP},	{400, 0, RETRY_ELSEWHERE},  {401, 0, RETRY_STOP},
	    {403, 0, RETRY_STOP},	{404, 0, RETRY_STOP},	    {405, 0, RETRY_STOP},
	    {408, 0, RETRY_LATER},	{413, 0, RETRY_REFUSED},    {415, 0, RETRY_REFUSED},
	    {422, 0, RETRY_REFUSED},	{425, 0, RETRY_LATER},	    {429, 0, RETRY_THROTTLED},
	    {429, 9, RETRY_THROTTLED},	{500, 0, RETRY_LATER},	    {502, 0, RETRY_STARTING},
	    {503, 0, RETRY_STARTING},	{503, 9, RETRY_THROTTLED},  {504, 0, RETRY_TIMED_OUT},
	    {520, 0, RETRY_LATER},	{418, 0, RETRY_ELSEWHERE},  {501, 0, RETRY_STOP},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (retry_class_of(HTTP_REPLY, cases[i].status, cases[i].after) != cases[i].want)
			fail_msg("status %ld", cases[i].status);
	}
	assert_int_equal(retry_class_of(HTTP_NOT_REACHED, 0, 0), RETRY_LATER);
	assert_int_equal(retry_class_of(HTTP_BROKEN, 200, 0), RETRY_LATER);
	assert_int_equal(retry_class_of(HTTP_NO_HTTP, 0, 0), RETRY_LATER);
	assert_int_equal(retry_class_of(HTTP_WRONG_SCHEME, 0, 0), RETRY_STOP);
	assert_int_equal(retry_class_of(HTTP_PROXY_REFUSES, 407, 0), RETRY_STOP);
	assert_int_equal(retry_class_of(HTTP_PROXY_REFUSES, 403, 0), RETRY_STOP);
	assert_int_equal(retry_class_of(HTTP_PROXY_REFUSES, 429, 0), RETRY_LATER);
	assert_int_equal(retry_class_of(HTTP_PROXY_REFUSES, 503, 0), RETRY_LATER);
	assert_int_equal(retry_class_of(HTTP_TIMEOUT, 0, 0), RETRY_TIMED_OUT);
	assert_int_equal(retry_class_of(HTTP_UNTRUSTED, 0, 0), RETRY_STOP);
}

static void a_pause_is_anything_between_nothing_and_its_double(void **state)
{
	static const int64_t most[] = {500,  500,   1000,  2000,  4000,
				       8000, 16000, 32000, 60000, 60000};

	(void)state;
	rnd.state = 3;
	for (size_t tries = 0; tries < ARRAY_SIZE(most); tries++) {
		int64_t low = INT64_MAX, high = 0;

		for (size_t i = 0; i < 500; i++) {
			int64_t ms = retry_pause_ms(tries, &rnd);

			low = ms < low ? ms : low;
			high = ms > high ? ms : high;
		}
		assert_true(low >= 0 && low < most[tries] / 20);
		assert_true(high < most[tries] && high > most[tries] * 9 / 10);
	}
	assert_true(retry_pause_ms(SIZE_MAX, &rnd) < MINUTE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_status_has_its_class),
	    cmocka_unit_test(a_pause_is_anything_between_nothing_and_its_double),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

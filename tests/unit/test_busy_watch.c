/* Whether others use a GPU, as an NVML tells that is made up (fake_nvml.c, by LD_LIBRARY_PATH). */
#include "encoder/cuda/busy_watch.h"

#include "base/checked.h"
#include "base/clock.h"
#include "tests/testing.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *why;

static bool is_busy(struct busy_watch *w, unsigned pid, const char *percent)
{
	cleanup_free char *text = xasprintf("%u", pid);

	setenv("FAKE_NVML_PID", text, 1);
	setenv("FAKE_NVML_PERCENT", percent, 1);
	return busy_watch_busy(w);
}

static void another_process_is_seen_and_this_one_is_not(void **state)
{
	unsigned self = (unsigned)getpid(), other = self + 1;
	struct busy_watch *w;

	(void)state;
	setenv("FAKE_NVML_PID", "1", 1);
	w = busy_watch_open("0000:01:00.0", &why);
	assert_non_null(w);
	assert_true(is_busy(w, other, "60"));
	assert_false(is_busy(w, self, "100"));
	assert_false(is_busy(w, other, "1"));
	assert_true(is_busy(w, other, "5"));
	busy_watch_close(w);
}

static void between_two_samples_it_stays_busy_and_not_for_ever(void **state)
{
	unsigned other = (unsigned)getpid() + 1;
	int64_t until = clock_mono_ms() + 60000;
	struct busy_watch *w;

	(void)state;
	setenv("FAKE_NVML_PID", "1", 1);
	w = busy_watch_open("0000:01:00.0", &why);
	assert_false(is_busy(w, other, "")); /* nothing is known yet */
	do {
		assert_true(clock_mono_ms() <
			    until); /* a machine that stops for a second between the two */
		assert_true(is_busy(w, other, "60"));
	} while (!is_busy(w, other, ""));
	while (is_busy(w, other, "")) {
		assert_true(clock_mono_ms() < until);
		nanosleep(&(struct timespec){0, 10000000}, NULL);
	}
	assert_true(is_busy(w, other, "60"));
	assert_false(is_busy(w, other, "1"));
	assert_false(is_busy(w, other, ""));
	busy_watch_close(w);
}

static void a_device_of_which_it_does_not_tell_cannot_be_watched(void **state)
{
	(void)state;
	setenv("FAKE_NVML_PID", "none", 1);
	assert_null(busy_watch_open("0000:01:00.0", &why));
	assert_non_null(strstr(why, "does not know this GPU"));
	setenv("FAKE_NVML_PID", "mig", 1);
	assert_null(busy_watch_open("0000:01:00.0", &why));
	assert_non_null(strstr(why, "MIG"));
	assert_false(busy_watch_busy(NULL));
	busy_watch_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(another_process_is_seen_and_this_one_is_not),
	    cmocka_unit_test(between_two_samples_it_stays_busy_and_not_for_ever),
	    cmocka_unit_test(a_device_of_which_it_does_not_tell_cannot_be_watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

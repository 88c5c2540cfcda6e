#include "tests/testing.h"

#include "base/thread.h"

#include <signal.h>
#include <string.h>

struct seen {
	bool ran;
	sigset_t blocked;
};

static void *look_around(void *arg)
{
	struct seen *seen = arg;

	pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
	seen->ran = true;
	return NULL;
}

static void a_thread_runs_and_is_joined_once(void **state)
{
	struct thread t = THREAD_INIT;
	struct error err = ERROR_INIT;
	struct seen seen = {0};

	(void)state;
	thread_join(&t);
	assert_ok(thread_start(&t, "latentd-test", look_around, &seen, &err), &err);
	assert_true(t.running);
	thread_join(&t);
	assert_true(seen.ran);
	assert_false(t.running);
	thread_join(&t);
}

static void signals_are_left_to_the_thread_that_started_it(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGPIPE};
	struct thread t = THREAD_INIT;
	struct error err = ERROR_INIT;
	struct seen seen = {0};
	sigset_t before, after;

	(void)state;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_ok(thread_start(&t, "latentd-test", look_around, &seen, &err), &err);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	thread_join(&t);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		assert_int_equal(sigismember(&seen.blocked, signals[i]), 1);
		assert_int_equal(sigismember(&after, signals[i]), sigismember(&before, signals[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_thread_runs_and_is_joined_once),
	    cmocka_unit_test(signals_are_left_to_the_thread_that_started_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/testing.h"

#include "base/thread.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* The first fields of sched_attr: 24 bytes, then the slice; the kernel wants at least 48 bytes. */
struct slice {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t ns, unused[2];
};

static void slice_get(struct slice *s)
{
	assert_int_equal(syscall(SYS_sched_getattr, 0, s, sizeof(*s), 0), 0);
}

static void *look_at_slice(void *arg)
{
	slice_get(arg);
	return NULL;
}

static void *ask_for_short_slices(void *arg)
{
	struct slice *before_after_child = arg;
	struct thread child = THREAD_INIT;
	struct error err = ERROR_INIT;

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 3);
	slice_get(&before_after_child[0]);
	thread_short_slices();
	slice_get(&before_after_child[1]);
	assert_ok(thread_start(&child, "child", look_at_slice, &before_after_child[2], &err), &err);
	thread_join(&child);
	return NULL;
}

static void short_slices_are_the_threads_own_and_niceness_stays(void **state)
{
	struct thread t = THREAD_INIT;
	struct error err = ERROR_INIT;
	struct slice seen[3] = {{0}};

	(void)state;
	assert_ok(thread_start(&t, "latentd-test", ask_for_short_slices, seen, &err), &err);
	thread_join(&t);
	if (seen[0].policy != SCHED_OTHER)
		skip();
	assert_int_equal(seen[1].nice, seen[0].nice);
	assert_int_equal(seen[2].nice, seen[0].nice);
	assert_int_equal(seen[2].ns, seen[0].ns);
	if (seen[0].ns > 0) /* Linux 6.12 or later */
		assert_true(seen[1].ns > 0 && seen[1].ns < seen[0].ns);
}

static void *count_on_one_core(void *arg)
{
	size_t *counts = arg;
	cpu_set_t all, one;
	int first = 0;

	counts[0] = thread_cores();
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	counts[1] = thread_cores();
	return NULL;
}

static void cores_are_those_that_it_may_run_on(void **state)
{
	struct thread t = THREAD_INIT;
	struct error err = ERROR_INIT;
	size_t counts[2] = {0, 0};

	(void)state;
	assert_ok(thread_start(&t, "latentd-test", count_on_one_core, counts, &err), &err);
	thread_join(&t);
	assert_true(counts[0] >= 1);
	assert_int_equal(counts[1], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_thread_runs_and_is_joined_once),
	    cmocka_unit_test(signals_are_left_to_the_thread_that_started_it),
	    cmocka_unit_test(cores_are_those_that_it_may_run_on),
	    cmocka_unit_test(short_slices_are_the_threads_own_and_niceness_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "base/thread_pool.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

enum { PARTS = 1000, MOST_THREADS = 5 };

struct job {
	size_t done[PARTS]; /* how often, by whoever had the part */
	atomic_size_t by[MOST_THREADS];
	size_t threads;
};

static void do_part(void *arg, size_t part, size_t thread)
{
	struct job *job = arg;

	assert(thread < job->threads);
	job->done[part]++;
	atomic_fetch_add(&job->by[thread], 1);
}

static struct thread_pool *open_pool(size_t threads)
{
	struct thread_pool *pool = NULL;
	struct error err = ERROR_INIT;

	assert_ok(thread_pool_open(threads, "test", &pool, &err), &err);
	assert_int_equal(thread_pool_size(pool), threads);
	return pool;
}

static void every_part_is_done_once_in_run_after_run(void **state)
{
	(void)state;
	for (size_t threads = 1; threads <= MOST_THREADS; threads++) {
		struct thread_pool *pool = open_pool(threads);

		for (size_t run = 0; run < 200; run++) {
			struct job job = {.threads = threads};
			size_t parts = run % 7 == 0 ? run % 2 : PARTS - run, by_all = 0;

			thread_pool_run(pool, parts, do_part, &job);
			for (size_t i = 0; i < PARTS; i++)
				assert_int_equal(job.done[i], i < parts);
			for (size_t i = 0; i < threads; i++)
				by_all += atomic_load(&job.by[i]);
			assert_int_equal(by_all, parts);
		}
		thread_pool_close(pool);
	}
}

struct meeting {
	pthread_barrier_t all;
};

static void meet(void *arg, size_t part, size_t thread)
{
	struct meeting *m = arg;

	(void)part;
	(void)thread;
	pthread_barrier_wait(&m->all);
}

/* Each part waits for all others: with a thread less this would never end. */
static void parts_run_at_the_same_time(void **state)
{
	struct thread_pool *pool = open_pool(4);
	struct meeting m;

	(void)state;
	pthread_barrier_init(&m.all, NULL, 4);
	for (size_t run = 0; run < 20; run++)
		thread_pool_run(pool, 4, meet, &m);
	pthread_barrier_destroy(&m.all);
	thread_pool_close(pool);
}

static void a_pool_that_never_worked_closes(void **state)
{
	(void)state;
	thread_pool_close(open_pool(3));
	thread_pool_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_part_is_done_once_in_run_after_run),
	    cmocka_unit_test(parts_run_at_the_same_time),
	    cmocka_unit_test(a_pool_that_never_worked_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

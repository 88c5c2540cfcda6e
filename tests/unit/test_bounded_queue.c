/*
 * What waits is tested with threads that end by themselves: a test that hangs is stopped by ctest.
 * Run also under ThreadSanitizer.
 */
#include "tests/testing.h"

#include "base/bounded_queue.h"
#include "base/checked.h"
#include "base/thread.h"

#include <sched.h>
#include <stdatomic.h>

static int items[4000];

static void first_in_is_first_out_around_the_ring(void **state)
{
	struct bounded_queue *q = bounded_queue_new(3, 100);

	(void)state;
	for (size_t i = 0; i < 10; i++) {
		assert_true(bounded_queue_push(q, &items[2 * i], 1));
		assert_true(bounded_queue_push(q, &items[2 * i + 1], 1));
		assert_ptr_equal(bounded_queue_pop(q), &items[2 * i]);
		assert_ptr_equal(bounded_queue_pop(q), &items[2 * i + 1]);
	}
	assert_null(bounded_queue_try_pop(q));
	bounded_queue_free(q);
}

static void one_that_grows_keeps_its_items_in_order(void **state)
{
	struct bounded_queue *q = bounded_queue_new(2, 100);

	(void)state;
	assert_true(bounded_queue_try_push(q, &items[0], 1));
	assert_true(bounded_queue_try_push(q, &items[1], 1));
	assert_ptr_equal(bounded_queue_pop(q), &items[0]);
	assert_true(bounded_queue_try_push(q, &items[2], 1)); /* where the first was */
	bounded_queue_grow(q, 1);
	assert_false(bounded_queue_try_push(q, &items[3], 1));
	bounded_queue_grow(q, 4);
	assert_true(bounded_queue_try_push(q, &items[3], 1));
	assert_true(bounded_queue_try_push(q, &items[4], 1));
	assert_false(bounded_queue_try_push(q, &items[5], 1));
	for (size_t i = 1; i < 5; i++)
		assert_ptr_equal(bounded_queue_pop(q), &items[i]);
	bounded_queue_free(q);
}

static void it_is_full_by_items(void **state)
{
	struct bounded_queue *q = bounded_queue_new(2, 100);

	(void)state;
	assert_true(bounded_queue_try_push(q, &items[0], 0));
	assert_true(bounded_queue_try_push(q, &items[1], 0));
	assert_false(bounded_queue_try_push(q, &items[2], 0));
	assert_int_equal(bounded_queue_items(q), 2);
	assert_ptr_equal(bounded_queue_try_pop(q), &items[0]);
	assert_true(bounded_queue_try_push(q, &items[2], 0));
	bounded_queue_free(q);
}

static void it_is_full_by_bytes(void **state)
{
	struct bounded_queue *q = bounded_queue_new(10, 100);

	(void)state;
	assert_true(bounded_queue_try_push(q, &items[0], 60));
	assert_true(bounded_queue_try_push(q, &items[1], 40));
	assert_false(bounded_queue_try_push(q, &items[2], 1));
	assert_true(bounded_queue_try_push(q, &items[2], 0));
	assert_false(bounded_queue_try_push(q, &items[3], SIZE_MAX));
	bounded_queue_pop(q);
	assert_true(bounded_queue_try_push(q, &items[3], 60));
	assert_false(bounded_queue_try_push(q, &items[4], 1));
	bounded_queue_free(q);
}

static void an_item_over_the_bound_travels_alone(void **state)
{
	struct bounded_queue *q = bounded_queue_new(10, 100);

	(void)state;
	assert_true(bounded_queue_try_push(q, &items[0], 1));
	assert_false(bounded_queue_try_push(q, &items[1], 1000));
	bounded_queue_pop(q);
	assert_true(bounded_queue_try_push(q, &items[1], 1000));
	assert_false(bounded_queue_try_push(q, &items[2], 0));
	assert_ptr_equal(bounded_queue_pop(q), &items[1]);
	assert_true(bounded_queue_try_push(q, &items[2], 100));
	bounded_queue_free(q);
}

static void after_close_push_refuses_and_pop_hands_out_the_rest(void **state)
{
	struct bounded_queue *q = bounded_queue_new(10, 100);

	(void)state;
	bounded_queue_push(q, &items[0], 1);
	bounded_queue_push(q, &items[1], 1);
	bounded_queue_close(q);
	assert_false(bounded_queue_push(q, &items[2], 1));
	assert_false(bounded_queue_try_push(q, &items[2], 1));
	assert_ptr_equal(bounded_queue_pop(q), &items[0]);
	assert_ptr_equal(bounded_queue_try_pop(q), &items[1]);
	assert_null(bounded_queue_pop(q));
	assert_null(bounded_queue_pop(q));
	bounded_queue_free(q);
	bounded_queue_free(NULL);
}

struct waiter {
	struct bounded_queue *q;
	atomic_int started, ended, pushed;
};

static void *wait_to_pop(void *arg)
{
	struct waiter *w = arg;

	atomic_fetch_add(&w->started, 1);
	while (bounded_queue_pop(w->q))
		continue;
	atomic_fetch_add(&w->ended, 1);
	return NULL;
}

static void *wait_to_push(void *arg)
{
	struct waiter *w = arg;

	atomic_fetch_add(&w->started, 1);
	if (bounded_queue_push(w->q, &items[0], 1))
		atomic_fetch_add(&w->pushed, 1);
	atomic_fetch_add(&w->ended, 1);
	return NULL;
}

/* Two threads in @run, closed on while they wait or are about to. */
static void close_on(struct waiter *w, void *(*run)(void *arg))
{
	struct thread threads[2] = {THREAD_INIT, THREAD_INIT};
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < 2; i++)
		assert_ok(thread_start(&threads[i], "waiter", run, w, &err), &err);
	while (atomic_load(&w->started) < 2)
		sched_yield();
	bounded_queue_close(w->q);
	for (size_t i = 0; i < 2; i++)
		thread_join(&threads[i]);
	assert_int_equal(atomic_load(&w->ended), 2);
}

static void close_wakes_everybody_who_waits_for_an_item(void **state)
{
	struct waiter w = {.q = bounded_queue_new(1, 1)};

	(void)state;
	close_on(&w, wait_to_pop);
	bounded_queue_free(w.q);
}

static void close_wakes_everybody_who_waits_for_room(void **state)
{
	struct waiter w = {.q = bounded_queue_new(1, 1)};

	(void)state;
	bounded_queue_push(w.q, &items[1], 1);
	close_on(&w, wait_to_push);
	assert_int_equal(atomic_load(&w.pushed), 0);
	assert_int_equal(bounded_queue_items(w.q), 1);
	bounded_queue_free(w.q);
}

struct traffic {
	struct bounded_queue *q;
	atomic_size_t next;
	atomic_int seen[ARRAY_SIZE(items)];
};

static size_t bytes_of(size_t i)
{
	return i % 7;
}

static void *produce(void *arg)
{
	struct traffic *t = arg;
	size_t i;

	while ((i = atomic_fetch_add(&t->next, 1)) < ARRAY_SIZE(items)) {
		if (!bounded_queue_push(t->q, &items[i], bytes_of(i)))
			break;
	}
	return NULL;
}

static void *consume(void *arg)
{
	struct traffic *t = arg;
	int *item;

	while ((item = bounded_queue_pop(t->q)))
		atomic_fetch_add(&t->seen[item - items], 1);
	return NULL;
}

static void many_threads_pass_every_item_once(void **state)
{
	static struct traffic t;
	struct thread threads[6];
	struct error err = ERROR_INIT;

	(void)state;
	t.q = bounded_queue_new(5, 12);
	for (size_t i = 0; i < 6; i++) {
		threads[i] = (struct thread)THREAD_INIT;
		assert_ok(thread_start(&threads[i], "traffic", i < 3 ? produce : consume, &t, &err),
			  &err);
	}
	for (size_t i = 0; i < 3; i++)
		thread_join(&threads[i]);
	bounded_queue_close(t.q);
	for (size_t i = 3; i < 6; i++)
		thread_join(&threads[i]);
	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		assert_int_equal(atomic_load(&t.seen[i]), 1);
	bounded_queue_free(t.q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(first_in_is_first_out_around_the_ring),
	    cmocka_unit_test(one_that_grows_keeps_its_items_in_order),
	    cmocka_unit_test(it_is_full_by_items),
	    cmocka_unit_test(it_is_full_by_bytes),
	    cmocka_unit_test(an_item_over_the_bound_travels_alone),
	    cmocka_unit_test(after_close_push_refuses_and_pop_hands_out_the_rest),
	    cmocka_unit_test(close_wakes_everybody_who_waits_for_an_item),
	    cmocka_unit_test(close_wakes_everybody_who_waits_for_room),
	    cmocka_unit_test(many_threads_pass_every_item_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "daemon/api_turn.h"

#include "tests/testing.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

struct crowd {
	struct api_turn *turn;
	sem_t refused; /* one for each */
	atomic_int drew;
};

/* Whoever comes, draws and goes. */
static void *visit(void *arg)
{
	struct crowd *c = arg;
	struct error err = ERROR_INIT;

	if (api_turn_take(c->turn, &err) < 0) {
		sem_post(&c->refused);
		return NULL;
	}
	atomic_fetch_add(&c->drew, 1);
	api_turn_end(c->turn);
	return NULL;
}

static void come(struct crowd *c, pthread_t *threads, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, visit, c), 0);
}

static void leave(pthread_t *threads, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

static void some_wait_for_their_turn_and_the_others_are_told_to_come_again(void **state)
{
	struct crowd c = {.turn = api_turn_new()};
	pthread_t threads[API_TURN_WAITING + 1];
	struct error err = ERROR_INIT;
	int left = 0;

	(void)state;
	sem_init(&c.refused, 0, 0);
	assert_ok(api_turn_take(c.turn, &err), &err);
	assert_false(api_turn_is_over(c.turn));
	come(&c, threads, API_TURN_WAITING + 1);
	sem_wait(&c.refused);
	api_turn_end(c.turn);
	leave(threads, API_TURN_WAITING + 1);
	sem_getvalue(&c.refused, &left);
	assert_int_equal(left, 0);
	assert_int_equal(c.drew, API_TURN_WAITING);
	assert_false(api_turn_is_taken(c.turn));
	sem_destroy(&c.refused);
	api_turn_free(c.turn);
}

static void at_the_end_nobody_waits_and_the_turn_is_over(void **state)
{
	struct crowd c = {.turn = api_turn_new()};
	struct error err = ERROR_INIT;
	pthread_t threads[3];

	(void)state;
	sem_init(&c.refused, 0, 0);
	assert_ok(api_turn_take(c.turn, &err), &err);
	come(&c, threads, 3);
	api_turn_close(c.turn);
	leave(threads, 3);
	assert_int_equal(c.drew, 0);
	assert_true(api_turn_is_over(c.turn));
	assert_true(api_turn_is_taken(c.turn));
	api_turn_end(c.turn);
	assert_false(api_turn_is_taken(c.turn));
	assert_int_equal(api_turn_take(c.turn, &err), -1);
	assert_int_equal(err.code, ERR_TRANSIENT);
	sem_destroy(&c.refused);
	api_turn_free(c.turn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(some_wait_for_their_turn_and_the_others_are_told_to_come_again),
	    cmocka_unit_test(at_the_end_nobody_waits_and_the_turn_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "daemon/executor.h"

#include "base/checked.h"
#include "base/thread.h"
#include "tests/testing.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

enum { TURN_USEC = 10 * 1000 * 1000 };

struct fixture {
	sd_event *event;
	struct inbox *inbox;
	struct executor *executor;
};

static int setup(void **state)
{
	static struct fixture f;
	struct error err = ERROR_INIT;

	assert_true(sd_event_new(&f.event) >= 0);
	assert_ok(inbox_open(f.event, &f.inbox, &err), &err);
	assert_ok(executor_open(f.inbox, "test", &f.executor, &err), &err);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	executor_close(f->executor);
	inbox_close(f->inbox);
	sd_event_unref(f->event);
	return 0;
}

/* Turns the loop once; the test fails where nothing happens. */
static void turn(struct fixture *f)
{
	int r = sd_event_run(f->event, TURN_USEC);

	if (r <= 0)
		fail_msg("the loop waited for nothing (%d)", r);
}

/* What the tasks leave: of the executor's thread, and of the loop's. */
struct journal {
	size_t ran[1000], done[1000];
	size_t n_ran, n_done;
	pthread_t ran_on, done_on;
};

struct numbered {
	struct task base;
	struct journal *journal;
	size_t number;
};

static void numbered_run(struct task *task)
{
	struct numbered *t = (struct numbered *)task;

	t->journal->ran[t->journal->n_ran++] = t->number;
	t->journal->ran_on = pthread_self();
}

static void numbered_done(struct task *task)
{
	struct numbered *t = (struct numbered *)task;

	t->journal->done[t->journal->n_done++] = t->number;
	t->journal->done_on = pthread_self();
	free(t);
}

static struct task *numbered(struct journal *journal, size_t number)
{
	struct numbered *t = xcalloc(1, sizeof(*t));

	t->base.run = numbered_run;
	t->base.done = numbered_done;
	t->journal = journal;
	t->number = number;
	return &t->base;
}

static void tasks_run_in_order_on_another_thread_and_end_on_the_loops(void **state)
{
	struct fixture *f = *state;
	struct journal j = {.n_ran = 0};

	for (size_t i = 0; i < 500; i++)
		executor_post(f->executor, numbered(&j, i));
	while (j.n_done < 500)
		turn(f);
	assert_int_equal(j.n_ran, 500);
	for (size_t i = 0; i < 500; i++) {
		assert_int_equal(j.ran[i], i);
		assert_int_equal(j.done[i], i);
	}
	assert_true(pthread_equal(j.done_on, pthread_self()));
	assert_false(pthread_equal(j.ran_on, pthread_self()));
}

static void close_runs_everything_and_the_inbox_still_brings_it(void **state)
{
	struct fixture *f = *state;
	struct journal j = {.n_ran = 0};

	for (size_t i = 0; i < 100; i++)
		executor_post(f->executor, numbered(&j, i));
	executor_close(f->executor);
	f->executor = NULL;
	assert_int_equal(j.n_ran, 100);
	assert_int_equal(j.n_done, 0);
	while (j.n_done < 100)
		turn(f);
}

static void nothing_is_brought_before_the_loop_turns(void **state)
{
	struct fixture *f = *state;
	struct journal j = {.n_ran = 0};
	struct task *t = numbered(&j, 7);

	inbox_post(f->inbox, t);
	assert_int_equal(j.n_done, 0);
	turn(f);
	assert_int_equal(j.n_done, 1);
}

static void what_is_taken_back_is_not_brought(void **state)
{
	struct fixture *f = *state;
	struct journal j = {.n_ran = 0};
	struct task *tasks[4];

	for (size_t i = 0; i < 4; i++)
		inbox_post(f->inbox, tasks[i] = numbered(&j, i));
	inbox_cancel(f->inbox, tasks[1]);
	inbox_cancel(f->inbox, tasks[3]);
	inbox_cancel(f->inbox, tasks[3]);
	inbox_post(f->inbox, numbered(&j, 4));
	turn(f);
	assert_int_equal(j.n_done, 3);
	assert_int_equal(j.done[0], 0);
	assert_int_equal(j.done[1], 2);
	assert_int_equal(j.done[2], 4);
	free(tasks[1]);
	free(tasks[3]);
}

/* -- a task that posts the next from its done ------------------------------------------------------- */

struct chain {
	struct task base;
	struct fixture *fixture;
	size_t ran;  /* of the executor's thread while it is there */
	size_t left; /* of the loop's */
};

static void chain_run(struct task *task)
{
	((struct chain *)task)->ran++;
}

static void chain_done(struct task *task)
{
	struct chain *c = (struct chain *)task;

	if (--c->left > 0)
		executor_post(c->fixture->executor, task);
}

static void a_task_may_be_posted_again_when_it_is_done(void **state)
{
	struct fixture *f = *state;
	struct chain c = {{chain_run, chain_done, NULL}, f, 0, 50};

	executor_post(f->executor, &c.base);
	while (c.left > 0)
		turn(f);
	assert_int_equal(c.ran, 50);
}

/* -- calls ------------------------------------------------------------------------------------------ */

/* Holds the executor's thread until everything is in its lists. */
struct gate {
	struct task base;
	sem_t open;
};

static void gate_run(struct task *task)
{
	while (sem_wait(&((struct gate *)task)->open) < 0)
		;
}

static void gate_done(struct task *task)
{
	(void)task;
}

struct caller {
	struct fixture *fixture;
	struct journal *journal;
};

static void note_call(void *arg)
{
	struct journal *j = arg;

	j->ran[j->n_ran++] = 999;
	j->ran_on = pthread_self();
}

static void *call_three_times(void *arg)
{
	struct caller *c = arg;

	for (size_t i = 0; i < 3; i++)
		executor_call(c->fixture->executor, note_call, c->journal);
	return NULL;
}

/* Whenever a call comes, it waits for what is posted, but not for all of it. */
static void what_is_posted_goes_first_and_calls_go_on_all_the_same(void **state)
{
	struct fixture *f = *state;
	struct journal j = {.n_ran = 0};
	struct caller c = {f, &j};
	struct thread thread = THREAD_INIT;
	struct error err = ERROR_INIT;
	struct gate gate = {.base = {gate_run, gate_done, NULL}};
	size_t calls = 0, posted = 0, since = 1; /* the gate */

	sem_init(&gate.open, 0, 0);
	executor_post(f->executor, &gate.base);
	for (size_t i = 0; i < 500; i++)
		executor_post(f->executor, numbered(&j, i));
	assert_ok(thread_start(&thread, "caller", call_three_times, &c, &err), &err);
	sem_post(&gate.open);
	thread_join(&thread);
	while (j.n_done < 500)
		turn(f);
	for (size_t i = 0; i < j.n_ran; i++) {
		if (j.ran[i] != 999) {
			assert_int_equal(j.ran[i], posted++);
			since++;
			continue;
		}
		assert_true(since >= EXECUTOR_PATIENCE || posted == 500);
		since = 0;
		calls++;
	}
	assert_int_equal(calls, 3);
	sem_destroy(&gate.open);
}

/* Posts another of its kind before it ends, until the call has come through: something posted always waits. */
struct stream {
	struct task base;
	struct executor *executor;
	atomic_bool *called;
};

static void stream_run(struct task *task);

static void stream_done(struct task *task)
{
	free(task);
}

static void stream_post(struct executor *executor, atomic_bool *called)
{
	struct stream *s = xcalloc(1, sizeof(*s));

	*s = (struct stream){{stream_run, stream_done, NULL}, executor, called};
	executor_post(executor, &s->base);
}

static void stream_run(struct task *task)
{
	struct stream *s = (struct stream *)task;

	if (!atomic_load(s->called))
		stream_post(s->executor, s->called);
}

static void note_called(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
}

struct one_call {
	struct executor *executor;
	atomic_bool called;
};

static void *call_once(void *arg)
{
	struct one_call *c = arg;

	executor_call(c->executor, note_called, &c->called);
	return NULL;
}

static void a_stream_of_tasks_does_not_starve_a_call(void **state)
{
	struct fixture *f = *state;
	struct one_call call = {.executor = f->executor};
	struct thread thread = THREAD_INIT;
	struct error err = ERROR_INIT;

	stream_post(f->executor, &call.called);
	assert_ok(thread_start(&thread, "caller", call_once, &call, &err), &err);
	while (!atomic_load(&call.called))
		turn(f);
	thread_join(&thread);
	executor_close(f->executor);
	f->executor = NULL;
	while (sd_event_run(f->event, 0) > 0) /* which frees the rest */
		;
}

static void a_call_has_been_made_when_it_returns(void **state)
{
	struct fixture *f = *state;
	struct journal j = {.n_ran = 0};

	executor_call(f->executor, note_call, &j);
	assert_int_equal(j.n_ran, 1);
	assert_false(pthread_equal(j.ran_on, pthread_self()));
}

static void a_call_that_does_not_begin_in_time_is_never_made(void **state)
{
	struct fixture *f = *state;
	struct gate gate = {.base = {.run = gate_run}};
	struct journal late = {.n_ran = 0}, first = {.n_ran = 0}, last = {.n_ran = 0};

	sem_init(&gate.open, 0, 0);
	executor_post(f->executor, &gate.base);
	assert_false(executor_try_call(f->executor, note_call, &late, 20));
	assert_false(executor_try_call(f->executor, note_call, &late, 0));
	sem_post(&gate.open);
	assert_true(executor_try_call(f->executor, note_call, &first, 600000));
	executor_call(f->executor, note_call, &last);
	assert_int_equal(late.n_ran, 0);
	assert_int_equal(first.n_ran, 1);
	assert_int_equal(last.n_ran, 1);
	sem_destroy(&gate.open);
}

/* -- several threads post to one inbox -------------------------------------------------------------- */

struct poster {
	struct fixture *fixture;
	struct journal *journal;
	size_t first;
};

static void *post_fifty(void *arg)
{
	struct poster *p = arg;

	for (size_t i = 0; i < 50; i++)
		inbox_post(p->fixture->inbox, numbered(p->journal, p->first + i));
	return NULL;
}

static void any_thread_may_post_and_each_keeps_its_order(void **state)
{
	struct fixture *f = *state;
	struct journal j = {.n_ran = 0};
	struct poster posters[4];
	struct thread threads[4];
	struct error err = ERROR_INIT;
	size_t next[4] = {0};

	for (size_t i = 0; i < 4; i++) {
		threads[i] = (struct thread)THREAD_INIT;
		posters[i] = (struct poster){f, &j, i * 100};
		assert_ok(thread_start(&threads[i], "poster", post_fifty, &posters[i], &err), &err);
	}
	while (j.n_done < 200)
		turn(f);
	for (size_t i = 0; i < 4; i++)
		thread_join(&threads[i]);
	for (size_t i = 0; i < 200; i++) {
		size_t who = j.done[i] / 100;

		assert_int_equal(j.done[i] % 100, next[who]++);
	}
}

static void closing_what_never_opened_is_fine(void **state)
{
	(void)state;
	executor_close(NULL);
	inbox_close(NULL);
}

#define loop_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    loop_test(tasks_run_in_order_on_another_thread_and_end_on_the_loops),
	    loop_test(close_runs_everything_and_the_inbox_still_brings_it),
	    loop_test(nothing_is_brought_before_the_loop_turns),
	    loop_test(what_is_taken_back_is_not_brought),
	    loop_test(a_task_may_be_posted_again_when_it_is_done),
	    loop_test(a_call_has_been_made_when_it_returns),
	    loop_test(a_call_that_does_not_begin_in_time_is_never_made),
	    loop_test(a_stream_of_tasks_does_not_starve_a_call),
	    loop_test(what_is_posted_goes_first_and_calls_go_on_all_the_same),
	    loop_test(any_thread_may_post_and_each_keeps_its_order),
	    cmocka_unit_test(closing_what_never_opened_is_fine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

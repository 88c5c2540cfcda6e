/*
 * What nodes of one queue in PostgreSQL tell each other, what they add at the same time, and that counters which all of
 * them write stay small.
 */
#include "base/thread.h"
#include "queue/queue_nodes.h"
#include "tests/contract/contract_queue.h"
#include "tests/contract/postgres_server.h"

#include <sys/eventfd.h>
#include <unistd.h>

struct ear {
	struct queue_listener *listener;
	int stop_fd;
};

static struct ear ear_of(struct fixture *f)
{
	struct ear ear = {queue_listener_new(f->q), eventfd(0, EFD_CLOEXEC)};

	assert_non_null(ear.listener);
	assert_true(ear.stop_fd >= 0);
	return ear;
}

static void ear_close(struct ear *ear)
{
	queue_listener_free(ear->listener);
	close(ear->stop_fd);
}

#define cleanup_ear cleanup_with(ear_close)

/* Waits until something is said: of which dataset. */
static int64_t hear(struct ear *ear)
{
	struct error err = ERROR_INIT;
	int64_t dataset = -1;

	assert_ok(queue_listener_wait(ear->listener, ear->stop_fd, &dataset, &err), &err);
	return dataset;
}

static void who_listens_is_told_what_is_available_and_not_what_is_done(void **state)
{
	struct fixture *f = *state;
	cleanup_ear struct ear ear = ear_of(f);
	int64_t other = make_dataset(f, "other");
	struct job job = {0};

	assert_int_equal(hear(&ear), 0); /* it may have missed something before */
	job = add_claimed(f, "a");
	assert_int_equal(hear(&ear), f->dataset);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_RELEASE)));
	job_release(&job);
	assert_int_equal(hear(&ear), f->dataset);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
	job_release(&job);
	enqueue_one(f, other, file_spec("a.jpg", "a", 1));
	assert_int_equal(hear(&ear), other);
}

static void a_scan_that_finds_nothing_new_tells_nobody(void **state)
{
	struct fixture *f = *state;
	cleanup_ear struct ear ear = ear_of(f);
	int64_t other = make_dataset(f, "other");
	struct job_spec spec = file_spec("a.jpg", "a", 1);

	enqueue_one(f, f->dataset, spec);
	assert_int_equal(hear(&ear), 0);
	assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
	enqueue_one(f, other, spec);
	assert_int_equal(hear(&ear), other);
}

static void who_listens_hears_again_after_its_connection_was_lost(void **state)
{
	struct fixture *f = *state;
	cleanup_ear struct ear ear = ear_of(f);
	int64_t dataset = -1;

	assert_int_equal(hear(&ear), 0);
	postgres_run("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
		     " WHERE query LIKE 'LISTEN%'");
	assert_error(queue_listener_wait(ear.listener, ear.stop_fd, &dataset, &f->err), &f->err,
		     ERR_TRANSIENT);
	error_clear(&f->err);
	assert_int_equal(hear(&ear), 0);
	add_job(f, "a");
	assert_int_equal(hear(&ear), f->dataset);
}

static void who_listens_can_be_stopped_connected_or_not(void **state)
{
	struct fixture *f = *state;
	cleanup_ear struct ear early = ear_of(f), late = ear_of(f);
	int64_t dataset = -1;

	assert_int_equal(hear(&late), 0);
	assert_int_equal(eventfd_write(early.stop_fd, 1), 0);
	assert_int_equal(eventfd_write(late.stop_fd, 1), 0);
	assert_int_equal(queue_listener_wait(early.listener, early.stop_fd, &dataset, &f->err),
			 QUEUE_LISTEN_STOPPED);
	assert_int_equal(queue_listener_wait(late.listener, late.stop_fd, &dataset, &f->err),
			 QUEUE_LISTEN_STOPPED);
}

struct find {
	struct queue *q;
	int64_t dataset;
	struct enqueue_counts counts;
	int r;
	struct error err;
	struct thread thread;
};

static void *find_run(void *arg)
{
	struct find *find = arg;
	struct job_spec spec = file_spec("a.jpg", "a", 1);

	find->r = queue_enqueue(find->q, find->dataset, &spec, 1, &find->counts, &find->err);
	return NULL;
}

static void what_two_nodes_find_at_the_same_time_is_one_job(void **state)
{
	struct fixture *f = *state;
	struct find finds[2];
	bool both_wait = false;

	for (size_t i = 0; i < 2; i++) {
		finds[i] = (struct find){.dataset = f->dataset, .err = ERROR_INIT};
		assert_ok(postgres_open_again(f->path, &finds[i].q, &f->err), &f->err);
	}
	postgres_run("BEGIN");
	postgres_run("SELECT pg_advisory_xact_lock(1818326117, id::integer) FROM latentd.dataset");
	for (size_t i = 0; i < 2; i++)
		assert_ok(thread_start(&finds[i].thread, "find", find_run, &finds[i], &f->err),
			  &f->err);
	both_wait = postgres_is_waited_for(2);
	postgres_run("COMMIT");
	for (size_t i = 0; i < 2; i++) {
		thread_join(&finds[i].thread);
		queue_close(finds[i].q);
		assert_ok(finds[i].r, &finds[i].err);
	}
	assert_true(both_wait);
	assert_int_equal(finds[0].counts.added + finds[1].counts.added, 1);
	assert_int_equal(finds[0].counts.known + finds[1].counts.known, 1);
}

/* Every transaction adds rows. */
static void counters_of_many_transactions_are_put_together(void **state)
{
	struct fixture *f = *state;
	struct enqueue_counts counts = {0};

	for (int i = 0; i < 300; i++) {
		cleanup_free char *key = xasprintf("%03d", i), *path = xasprintf("%s.jpg", key);
		struct job_spec spec = file_spec(path, key, 1);

		assert_ok(queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err), &f->err);
	}
	cleanup_free char *rows = postgres_value("SELECT count(*) FROM latentd.tally");

	assert_true(strtol(rows, NULL, 10) < 100);
	fixture_after(f);
}

int main(void)
{
	static const struct queue_backend backend = {"postgres", postgres_open_fresh, false};
	const struct CMUnitTest tests[] = {
	    contract_test(who_listens_is_told_what_is_available_and_not_what_is_done),
	    contract_test(a_scan_that_finds_nothing_new_tells_nobody),
	    contract_test(who_listens_hears_again_after_its_connection_was_lost),
	    contract_test(who_listens_can_be_stopped_connected_or_not),
	    contract_test(what_two_nodes_find_at_the_same_time_is_one_job),
	    contract_test(counters_of_many_transactions_are_put_together),
	};

	postgres_empty();
	fixture_use(&backend);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The queue's contract through the database thread, with and without a reader beside it; and who waits for whom.
 */
#include "daemon/db_queue.h"

#include "base/thread.h"
#include "queue/queue_open.h"
#include "tests/contract/contract_queue.h"

#include <stdatomic.h>
#include <stdio.h>

/* The database behind the proxy that was opened last: closing a queue does not close its database. */
static struct {
	sd_event *event;
	struct inbox *inbox;
	struct queue *queue;
	struct db *db;
} rig;

static void rig_close(void)
{
	db_close(rig.db);
	queue_close(rig.queue);
	inbox_close(rig.inbox);
	sd_event_unref(rig.event);
	memset(&rig, 0, sizeof(rig));
}

static int rig_open(struct queue *queue, struct error *err)
{
	rig.queue = queue;
	assert_true(sd_event_new(&rig.event) >= 0);
	if (inbox_open(rig.event, &rig.inbox, err) < 0)
		return -1;
	return db_open(rig.inbox, rig.queue, ME, &rig.db, err);
}

static int open_with_reader(const char *path, struct queue **out, struct error *err)
{
	struct queue *queue = NULL, *reader = NULL;

	rig_close();
	if (queue_sqlite_open(path, &queue, err) < 0 || rig_open(queue, err) < 0 ||
	    queue_sqlite_open_readonly(path, &reader, err) < 0)
		return -1;
	*out = db_queue_new(rig.db, reader);
	return 0;
}

static int open_alone(const char *path, struct queue **out, struct error *err)
{
	struct queue *queue = NULL;

	(void)path;
	rig_close();
	if (queue_memory_open(&queue, err) < 0 || rig_open(queue, err) < 0)
		return -1;
	*out = db_queue_new(rig.db, NULL);
	return 0;
}

/* -- who runs where ------------------------------------------------------------------------------- */

static int note_thread(void *arg, const struct queue_dataset *row)
{
	(void)row;
	*(pthread_t *)arg = pthread_self();
	return 0;
}

static void rows_come_on_the_thread_that_asks_where_there_is_a_reader(void **state)
{
	struct fixture *f = *state;
	pthread_t here = pthread_self(), ran_on = here;
	bool has_reader = f->backend->open == open_with_reader;

	assert_ok(queue_datasets(f->q, note_thread, &ran_on, &f->err), &f->err);
	assert_int_equal(pthread_equal(ran_on, here) != 0, has_reader);
}

struct writer {
	struct fixture *fixture;
	struct queue *queue;
	int64_t dataset;
	size_t number;
	struct thread thread;
};

static void *write_a_hundred(void *arg)
{
	struct writer *w = arg;
	struct enqueue_counts counts = {0};
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < 100; i++) {
		cleanup_free char *path = xasprintf("%zu/%zu.jpg", w->number, i);
		struct job_spec spec = file_spec(path, path, 1);

		assert_ok(queue_enqueue(w->queue, w->dataset, &spec, 1, &counts, &err), &err);
	}
	assert_int_equal(counts.added, 100);
	return NULL;
}

static void several_threads_write_at_once(void **state)
{
	struct fixture *f = *state;
	struct writer writers[4];
	struct queue_counts counts;

	for (size_t i = 0; i < 4; i++) {
		writers[i] =
		    (struct writer){f, db_queue_new(rig.db, NULL), f->dataset, i, THREAD_INIT};
		assert_ok(thread_start(&writers[i].thread, "writer", write_a_hundred, &writers[i],
				       &f->err),
			  &f->err);
	}
	for (size_t i = 0; i < 4; i++) {
		thread_join(&writers[i].thread);
		queue_close(writers[i].queue);
	}
	assert_ok(queue_counts(f->q, f->dataset, &counts, &f->err), &f->err);
	assert_int_equal(counts.jobs[JOB_AVAILABLE], 400);
}

static int contract_db_queue(const struct queue_backend *backend)
{
	const struct CMUnitTest tests[] = {
	    contract_test(rows_come_on_the_thread_that_asks_where_there_is_a_reader),
	    contract_test(several_threads_write_at_once),
	};

	fixture_use(backend);
	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}

int main(void)
{
	static const struct queue_backend backends[] = {
	    {"sqlite on its thread, a reader beside it", open_with_reader, false},
	    {"memory on its thread", open_alone, false},
	};
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		printf("-- %s\n", backends[i].name);
		failed += contract_db_queue(&backends[i]);
		failed += contract_queue_enqueue(&backends[i]);
		failed += contract_queue_claims(&backends[i]);
		failed += contract_queue_catalog(&backends[i]);
		failed += contract_queue_changes(&backends[i]);
		failed += contract_queue_scans(&backends[i]);
		failed += contract_queue_swap(&backends[i]);
		failed += contract_queue_captions(&backends[i]);
		failed += contract_queue_lists(&backends[i]);
		failed += contract_queue_spent(&backends[i]);
		failed += contract_queue_history(&backends[i]);
	}
	rig_close();
	return failed != 0;
}

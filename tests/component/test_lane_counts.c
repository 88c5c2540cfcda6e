/*
 * A dataset with a quota waits until its images are counted: what becomes of it where that fails.
 */
#include "daemon/lane_parts.h"

#include "queue/queue_open.h"
#include "tests/testing.h"

#include <string.h>

static int failures_left;
static struct queue_ops ops; /* those of the queue in memory, but for counts */
static int (*real_counts)(struct queue *q, int64_t dataset, struct queue_counts *out,
			  struct error *err);

/* On the database's thread; the loop looks at the number only when nothing is under way. */
static int counts(struct queue *q, int64_t dataset, struct queue_counts *out, struct error *err)
{
	if (failures_left > 0) {
		failures_left--;
		return error_set(err, ERR_IO, "the disk is gone");
	}
	return real_counts(q, dataset, out, err);
}

static void count_lines(void *arg, enum log_event event, const char *dataset, const char *line)
{
	(void)event;
	(void)dataset;
	(*(size_t *)arg) += strstr(line, "the disk is gone") != NULL;
}

static struct queue *failing_queue(void)
{
	struct queue *queue = NULL;
	struct error err = ERROR_INIT;

	assert_ok(queue_memory_open(&queue, &err), &err);
	ops = *queue->ops;
	real_counts = ops.counts;
	ops.counts = counts;
	queue->ops = &ops;
	return queue;
}

static void counts_that_fail_are_why_it_waits_and_are_asked_for_again(void **state)
{
	const struct dataset_config config = {.name = "set", .output.quota = 1 << 30};
	struct error err = ERROR_INIT;
	struct queue *queue = failing_queue();
	const struct state_folder state_folder = {.node = NULL};
	struct lane_shared shared = {.state = &state_folder, .log = count_lines};
	size_t said = 0;
	struct lane *l;

	(void)state;
	failures_left = 2;
	shared.arg = &said;
	assert_true(sd_event_new(&shared.event) >= 0);
	assert_ok(inbox_open(shared.event, &shared.inbox, &err), &err);
	assert_ok(db_open(shared.inbox, queue, "host:boot:1:1", &shared.db, &err), &err);
	l = lane_new(&shared, &config);
	l->phase = LANE_OPEN;
	l->dataset.id = 1;
	lane_count(l);
	while (l->count_failure.code == ERR_NONE) {
		lane_ask_counts(l);
		assert_true(sd_event_run(shared.event, 10 * 1000) >= 0);
	}
	assert_true(lane_rests(l));
	assert_true(lane_lacks_counts(l));
	assert_int_equal(lane_state(l), DATASET_BLOCKED);
	l->phase = LANE_CLOSING; /* it has no packer that could be asked for its bytes */
	while (!l->counted) {
		lane_ask_counts(l);
		assert_true(sd_event_run(shared.event, 10 * 1000) >= 0);
	}
	assert_false(lane_rests(l));
	assert_int_equal(said, 1);
	assert_int_equal(failures_left, 0);
	lane_free(l);
	db_close(shared.db);
	inbox_close(shared.inbox);
	sd_event_unref(shared.event);
	queue_close(queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_that_fail_are_why_it_waits_and_are_asked_for_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

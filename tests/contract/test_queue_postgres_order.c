/*
 * Two transactions that need the same rows, of which one waits for the first row of the other: neither has what the
 * other needs next. One is an operation of the queue; the other takes its rows by hand, in the order that
 * queue/queue_postgres.h prescribes.
 */
#include "base/thread.h"
#include "queue/queue_nodes.h"
#include "tests/contract/contract_queue.h"
#include "tests/contract/postgres_server.h"

/* An operation on a thread of its own. */
struct operation {
	int (*run)(struct operation *o);
	struct queue *q;
	int64_t dataset;
	size_t count;
	int r;
	struct error err;
};

static void *operation_run(void *arg)
{
	struct operation *o = arg;

	o->r = o->run(o);
	return NULL;
}

/* @first is locked by hand, @o waits for it, then @second is locked, too; nobody waits for ever. */
static void cross(struct operation *o, const char *first, const char *second)
{
	struct error err = ERROR_INIT;
	struct thread thread;
	bool waits;

	postgres_run("BEGIN");
	postgres_run(first);
	assert_ok(thread_start(&thread, "operation", operation_run, o, &err), &err);
	waits = postgres_is_waited_for(1);
	postgres_run(second);
	postgres_run("COMMIT");
	thread_join(&thread);
	assert_true(waits);
	assert_ok(o->r, &o->err);
}

static int end_scan(struct operation *o)
{
	struct scan_counts counts;
	int r = queue_scan_end(o->q, o->dataset, SCAN_REMOVE, NOW, &counts, &o->err);

	o->count = (size_t)counts.missed_done;
	return r;
}

/* Shard 1 goes, with its sample; the one of shard 2 is replaced. */
static int replace_samples(struct operation *o)
{
	const int64_t retired[] = {1};
	const struct sample_place dropped[] = {{.shard = 1, .offset = 512}};
	struct sample_row sample = sample_of("2.jpg", "2", 0);
	struct new_shard shard = {.row = shard_of(o->dataset, "new.tar", 1), .samples = &sample};
	struct queue_swap swap = {.shards = &shard,
				  .n_shards = 1,
				  .retired = retired,
				  .n_retired = 1,
				  .dropped = dropped,
				  .n_dropped = 1};
	int64_t id;

	return queue_swap(o->q, &swap, NOW, &id, &o->err);
}

static void note_forgotten(void *arg, const char *node, size_t requeued)
{
	struct operation *o = arg;

	(void)node;
	assert_int_equal(requeued, 1);
	o->count++;
}

static int forget_nodes(struct operation *o)
{
	return queue_nodes_forget(o->q, 0, note_forgotten, o, &o->err);
}

/* Each with one sample, of a job with the number of the shard. */
static void add_shards(struct fixture *f, int n)
{
	for (int i = 1; i <= n; i++) {
		cleanup_free char *tar = xasprintf("%d.tar", i), *jpg = xasprintf("%d.jpg", i),
				  *key = xasprintf("%d", i);
		struct shard_row shard = shard_of(f->dataset, tar, 1);
		struct sample_row sample = sample_of(jpg, key, 512);

		assert_int_equal(complete(f, &shard, &sample, 1), 0);
	}
}

static struct operation scan_that_met_nothing(struct fixture *f)
{
	assert_ok(queue_scan_begin(f->q, f->dataset, NULL, 0, &f->err), &f->err);
	return (struct operation){
	    .run = end_scan, .q = f->q, .dataset = f->dataset, .err = ERROR_INIT};
}

static void samples_of_many_shards_die_in_the_order_of_these(void **state)
{
	struct fixture *f = *state;
	struct operation o;

	add_shards(f, 16);
	o = scan_that_met_nothing(f);
	cross(&o, "SELECT 1 FROM latentd.shard WHERE id = 1 FOR UPDATE",
	      "SELECT 1 FROM latentd.shard WHERE id > 1 ORDER BY id FOR UPDATE");
	assert_int_equal(o.count, 16);
}

static void a_long_scan_locks_no_shard_before_its_last_job(void **state)
{
	struct fixture *f = *state;
	struct operation o;

	add_shards(f, 1);
	postgres_run("ALTER TABLE latentd.job ALTER id RESTART WITH 50000");
	add_job(f, "far");
	o = scan_that_met_nothing(f);
	cross(&o, "SELECT 1 FROM latentd.job WHERE id = 50000 FOR UPDATE",
	      "SELECT 1 FROM latentd.shard WHERE id = 1 FOR UPDATE");
	assert_int_equal(o.count, 1);
}

static void a_swap_locks_what_it_changes_and_what_it_retires_in_one_order(void **state)
{
	struct fixture *f = *state;
	struct operation o = {
	    .run = replace_samples, .q = f->q, .dataset = f->dataset, .err = ERROR_INIT};
	cleanup_job struct job job = {0};

	add_shards(f, 2);
	enqueue_one(f, f->dataset, file_spec("2.jpg", "2", 1));
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_int_equal(job.id, 2);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
	cross(&o, "SELECT 1 FROM latentd.shard WHERE id = 1 FOR UPDATE",
	      "SELECT 1 FROM latentd.shard WHERE id = 2 FOR UPDATE");
}

static void jobs_of_several_nodes_that_are_forgotten_are_locked_in_one_order(void **state)
{
	struct fixture *f = *state;
	struct operation o = {.run = forget_nodes, .q = f->q, .err = ERROR_INIT};

	add_job(f, "a");
	add_job(f, "b");
	postgres_run(
	    "INSERT INTO latentd.node (id, name, instance, beat_at, timeout_ms)"
	    " OVERRIDING SYSTEM VALUE VALUES (101, 'x', 'of x', 1, 1), (102, 'y', 'of y', 1, 1);"
	    " UPDATE latentd.job SET state = 3, keeper = 103 - id");
	cross(&o, "SELECT 1 FROM latentd.job WHERE id = 1 FOR UPDATE",
	      "SELECT 1 FROM latentd.job WHERE id = 2 FOR UPDATE");
	assert_int_equal(o.count, 2);
	assert_int_equal(state_of(f, 1), JOB_AVAILABLE);
	assert_int_equal(state_of(f, 2), JOB_AVAILABLE);
}

static int say_alive(struct operation *o)
{
	struct node_dataset datasets[] = {{.dataset = 1}, {.dataset = 2}};
	const struct node_beat beat = {.instance = "i",
				       .place = "p",
				       .host = "h",
				       .version = "v",
				       .timeout_ms = 3600000,
				       .datasets = datasets,
				       .n_datasets = 2,
				       .leaves = o->count > 0};
	struct node_pulse pulse;

	return queue_node_beat(o->q, &beat, &pulse, &o->err);
}

static void a_node_that_leaves_gives_up_its_duties_in_one_order(void **state)
{
	struct fixture *f = *state;
	struct operation o = {.run = say_alive, .q = f->q, .err = ERROR_INIT};

	make_dataset(f, "other");
	assert_ok(say_alive(&o), &o.err);
	/* So that its rows lie in the other order. */
	postgres_run("UPDATE latentd.duty SET until = until WHERE dataset = 1");
	o.count = 1;
	cross(&o, "SELECT 1 FROM latentd.duty WHERE dataset = 1 FOR UPDATE",
	      "SELECT 1 FROM latentd.duty WHERE dataset = 2 FOR UPDATE");
}

int main(void)
{
	static const struct queue_backend backend = {"postgres", postgres_open_fresh, false};
	const struct CMUnitTest tests[] = {
	    contract_test(samples_of_many_shards_die_in_the_order_of_these),
	    contract_test(a_long_scan_locks_no_shard_before_its_last_job),
	    contract_test(a_swap_locks_what_it_changes_and_what_it_retires_in_one_order),
	    contract_test(jobs_of_several_nodes_that_are_forgotten_are_locked_in_one_order),
	    contract_test(a_node_that_leaves_gives_up_its_duties_in_one_order),
	};

	postgres_empty();
	fixture_use(&backend);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

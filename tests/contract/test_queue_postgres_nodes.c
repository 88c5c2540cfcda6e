/*
 * What nodes of one queue in PostgreSQL tell each other, what they add at the same time, and that counters which all of
 * them write stay small.
 */
#include "base/thread.h"
#include "queue/queue_nodes.h"
#include "queue/queue_open.h"
#include "tests/contract/contract_queue.h"
#include "tests/contract/postgres_server.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
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

/* A folder with the socket of a server that takes connections and says nothing, as one without power does. */
static int silent_server(const char *dir)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.5432", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static void who_listens_gets_past_a_host_that_is_silent(void **state)
{
	struct fixture *f = *state;
	char *dir = testing_tempdir();
	int silent = silent_server(dir);
	cleanup_free char *conninfo =
	    xasprintf("host=%s,%s user=latentd dbname=postgres connect_timeout=2", dir,
		      getenv("LATENTD_TEST_POSTGRES_DIR"));
	struct queue_postgres_options options = {
	    .conninfo = conninfo, .node = "there", .patience_ms = 60000, .callers_clock = true};
	cleanup_queue struct queue *q = NULL;
	struct ear ear;

	assert_ok(queue_postgres_open(&options, &q, &f->err), &f->err);
	ear = (struct ear){queue_listener_new(q), eventfd(0, EFD_CLOEXEC)};
	assert_int_equal(hear(&ear), 0);
	add_job(f, "a");
	assert_int_equal(hear(&ear), f->dataset);
	ear_close(&ear);
	close(silent);
	testing_tempdir_remove(dir);
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

/* Of the one job, sealed into 1.tar, which 2.tar replaces. */
static int replace(struct fixture *f, struct queue *q)
{
	static const int64_t old = 1;
	struct sample_row sample = sample_of("a.jpg", "a", 0);
	struct new_shard fresh = {shard_of(f->dataset, "2.tar", 1), &sample};
	struct queue_swap swap = {.retired = &old, .n_retired = 1, .shards = &fresh, .n_shards = 1};
	int64_t id = 0;

	return queue_swap(q, &swap, NOW, &id, &f->err);
}

static void seal_one(struct fixture *f, const char *name, const char *shard)
{
	cleanup_free char *path = xasprintf("%s.jpg", name);
	struct sample_row sample = sample_of(path, name, 0);
	struct shard_row row = shard_of(f->dataset, shard, 1);

	job_in_state(f, name, JOB_ENCODED);
	assert_int_equal(complete(f, &row, &sample, 1), 0);
}

static void one_process_at_a_time_has_the_turn_of_a_dataset(void **state)
{
	struct fixture *f = *state;
	int64_t other = make_dataset(f, "other"), now = 0;
	struct queue *second = NULL;

	assert_ok(postgres_open_again(f->path, &second, &f->err), &f->err);
	assert_ok(queue_turn_take(f->q, f->dataset, &now, &f->err), &f->err);
	assert_true(now > NOW);
	assert_int_equal(queue_turn_take(second, f->dataset, &now, &f->err), QUEUE_TURN_TAKEN);
	assert_ok(queue_turn_take(second, other, &now, &f->err), &f->err);
	queue_turn_end(second);
	queue_turn_end(f->q);
	assert_ok(queue_turn_take(second, f->dataset, &now, &f->err), &f->err);
	assert_int_equal(queue_turn_take(f->q, f->dataset, &now, &f->err), QUEUE_TURN_TAKEN);
	queue_close(second);
	/* The server may not have noticed yet. */
	while (queue_turn_take(f->q, f->dataset, &now, &f->err) == QUEUE_TURN_TAKEN)
		continue;
	assert_int_equal(f->err.code, ERR_NONE);
	seal_one(f, "a", "1.tar");
	assert_ok(replace(f, f->q), &f->err);
}

static void who_lost_the_turn_replaces_nothing_and_can_still_seal(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer before = BUFFER_INIT;
	int64_t now = 0;

	seal_one(f, "a", "1.tar");
	assert_ok(queue_turn_take(f->q, f->dataset, &now, &f->err), &f->err);
	postgres_run("SELECT pg_terminate_backend(pid, 60000) FROM pg_locks"
		     " WHERE locktype = 'advisory' AND classid::bigint = 1818326118");
	queue_dump(f->q, &before);
	assert_error(replace(f, f->q), &f->err, ERR_TRANSIENT);
	error_clear(&f->err);
	assert_unchanged(f->q, &before);
	seal_one(f, "b", "3.tar");
	queue_turn_end(f->q);
	assert_ok(queue_turn_take(f->q, f->dataset, &now, &f->err), &f->err);
	assert_ok(replace(f, f->q), &f->err);
}

struct taking {
	struct fixture *f;
	int r;
	struct thread thread;
};

static void *taking_run(void *arg)
{
	struct taking *t = arg;
	int64_t now;

	t->r = queue_turn_take(t->f->q, t->f->dataset, &now, &t->f->err);
	return NULL;
}

static void who_takes_the_turn_waits_for_a_swap_of_its_former_holder(void **state)
{
	struct fixture *f = *state;
	struct taking t = {.f = f, .r = -1};
	bool waits;

	postgres_run("BEGIN");
	postgres_run("SELECT pg_advisory_xact_lock(1818326119, id::integer) FROM latentd.dataset");
	assert_ok(thread_start(&t.thread, "take", taking_run, &t, &f->err), &f->err);
	waits = postgres_is_waited_for(1);
	postgres_run("COMMIT");
	thread_join(&t.thread);
	assert_true(waits);
	assert_ok(t.r, &f->err);
}

/* -- other nodes ----------------------------------------------------------------------------------- */

static struct queue *open_there(struct fixture *f)
{
	const struct queue_postgres_options options = {.conninfo = postgres_conninfo(),
						       .node = "there",
						       .patience_ms = 60000,
						       .callers_clock = true};
	struct queue *there = NULL;

	assert_ok(queue_postgres_open(&options, &there, &f->err), &f->err);
	return there;
}

/* A sign of life of a node that works on @d, NULL: on nothing; what it is told is in *d. */
static void beat(struct queue *q, struct error *err, struct node_dataset *d, bool leaves)
{
	const struct node_beat beat = {.instance = "instance",
				       .place = "place",
				       .host = "host",
				       .version = "version",
				       .timeout_ms = 60000,
				       .datasets = d,
				       .n_datasets = d ? 1 : 0,
				       .leaves = leaves};
	struct node_pulse pulse;

	if (d)
		d->mine = d->known = false;
	assert_ok(queue_node_beat(q, &beat, &pulse, err), err);
}

/* -- duties ------------------------------------------------------------------------------------- */

static int show_duties(void *arg, const struct node_row *row)
{
	if (row->duties[0])
		buffer_appendf(arg, "%s: %s;", row->name, row->duties);
	return 0;
}

static void assert_duties(struct fixture *f, const char *wanted)
{
	cleanup_buffer struct buffer shown = BUFFER_INIT;

	assert_ok(queue_nodes(f->q, show_duties, &shown, &f->err), &f->err);
	assert_string_equal(shown.data ? (const char *)shown.data : "", wanted);
}

static void a_duty_that_is_passed_on_is_kept_until_another_node_is_there(void **state)
{
	struct fixture *f = *state;
	struct queue *there = open_there(f);
	struct node_dataset mine = {.dataset = f->dataset, .scanned = true}, other = mine;

	beat(f->q, &f->err, &mine, false);
	assert_true(mine.mine);
	beat(there, &f->err, &other, false);
	assert_false(other.mine);
	assert_true(other.known);
	mine.passes = true;
	for (int i = 0; i < 2; i++) {
		beat(f->q, &f->err, &mine, false);
		assert_true(mine.mine);
		assert_duties(f, "here: photos;");
	}
	other.scanned = false;
	beat(there, &f->err, &other, false);
	assert_true(other.mine);
	assert_false(other.known);
	beat(f->q, &f->err, &mine, false);
	assert_false(mine.mine);
	assert_duties(f, "there: photos;");
	queue_close(there);
}

static void who_is_told_to_drain_has_given_up_its_duty_by_then(void **state)
{
	struct fixture *f = *state;
	struct queue *there = open_there(f);
	struct node_dataset mine = {.dataset = f->dataset}, other = mine;

	beat(f->q, &f->err, &mine, false);
	assert_true(mine.mine);
	assert_ok(queue_node_order(f->q, "here", true, &f->err), &f->err);
	beat(f->q, &f->err, &mine, false);
	assert_false(mine.mine);
	beat(there, &f->err, &other, false);
	assert_true(other.mine);
	queue_close(there);
}

/* -- one that is forgotten ------------------------------------------------------------------------ */

/* Claims the one job that can be claimed, of another node. */
static struct job claim_there(struct fixture *f, struct queue *there)
{
	const struct queue_claim what = {.dataset = f->dataset,
					 .owner = OTHER,
					 .now = NOW,
					 .lease_until = NOW + LEASE,
					 .limit = 1};
	struct job job = {0};
	size_t n = 0;

	assert_ok(queue_claim(there, &what, &job, &n, &f->err), &f->err);
	assert_int_equal(n, 1);
	return job;
}

static size_t settle_there(struct fixture *f, struct queue *there, const struct job *job)
{
	struct job_outcome done = outcome_of(job, OUTCOME_ENCODED);
	size_t lost = 0;

	assert_ok(queue_settle(there, &done, 1, NOW, &lost, &f->err), &f->err);
	return lost;
}

/* Its file has changed since that node encoded it. */
static void what_another_node_encodes_again_is_left_to_it_when_the_first_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct queue *there = open_there(f);
	int64_t id = add_job(f, "a");
	struct job first = {0}, again = {0};
	size_t requeued = 0;

	beat(there, &f->err, NULL, false);
	first = claim_there(f, there);
	assert_int_equal(settle_there(f, there, &first), 0);
	enqueue_one(f, f->dataset, file_spec("a.jpg", "a", 2));
	assert_int_equal(claim_jobs(f, ME, &again, 1), 1);
	beat(there, &f->err, NULL, true);
	assert_ok(queue_node_forget(f->q, "there", &requeued, &f->err), &f->err);
	assert_int_equal(requeued, 0);
	assert_int_equal(state_of(f, id), JOB_RUNNING);
	assert_true(settle_one(f, outcome_of(&again, OUTCOME_ENCODED)));
	job_release(&first);
	job_release(&again);
	queue_close(there);
}

static void what_a_forgotten_node_had_is_available_and_its_own_result_void(void **state)
{
	struct fixture *f = *state;
	struct queue *there = open_there(f);
	int64_t spooled = add_job(f, "a"), running;
	struct job first = {0}, second = {0};
	size_t requeued = 0;

	beat(there, &f->err, NULL, false);
	first = claim_there(f, there);
	assert_int_equal(settle_there(f, there, &first), 0);
	running = add_job(f, "b");
	second = claim_there(f, there);
	beat(there, &f->err, NULL, true);
	assert_ok(queue_node_forget(f->q, "there", &requeued, &f->err), &f->err);
	assert_int_equal(requeued, 2);
	assert_int_equal(state_of(f, spooled), JOB_AVAILABLE);
	assert_int_equal(state_of(f, running), JOB_AVAILABLE);
	assert_int_equal(settle_there(f, there, &second), 1);
	job_release(&first);
	job_release(&second);
	queue_close(there);
}

/* -- idling --------------------------------------------------------------------------------------- */

static int64_t next_number(void)
{
	cleanup_free char *n =
	    postgres_value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text");

	return strtoll(n, NULL, 10);
}

static void nobody_is_forgotten(void *arg, const char *node, size_t requeued)
{
	(void)arg;
	fail_msg("%s is forgotten: %zu", node, requeued);
}

/* What a node does that has nothing to do. */
static void idle(struct fixture *f)
{
	const struct queue_claim claim = {
	    .owner = ME, .now = NOW, .lease_until = NOW + LEASE, .limit = 1};
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	struct job job;
	size_t n = 0;

	assert_int_equal(queue_claim(f->q, &claim, &job, &n, &f->err), QUEUE_EMPTY);
	assert_ok(queue_extend(f->q, ME, NOW + LEASE, &f->err), &f->err);
	assert_ok(queue_rescue(f->q, f->dataset, ME, NOW, &n, &f->err), &f->err);
	assert_ok(queue_nodes_forget(f->q, 3600000, nobody_is_forgotten, NULL, &f->err), &f->err);
	assert_int_equal(enqueue_one(f, f->dataset, spec).known, 1);
}

/* The server itself may take some at the same time, for a vacuum. */
static void who_finds_nothing_to_do_takes_no_number_of_a_transaction(void **state)
{
	struct fixture *f = *state;
	struct job job = add_claimed(f, "a");
	int64_t taken = -1;

	assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
	job_release(&job);
	for (int i = 0; taken != 0 && i < 100; i++) {
		int64_t first = next_number();

		idle(f);
		taken = next_number() - first;
	}
	assert_int_equal(taken, 0);
}

int main(void)
{
	static const struct queue_backend backend = {"postgres", postgres_open_fresh, false};
	const struct CMUnitTest tests[] = {
	    contract_test(who_listens_is_told_what_is_available_and_not_what_is_done),
	    contract_test(a_scan_that_finds_nothing_new_tells_nobody),
	    contract_test(who_listens_hears_again_after_its_connection_was_lost),
	    contract_test(who_listens_can_be_stopped_connected_or_not),
	    contract_test(who_listens_gets_past_a_host_that_is_silent),
	    contract_test(what_two_nodes_find_at_the_same_time_is_one_job),
	    contract_test(who_finds_nothing_to_do_takes_no_number_of_a_transaction),
	    contract_test(counters_of_many_transactions_are_put_together),
	    contract_test(one_process_at_a_time_has_the_turn_of_a_dataset),
	    contract_test(who_lost_the_turn_replaces_nothing_and_can_still_seal),
	    contract_test(who_takes_the_turn_waits_for_a_swap_of_its_former_holder),
	    contract_test(a_duty_that_is_passed_on_is_kept_until_another_node_is_there),
	    contract_test(who_is_told_to_drain_has_given_up_its_duty_by_then),
	    contract_test(
		what_another_node_encodes_again_is_left_to_it_when_the_first_is_forgotten),
	    contract_test(what_a_forgotten_node_had_is_available_and_its_own_result_void),
	};

	postgres_empty();
	fixture_use(&backend);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

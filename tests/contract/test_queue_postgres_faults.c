/*
 * A queue in PostgreSQL when things go wrong, and when several nodes share it. Connections go through a
 * relay in this process, which can cut one at the message that says COMMIT: before the server sees it, or when the
 * server has answered and the client has not heard it.
 */
#include "base/thread.h"
#include "queue/queue_nodes.h"
#include "queue/queue_open.h"
#include "tests/contract/contract_queue.h"
#include "tests/contract/postgres_server.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* -- the relay ------------------------------------------------------------------------------------ */

enum cut { CUT_NOTHING, CUT_BEFORE, CUT_AFTER };

static struct {
	char *dir;
	int listener;
	int ends[2]; /* a pipe: closed to end the thread */
	struct thread thread;
	_Atomic int cut; /* at the next COMMIT, once */
} relay;

static int socket_at(const char *dir, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path, sizeof(address->sun_path), "%s/.s.PGSQL.5432", dir);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static bool send_all(int fd, const char *data, ssize_t n)
{
	for (ssize_t done; n > 0; n -= done, data += done) {
		done = send(fd, data, (size_t)n, MSG_NOSIGNAL);
		if (done <= 0)
			return false;
	}
	return true;
}

/* A simple query of that text: libpq sends it in one piece. */
static bool is_commit(const char *data, ssize_t n)
{
	static const char commit[] = "Q\0\0\0\013COMMIT";

	return n == (ssize_t)sizeof(commit) && memcmp(data, commit, sizeof(commit)) == 0;
}

/* One connection at a time, until an end of it closes or it is cut. */
static void pass_on(int client, int server)
{
	char data[65536];

	for (;;) {
		struct pollfd fds[] = {
		    {client, POLLIN, 0}, {server, POLLIN, 0}, {relay.ends[0], POLLIN, 0}};
		ssize_t n;
		int at, cut = CUT_NOTHING;

		if (poll(fds, 3, -1) < 0 || fds[2].revents)
			return;
		at = fds[1].revents ? 1 : 0;
		n = recv(fds[at].fd, data, sizeof(data), 0);
		if (n <= 0)
			return;
		if (at == 0 && is_commit(data, n))
			cut = atomic_exchange(&relay.cut, CUT_NOTHING);
		if (cut == CUT_BEFORE || !send_all(fds[!at].fd, data, n))
			return;
		if (cut == CUT_AFTER) {
			(void)!recv(server, data, sizeof(data), 0);
			return;
		}
	}
}

static void *relay_run(void *arg)
{
	(void)arg;
	for (;;) {
		struct pollfd fds[] = {{relay.listener, POLLIN, 0}, {relay.ends[0], POLLIN, 0}};
		struct sockaddr_un address;
		int client, server;

		if (poll(fds, 2, -1) < 0 || fds[1].revents)
			return NULL;
		client = accept4(relay.listener, NULL, NULL, SOCK_CLOEXEC);
		server = socket_at(getenv("LATENTD_TEST_POSTGRES_DIR"), &address);
		if (connect(server, (struct sockaddr *)&address, sizeof(address)) == 0)
			pass_on(client, server);
		close(server);
		close(client);
	}
}

static int relay_start(void **state)
{
	struct error err = ERROR_INIT;
	struct sockaddr_un address;

	(void)state;
	relay.dir = testing_tempdir();
	relay.listener = socket_at(relay.dir, &address);
	assert_int_equal(bind(relay.listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(relay.listener, 8), 0);
	assert_int_equal(pipe(relay.ends), 0);
	assert_ok(thread_start(&relay.thread, "relay", relay_run, NULL, &err), &err);
	postgres_empty();
	return 0;
}

static int relay_stop(void **state)
{
	(void)state;
	close(relay.ends[1]);
	thread_join(&relay.thread);
	close(relay.ends[0]);
	close(relay.listener);
	testing_tempdir_remove(relay.dir);
	return 0;
}

/* -- a queue behind it ---------------------------------------------------------------------------- */

static int open_relayed(const char *path, struct queue **out, struct error *err)
{
	cleanup_free char *conninfo = xasprintf("host=%s user=latentd dbname=postgres", relay.dir);
	struct queue_postgres_options options = {
	    .conninfo = conninfo, .node = "here", .patience_ms = 120000, .callers_clock = true};
	cleanup_queue struct queue *direct = NULL;

	/* The schema is made and emptied on a way that nobody cuts. */
	if (postgres_open_fresh(path, &direct, err) < 0)
		return -1;
	return queue_postgres_open(&options, out, err);
}

/* The next COMMIT that is sent. */
static void cut_next(enum cut cut)
{
	atomic_store(&relay.cut, cut);
}

static void a_commit_whose_answer_is_lost_counts(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	struct sample_row sample = sample_of("a.jpg", "a", 0);
	struct shard_row shard = shard_of(f->dataset, "1.tar", 1);
	struct enqueue_counts counts = {0};
	struct job_outcome outcome;
	cleanup_job struct job job = {0};
	int64_t shard_id = 0;
	size_t lost = 99;

	cut_next(CUT_AFTER);
	assert_ok(queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err), &f->err);
	assert_int_equal(counts.added, 1);
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	outcome = outcome_of(&job, OUTCOME_ENCODED);
	cut_next(CUT_AFTER);
	assert_ok(queue_settle(f->q, &outcome, 1, NOW, &lost, &f->err), &f->err);
	assert_int_equal(lost, 0);
	assert_int_equal(state_of(f, job.id), JOB_ENCODED);
	cut_next(CUT_AFTER);
	assert_ok(queue_complete(f->q, &shard, &sample, 1, NOW, &shard_id, &f->err), &f->err);
	assert_int_equal(shard_id, 1);
	assert_int_equal(state_of(f, job.id), JOB_COMPLETED);
	assert_int_equal(atomic_load(&relay.cut), CUT_NOTHING);
	fixture_after(f);
}

static void a_commit_that_never_arrived_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	cleanup_buffer struct buffer before = BUFFER_INIT;
	struct enqueue_counts counts = {0};

	queue_dump(f->q, &before);
	cut_next(CUT_BEFORE);
	assert_error(queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err), &f->err,
		     ERR_TRANSIENT);
	assert_non_null(strstr(f->err.message, "nothing was changed"));
	error_clear(&f->err);
	assert_int_equal(counts.added, 0);
	assert_unchanged(f->q, &before);
	assert_int_equal(enqueue_one(f, f->dataset, spec).added, 1);
}

static void a_claim_whose_answer_is_lost_is_handed_out(void **state)
{
	struct fixture *f = *state;
	int64_t id = add_job(f, "a");
	struct queue_claim claim = {
	    .owner = ME, .now = NOW, .lease_until = NOW + LEASE, .limit = 1};
	cleanup_job struct job first = {0}, job = {0};
	size_t n = 0;

	add_job(f, "b");
	assert_int_equal(claim_jobs(f, ME, &first, 1), 1); /* the owner is known from here on */
	assert_int_equal(first.id, id);
	cut_next(CUT_AFTER);
	assert_ok(queue_claim(f->q, &claim, &job, &n, &f->err), &f->err);
	assert_int_equal(n, 1);
	assert_true(job.id != id && job.fence > first.fence);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
}

static void a_fence_is_given_once_though_the_database_forgot_that_claim(void **state)
{
	struct fixture *f = *state;
	cleanup_job struct job lost = add_claimed(f, "a"), job = {0};

	/* As a standby that lacks the claim, or an older dump. */
	postgres_run("UPDATE latentd.job SET state = 1, attempts = 0, fence = NULL, owner = NULL;"
		     " ALTER SEQUENCE latentd.fence RESTART");
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	assert_int_equal(job.id, lost.id);
	assert_int_not_equal(job.fence, lost.fence);
	assert_false(settle_one(f, outcome_of(&lost, OUTCOME_QUARANTINE)));
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
}

/* As a server that restarts, or a firewall that forgets. */
static void a_connection_that_was_ended_while_idle_is_made_again(void **state)
{
	struct fixture *f = *state;

	add_job(f, "a");
	postgres_run("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
		     " WHERE application_name = 'latentd'");
	add_job(f, "b");
}

/* -- several nodes -------------------------------------------------------------------------------- */

static struct queue *open_node(const char *node, struct error *err)
{
	struct queue_postgres_options options = {.conninfo = postgres_conninfo(),
						 .node = node,
						 .patience_ms = 60000,
						 .callers_clock = true};
	struct queue *q = NULL;

	assert_ok(queue_postgres_open(&options, &q, err), err);
	return q;
}

static void a_node_leaves_alone_what_others_run_and_have_spooled(void **state)
{
	struct fixture *f = *state;
	cleanup_queue struct queue *other = open_node("there", &f->err);
	struct job spooled = add_claimed(f, "a"), running = {0};
	struct job_outcome outcome = outcome_of(&spooled, OUTCOME_ENCODED);
	struct content_found found;
	size_t n = 99;

	assert_true(settle_one(f, outcome));
	running = add_claimed(f, "b");
	assert_ok(queue_rescue(other, f->dataset, OTHER, NOW, &n, &f->err), &f->err);
	assert_int_equal(n, 0);
	assert_ok(queue_requeue_lost(other, f->dataset, NULL, 0, NOW, &n, &f->err), &f->err);
	assert_int_equal(n, 0);
	assert_ok(queue_find_content(other, f->dataset, &outcome.content, &found, &f->err),
		  &f->err);
	assert_int_equal(found.where, CONTENT_NONE);
	assert_ok(queue_rescue(other, f->dataset, OTHER, NOW + LEASE + 1, &n, &f->err), &f->err);
	assert_int_equal(n, 1);
	assert_false(settle_one(f, outcome_of(&running, OUTCOME_ENCODED)));
	assert_ok(queue_requeue_lost(f->q, f->dataset, NULL, 0, NOW, &n, &f->err), &f->err);
	assert_int_equal(n, 1);
	job_release(&spooled);
	job_release(&running);
}

static struct queue *open_by_its_clock(const char *node, struct error *err)
{
	struct queue_postgres_options options = {
	    .conninfo = postgres_conninfo(), .node = node, .patience_ms = 60000};
	struct queue *q = NULL;

	assert_ok(queue_postgres_open(&options, &q, err), err);
	return q;
}

static void beat(struct queue *q, const char *instance, struct error *err)
{
	const struct node_beat beat = {
	    .instance = instance, .place = "p", .host = "h", .version = "v", .timeout_ms = 3600000};
	struct node_pulse pulse;

	assert_ok(queue_node_beat(q, &beat, &pulse, err), err);
}

/* As after hours without the database, of which the first that is back knows no more than the others. */
static void silence_that_a_node_could_not_hear_takes_no_jobs_of_others(void **state)
{
	struct fixture *f = *state;
	cleanup_queue struct queue *silent = open_by_its_clock("there", &f->err);
	cleanup_queue struct queue *back = open_by_its_clock("back", &f->err);
	struct queue_claim claim = {
	    .owner = OTHER, .now = NOW, .lease_until = NOW + 86400000, .limit = 1};
	cleanup_job struct job job = {0};
	size_t n = 0;

	add_job(f, "a");
	beat(silent, "one", &f->err);
	beat(back, "two", &f->err);
	assert_ok(queue_claim(silent, &claim, &job, &n, &f->err), &f->err);
	assert_int_equal(n, 1);
	postgres_run("UPDATE latentd.node SET beat_at = beat_at - 7200000");
	assert_ok(queue_rescue(back, f->dataset, "me", NOW, &n, &f->err), &f->err);
	assert_int_equal(n, 0);
	postgres_run("UPDATE latentd.node SET timeout_ms = 0 WHERE name = 'there'");
	for (int i = 0; n == 0 && i < 100000; i++) /* till the next millisecond */
		assert_ok(queue_rescue(back, f->dataset, "me", NOW, &n, &f->err), &f->err);
	assert_int_equal(n, 1);
}

struct rescue {
	struct queue *q;
	int64_t dataset;
	size_t count;
	int r;
	struct error err;
};

static void *rescue_run(void *arg)
{
	struct rescue *rescue = arg;

	rescue->r = queue_rescue(rescue->q, rescue->dataset, OTHER, NOW + LEASE + 1, &rescue->count,
				 &rescue->err);
	return NULL;
}

/* Whatever the isolation is that the database has by default. */
static void a_lease_that_is_renewed_meanwhile_is_not_rescued(void **state)
{
	struct fixture *f = *state;
	struct job job = add_claimed(f, "a");
	struct rescue rescue = {.dataset = f->dataset, .count = 99, .err = ERROR_INIT};
	bool waits = false;
	struct thread thread;

	postgres_run("ALTER ROLE latentd SET default_transaction_isolation = 'repeatable read'");
	rescue.q = open_node("there", &f->err);
	postgres_run("ALTER ROLE latentd RESET default_transaction_isolation");
	postgres_run("BEGIN");
	postgres_run("UPDATE latentd.job SET due = due + 3600000");
	assert_ok(thread_start(&thread, "rescue", rescue_run, &rescue, &f->err), &f->err);
	waits = postgres_is_waited_for(1);
	postgres_run("COMMIT");
	thread_join(&thread);
	assert_true(waits);
	assert_ok(rescue.r, &rescue.err);
	assert_int_equal(rescue.count, 0);
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
	queue_close(rescue.q);
	job_release(&job);
}

struct publishing {
	struct queue *q;
	struct new_shard shard;
	int r;
	struct error err;
};

static void *publish_run(void *arg)
{
	struct publishing *p = arg;
	struct queue_swap what = {.shards = &p->shard, .n_shards = 1};
	int64_t id;

	p->r = queue_swap(p->q, &what, NOW, &id, &p->err);
	return NULL;
}

static void a_path_that_another_node_publishes_meanwhile_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	struct publishing p = {
	    .q = f->q, .shard = {.row = shard_of(f->dataset, "1.tar", 0)}, .err = ERROR_INIT};
	bool waits = false;
	struct thread thread;

	postgres_run("BEGIN");
	postgres_run(
	    "INSERT INTO latentd.shard (dataset, path, format, grp, bytes, samples, sha256,"
	    " xxh3, sealed_at, visible_at) SELECT id, '1.tar', 'tar', '', 1, 0,"
	    " decode(repeat('00', 32), 'hex'), repeat('0', 32)::uuid, 1, 1"
	    " FROM latentd.dataset");
	assert_ok(thread_start(&thread, "publish", publish_run, &p, &f->err), &f->err);
	waits = postgres_is_waited_for(1);
	postgres_run("COMMIT");
	thread_join(&thread);
	assert_true(waits);
	assert_ok(p.r < 0 ? p.r : 0, &p.err);
	assert_int_equal(p.r, QUEUE_CONFLICT);
}

static void a_claim_passes_over_what_another_transaction_holds(void **state)
{
	struct fixture *f = *state;
	int64_t first = add_job(f, "a"), second = add_job(f, "b");
	cleanup_job struct job job = {0};

	postgres_run("BEGIN");
	postgres_run("SELECT 1 FROM latentd.job ORDER BY id LIMIT 1 FOR UPDATE");
	assert_int_equal(claim_jobs(f, ME, &job, 1), 1);
	postgres_run("ROLLBACK");
	assert_int_equal(job.id, second);
	assert_int_equal(state_of(f, first), JOB_AVAILABLE);
}

static void two_recipes_of_one_name_from_two_nodes_are_refused(void **state)
{
	struct fixture *f = *state;
	cleanup_queue struct queue *other = open_node("there", &f->err);
	struct queue_dataset_spec spec = {"photos", "/out", "00000000000000000000000000000009",
					  "{}"};
	int64_t id = 0;

	assert_int_equal(queue_open_dataset(other, &spec, &id, &f->err), QUEUE_OTHER_RECIPE);
}

/* The caller's clock is a day off: its lease is as long as it said, by the database's clock. */
static void clocks_of_nodes_do_not_matter(void **state)
{
	struct fixture *f = *state;
	struct queue_postgres_options options = {
	    .conninfo = postgres_conninfo(), .node = "there", .patience_ms = 60000};
	cleanup_queue struct queue *other = NULL;
	struct queue_claim claim = {
	    .owner = OTHER, .now = NOW, .lease_until = NOW + 3600000, .limit = 1};
	cleanup_free char *late = NULL;
	cleanup_job struct job job = {0};
	size_t n = 0;

	add_job(f, "a");
	assert_ok(queue_postgres_open(&options, &other, &f->err), &f->err);
	assert_ok(queue_claim(other, &claim, &job, &n, &f->err), &f->err);
	assert_ok(queue_rescue(other, f->dataset, OTHER, NOW + 86400000, &n, &f->err), &f->err);
	assert_int_equal(n, 0);
	late = postgres_value("SELECT abs(due - (extract(epoch FROM clock_timestamp()) * 1000) -"
			      " 3600000) < 3000000 FROM latentd.job");
	assert_string_equal(late, "t");
}

/* -- what is refused ------------------------------------------------------------------------------ */

static void refused_as(const char *user, const char *database, enum error_code code,
		       const char *words)
{
	cleanup_free char *conninfo = xasprintf(
	    "host=%s user=%s dbname=%s", getenv("LATENTD_TEST_POSTGRES_DIR"), user, database);
	struct queue_postgres_options options = {.conninfo = conninfo, .node = "here"};
	struct error err = ERROR_INIT;
	struct queue *q = NULL;

	assert_error(queue_postgres_open(&options, &q, &err), &err, code);
	if (!strstr(err.message, words))
		fail_msg("%s", err.message);
	assert_null(strchr(err.message, '\n'));
}

static void what_cannot_be_opened_is_said_in_one_line(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	refused_as("nobody_of_that_name", "postgres", ERR_CONFIG, "does not exist");
	refused_as("latentd", "no_such_database", ERR_CONFIG, "does not exist");
	postgres_run("CREATE ROLE stranger LOGIN");
	refused_as("stranger", "postgres", ERR_CONFIG, "lacks a right");
	postgres_run("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0");
	refused_as("crowded", "postgres", ERR_TRANSIENT, "too many connections");
	postgres_run("UPDATE latentd.schema_version SET version = version + 1");
	refused_as("latentd", "postgres", ERR_CONFIG, "use the newer latentd");
	postgres_run("UPDATE latentd.schema_version SET version = version - 1");
}

static char *cluster_of(struct fixture *f)
{
	char id[QUEUE_CLUSTER_SIZE];

	assert_ok(queue_cluster(f->q, id, &f->err), &f->err);
	return xstrdup(id);
}

static void what_was_restored_elsewhere_is_refused_until_somebody_says_what_it_is(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *first = cluster_of(f), *moved = NULL, *copied = NULL;

	fixture_close(f);
	postgres_run("UPDATE latentd.schema_version SET home = '7/' || split_part(home, '/', 2)");
	refused_as("latentd", "postgres", ERR_CONFIG, "latentd.moved()");
	postgres_run("SELECT latentd.moved()");
	assert_ok(open_relayed(f->path, &f->q, &f->err), &f->err);
	moved = cluster_of(f);
	assert_string_equal(moved, first);
	fixture_close(f);
	postgres_run("UPDATE latentd.schema_version SET home = split_part(home, '/', 1) || '/7'");
	refused_as("latentd", "postgres", ERR_CONFIG, "latentd.copied()");
	postgres_run("SELECT latentd.copied()");
	assert_ok(open_relayed(f->path, &f->q, &f->err), &f->err);
	copied = cluster_of(f);
	assert_string_not_equal(copied, first);
}

/* Who made the tables could not ask for the server. */
static void a_server_that_may_not_be_asked_for_is_not_compared(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	postgres_run("UPDATE latentd.schema_version SET home = '/' || split_part(home, '/', 2)");
	assert_ok(open_relayed(f->path, &f->q, &f->err), &f->err);
	fixture_close(f);
	postgres_run("UPDATE latentd.schema_version SET home = '/7'");
	refused_as("latentd", "postgres", ERR_CONFIG, "latentd.moved()");
	postgres_run("SELECT latentd.moved()");
}

static void a_node_that_is_led_to_a_copy_waits_until_it_is_led_back(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	struct enqueue_counts counts = {0};

	postgres_run("UPDATE latentd.schema_version SET home = '7/7'");
	postgres_run("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
		     " WHERE application_name = 'latentd'");
	assert_error(queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err), &f->err,
		     ERR_TRANSIENT);
	assert_non_null(strstr(f->err.message, "latentd.moved()"));
	error_clear(&f->err);
	postgres_run("SELECT latentd.moved()");
	assert_int_equal(enqueue_one(f, f->dataset, spec).added, 1);
}

/* The rights that docs/scale.md grants are enough to work with. */
static void a_worker_needs_no_right_to_change_the_schema(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *conninfo =
	    xasprintf("host=%s user=worker dbname=postgres", getenv("LATENTD_TEST_POSTGRES_DIR"));
	struct queue_postgres_options options = {
	    .conninfo = conninfo, .node = "there", .patience_ms = 60000, .callers_clock = true};
	cleanup_job struct job job = {0};
	struct sample_row sample = sample_of("a.jpg", "a", 0);
	struct shard_row shard = shard_of(f->dataset, "1.tar", 1);

	postgres_run(
	    "CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA latentd TO worker;"
	    " GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA latentd TO worker;"
	    " REVOKE INSERT, UPDATE, DELETE ON latentd.schema_version FROM worker;"
	    " GRANT USAGE ON ALL SEQUENCES IN SCHEMA latentd TO worker");
	fixture_close(f);
	assert_ok(queue_postgres_open(&options, &f->q, &f->err), &f->err);
	job = add_claimed(f, "a");
	assert_true(settle_one(f, outcome_of(&job, OUTCOME_ENCODED)));
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
}

static int64_t connections_of_worker(void)
{
	cleanup_free char *n =
	    postgres_value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'worker'");

	return strtol(n, NULL, 10);
}

/* A connection whose timeline is not known would hide a failover. */
static void a_connection_that_cannot_be_greeted_is_not_kept(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *conninfo =
	    xasprintf("host=%s user=worker dbname=postgres", getenv("LATENTD_TEST_POSTGRES_DIR"));
	struct queue_postgres_options options = {
	    .conninfo = conninfo, .node = "there", .patience_ms = 60000, .callers_clock = true};
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	struct enqueue_counts counts = {0};
	int r;

	fixture_close(f);
	assert_ok(queue_postgres_open(&options, &f->q, &f->err), &f->err);
	postgres_run("REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) FROM PUBLIC");
	postgres_run("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
		     " WHERE usename = 'worker'");
	r = queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err);
	for (int i = 0; connections_of_worker() > 0 && i < 3000; i++)
		postgres_run("SELECT pg_sleep(0.01)");
	assert_int_equal(connections_of_worker(), 0);
	postgres_run("GRANT EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) TO PUBLIC");
	assert_error(r, &f->err, ERR_CONFIG);
	error_clear(&f->err);
	assert_int_equal(enqueue_one(f, f->dataset, spec).added, 1);
}

/* What a standby says, too. */
static void a_server_that_only_reads_is_a_passing_fault(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = file_spec("a.jpg", "a", 1);
	struct enqueue_counts counts = {0};
	int r;

	fixture_close(f);
	postgres_run("ALTER ROLE latentd SET default_transaction_read_only = on");
	assert_ok(open_relayed(f->path, &f->q, &f->err), &f->err);
	r = queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err);
	postgres_run("ALTER ROLE latentd RESET default_transaction_read_only");
	assert_error(r, &f->err, ERR_TRANSIENT);
	assert_non_null(strstr(f->err.message, "read-only"));
	error_clear(&f->err);
	assert_int_equal(enqueue_one(f, f->dataset, spec).added, 1);
}

int main(void)
{
	static const struct queue_backend backend = {"postgres, relayed", open_relayed, false};
	const struct CMUnitTest tests[] = {
	    contract_test(a_commit_whose_answer_is_lost_counts),
	    contract_test(a_commit_that_never_arrived_changes_nothing),
	    contract_test(a_claim_whose_answer_is_lost_is_handed_out),
	    contract_test(a_fence_is_given_once_though_the_database_forgot_that_claim),
	    contract_test(a_connection_that_was_ended_while_idle_is_made_again),
	    contract_test(a_node_leaves_alone_what_others_run_and_have_spooled),
	    contract_test(silence_that_a_node_could_not_hear_takes_no_jobs_of_others),
	    contract_test(a_lease_that_is_renewed_meanwhile_is_not_rescued),
	    contract_test(a_path_that_another_node_publishes_meanwhile_is_a_conflict),
	    contract_test(a_claim_passes_over_what_another_transaction_holds),
	    contract_test(two_recipes_of_one_name_from_two_nodes_are_refused),
	    contract_test(clocks_of_nodes_do_not_matter),
	    contract_test(what_cannot_be_opened_is_said_in_one_line),
	    contract_test(what_was_restored_elsewhere_is_refused_until_somebody_says_what_it_is),
	    contract_test(a_server_that_may_not_be_asked_for_is_not_compared),
	    contract_test(a_node_that_is_led_to_a_copy_waits_until_it_is_led_back),
	    contract_test(a_worker_needs_no_right_to_change_the_schema),
	    contract_test(a_connection_that_cannot_be_greeted_is_not_kept),
	    contract_test(a_server_that_only_reads_is_a_passing_fault),
	};

	fixture_use(&backend);
	return cmocka_run_group_tests(tests, relay_start, relay_stop);
}

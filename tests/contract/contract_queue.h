/*
 * The contract of queue/queue.h as tests that run against every backend.
 *
 * A test gets a fixture with one open dataset. It calls the queue through f->q and then fixture_after(f),
 * which closes and reopens a backend that says it is durable, so that every single operation is proved to
 * be on the disk when it returns, and recounts everything through the listings.
 */
#ifndef LATENTD_TESTS_CONTRACT_QUEUE_H
#define LATENTD_TESTS_CONTRACT_QUEUE_H

#include "base/checked.h"
#include "queue/queue.h"
#include "tests/testing.h"

#include <string.h>

struct queue_backend {
	const char *name;
	/* @path: of a file that may be there already; a backend without files ignores it. */
	int (*open)(const char *path, struct queue **out, struct error *err);
	bool reopen; /* after every operation */
};

struct fixture {
	const struct queue_backend *backend;
	char *dir, *path;
	struct queue *q;
	int64_t dataset;
	struct error err;
};

/* Each runs its tests against @backend: the number of failures. */
int contract_queue_enqueue(const struct queue_backend *backend);
int contract_queue_claims(const struct queue_backend *backend);
int contract_queue_catalog(const struct queue_backend *backend);
int contract_queue_changes(const struct queue_backend *backend);
int contract_queue_scans(const struct queue_backend *backend);
int contract_queue_swap(const struct queue_backend *backend);
int contract_queue_captions(const struct queue_backend *backend);
int contract_queue_lists(const struct queue_backend *backend);
int contract_queue_spent(const struct queue_backend *backend);
int contract_queue_history(const struct queue_backend *backend);

/* For cmocka_unit_test_setup_teardown; the backend is the one that runs. */
void fixture_use(const struct queue_backend *backend);
int fixture_setup(void **state);
int fixture_teardown(void **state);

#define contract_test(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

void fixture_after(struct fixture *f);
void fixture_close(struct fixture *f);

/* All that the queue shows, as text: equal text is an equal queue. Checks counters and orders on the way. */
void queue_dump(struct queue *q, struct buffer *out);
/* Fails unless @q still shows what @before says. */
void assert_unchanged(struct queue *q, const struct buffer *before);
/* Opens the SQLite queue at @path for reading, dumps and closes it. */
void read_whole_queue(const char *path);
void assert_file_is(const char *path, const struct buffer *bytes);

/* -- short forms; each fails the test where the queue does not return 0 ------------------------------ */

#define NOW   1000000
#define LEASE 60000
#define ME    "host:boot:1:1"
#define OTHER "host:boot:2:2"

int64_t make_dataset(struct fixture *f, const char *name);
/* A file in root 0, with "distinct" for a second key. @mtime makes versions. */
struct job_spec file_spec(const char *path, const char *key, int64_t mtime);
struct enqueue_counts enqueue_one(struct fixture *f, int64_t dataset, struct job_spec spec);
/* Enqueues "NAME.jpg" with key NAME; the job's id. */
int64_t add_job(struct fixture *f, const char *name);
/* How many of @limit jobs were claimed; to be released one by one. */
size_t claim_jobs(struct fixture *f, const char *owner, struct job *jobs, size_t limit);
/* Adds "NAME.jpg" and claims it: no other job may be claimable. */
struct job add_claimed(struct fixture *f, const char *name);
struct job_outcome outcome_of(const struct job *job, enum outcome_kind kind);
/* Settles one; true if it counted. */
bool settle_one(struct fixture *f, struct job_outcome outcome);
/* Brings a new job "NAME.jpg" into @state, through the interface; its id. */
int64_t job_in_state(struct fixture *f, const char *name, enum job_state state);

/* The row of a job of any dataset: strings to be freed by shown_release. */
struct shown {
	enum job_state state;
	uint32_t root, attempts, crashes;
	char *key, *path, *reason, *message;
	int64_t updated_at;
};
struct shown show_job(struct fixture *f, int64_t id);
void shown_release(struct shown *s);
enum job_state state_of(struct fixture *f, int64_t id);

struct sample_row sample_of(const char *path, const char *key, uint64_t offset);
struct shard_row shard_of(int64_t dataset, const char *path, uint64_t samples);
/* queue_complete and fixture_after; its result. */
int complete(struct fixture *f, const struct shard_row *shard, const struct sample_row *samples,
	     size_t n);

#define cleanup_shown cleanup_with(shown_release)
#define cleanup_job   cleanup_with(job_release)

#endif

#include "daemon/db.h"

#include "base/checked.h"
#include "base/clock.h"

#include <string.h>

struct db {
	struct executor *executor;
	struct queue *queue;
	const char *owner;
};

int db_open(struct inbox *inbox, struct queue *queue, const char *owner, struct db **out,
	    struct error *err)
{
	struct db *db = xcalloc(1, sizeof(*db));

	db->queue = queue;
	db->owner = owner;
	if (executor_open(inbox, "database", &db->executor, err) < 0) {
		free(db);
		return -1;
	}
	*out = db;
	return 0;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	executor_close(db->executor);
	free(db);
}

struct db_caller {
	struct db *db;
	void (*run)(struct queue *queue, void *arg);
	void *arg;
};

static void on_call(void *arg)
{
	const struct db_caller *c = arg;

	c->run(c->db->queue, c->arg);
}

void db_call(struct db *db, void (*run)(struct queue *queue, void *arg), void *arg)
{
	struct db_caller caller = {db, run, arg};

	executor_call(db->executor, on_call, &caller);
}

struct post_task {
	struct task base;
	struct db_caller caller;
};

static void post_run(struct task *task)
{
	struct post_task *t = (struct post_task *)task;

	on_call(&t->caller);
	free(t);
}

void db_post(struct db *db, void (*run)(struct queue *queue, void *arg), void *arg)
{
	struct post_task *t = xcalloc(1, sizeof(*t));

	t->base.run = post_run;
	t->caller = (struct db_caller){db, run, arg};
	executor_post(db->executor, &t->base);
}

/* -- claim ---------------------------------------------------------------------------------------- */

struct claim_task {
	struct task base;
	struct db *db;
	struct queue_claim claim;
	int64_t lease_ms;
	uint32_t *roots;
	size_t n;
	struct job *jobs;
	bool later;
	struct error err;
	db_claimed_fn fn;
	void *arg;
};

static void claim_run(struct task *task)
{
	struct claim_task *t = (struct claim_task *)task;
	int64_t now = clock_steady_wall_ms();
	int r;

	t->claim.owner = t->db->owner;
	t->claim.now = now;
	t->claim.lease_until = now + t->lease_ms;
	r = queue_claim(t->db->queue, &t->claim, t->jobs, &t->n, &t->err);
	if (r > 0)
		t->n = 0;
	t->later = r == QUEUE_LATER;
}

static void claim_done(struct task *task)
{
	struct claim_task *t = (struct claim_task *)task;

	t->fn(t->arg, t->jobs, t->n, t->later, &t->err);
	free(t->jobs);
	free(t->roots);
	free(t);
}

void db_claim(struct db *db, const struct queue_claim *what, int64_t lease_ms, db_claimed_fn fn,
	      void *arg)
{
	struct claim_task *t = xcalloc(1, sizeof(*t));

	t->base.run = claim_run;
	t->base.done = claim_done;
	t->db = db;
	t->claim = *what;
	t->lease_ms = lease_ms;
	t->jobs = xcalloc(what->limit, sizeof(*t->jobs));
	if (what->roots) {
		t->roots = xcalloc(what->n_roots, sizeof(*t->roots));
		memcpy(t->roots, what->roots, what->n_roots * sizeof(*t->roots));
		t->claim.roots = t->roots;
	}
	t->fn = fn;
	t->arg = arg;
	executor_post(db->executor, &t->base);
}

/* -- settle --------------------------------------------------------------------------------------- */

struct settle_task {
	struct task base;
	struct db *db;
	struct job_outcome *outcomes;
	size_t n, lost;
	struct error err;
	db_settled_fn fn;
	void *arg;
};

static void settle_run(struct task *task)
{
	struct settle_task *t = (struct settle_task *)task;

	queue_settle(t->db->queue, t->outcomes, t->n, clock_steady_wall_ms(), &t->lost, &t->err);
}

static void settle_done(struct task *task)
{
	struct settle_task *t = (struct settle_task *)task;

	t->fn(t->arg, t->lost, &t->err);
	for (size_t i = 0; i < t->n; i++) {
		free((char *)t->outcomes[i].reason);
		free((char *)t->outcomes[i].message);
	}
	free(t->outcomes);
	free(t);
}

void db_settle(struct db *db, struct job_outcome *outcomes, size_t n, db_settled_fn fn, void *arg)
{
	struct settle_task *t = xcalloc(1, sizeof(*t));

	t->base.run = settle_run;
	t->base.done = settle_done;
	t->db = db;
	t->outcomes = outcomes;
	t->n = n;
	t->fn = fn;
	t->arg = arg;
	executor_post(db->executor, &t->base);
}

/* -- complete ------------------------------------------------------------------------------------- */

struct complete_task {
	struct task base;
	struct db *db;
	const struct shard_row *shard;
	const struct sample_row *samples;
	size_t n;
	int result;
	struct error err;
	db_completed_fn fn;
	void *arg;
};

static void complete_run(struct task *task)
{
	struct complete_task *t = (struct complete_task *)task;
	int64_t id;

	t->result = queue_complete(t->db->queue, t->shard, t->samples, t->n, clock_steady_wall_ms(),
				   &id, &t->err);
}

static void complete_done(struct task *task)
{
	struct complete_task *t = (struct complete_task *)task;

	t->fn(t->arg, t->result == QUEUE_CONFLICT, &t->err);
	free(t);
}

void db_complete(struct db *db, const struct shard_row *shard, const struct sample_row *samples,
		 size_t n, db_completed_fn fn, void *arg)
{
	struct complete_task *t = xcalloc(1, sizeof(*t));

	t->base.run = complete_run;
	t->base.done = complete_done;
	t->db = db;
	t->shard = shard;
	t->samples = samples;
	t->n = n;
	t->fn = fn;
	t->arg = arg;
	executor_post(db->executor, &t->base);
}

/* -- find ----------------------------------------------------------------------------------------- */

struct find_task {
	struct task base;
	struct db *db;
	int64_t dataset;
	const struct hash128 *contents;
	struct content_found *found;
	size_t n;
	bool variants;
	struct error err;
	db_found_fn fn;
	void *arg;
};

static void find_run(struct task *task)
{
	struct find_task *t = (struct find_task *)task;

	for (size_t i = 0; i < t->n; i++) {
		struct content_found *found = &t->found[i];

		if (queue_find_content(t->db->queue, t->dataset, &t->contents[i], found, &t->err) <
		    0)
			return;
		if (t->variants && found->where == CONTENT_VISIBLE &&
		    queue_find_variants(t->db->queue, found, &t->err) < 0)
			return;
	}
}

static void find_done(struct task *task)
{
	struct find_task *t = (struct find_task *)task;

	t->fn(t->arg, t->found, t->n, &t->err);
	for (size_t i = 0; i < t->n; i++)
		content_found_release(&t->found[i]);
	free(t->found);
	free(t);
}

void db_find(struct db *db, int64_t dataset, const struct hash128 *contents, size_t n,
	     bool variants, db_found_fn fn, void *arg)
{
	struct find_task *t = xcalloc(1, sizeof(*t));

	t->base.run = find_run;
	t->base.done = find_done;
	t->db = db;
	t->dataset = dataset;
	t->contents = contents;
	t->found = xcalloc(n, sizeof(*t->found));
	t->n = n;
	t->variants = variants;
	t->fn = fn;
	t->arg = arg;
	executor_post(db->executor, &t->base);
}

/* -- count ---------------------------------------------------------------------------------------- */

struct count_task {
	struct task base;
	struct db *db;
	int64_t dataset;
	struct queue_counts counts;
	struct error err;
	db_counted_fn fn;
	void *arg;
};

static void count_run(struct task *task)
{
	struct count_task *t = (struct count_task *)task;

	queue_counts(t->db->queue, t->dataset, &t->counts, &t->err);
}

static void count_done(struct task *task)
{
	struct count_task *t = (struct count_task *)task;

	t->fn(t->arg, &t->counts, &t->err);
	free(t);
}

void db_count(struct db *db, int64_t dataset, db_counted_fn fn, void *arg)
{
	struct count_task *t = xcalloc(1, sizeof(*t));

	t->base.run = count_run;
	t->base.done = count_done;
	t->db = db;
	t->dataset = dataset;
	t->fn = fn;
	t->arg = arg;
	executor_post(db->executor, &t->base);
}

/* -- ping ----------------------------------------------------------------------------------------- */

static void ping_run(struct task *task)
{
	(void)task;
}

static void ping_done(struct task *task)
{
	struct db_ping *ping = (struct db_ping *)task;

	ping->fn(ping->arg);
}

void db_ping(struct db *db, struct db_ping *ping)
{
	ping->base.run = ping_run;
	ping->base.done = ping_done;
	executor_post(db->executor, &ping->base);
}

/* -- extend --------------------------------------------------------------------------------------- */

struct extend_task {
	struct task base;
	struct db *db;
	int64_t lease_ms;
	struct error err;
	db_extended_fn fn;
	void *arg;
};

static void extend_run(struct task *task)
{
	struct extend_task *t = (struct extend_task *)task;

	queue_extend(t->db->queue, t->db->owner, clock_steady_wall_ms() + t->lease_ms, &t->err);
}

static void extend_done(struct task *task)
{
	struct extend_task *t = (struct extend_task *)task;

	t->fn(t->arg, &t->err);
	free(t);
}

void db_extend(struct db *db, int64_t lease_ms, db_extended_fn fn, void *arg)
{
	struct extend_task *t = xcalloc(1, sizeof(*t));

	t->base.run = extend_run;
	t->base.done = extend_done;
	t->db = db;
	t->lease_ms = lease_ms;
	t->fn = fn;
	t->arg = arg;
	executor_post(db->executor, &t->base);
}

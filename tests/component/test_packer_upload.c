/*
 * Shards that go to a store elsewhere: packing does not wait for it. The store here is one in memory behind a gate.
 */
#include "run_rig.h"

#include "base/checked.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct remote {
	struct store base;
	struct store *inner;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool open;	     /* publishing goes on */
	bool full, fails;    /* no writer can be begun; publishing fails */
	size_t begun, asked; /* writers, and publishings, so far */
	size_t writers;	     /* there are now */
};

struct remote_writer {
	struct store_writer base;
	struct store_writer *inner;
};

static struct remote *remote_of(struct store *s)
{
	return (struct remote *)s;
}

#define LOCKED(remote, call)                                                                       \
	(__extension__({                                                                           \
		pthread_mutex_lock(&(remote)->lock);                                               \
		__typeof__(call) locked_ = (call);                                                 \
		pthread_mutex_unlock(&(remote)->lock);                                             \
		locked_;                                                                           \
	}))

static int remote_write(struct sink *sink, const void *data, size_t size, struct error *err)
{
	struct remote_writer *w = (struct remote_writer *)sink;

	return LOCKED(remote_of(w->base.store),
		      sink_write(store_writer_sink(w->inner), data, size, err));
}

static int remote_begin(struct store *s, struct store_writer **out, struct error *err)
{
	struct remote *remote = remote_of(s);
	struct remote_writer *w;

	if (LOCKED(remote, remote->full))
		return error_set(err, ERR_IO, "no space left on device");
	w = xcalloc(1, sizeof(*w));
	w->base = (struct store_writer){.sink = {.write = remote_write}, .store = s};
	assert_ok(LOCKED(remote, store_begin(remote->inner, &w->inner, err)), err);
	pthread_mutex_lock(&remote->lock);
	remote->begun++;
	remote->writers++;
	pthread_mutex_unlock(&remote->lock);
	*out = &w->base;
	return 0;
}

static int remote_flush(struct store_writer *w, struct error *err)
{
	return LOCKED(remote_of(w->store), store_flush(((struct remote_writer *)w)->inner, err));
}

static int remote_writer_read(struct store_writer *w, void *data, size_t size, uint64_t offset,
			      struct error *err)
{
	return LOCKED(remote_of(w->store), store_writer_read(((struct remote_writer *)w)->inner,
							     data, size, offset, err));
}

static int remote_publish(struct store_writer *w, enum store_area area, const char *name,
			  struct error *err)
{
	struct remote *remote = remote_of(w->store);
	int r;

	assert_int_equal(area, STORE_VISIBLE);
	pthread_mutex_lock(&remote->lock);
	remote->asked++;
	pthread_cond_broadcast(&remote->change);
	while (!remote->open)
		pthread_cond_wait(&remote->change, &remote->lock);
	r = remote->fails ? error_set(err, ERR_TRANSIENT, "the store is asleep")
			  : store_publish(((struct remote_writer *)w)->inner, name, err);
	pthread_mutex_unlock(&remote->lock);
	return r;
}

static void remote_discard(struct store_writer *w)
{
	struct remote *remote = remote_of(w->store);

	pthread_mutex_lock(&remote->lock);
	store_discard(((struct remote_writer *)w)->inner);
	remote->writers--;
	pthread_mutex_unlock(&remote->lock);
	free(w);
}

static int remote_mirror(struct store *s, const char *name, const void *data, size_t size,
			 struct error *err)
{
	(void)s;
	(void)name;
	(void)data;
	(void)size;
	(void)err;
	return 0;
}

static const struct store_ops remote_ops = {.name = "remote",
					    .begin = remote_begin,
					    .flush = remote_flush,
					    .writer_read = remote_writer_read,
					    .publish = remote_publish,
					    .discard = remote_discard,
					    .mirror = remote_mirror};

/* -- the rig ------------------------------------------------------------------------------------------ */

struct rig {
	struct run run;
	struct remote remote;
};

static int setup(void **state)
{
	struct rig *rig = xcalloc(1, sizeof(*rig));

	run_open(&rig->run);
	rig->remote = (struct remote){.base = {&remote_ops}, .inner = rig->run.store};
	pthread_mutex_init(&rig->remote.lock, NULL);
	pthread_cond_init(&rig->remote.change, NULL);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	run_close(&rig->run);
	pthread_cond_destroy(&rig->remote.change);
	pthread_mutex_destroy(&rig->remote.lock);
	free(rig);
	return 0;
}

/* A packer that makes shards of two samples, with @n images "a0.png" .. claimed. */
static void start(struct rig *rig, struct job *jobs, size_t n)
{
	struct run_limits limits = {.samples = 2};

	for (size_t i = 0; i < n; i++) {
		cleanup_free char *path = xasprintf("a%zu.png", i);

		jobs[i] = run_claimed(&rig->run, path, i);
	}
	run_open_loop(&rig->run);
	rig->run.store = &rig->remote.base;
	run_open_packer(&rig->run, &limits);
	rig->run.store = rig->remote.inner;
}

static void append(struct rig *rig, const struct job *jobs, size_t n)
{
	struct finished *items = xcalloc(n, sizeof(*items));

	for (size_t i = 0; i < n; i++)
		items[i] = run_finished(&jobs[i], 64, 64);
	packer_append(rig->run.packer, items, n);
	packer_sync(rig->run.packer);
}

static void release_many(struct job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		job_release(&jobs[i]);
}

static void set_open(struct rig *rig, bool fails)
{
	pthread_mutex_lock(&rig->remote.lock);
	rig->remote.open = true;
	rig->remote.fails = fails;
	pthread_cond_broadcast(&rig->remote.change);
	pthread_mutex_unlock(&rig->remote.lock);
}

static void until_encoded(struct rig *rig, size_t n)
{
	while (rig->run.encoded < n)
		run_turn(&rig->run);
}

/* The first shard is at the gate, and the second has been begun. */
static void until_two_are_begun(struct rig *rig)
{
	while (LOCKED(&rig->remote, rig->remote.begun) < 2)
		run_turn(&rig->run);
	pthread_mutex_lock(&rig->remote.lock);
	while (rig->remote.asked < 1)
		pthread_cond_wait(&rig->remote.change, &rig->remote.lock);
	pthread_mutex_unlock(&rig->remote.lock);
}

static void finish(struct rig *rig, const char *catalog)
{
	cleanup_free char *got = NULL;

	run_until_idle(&rig->run);
	run_close_packer(&rig->run);
	assert_int_equal(rig->remote.writers, 0);
	got = run_catalog(&rig->run);
	assert_string_equal(got, catalog);
}

/* -- what it does ------------------------------------------------------------------------------------- */

static void images_become_durable_and_the_next_shard_is_made_while_one_is_uploaded(void **state)
{
	struct rig *rig = *state;
	struct job jobs[5];

	start(rig, jobs, 5);
	append(rig, jobs, 4);
	until_two_are_begun(rig);
	append(rig, &jobs[4], 1);
	until_encoded(rig, 5);
	assert_int_equal(rig->run.shards, 0);
	assert_true(packer_sealing(rig->run.packer));
	assert_true(packer_unsealed_bytes(rig->run.packer) > 0);
	set_open(rig, false);
	packer_drain(rig->run.packer, true);
	finish(rig, "train/64x64/000000.tar: a0 a1\n"
		    "train/64x64/000001.tar: a2 a3\n"
		    "train/64x64/000002.tar: a4\n");
	assert_int_equal(rig->run.shards, 3);
	assert_int_equal(spool_records(rig->run.spool), 0);
	release_many(jobs, 5);
}

static void before_a_slow_store_two_shards_wait_and_a_few_more_in_the_spool(void **state)
{
	struct rig *rig = *state;
	struct job jobs[14];

	start(rig, jobs, 14);
	append(rig, jobs, 4);
	until_encoded(rig, 4);
	until_two_are_begun(rig);
	append(rig, &jobs[4], 9);
	until_encoded(rig, 13);
	assert_false(packer_is_behind(rig->run.packer));
	append(rig, &jobs[13], 1);
	until_encoded(rig, 14);
	assert_true(packer_is_behind(rig->run.packer));
	assert_int_equal(packer_waiting(rig->run.packer), 14);
	assert_int_equal(LOCKED(&rig->remote, rig->remote.begun), 2);
	set_open(rig, false);
	packer_drain(rig->run.packer, true);
	run_until_idle(&rig->run);
	assert_false(packer_is_behind(rig->run.packer));
	finish(rig, "train/64x64/000000.tar: a0 a1\n"
		    "train/64x64/000001.tar: a2 a3\n"
		    "train/64x64/000002.tar: a4 a5\n"
		    "train/64x64/000003.tar: a6 a7\n"
		    "train/64x64/000004.tar: a8 a9\n"
		    "train/64x64/000005.tar: a10 a11\n"
		    "train/64x64/000006.tar: a12 a13\n");
	release_many(jobs, 14);
}

static void an_upload_that_fails_is_told_once_and_what_was_packed_meanwhile_stays(void **state)
{
	struct rig *rig = *state;
	struct job jobs[5];

	start(rig, jobs, 5);
	append(rig, jobs, 4);
	until_two_are_begun(rig);
	append(rig, &jobs[4], 1);
	until_encoded(rig, 5);
	set_open(rig, true);
	packer_drain(rig->run.packer, true);
	finish(rig, "");
	assert_int_equal(rig->run.fatal.code, ERR_TRANSIENT);
	assert_non_null(strstr(rig->run.fatal.message, "asleep"));
	assert_int_equal(rig->remote.asked, 1); /* the second one is not tried against it */
	assert_int_equal(run_count(&rig->run, JOB_ENCODED), 5);
	assert_int_equal(spool_records(rig->run.spool), 5);
	release_many(jobs, 5);
}

static void who_stops_waits_for_the_upload_that_is_under_way_and_begins_no_other(void **state)
{
	struct rig *rig = *state;
	struct job jobs[4];

	start(rig, jobs, 4);
	append(rig, jobs, 4);
	until_two_are_begun(rig);
	packer_drain(rig->run.packer, false);
	assert_false(packer_idle(rig->run.packer));
	set_open(rig, false);
	finish(rig, "train/64x64/000000.tar: a0 a1\n");
	assert_int_equal(rig->run.fatal.code, ERR_NONE);
	assert_int_equal(run_count(&rig->run, JOB_COMPLETED), 2);
	assert_int_equal(run_count(&rig->run, JOB_ENCODED), 2);
	assert_int_equal(spool_records(rig->run.spool), 2);
	release_many(jobs, 4);
}

static void a_full_disk_ends_the_run_and_the_upload_that_is_under_way_counts(void **state)
{
	struct rig *rig = *state;
	struct job jobs[4];

	start(rig, jobs, 4);
	append(rig, jobs, 2);
	while (LOCKED(&rig->remote, rig->remote.begun) < 1)
		run_turn(&rig->run);
	pthread_mutex_lock(&rig->remote.lock);
	rig->remote.full = true;
	pthread_mutex_unlock(&rig->remote.lock);
	append(rig, &jobs[2], 2);
	while (rig->run.fatal.code == ERR_NONE)
		run_turn(&rig->run);
	assert_int_equal(rig->run.fatal.code, ERR_IO);
	assert_int_equal(rig->run.shards, 0);
	set_open(rig, false);
	finish(rig, "train/64x64/000000.tar: a0 a1\n");
	assert_int_equal(run_count(&rig->run, JOB_ENCODED), 2);
	assert_int_equal(spool_records(rig->run.spool), 2);
	release_many(jobs, 4);
}

static void a_hold_waits_for_uploads(void **state)
{
	struct rig *rig = *state;
	struct job jobs[6];

	start(rig, jobs, 6);
	append(rig, jobs, 4);
	until_two_are_begun(rig);
	packer_hold(rig->run.packer, true);
	append(rig, &jobs[4], 2);
	until_encoded(rig, 6);
	assert_true(packer_sealing(rig->run.packer));
	set_open(rig, false);
	while (packer_sealing(rig->run.packer))
		run_turn(&rig->run);
	assert_int_equal(rig->run.shards, 2);
	packer_hold(rig->run.packer, false);
	packer_drain(rig->run.packer, true);
	finish(rig, "train/64x64/000000.tar: a0 a1\n"
		    "train/64x64/000001.tar: a2 a3\n"
		    "train/64x64/000002.tar: a4 a5\n");
	release_many(jobs, 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(images_become_durable_and_the_next_shard_is_made_while_one_is_uploaded),
	    TEST(before_a_slow_store_two_shards_wait_and_a_few_more_in_the_spool),
	    TEST(an_upload_that_fails_is_told_once_and_what_was_packed_meanwhile_stays),
	    TEST(who_stops_waits_for_the_upload_that_is_under_way_and_begins_no_other),
	    TEST(a_full_disk_ends_the_run_and_the_upload_that_is_under_way_counts),
	    TEST(a_hold_waits_for_uploads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

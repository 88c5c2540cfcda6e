/* gc and compact in pieces, on a folder and a queue as a daemon has them. */
#include "run_rig.h"

#include "daemon/catalog.h"
#include "daemon/dataset_store.h"
#include "daemon/recovery.h"
#include "daemon/upkeep.h"

#include "base/checked.h"
#include "base/files.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define OWNER "host:boot:9:9"

struct fixture {
	struct run run;
	char *root, *folder; /* OUT, OUT/photos */
	size_t asked;	     /* whether others wait */
	char notes[4096];
};

static struct error err = ERROR_INIT;

static int setup(void **state)
{
	static struct fixture f;

	error_clear(&err);
	memset(&f, 0, sizeof(f));
	run_open(&f.run);
	f.root = testing_path(f.run.dir, "out");
	f.folder = xasprintf("%s/photos", f.root);
	assert_int_equal(mkdir(f.root, 0755), 0);
	assert_int_equal(mkdir(f.folder, 0755), 0);
	store_close(f.run.store);
	assert_ok(store_local_open(f.folder, false, &f.run.store, &err), &err);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->root);
	free(f->folder);
	run_close(&f->run);
	return 0;
}

static void on_note(void *arg, const char *line)
{
	struct fixture *f = arg;
	size_t n = strlen(f->notes);

	snprintf(f->notes + n, sizeof(f->notes) - n, "%s\n", line);
}

/* What is in sight comes into the catalog. */
static void recover(struct fixture *f)
{
	const struct recovery_options options = {.queue = f->run.queue,
						 .store = f->run.store,
						 .recipe = &f->run.recipe,
						 .dataset = f->run.dataset,
						 .spool_dir = f->run.spool_dir,
						 .owner = RUN_OWNER,
						 .note = on_note,
						 .arg = f};
	struct recovery recovered = {.n = 0};
	struct recoverer *r = NULL;

	spool_close(f->run.spool);
	assert_ok(recovery_begin(&options, &r, &err), &err);
	assert_ok(recovery_finish(r, &recovered, &err), &err);
	recovery_free(r);
	f->run.spool = recovered.spool;
	recovery_release(&recovered);
	f->notes[0] = '\0';
}

/* Shards of two samples each. */
static void make_shards(struct fixture *f, size_t n)
{
	struct job jobs[26];

	for (size_t i = 0; i < 2 * n; i++) {
		char path[] = {(char)('a' + i), '.', 'p', 'n', 'g', '\0'};

		run_enqueue(&f->run, path, i);
	}
	run_claim(&f->run, OWNER, jobs, 2 * n);
	run_spool(&f->run, jobs, 2 * n);
	for (size_t i = 0; i < n; i++)
		free(run_seal(&f->run, &f->run.recipe, &jobs[2 * i], 2));
	for (size_t i = 0; i < 2 * n; i++)
		job_release(&jobs[i]);
	recover(f);
}

/* The first sample of each shard dies. */
static void kill_samples(struct fixture *f)
{
	cleanup_shard_list struct shard_list list = CATALOG_LIST_INIT;

	assert_ok(shard_list_read(f->run.queue, f->run.dataset, &list, &err), &err);
	for (size_t i = 0; i < list.n; i++) {
		cleanup_sample_list struct sample_list samples = CATALOG_LIST_INIT;
		size_t requeued = 0;

		assert_ok(sample_list_read(f->run.queue, list.rows[i].id, &samples, &err), &err);
		assert_ok(queue_drop_samples(f->run.queue, list.rows[i].id, &samples.rows[0].offset,
					     1, 3000, &requeued, &err),
			  &err);
	}
}

static bool others_wait(void *arg)
{
	((struct fixture *)arg)->asked++;
	return true;
}

/* In how many turns. */
static size_t keep_up(struct fixture *f, const struct upkeep_order *order, json_t **result)
{
	struct queue_dataset dataset = {
	    .id = f->run.dataset, .name = (char *)"photos", .recipe_id = f->run.recipe.id};
	const struct dataset_store_use use = {.readonly = false};
	const struct upkeep_place place = {.queue = f->run.queue,
					   .dataset = &dataset,
					   .root = f->root,
					   .use = &use,
					   .waited_for = others_wait,
					   .note = on_note,
					   .arg = f};
	struct upkeep *u = upkeep_new(order);
	size_t turns = 1;
	int r;

	while ((r = upkeep_run(u, &place, &err)) == UPKEEP_GOES_ON && turns < 100)
		turns++;
	assert_ok(r, &err);
	assert_int_equal(r, 0);
	*result = upkeep_result(u);
	upkeep_free(u);
	return turns;
}

static void assert_number(json_t *result, const char *member, json_int_t wanted)
{
	json_int_t n = json_integer_value(json_object_get(result, member));

	if (n != wanted)
		fail_msg("%s is %lld, not %lld", member, (long long)n, (long long)wanted);
}

static void while_others_wait_one_shard_is_done_at_a_time(void **state)
{
	static const struct upkeep_order gc = {.kind = UPKEEP_GC, .grace_hours = 24};
	struct fixture *f = *state;
	json_t *result = NULL;

	make_shards(f, 4);
	kill_samples(f);
	assert_int_equal(keep_up(f, &gc, &result), 4);
	assert_number(result, "retired", 4);
	assert_number(result, "dead", 4);
	assert_number(result, "samples", 4);
	assert_number(result, "kept", 4);
	json_decref(result);
	/* Nothing is left. */
	assert_int_equal(keep_up(f, &gc, &result), 1);
	assert_number(result, "retired", 0);
	json_decref(result);
	assert_string_equal(f->notes, "");
}

static void small_shards_are_merged_in_turns_until_none_are_left(void **state)
{
	static const struct upkeep_order compact = {
	    .kind = UPKEEP_COMPACT, .shard_samples = 5, .shard_bytes = 1 << 30};
	struct fixture *f = *state;
	cleanup_shard_list struct shard_list list = CATALOG_LIST_INIT;
	json_t *result = NULL;

	make_shards(f, 6);
	assert_in_range(keep_up(f, &compact, &result), 2, 6);
	assert_number(result, "retired", 6);
	assert_number(result, "samples", 12);
	json_decref(result);
	assert_ok(shard_list_read(f->run.queue, f->run.dataset, &list, &err), &err);
	assert_int_equal(list.n, 3);
}

static void a_dry_run_counts_everything_once_though_others_wait(void **state)
{
	static const struct upkeep_order gc = {.kind = UPKEEP_GC, .dry_run = true};
	struct fixture *f = *state;
	json_t *result = NULL;

	make_shards(f, 4);
	kill_samples(f);
	assert_int_equal(keep_up(f, &gc, &result), 1);
	assert_number(result, "retired", 4);
	json_decref(result);
}

/* It is named, stays, and is not met again and again. */
static void a_damaged_shard_does_not_hold_up_the_others(void **state)
{
	static const struct upkeep_order gc = {.kind = UPKEEP_GC, .grace_hours = 24};
	struct fixture *f = *state;
	cleanup_free char *path = xasprintf("%s/train/64x64/000000.tar", f->folder);
	json_t *result = NULL;
	FILE *file;

	make_shards(f, 3);
	kill_samples(f);
	file = fopen(path, "r+b");
	assert_non_null(file);
	assert_int_equal(fseek(file, -1, SEEK_END), 0);
	fputc('x', file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(keep_up(f, &gc, &result), 2);
	assert_number(result, "retired", 2);
	json_decref(result);
	if (!strstr(f->notes, "000000.tar"))
		fail_msg("\"%s\" names no shard", f->notes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(while_others_wait_one_shard_is_done_at_a_time),
	    TEST(small_shards_are_merged_in_turns_until_none_are_left),
	    TEST(a_dry_run_counts_everything_once_though_others_wait),
	    TEST(a_damaged_shard_does_not_hold_up_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "run_rig.h"
#include "tests/storage_faults.h"

#include "daemon/recovery.h"
#include "daemon/repair.h"
#include "queue/queue_open.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define DEAD "host:boot:9:9"

struct fixture {
	struct run run;
	char *out; /* the dataset's folder */
	char notes[8192];
	struct rewritten done;
	char drop; /* the sample whose key begins so; '\0': none */
	const char *caption;
	size_t settled; /* crashes whose rewrite recovery completed */
	size_t full;	/* samples of a full shard; 0: no limit */
};

static struct error err = ERROR_INIT;

static int setup(void **state)
{
	static struct fixture f;

	error_clear(&err);
	memset(&f, 0, sizeof(f));
	run_open(&f.run);
	f.out = testing_path(f.run.dir, "out");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->out);
	run_close(&f->run);
	return 0;
}

static void on_note(void *arg, const char *line)
{
	struct fixture *f = arg;
	size_t n = strlen(f->notes);

	snprintf(f->notes + n, sizeof(f->notes) - n, "%s\n", line);
}

static void assert_noted(const struct fixture *f, const char *words)
{
	if (!strstr(f->notes, words))
		fail_msg("\"%s\" does not say \"%s\"", f->notes, words);
}

/* -- the output ------------------------------------------------------------------------------------- */

/* What a new process does first. */
static void recover(struct fixture *f)
{
	struct recovery_options options = {.queue = f->run.queue,
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
	f->notes[0] = '\0';
	assert_ok(recovery_begin(&options, &r, &err), &err);
	assert_ok(recovery_finish(r, &recovered, &err), &err);
	recovery_free(r);
	f->run.spool = recovered.spool;
	recovery_release(&recovered);
}

/* Shards of @each samples, @n in all, with the keys a, b, c ... */
static void shards(struct fixture *f, size_t n, size_t each)
{
	struct job jobs[26];

	for (size_t i = 0; i < n * each; i++) {
		char path[] = {(char)('a' + i), '.', 'p', 'n', 'g', '\0'};

		run_enqueue(&f->run, path, i);
	}
	run_claim(&f->run, DEAD, jobs, n * each);
	run_spool(&f->run, jobs, n * each);
	for (size_t i = 0; i < n; i++)
		free(run_seal(&f->run, &f->run.recipe, &jobs[i * each], each));
	for (size_t i = 0; i < n * each; i++)
		job_release(&jobs[i]);
	recover(f);
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), n * each);
}

static struct shard_list catalog(struct fixture *f)
{
	struct shard_list list = CATALOG_LIST_INIT;

	assert_ok(shard_list_read(f->run.queue, f->run.dataset, &list, &err), &err);
	return list;
}

/* The sample number @index of shard number @shard dies, as damage would have it. */
static void kill_sample(struct fixture *f, size_t shard, size_t index)
{
	cleanup_shard_list struct shard_list list = catalog(f);
	cleanup_sample_list struct sample_list samples = CATALOG_LIST_INIT;
	size_t requeued = 0;

	assert_ok(sample_list_read(f->run.queue, list.rows[shard].id, &samples, &err), &err);
	assert_ok(queue_drop_samples(f->run.queue, list.rows[shard].id, &samples.rows[index].offset,
				     1, 3000, &requeued, &err),
		  &err);
	assert_int_equal(requeued, 1);
}

static void assert_catalog(struct fixture *f, const char *want)
{
	cleanup_free char *text = run_catalog(&f->run);

	assert_string_equal(text, want);
}

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	(void)bytes;
	buffer_appendf(arg, "%s%s", ((struct buffer *)arg)->size > 0 ? " " : "", name);
	return 0;
}

static void assert_area(struct fixture *f, enum store_area area, const char *want)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	assert_ok(store_list_area(f->run.store, area, on_object, &text, &err), &err);
	assert_string_equal(text.data ? (const char *)text.data : "", want);
}

/* -- rewriting -------------------------------------------------------------------------------------- */

static bool drops(void *arg, const struct sample_row *row)
{
	const struct fixture *f = arg;

	return row->key[0] == f->drop;
}

static int edits(void *arg, const struct sample_row *row, struct record *record, struct error *why)
{
	const struct fixture *f = arg;
	struct record changed;

	if (!f->caption || row->key[0] != 'b')
		return 0;
	assert_ok(record_init(&changed, record->key, record->group, why), why);
	for (size_t i = 0; i < record->n_members; i++) {
		struct record_member *m = &record->members[i];
		bool text = strcmp(m->suffix, "txt") == 0;

		assert_ok(record_add(&changed, m->suffix,
				     text ? (const void *)f->caption : m->data.data,
				     text ? strlen(f->caption) : m->data.size, why),
			  why);
	}
	record_release(record);
	*record = changed;
	return 0;
}

static struct rewrite_options options_of(struct fixture *f)
{
	return (struct rewrite_options){.queue = f->run.queue,
					.store = f->run.store,
					.dataset = f->run.dataset,
					.recipe_id = f->run.recipe.id,
					.shard_samples = f->full,
					.drop = drops,
					.edit = edits,
					.note = on_note,
					.arg = f};
}

static struct replaced_options replaced_of(struct fixture *f)
{
	return (struct replaced_options){.queue = f->run.queue,
					 .store = f->run.store,
					 .dataset = f->run.dataset,
					 .note = on_note,
					 .arg = f};
}

typedef int (*rewrite_fn)(struct rewriter *w, struct error *err);

static void rewrite_with(struct fixture *f, const struct rewrite_options *options, rewrite_fn fn)
{
	struct rewriter *w = NULL;

	assert_ok(rewriter_open(options, &w, &err), &err);
	assert_ok(fn(w, &err), &err);
	f->done = *rewriter_done(w);
	rewriter_close(w);
}

/* All shards into as few as can be. */
static int try_rewrite_all(struct fixture *f)
{
	const struct rewrite_options options = options_of(f);
	cleanup_shard_list struct shard_list list = catalog(f);
	struct rewriter *w = NULL;
	int r;

	assert_ok(rewriter_open(&options, &w, &err), &err);
	r = rewrite(w, list.rows, list.n, &err);
	rewriter_close(w);
	return r;
}

static void dead_samples_are_left_behind(void **state)
{
	struct fixture *f = *state;
	const struct rewrite_options options = options_of(f);

	shards(f, 2, 3);
	kill_sample(f, 0, 1);
	rewrite_with(f, &options, rewrite_dead);
	assert_catalog(f, "train/64x64/000001.tar: d e f\ntrain/64x64/000002.tar: a c\n");
	assert_area(f, STORE_VISIBLE, "train/64x64/000001.tar train/64x64/000002.tar");
	assert_area(f, STORE_RETIRED, "train/64x64/000000.tar");
	assert_area(f, STORE_STAGED, "");
	assert_int_equal(f->done.dead, 1);
	assert_int_equal(f->done.samples, 2);
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 5);
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 1);
	/* And the retired shard never comes back. */
	recover(f);
	assert_string_equal(f->notes, "");
	assert_area(f, STORE_VISIBLE, "train/64x64/000001.tar train/64x64/000002.tar");
}

static void a_shard_of_dead_samples_is_only_retired(void **state)
{
	struct fixture *f = *state;
	const struct rewrite_options options = options_of(f);

	shards(f, 1, 1);
	kill_sample(f, 0, 0);
	rewrite_with(f, &options, rewrite_dead);
	assert_catalog(f, "");
	assert_area(f, STORE_VISIBLE, "");
	assert_area(f, STORE_RETIRED, "train/64x64/000000.tar");
	assert_int_equal(f->done.shards, 0);
}

static void small_shards_are_merged_up_to_a_full_one(void **state)
{
	struct fixture *f = *state;
	struct rewrite_options options = options_of(f);

	options.shard_samples = 6;
	shards(f, 5, 2);
	kill_sample(f, 1, 0);
	rewrite_with(f, &options, rewrite_small);
	assert_catalog(f, "train/64x64/000005.tar: a b d e f\ntrain/64x64/000006.tar: g h i j\n");
	assert_int_equal(f->done.retired, 5);
	assert_int_equal(f->done.shards, 2);
	/* What is at least half full stays, so that this comes to an end. */
	rewrite_with(f, &options, rewrite_small);
	assert_int_equal(f->done.retired, 0);
}

static void a_long_rewrite_is_cut_into_full_shards(void **state)
{
	struct fixture *f = *state;
	struct rewrite_options options = options_of(f);
	struct rewriter *w = NULL;
	cleanup_shard_list struct shard_list list = CATALOG_LIST_INIT;

	shards(f, 2, 4);
	options.shard_samples = 3;
	list = catalog(f);
	assert_ok(rewriter_open(&options, &w, &err), &err);
	assert_ok(rewrite(w, list.rows, list.n, &err), &err);
	rewriter_close(w);
	assert_catalog(f, "train/64x64/000002.tar: a b c\ntrain/64x64/000003.tar: d e f\n"
			  "train/64x64/000004.tar: g h\n");
}

static void a_sample_can_be_deleted(void **state)
{
	struct fixture *f = *state;

	shards(f, 1, 3);
	f->drop = 'b';
	assert_ok(try_rewrite_all(f), &err);
	assert_catalog(f, "train/64x64/000001.tar: a c\n");
	assert_int_equal(run_count(&f->run, JOB_SKIPPED), 1);
}

static int find_caption(void *arg, const struct record *record, const struct shard_span *span,
			struct error *why)
{
	const struct record_member *text = record_member(record, "txt");

	(void)span;
	(void)why;
	buffer_appendf(arg, "%s=%s ", record->key, text->data.data ? (char *)text->data.data : "");
	return 0;
}

static void a_record_can_be_changed(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer text = BUFFER_INIT;

	shards(f, 1, 3);
	f->caption = "new words";
	assert_ok(try_rewrite_all(f), &err);
	assert_ok(
	    shard_read_stored(f->run.store, "train/64x64/000001.tar", find_caption, &text, &err),
	    &err);
	assert_string_equal((char *)text.data, "a= b=new words c= ");
	assert_int_equal(run_count(&f->run, JOB_COMPLETED), 3);
}

static void a_dry_run_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct rewrite_options options = options_of(f);

	shards(f, 2, 2);
	kill_sample(f, 0, 1);
	options.dry_run = true;
	rewrite_with(f, &options, rewrite_dead);
	assert_int_equal(f->done.retired, 1);
	assert_int_equal(f->done.dead, 1);
	assert_area(f, STORE_VISIBLE, "train/64x64/000000.tar train/64x64/000001.tar");
	assert_area(f, STORE_STAGED, "");
	assert_area(f, STORE_RETIRED, "");
}

/* -- damage ----------------------------------------------------------------------------------------- */

/* Flips a bit @behind bytes after @words in a visible shard. */
static void flip(struct fixture *f, const char *name, const char *words, size_t behind)
{
	struct store_writer *w = NULL;
	uint64_t size = 0;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	uint8_t *at;

	assert_ok(store_size(f->run.store, name, &size, &err), &err);
	buffer_append_zeros(&bytes, size);
	assert_ok(store_read(f->run.store, name, bytes.data, size, 0, &err), &err);
	assert_ok(store_quarantine(f->run.store, name, &err), &err);
	at = memmem(bytes.data, bytes.size, words, strlen(words));
	assert_non_null(at);
	at[behind] ^= 1;
	assert_ok(store_begin(f->run.store, &w, &err), &err);
	assert_ok(sink_write(store_writer_sink(w), bytes.data, size, &err), &err);
	assert_ok(store_publish(w, name, &err), &err);
	store_discard(w);
}

static void a_damaged_shard_is_not_sealed_anew_as_if_it_were_good(void **state)
{
	struct fixture *f = *state;
	const struct rewrite_options options = options_of(f);

	shards(f, 1, 3);
	kill_sample(f, 0, 0);
	flip(f, "train/64x64/000000.tar", "\"time_ids\":[",
	     12); /* no record's own hash covers it */
	rewrite_with(f, &options, rewrite_dead);
	assert_noted(f, "its bytes are not those that were sealed: not rewritten");
	assert_int_equal(f->done.retired, 0);
	assert_area(f, STORE_VISIBLE, "train/64x64/000000.tar");
	assert_area(f, STORE_STAGED, "");
}

static size_t repaired(struct fixture *f)
{
	const struct replaced_options options = replaced_of(f);
	cleanup_shard_list struct shard_list list = catalog(f);
	size_t requeued = 0;

	assert_ok(repair_shard(&options, f->run.recipe.id, &f->run.recipe.form, &list.rows[0],
			       &requeued, &err),
		  &err);
	return requeued;
}

static void of_a_damaged_shard_the_whole_samples_are_kept(void **state)
{
	struct fixture *f = *state;

	shards(f, 1, 3);
	flip(f, "train/64x64/000000.tar", "b.latent.npy.zst", 512 + 60);
	assert_int_equal(repaired(f), 1);
	assert_catalog(f, "train/64x64/000001.tar: a c\n");
	assert_area(f, STORE_VISIBLE, "train/64x64/000001.tar");
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 1);
}

static void damage_that_no_sample_shows_drops_the_whole_shard(void **state)
{
	struct fixture *f = *state;

	shards(f, 1, 3);
	flip(f, "train/64x64/000000.tar", "\"time_ids\":[", 12);
	assert_int_equal(repaired(f), 3);
	assert_catalog(f, "");
	assert_area(f, STORE_VISIBLE, "");
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 3);
}

/* -- what was replaced ------------------------------------------------------------------------------ */

static void retired_files_go_after_the_grace_time(void **state)
{
	struct fixture *f = *state;
	const struct replaced_options options = replaced_of(f);
	int64_t now = clock_wall_ms();
	struct replaced_swept swept;

	shards(f, 2, 2);
	assert_ok(try_rewrite_all(f), &err);
	assert_ok(replaced_sweep(&options, now - 1000, false, &swept, &err), &err);
	assert_int_equal(swept.removed, 0);
	assert_int_equal(swept.kept, 2);
	assert_ok(replaced_sweep(&options, INT64_MAX, true, &swept, &err), &err);
	assert_int_equal(swept.removed, 2);
	assert_area(f, STORE_RETIRED, "train/64x64/000000.tar train/64x64/000001.tar");
	assert_ok(replaced_sweep(&options, INT64_MAX, false, &swept, &err), &err);
	assert_int_equal(swept.removed, 2);
	assert_area(f, STORE_RETIRED, "");
	assert_ok(replaced_sweep(&options, INT64_MAX, false, &swept, &err), &err);
	assert_int_equal(swept.removed, 0);
}

static void readers_are_told_what_is_dead(void **state)
{
	struct fixture *f = *state;
	const struct rewrite_options options = options_of(f);
	cleanup_free char *folder = testing_path(f->out, ".latentd");
	cleanup_free char *path = testing_path(folder, "removed.txt");
	cleanup_buffer struct buffer text = BUFFER_INIT;

	assert_ok(dir_make(folder, &err), &err);
	shards(f, 2, 2);
	kill_sample(f, 1, 0);
	assert_ok(removed_list_write(f->run.queue, f->run.dataset, f->out, &err), &err);
	text = testing_read(path);
	assert_string_equal((char *)text.data, "train/64x64/000001.tar\tc\n");
	assert_ok(replaced_tidy(&options, f->out, &err), &err);
	assert_false(file_exists(path));
}

/* -- a crash at every step -------------------------------------------------------------------------- */

/* The same on disk, so that a child can die and the parent go on. */
static void open_on_disk(struct fixture *f, bool first)
{
	const struct queue_dataset_spec spec = {"photos", "/out/photos", f->run.recipe.id,
						f->run.recipe.json};
	cleanup_free char *path = testing_path(f->run.dir, "queue.db");

	if (first) {
		queue_close(f->run.queue);
		store_close(f->run.store);
	}
	assert_ok(queue_sqlite_open(path, &f->run.queue, &err), &err);
	assert_ok(queue_open_dataset(f->run.queue, &spec, &f->run.dataset, &err), &err);
	assert_ok(store_local_open(f->out, false, &f->run.store, &err), &err);
}

static void close_on_disk(struct fixture *f)
{
	queue_close(f->run.queue);
	store_close(f->run.store);
	f->run.queue = NULL;
	f->run.store = NULL;
}

/* Rewrites in a child that dies at its n-th system call; whether it died. */
static bool rewrite_and_die(struct fixture *f, size_t n)
{
	int status = 0;
	pid_t child;

	close_on_disk(f);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		open_on_disk(f, false);
		faults_begin();
		faults_die_nth(n);
		_exit(try_rewrite_all(f) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FAULTS_DIED);
	open_on_disk(f, false);
	return WEXITSTATUS(status) == FAULTS_DIED;
}

/* Every live sample in exactly one visible shard, and no other file in sight. */
static void assert_whole(struct fixture *f, const char *keys)
{
	cleanup_free char *objects = run_objects(&f->run), *text = run_catalog(&f->run);
	cleanup_buffer struct buffer got = BUFFER_INIT, paths = BUFFER_INIT;
	char *rest = text;

	for (char *line; (line = strsep(&rest, "\n")) && *line;) {
		char *colon = strchr(line, ':');

		buffer_appendf(&paths, "%.*s\n", (int)(colon - line), line);
		buffer_append_string(&got, colon + 1);
	}
	assert_string_equal(objects, (char *)paths.data);
	assert_string_equal((char *)got.data, keys);
	assert_area(f, STORE_STAGED, "");
}

static void a_crash_at_any_step_loses_nothing_and_doubles_nothing(void **state)
{
	struct fixture *f = *state;
	bool died = true;
	size_t n;

	open_on_disk(f, true);
	shards(f, 3, 2);
	f->full = 2; /* three shards become three others, each time */
	for (n = 1; died; n++) {
		died = rewrite_and_die(f, n);
		recover(f);
		f->settled += f->notes[0] != '\0';
		assert_null(strstr(f->notes, "quarantine"));
		assert_whole(f, " a b c d e f");
		assert_int_equal(run_count(&f->run, JOB_COMPLETED), 6);
	}
	assert_true(n > 30);
	assert_true(f->settled > 5);
}

static void a_crash_when_a_shard_is_deleted_whole_is_completed(void **state)
{
	struct fixture *f = *state;
	bool died = true;

	open_on_disk(f, true);
	shards(f, 2, 1);
	f->drop = 'a';
	for (size_t n = 1; died; n++) {
		died = rewrite_and_die(f, n);
		recover(f);
		if (run_count(&f->run, JOB_COMPLETED) == 2)
			assert_whole(f, " a b");
		else
			assert_whole(f, " b");
	}
	assert_int_equal(run_count(&f->run, JOB_SKIPPED), 1);
}

static void a_staged_shard_with_other_bytes_is_not_brought_into_sight(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = NULL;

	open_on_disk(f, true);
	shards(f, 2, 2);
	assert_ok(try_rewrite_all(f), &err);
	assert_ok(
	    store_move(f->run.store, "train/64x64/000002.tar", STORE_VISIBLE, STORE_STAGED, &err),
	    &err);
	path = testing_path(f->out, ".latentd/staged/train/64x64/000002.tar");
	testing_write(path, "short", 5);
	recover(f);
	assert_area(f, STORE_VISIBLE, "");
	assert_area(f, STORE_STAGED, "");
	assert_int_equal(run_count(&f->run, JOB_AVAILABLE), 4);
}

static void nothing_changes_when_the_disk_fails_before_the_transaction(void **state)
{
	struct fixture *f = *state;

	open_on_disk(f, true);
	shards(f, 2, 2);
	faults_begin();
	faults_fail_nth(3, ENOSPC);
	assert_error(try_rewrite_all(f), &err, ERR_IO);
	faults_end();
	error_clear(&err);
	assert_whole(f, " a b c d");
	assert_area(f, STORE_VISIBLE, "train/64x64/000000.tar train/64x64/000001.tar");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(dead_samples_are_left_behind),
	    TEST(a_shard_of_dead_samples_is_only_retired),
	    TEST(small_shards_are_merged_up_to_a_full_one),
	    TEST(a_long_rewrite_is_cut_into_full_shards),
	    TEST(a_sample_can_be_deleted),
	    TEST(a_record_can_be_changed),
	    TEST(a_dry_run_changes_nothing),
	    TEST(a_damaged_shard_is_not_sealed_anew_as_if_it_were_good),
	    TEST(of_a_damaged_shard_the_whole_samples_are_kept),
	    TEST(damage_that_no_sample_shows_drops_the_whole_shard),
	    TEST(retired_files_go_after_the_grace_time),
	    TEST(readers_are_told_what_is_dead),
	    TEST(a_crash_at_any_step_loses_nothing_and_doubles_nothing),
	    TEST(a_crash_when_a_shard_is_deleted_whole_is_completed),
	    TEST(a_staged_shard_with_other_bytes_is_not_brought_into_sight),
	    TEST(nothing_changes_when_the_disk_fails_before_the_transaction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Databases of every schema version there was: tests/golden/queue_vN.db, what is in them says queue_v1_make.c. Whoever adds
 * a migration adds two files: that one, and state_vN.tar.gz, which tests/e2e/test_migration.py goes on with.
 */
#include "base/files.h"
#include "queue/queue_open.h"
#include "queue/queue_sqlite.h"
#include "tests/contract/contract_queue.h"

#include <sqlite3.h>

#define SCHEMA 6 /* the version that this program writes */

/* Of a file that nobody has open. */
static int64_t version_of(const char *path)
{
	cleanup_free char *uri = xasprintf("file:%s?immutable=1", path);
	struct sqlite3_stmt *stmt = NULL;
	struct sqlite3 *db = NULL;
	int64_t version;

	assert_int_equal(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	version = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return version;
}

static void every_schema_version_is_kept_as_a_database_and_as_a_state_folder(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	assert_int_equal(version_of(f->path), SCHEMA);
	for (int version = 1; version <= SCHEMA; version++) {
		cleanup_free char *name = xasprintf("queue_v%d.db", version);
		cleanup_free char *archive = xasprintf("state_v%d.tar.gz", version);
		cleanup_free char *golden = testing_golden(name);
		cleanup_free char *folder = testing_golden(archive);

		assert_int_equal(version_of(golden), version);
		assert_true(file_exists(folder));
	}
}

static void assert_job(struct fixture *f, int64_t id, enum job_state state, uint32_t attempts,
		       uint32_t crashes, const char *key, const char *reason)
{
	cleanup_shown struct shown shown = show_job(f, id);

	assert_int_equal(shown.state, state);
	assert_int_equal(shown.attempts, attempts);
	assert_int_equal(shown.crashes, crashes);
	assert_string_equal(shown.key, key);
	assert_string_equal(shown.reason, reason);
}

/* From now on that of the fixture, which is closed. */
static void place_golden(struct fixture *f, const char *name)
{
	cleanup_free char *golden = testing_golden(name);
	cleanup_buffer struct buffer bytes = testing_read(golden);

	fixture_close(f);
	free(f->path);
	f->path = testing_path(f->dir, name);
	testing_write(f->path, bytes.data, bytes.size);
}

static void open_golden(struct fixture *f, const char *name)
{
	place_golden(f, name);
	if (version_of(f->path) < SCHEMA) {
		assert_error(queue_sqlite_open_readonly(f->path, &f->q, &f->err), &f->err,
			     ERR_CONFIG);
		error_clear(&f->err);
	}
	assert_ok(queue_sqlite_open(f->path, &f->q, &f->err), &f->err);
}

/* What is in it: tests/golden/queue_v1_make.c. */
static void check_rows(struct fixture *f)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct queue_counts counts;

	queue_dump(f->q, &text);
	assert_job(f, 1, JOB_COMPLETED, 0, 0, "dir/0001", "");
	assert_job(f, 2, JOB_ENCODED, 1, 0, "dir/0002", "");
	assert_job(f, 3, JOB_RETRYABLE, 1, 0, "dir/0003", "timeout");
	assert_job(f, 4, JOB_QUARANTINED, 1, 1, "crash", "truncated");
	assert_job(f, 5, JOB_SKIPPED, 1, 0, "small", "min_side");
	assert_job(f, 6, JOB_GONE, 1, 0, "gone", "");
	assert_job(f, 7, JOB_AVAILABLE, 0, 0, "left", "");
	assert_job(f, 8, JOB_RUNNING, 1, 0, "run", "");
	assert_job(f, 9, JOB_COMPLETED, 0, 0, "copy", "");
	assert_job(f, 10, JOB_COMPLETED, 0, 0, "found", "");
	assert_ok(queue_counts(f->q, 1, &counts, &f->err), &f->err);
	assert_int_equal(counts.samples, 2);
	assert_int_equal(counts.shard_bytes, 10240);
	read_whole_queue(f->path);
}

static void check_migrated(struct fixture *f, const char *name)
{
	open_golden(f, name);
	check_rows(f);
}

static void a_database_of_version_1_is_migrated_with_all_it_has(void **state)
{
	check_migrated(*state, "queue_v1.db");
}

static void a_database_of_version_2_is_migrated_with_all_it_has(void **state)
{
	check_migrated(*state, "queue_v2.db");
}

static void a_database_of_version_3_is_migrated_with_all_it_has(void **state)
{
	check_migrated(*state, "queue_v3.db");
}

static void check_told(struct fixture *f)
{
	struct queue_counts counts;

	assert_job(f, 11, JOB_COMPLETED, 0, 0, "told", "");
	assert_job(f, 12, JOB_WAITING, 0, 0, "untold", "");
	assert_job(f, 13, JOB_SKIPPED, 1, 0, "again", "duplicate");
	assert_ok(queue_counts(f->q, 3, &counts, &f->err), &f->err);
	assert_int_equal(counts.recaptions, 1);
}

static void a_database_of_version_4_is_migrated_with_all_it_has(void **state)
{
	check_migrated(*state, "queue_v4.db");
	check_told(*state);
}

static int on_spent(void *arg, const struct spent_row *row)
{
	assert_int_equal(row->requests, 3);
	assert_int_equal(row->bytes, 4096);
	++*(int *)arg;
	return 0;
}

static void a_database_of_version_5_has_all_it_had(void **state)
{
	struct fixture *f = *state;
	int rows = 0;

	check_migrated(f, "queue_v5.db");
	check_told(f);
	assert_ok(queue_spent(f->q, "https://gpu7:8188/", on_spent, &rows, &f->err), &f->err);
	assert_int_equal(rows, 1);
}

static int on_history(void *arg, const struct history_row *row)
{
	assert_int_equal(row->images, 12);
	assert_int_equal(row->todo, 34);
	++*(int *)arg;
	return 0;
}

static void a_database_of_version_6_has_all_it_had(void **state)
{
	struct fixture *f = *state;
	int rows = 0;

	check_migrated(f, "queue_v6.db");
	check_told(f);
	assert_ok(queue_history(f->q, on_history, &rows, &f->err), &f->err);
	assert_int_equal(rows, 1);
}

static void check_work_goes_on(struct fixture *f, const char *name, uint64_t fence)
{
	struct hash128 content = hash128_of("dir/0001.jpg", 12);
	struct content_found found;
	struct sample_row sample = sample_of("dir/0002.jpg", "dir/0002", 0);
	struct shard_row shard = shard_of(1, "train/512x512/000001.tar", 1);
	struct job_spec spec = {.path = "dir/0003.jpg",
				.key = "dir/0003",
				.key_distinct = "distinct",
				.size = 1003,
				.mtime_ns = 1700000000000000000,
				.inode = 43};
	struct job jobs[9];
	size_t n = 0;

	open_golden(f, name);
	assert_int_equal(enqueue_one(f, 1, spec).known, 1);
	assert_int_equal(complete(f, &shard, &sample, 1), 0);
	assert_int_equal(state_of(f, 2), JOB_COMPLETED);
	/* The retryable one and the available one; fences go on where the highest was, of those that are known. */
	n = claim_jobs(f, "host:2", jobs, 9);
	assert_int_equal(n, 2);
	assert_int_equal(jobs[0].id, 3);
	assert_int_equal(jobs[0].fence, fence);
	assert_int_equal(jobs[1].id, 7);
	for (size_t i = 0; i < n; i++)
		job_release(&jobs[i]);
	/* The owner of the one that runs is remembered. */
	assert_ok(queue_rescue(f->q, f->dataset, "host:2", 1, &n, &f->err), &f->err);
	assert_int_equal(n, 0);
	assert_ok(queue_find_content(f->q, f->dataset, &content, &found, &f->err), &f->err);
	assert_int_equal(found.where, CONTENT_VISIBLE);
	assert_string_equal(found.key, "dir/0001");
	content_found_release(&found);
	assert_ok(queue_drop_shard(f->q, 2, NOW, &n, &f->err), &f->err);
	assert_int_equal(n, 1);
	assert_int_equal(state_of(f, 9), JOB_AVAILABLE);
}

static void work_goes_on_in_a_database_migrated_from_version_1(void **state)
{
	check_work_goes_on(*state, "queue_v1.db", 3);
}

static void work_goes_on_in_a_database_migrated_from_version_2(void **state)
{
	check_work_goes_on(*state, "queue_v2.db", 9);
}

static void work_goes_on_in_a_database_migrated_from_version_3(void **state)
{
	check_work_goes_on(*state, "queue_v3.db", 9);
}

static void work_goes_on_in_a_database_migrated_from_version_4(void **state)
{
	check_work_goes_on(*state, "queue_v4.db", 12);
}

static void work_goes_on_in_a_database_of_version_5(void **state)
{
	check_work_goes_on(*state, "queue_v5.db", 12);
}

static void work_goes_on_in_a_database_of_version_6(void **state)
{
	check_work_goes_on(*state, "queue_v6.db", 12);
}

/* Nobody knows which captions its samples have: the first stamps are taken as theirs. */
static void the_first_captions_of_a_migrated_database_change_nothing(void **state)
{
	struct fixture *f = *state;
	struct job_spec spec = {.path = "dir/0001.jpg",
				.key = "dir/0001",
				.key_distinct = "distinct",
				.size = 1001,
				.mtime_ns = 1700000000000000000,
				.inode = 41,
				.caption = 5};
	struct enqueue_counts counts;

	open_golden(f, "queue_v3.db");
	counts = enqueue_one(f, 1, spec);
	assert_int_equal(counts.known, 1);
	assert_int_equal(counts.recaptioned, 0);
	spec.caption = 6;
	counts = enqueue_one(f, 1, spec);
	assert_int_equal(counts.known, 1);
	assert_int_equal(counts.recaptioned, 1);
}

/* -- before there were checksums ------------------------------------------------------------------ */

static void run_sql(struct sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

/* The contents of the golden @from in a new database at @to, as the program of that time left one when it was killed
 * before its first checkpoint: all but the first page's header is in the log. */
static void write_without_checksums(const char *from, const char *to)
{
	static const char objects[] = "SELECT name, type, sql FROM golden.sqlite_schema"
				      " WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%'";
	cleanup_free char *attach = xasprintf("ATTACH '%s' AS golden", from);
	cleanup_free char *stamp = xasprintf(
	    "PRAGMA application_id = %d; PRAGMA user_version = 4; COMMIT", APPLICATION_ID);
	struct sqlite3_stmt *stmt = NULL;
	struct sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(to, &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	run_sql(db, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0");
	run_sql(db, attach);
	run_sql(db, "BEGIN");
	assert_int_equal(sqlite3_prepare_v2(db, objects, -1, &stmt, NULL), SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(stmt, 0);
		const char *type = (const char *)sqlite3_column_text(stmt, 1);
		cleanup_free char *copy =
		    xasprintf("INSERT INTO main.%s SELECT * FROM golden.%s", name, name);

		run_sql(db, (const char *)sqlite3_column_text(stmt, 2));
		if (strcmp(type, "table") == 0)
			run_sql(db, copy);
	}
	sqlite3_finalize(stmt);
	run_sql(db, stamp);
	sqlite3_close(db);
}

static void a_database_without_checksums_that_was_never_checkpointed_is_whole(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer file = BUFFER_INIT, dump = BUFFER_INIT;
	cleanup_free char *from = NULL;

	place_golden(f, "queue_v4.db");
	from = f->path;
	f->path = testing_path(f->dir, "old.db");
	write_without_checksums(from, f->path);
	file = testing_read(f->path);
	assert_int_equal(file.size, 4096);
	assert_ok(queue_sqlite_open(f->path, &f->q, &f->err), &f->err);
	check_rows(f);
	check_told(f);
	queue_dump(f->q, &dump);
	fixture_close(f);
	assert_ok(queue_sqlite_open(f->path, &f->q, &f->err), &f->err);
	assert_unchanged(f->q, &dump);
}

int main(void)
{
	static const struct queue_backend sqlite = {"sqlite", queue_sqlite_open, false};
	const struct CMUnitTest tests[] = {
	    contract_test(every_schema_version_is_kept_as_a_database_and_as_a_state_folder),
	    contract_test(a_database_of_version_1_is_migrated_with_all_it_has),
	    contract_test(a_database_of_version_2_is_migrated_with_all_it_has),
	    contract_test(a_database_of_version_3_is_migrated_with_all_it_has),
	    contract_test(a_database_of_version_4_is_migrated_with_all_it_has),
	    contract_test(a_database_of_version_5_has_all_it_had),
	    contract_test(a_database_of_version_6_has_all_it_had),
	    contract_test(work_goes_on_in_a_database_migrated_from_version_1),
	    contract_test(work_goes_on_in_a_database_migrated_from_version_2),
	    contract_test(work_goes_on_in_a_database_migrated_from_version_3),
	    contract_test(work_goes_on_in_a_database_migrated_from_version_4),
	    contract_test(work_goes_on_in_a_database_of_version_5),
	    contract_test(work_goes_on_in_a_database_of_version_6),
	    contract_test(the_first_captions_of_a_migrated_database_change_nothing),
	    contract_test(a_database_without_checksums_that_was_never_checkpointed_is_whole),
	};

	fixture_use(&sqlite);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What only a queue in a file can do wrong: other files in its place, file systems, older schemas.
 *
 * No test opens the database file itself while a queue is open in this process: closing it would drop
 * SQLite's locks.
 */
#include "base/file_system.h"
#include "base/files.h"
#include "queue/queue_open.h"
#include "queue/queue_sqlite.h"
#include "tests/contract/contract_queue.h"

#include <sqlite3.h>
#include <sys/statfs.h>
#include <unistd.h>

/* Where the SQLite file format keeps these, big-endian: https://www.sqlite.org/fileformat.html */
#define FREE_PAGES_AT	  36
#define USER_VERSION_AT	  60
#define APPLICATION_ID_AT 68
#define WRITE_VERSION_AT  18

#define PAGE 4096

#define SCHEMA	    6 /* the version that this program writes */
#define SCHEMA_TEXT "6"

static uint32_t pretended_f_type;

/* Linked with --wrap=statfs: a file system of any type. */
int __real_statfs(const char *path, struct statfs *st);
int __wrap_statfs(const char *path, struct statfs *st);

int __wrap_statfs(const char *path, struct statfs *st)
{
	int r = __real_statfs(path, st);

	if (pretended_f_type != 0)
		st->f_type = pretended_f_type;
	return r;
}

static uint32_t file_u32(const char *path, size_t at)
{
	cleanup_buffer struct buffer b = testing_read(path);

	assert_true(b.size >= at + 4);
	return (uint32_t)b.data[at] << 24 | (uint32_t)b.data[at + 1] << 16 |
	       (uint32_t)b.data[at + 2] << 8 | b.data[at + 3];
}

/* In the first page, whose checksum is made right again. */
static void patch_u32(const char *path, size_t at, uint32_t value)
{
	cleanup_buffer struct buffer b = testing_read(path);
	uint64_t sum;

	for (size_t i = 0; i < 4; i++)
		b.data[at + i] = (uint8_t)(value >> (24 - 8 * i));
	sum = hash64_of(b.data, PAGE - 8, 0);
	for (size_t i = 0; i < 8; i++)
		b.data[PAGE - 8 + i] = (uint8_t)(sum >> 8 * i);
	testing_write(path, b.data, b.size);
}

/* Both ways of opening @path fail with @code and @word in the message, and leave the file as it is. */
static void assert_refused(const char *path, enum error_code code, const char *word)
{
	int (*const opens[])(const char *, struct queue **,
			     struct error *) = {queue_sqlite_open, queue_sqlite_open_readonly};
	cleanup_buffer struct buffer before = testing_read(path);

	for (size_t i = 0; i < ARRAY_SIZE(opens); i++) {
		struct error err = ERROR_INIT;
		struct queue *q = NULL;

		assert_error(opens[i](path, &q, &err), &err, code);
		assert_null(q);
		assert_non_null(strstr(err.message, word));
		assert_non_null(strstr(err.message, path));
		assert_file_is(path, &before);
	}
}

/* -- whose file it is ----------------------------------------------------------------------------- */

static void the_file_says_what_it_is(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer b = BUFFER_INIT;

	fixture_close(f);
	assert_int_equal(file_u32(f->path, USER_VERSION_AT), SCHEMA);
	assert_int_equal(file_u32(f->path, APPLICATION_ID_AT), 0x6c617464);
	b = testing_read(f->path);
	assert_int_equal(b.data[WRITE_VERSION_AT], 2); /* WAL */
}

static void a_newer_schema_is_refused_with_both_numbers(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	patch_u32(f->path, USER_VERSION_AT, 12);
	assert_refused(f->path, ERR_CONFIG, "12");
	assert_refused(f->path, ERR_CONFIG, "up to " SCHEMA_TEXT ":");
}

static void a_database_of_another_program_is_refused(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	patch_u32(f->path, APPLICATION_ID_AT, 4711);
	assert_refused(f->path, ERR_CONFIG, "4711");
	patch_u32(f->path, APPLICATION_ID_AT, 0);
	assert_refused(f->path, ERR_CONFIG, "another program");
}

static void a_file_that_is_no_database_is_refused(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = testing_path(f->dir, "notes.txt");
	uint8_t bytes[8192];

	memset(bytes, 'x', sizeof(bytes));
	testing_write(path, bytes, sizeof(bytes));
	assert_refused(path, ERR_CONFIG, "not a database");
}

static void an_older_schema_is_not_read_before_it_is_migrated(void **state)
{
	struct fixture *f = *state;
	cleanup_queue struct queue *q = NULL;

	fixture_close(f);
	patch_u32(f->path, USER_VERSION_AT, 0);
	assert_error(queue_sqlite_open_readonly(f->path, &q, &f->err), &f->err, ERR_CONFIG);
	assert_non_null(strstr(f->err.message, "older"));
	error_clear(&f->err);
}

static void an_empty_file_is_made_a_queue_by_the_writer_only(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = testing_path(f->dir, "empty.db");
	struct queue *q = NULL;

	testing_write(path, "", 0);
	assert_error(queue_sqlite_open_readonly(path, &q, &f->err), &f->err, ERR_CONFIG);
	error_clear(&f->err);
	assert_ok(queue_sqlite_open(path, &q, &f->err), &f->err);
	queue_close(q);
	assert_int_equal(file_u32(path, USER_VERSION_AT), SCHEMA);
}

static void a_missing_folder_or_file_is_an_io_error(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = testing_path(f->dir, "no/such/queue.db");
	cleanup_free char *file = testing_path(f->dir, "missing.db");
	struct queue *q = NULL;

	assert_error(queue_sqlite_open(path, &q, &f->err), &f->err, ERR_IO);
	error_clear(&f->err);
	assert_error(queue_sqlite_open_readonly(file, &q, &f->err), &f->err, ERR_IO);
	error_clear(&f->err);
	assert_false(file_exists(file));
}

static void a_network_file_system_is_refused(void **state)
{
	static const uint32_t types[] = {0x6969, 0xff534d42, 0x65735546, 0x0bd00bd0};
	struct fixture *f = *state;
	cleanup_free char *path = testing_path(f->dir, "new.db");
	struct queue *q = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		pretended_f_type = types[i];
		assert_error(queue_sqlite_open(path, &q, &f->err), &f->err, ERR_CONFIG);
		assert_non_null(strstr(f->err.message, network_file_system(types[i])));
		assert_non_null(strstr(f->err.message, "local disk"));
		error_clear(&f->err);
	}
	pretended_f_type = 0xef53; /* ext4 */
	assert_ok(queue_sqlite_open(path, &q, &f->err), &f->err);
	queue_close(q);
	pretended_f_type = 0;
}

/* -- checksums ------------------------------------------------------------------------------------ */

static int on_report(void *arg, int columns, char **values, char **names)
{
	(void)columns;
	(void)names;
	*(bool *)arg = strcmp(values[0], "ok") == 0;
	return 0;
}

/* Reads every page of @path that is in use. */
static bool is_whole(const char *path)
{
	struct sqlite3 *db = NULL;
	bool whole = false;
	int r;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, page_sums_vfs()), 0);
	r = sqlite3_exec(db, "PRAGMA quick_check", on_report, &whole, NULL);
	sqlite3_close(db);
	return r == SQLITE_OK && whole;
}

/* Many pages of jobs; closed. Nothing is read from the log, all of which is in the file. */
static void fill(struct fixture *f)
{
	cleanup_free char *wal = xasprintf("%s-wal", f->path);

	for (size_t i = 0; i < 500; i++) {
		cleanup_free char *key = xasprintf("dir/%zu", i);
		cleanup_free char *path = xasprintf("%s.jpg", key);
		struct job_spec spec = file_spec(path, key, i);
		struct enqueue_counts counts = {0};

		assert_ok(queue_enqueue(f->q, f->dataset, &spec, 1, &counts, &f->err), &f->err);
	}
	fixture_close(f);
	assert_int_equal(unlink(wal), 0);
}

static void a_changed_byte_of_any_page_is_found(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer b = BUFFER_INIT;
	struct queue *q = NULL;
	size_t found = 0;

	fill(f);
	b = testing_read(f->path);
	assert_true(b.size > 20 * PAGE);
	assert_true(is_whole(f->path));
	for (size_t page = 1; page < b.size / PAGE; page++) {
		size_t at = page * PAGE + page * 977 % PAGE;

		b.data[at] ^= 0x10;
		testing_write(f->path, b.data, b.size);
		found += !is_whole(f->path);
		b.data[at] ^= 0x10;
	}
	/* Pages that are free hold nothing, and nobody reads them. */
	assert_int_equal(found + file_u32(f->path, FREE_PAGES_AT), b.size / PAGE - 1);
	b.data[200] ^= 1;
	testing_write(f->path, b.data, b.size);
	assert_error(queue_sqlite_open(f->path, &q, &f->err), &f->err, ERR_IO);
	assert_non_null(strstr(f->err.message, "damaged"));
	error_clear(&f->err);
}

static void a_page_of_zeros_and_a_page_in_the_wrong_place_are_found(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer b = BUFFER_INIT, whole = BUFFER_INIT;

	fill(f);
	b = testing_read(f->path);
	whole = testing_read(f->path);
	memset(b.data + 7 * PAGE, 0, PAGE);
	testing_write(f->path, b.data, b.size);
	assert_false(is_whole(f->path));
	memcpy(b.data + 7 * PAGE, whole.data + 8 * PAGE, PAGE);
	memcpy(b.data + 8 * PAGE, whole.data + 7 * PAGE, PAGE);
	testing_write(f->path, b.data, b.size);
	assert_false(is_whole(f->path));
}

int main(void)
{
	static const struct queue_backend sqlite = {"sqlite", queue_sqlite_open, false};
	const struct CMUnitTest tests[] = {
	    contract_test(the_file_says_what_it_is),
	    contract_test(a_newer_schema_is_refused_with_both_numbers),
	    contract_test(a_database_of_another_program_is_refused),
	    contract_test(a_file_that_is_no_database_is_refused),
	    contract_test(a_changed_byte_of_any_page_is_found),
	    contract_test(a_page_of_zeros_and_a_page_in_the_wrong_place_are_found),
	    contract_test(an_older_schema_is_not_read_before_it_is_migrated),
	    contract_test(an_empty_file_is_made_a_queue_by_the_writer_only),
	    contract_test(a_missing_folder_or_file_is_an_io_error),
	    contract_test(a_network_file_system_is_refused),
	};

	fixture_use(&sqlite);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

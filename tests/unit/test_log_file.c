/* The lines of a daemon that are still there when it has ended. */
#include "daemon/log_file.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static void add(const char *dir, int64_t from, int64_t to, const char *dataset)
{
	struct error err = ERROR_INIT;
	struct log_file *f = NULL;

	assert_ok(log_file_open(dir, &f, &err), &err);
	for (int64_t id = from; id < to; id++) {
		char text[128];
		struct event_line line = {.id = id,
					  .at = id * 10,
					  .level = id % 2 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
					  .dataset = (char *)dataset,
					  .text = text};

		snprintf(text, sizeof(text), "%060lld \"quoted\"\n", (long long)id);
		log_file_add(f, &line);
	}
	log_file_close(f);
}

static json_t *read_all(const char *dir, enum log_level level, const char *dataset, size_t limit)
{
	const struct event_filter filter = {.level = level, .dataset = dataset, .limit = limit};
	struct error err = ERROR_INIT;
	json_t *lines = log_file_read(dir, &filter, &err);

	assert_ok(lines ? 0 : -1, &err);
	return lines;
}

/* Ids of @lines, which rise by @step up to @last. */
static void assert_ids(json_t *lines, size_t n, int64_t step, int64_t last)
{
	assert_int_equal(json_array_size(lines), n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(
		    json_integer_value(json_object_get(json_array_get(lines, i), "id")),
		    last - (int64_t)(n - 1 - i) * step);
	json_decref(lines);
}

static void lines_are_there_when_their_daemon_is_not(void **state)
{
	char *dir = testing_tempdir();
	json_t *lines;

	(void)state;
	add(dir, 100, 110, "photos");
	add(dir, 200, 202, NULL);
	assert_ids(read_all(dir, LOG_LEVEL_DEBUG, NULL, 2), 2, 1, 201);
	assert_ids(read_all(dir, LOG_LEVEL_DEBUG, "photos", 100), 10, 1, 109);
	assert_ids(read_all(dir, LOG_LEVEL_WARNING, "photos", 100), 5, 2, 109);
	assert_ids(read_all(dir, LOG_LEVEL_DEBUG, "nobody", 100), 0, 1, 0);
	lines = read_all(dir, LOG_LEVEL_WARNING, NULL, 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(lines, 0), "level")),
			    "warning");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(lines, 0), "at")), 2010);
	json_decref(lines);
	testing_tempdir_remove(dir);
}

static void two_files_take_turns_and_the_newest_lines_stay(void **state)
{
	char *dir = testing_tempdir();
	cleanup_free char *a = testing_path(dir, "log.0.jsonl");
	cleanup_free char *b = testing_path(dir, "log.1.jsonl");

	(void)state;
	/* each run of lines is much less than a file, all of them are five */
	for (int64_t id = 1000; id < 11000; id += 500) {
		add(dir, id, id + 500, NULL);
		assert_ids(read_all(dir, LOG_LEVEL_DEBUG, NULL, 100), 100, 1, id + 499);
	}
	assert_ids(read_all(dir, LOG_LEVEL_DEBUG, NULL, 1000), 1000, 1, 10999);
	{
		struct buffer first = testing_read(a), second = testing_read(b);

		assert_true(first.size <= LOG_FILE_MAX && second.size <= LOG_FILE_MAX);
		buffer_release(&first);
		buffer_release(&second);
	}
	testing_tempdir_remove(dir);
}

static void a_line_that_a_kill_cut_off_costs_no_other(void **state)
{
	char *dir = testing_tempdir();
	cleanup_free char *path = testing_path(dir, "log.0.jsonl");
	static const char *const others[] = {"{\"id\": 1, \"at\": 2, \"level\": \"info\"",
					     "[]\n7\n\n{}\n\xff\n", "{\"level\":\"loud\"}"};

	(void)state;
	add(dir, 100, 110, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct buffer text = testing_read(path);

		buffer_append_string(&text, others[i]);
		testing_write(path, text.data, text.size);
		buffer_release(&text);
		add(dir, 110 + (int64_t)i, 111 + (int64_t)i, NULL);
		assert_ids(read_all(dir, LOG_LEVEL_DEBUG, NULL, 100), 11 + i, 1, 110 + (int64_t)i);
	}
	testing_tempdir_remove(dir);
}

static void a_disk_that_takes_nothing_costs_those_lines_alone(void **state)
{
	char *dir = testing_tempdir();
	struct rlimit before, none;
	json_t *lines;

	(void)state;
	add(dir, 100, 110, NULL);
	/* SIGXFSZ would end the process */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	none = before;
	none.rlim_cur = 8;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	add(dir, 1000, 6000, NULL); /* more than both files have */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	add(dir, 20000, 20010, NULL);
	lines = read_all(dir, LOG_LEVEL_DEBUG, NULL, 100);
	assert_int_equal(json_array_size(lines), 20);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(lines, 0), "id")), 100);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(lines, 19), "id")),
			 20009);
	json_decref(lines);
	testing_tempdir_remove(dir);
}

static void where_nothing_was_kept_that_is_said(void **state)
{
	const struct event_filter filter = {.level = LOG_LEVEL_DEBUG, .limit = 10};
	struct error err = ERROR_INIT;
	char *dir = testing_tempdir();

	(void)state;
	assert_null(log_file_read(dir, &filter, &err));
	assert_error(-1, &err, ERR_CONFIG);
	testing_tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_are_there_when_their_daemon_is_not),
	    cmocka_unit_test(two_files_take_turns_and_the_newest_lines_stay),
	    cmocka_unit_test(a_line_that_a_kill_cut_off_costs_no_other),
	    cmocka_unit_test(a_disk_that_takes_nothing_costs_those_lines_alone),
	    cmocka_unit_test(where_nothing_was_kept_that_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

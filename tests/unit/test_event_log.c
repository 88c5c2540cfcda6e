#include "daemon/daemon_log.h"

#include "tests/testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct seen {
	char texts[4096];
	size_t n;
};

static void on_line(void *arg, const struct event_line *line)
{
	struct seen *seen = arg;
	size_t size = strlen(seen->texts);

	snprintf(seen->texts + size, sizeof(seen->texts) - size, "%s|", line->text);
	seen->n++;
}

static int64_t read_lines(struct event_log *log, struct event_filter filter, struct seen *seen)
{
	*seen = (struct seen){.n = 0};
	return event_log_read(log, &filter, on_line, seen);
}

static void the_last_lines_are_kept_in_their_order(void **state)
{
	struct event_log *log = event_log_new(3);
	struct seen seen;

	(void)state;
	read_lines(log, (struct event_filter){EVENT_LOG_NEWEST, LOG_LEVEL_DEBUG, NULL, 9}, &seen);
	assert_string_equal(seen.texts, "");
	event_log_add(log, LOG_LEVEL_INFO, NULL, "a");
	event_log_add(log, LOG_LEVEL_INFO, "set", "b");
	event_log_add(log, LOG_LEVEL_ERROR, "set", "c");
	event_log_add(log, LOG_LEVEL_DEBUG, "other", "d");
	read_lines(log, (struct event_filter){EVENT_LOG_NEWEST, LOG_LEVEL_DEBUG, NULL, 9}, &seen);
	assert_string_equal(seen.texts, "b|c|d|");
	read_lines(log, (struct event_filter){EVENT_LOG_NEWEST, LOG_LEVEL_DEBUG, NULL, 2}, &seen);
	assert_string_equal(seen.texts, "c|d|");
	read_lines(log, (struct event_filter){EVENT_LOG_NEWEST, LOG_LEVEL_DEBUG, "set", 9}, &seen);
	assert_string_equal(seen.texts, "b|c|");
	read_lines(log, (struct event_filter){EVENT_LOG_NEWEST, LOG_LEVEL_WARNING, NULL, 9}, &seen);
	assert_string_equal(seen.texts, "c|");
	read_lines(log, (struct event_filter){EVENT_LOG_NEWEST, LOG_LEVEL_INFO, NULL, 1}, &seen);
	assert_string_equal(seen.texts, "c|");
	event_log_free(log);
}

static void lines_of_a_later_daemon_have_larger_ids_whatever_the_clock_says(void **state)
{
	struct event_log *log = event_log_new(3);
	struct seen seen;
	int64_t last, next;

	(void)state;
	for (const char *text = "a\0b\0c\0d\0"; *text; text += 2)
		event_log_add(log, LOG_LEVEL_INFO, NULL, text);
	last = event_log_add(log, LOG_LEVEL_INFO, NULL, "e").id + 100000007;
	event_log_go_on(log, last);
	next = read_lines(log, (struct event_filter){last, LOG_LEVEL_DEBUG, NULL, 9}, &seen);
	assert_string_equal(seen.texts, "c|d|e|");
	assert_in_range(next, last + 3, last + 9);
	assert_int_equal(event_log_add(log, LOG_LEVEL_INFO, NULL, "f").id, next + 1);
	read_lines(log, (struct event_filter){next, LOG_LEVEL_DEBUG, NULL, 9}, &seen);
	assert_string_equal(seen.texts, "f|");
	event_log_go_on(log, last);	 /* they are larger already */
	event_log_go_on(log, INT64_MAX); /* damage */
	assert_int_equal(event_log_add(log, LOG_LEVEL_INFO, NULL, "g").id, next + 2);
	event_log_free(log);
}

static void a_reader_goes_on_where_it_was_and_misses_nothing_that_is_there(void **state)
{
	struct event_log *log = event_log_new(3);
	struct event_filter filter = {EVENT_LOG_ALL, LOG_LEVEL_DEBUG, NULL, 2};
	struct seen seen;

	(void)state;
	event_log_add(log, LOG_LEVEL_INFO, NULL, "a");
	event_log_add(log, LOG_LEVEL_INFO, NULL, "b");
	event_log_add(log, LOG_LEVEL_INFO, NULL, "c");
	filter.after = read_lines(log, filter, &seen);
	assert_string_equal(seen.texts, "a|b|");
	filter.after = read_lines(log, filter, &seen);
	assert_string_equal(seen.texts, "c|");
	filter.after = read_lines(log, filter, &seen);
	assert_string_equal(seen.texts, "");
	event_log_add(log, LOG_LEVEL_INFO, NULL, "d");
	filter.after = read_lines(log, filter, &seen);
	assert_string_equal(seen.texts, "d|");
	filter.after += 1000000; /* it is of a log that was further on */
	read_lines(log, filter, &seen);
	assert_string_equal(seen.texts, "b|c|");
	event_log_free(log);
}

static void too_many_lines_at_once_are_left_out_and_counted(void **state)
{
	struct daemon_log *log = daemon_log_new();
	struct event_filter filter = {EVENT_LOG_NEWEST, LOG_LEVEL_WARNING, NULL, 1};
	int before = dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct seen seen = {.n = 0};

	(void)state;
	dup2(nowhere, STDERR_FILENO);
	daemon_log_set(log, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	/* A second of it is less than a line for each: some are left out, however slow this is. */
	for (size_t i = 0; seen.n == 0; i++) {
		daemon_log_write(log, LOG_PLAIN_DEBUG, NULL, "nobody wants to know");
		daemon_log_write(log, LOG_PLAIN_INFO, NULL, "much");
		if (i >= DAEMON_LOG_BURST)
			read_lines(daemon_log_lines(log), filter, &seen);
	}
	dup2(before, STDERR_FILENO);
	close(before);
	close(nowhere);
	daemon_log_free(log);
	assert_non_null(strstr(seen.texts, "lines were left out: too many came at once"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_last_lines_are_kept_in_their_order),
	    cmocka_unit_test(a_reader_goes_on_where_it_was_and_misses_nothing_that_is_there),
	    cmocka_unit_test(lines_of_a_later_daemon_have_larger_ids_whatever_the_clock_says),
	    cmocka_unit_test(too_many_lines_at_once_are_left_out_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

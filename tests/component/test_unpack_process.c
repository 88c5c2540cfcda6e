/*
 * Archives through the real latentd-unpack, and what is believed of one that was taken over.
 */
#include "tests/archive_samples.h"
#include "tests/testing.h"

#include "base/checked.h"
#include "base/files.h"
#include "daemon/unpack_process.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int open_with(const char *program, int silence_ms, struct unpack **out)
{
	struct unpack_process_options options = {.limits = UNPACK_LIMITS_DEFAULT,
						 .silence_ms = silence_ms};
	cleanup_free char *path = *program == '/'
				      ? xstrdup(program)
				      : xasprintf("%s/%s", getenv("LATENTD_BUILD_DIR"), program);
	struct error err = ERROR_INIT;

	options.program = path;
	options.limits.members = 10;
	assert_ok(unpack_process_open_with(&options, out, &err), &err);
	return 0;
}

static int open_archive(const char *dir, const char *contents)
{
	cleanup_free char *path = testing_path(dir, "archive");
	struct error err = ERROR_INIT;
	int fd;

	testing_write(path, contents, strlen(contents));
	fd = file_open(path, O_RDONLY, 0, &err);
	assert_true(fd >= 0);
	return fd;
}

struct heard {
	size_t members, ticks;
	struct unpack_member last;
	char names[10][32];
	uint64_t offsets[10], places[10];
	int stop;
};

static int on_member(void *arg, const struct unpack_member *m)
{
	struct heard *h = arg;

	if (!m) {
		h->ticks++;
		return h->stop;
	}
	h->last = *m;
	if (h->members < ARRAY_SIZE(h->names)) {
		snprintf(h->names[h->members], sizeof(h->names[0]), "%s", m->name);
		h->offsets[h->members] = m->offset;
		h->places[h->members] = m->place;
	}
	h->members++;
	return h->stop;
}

static void assert_bytes(int fd, const char *want)
{
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;

	assert_ok(fd_read_all(fd, 1000, &got, &err), &err);
	assert_int_equal(got.size, strlen(want));
	assert_memory_equal(got.data, want, got.size);
	close(fd);
}

/* The next process does what it should. */
static void assert_works(struct unpack *u, const char *dir)
{
	cleanup_close int fine = open_archive(dir, "fine");
	const struct unpack_member m = {.name = "a.jpg", .size = 5};
	struct heard h = {0};
	struct error err = ERROR_INIT;
	int fd;

	assert_ok(unpack_list(u, UNPACK_FD(fine), on_member, &h, &err), &err);
	assert_int_equal(h.members, 1);
	assert_int_equal(h.ticks, 1);
	fd = unpack_read(u, UNPACK_FD(fine), 1000, &m, &err);
	assert_true(fd >= 0);
	assert_bytes(fd, "hello");
}

static void a_process_that_lies_or_dies_costs_what_it_was_asked(void **state)
{
	static const char *const lies[] = {
	    "die",	     "garbage",	    "ready again",	   "want of a file",
	    "another place", "a long text", "more text than said", "text of nobody",
	    "no end",	     "more bytes"};
	char *dir = testing_tempdir();
	struct unpack *u = NULL;

	(void)state;
	open_with("tests/lying_unpack", UNPACK_SILENCE_MS, &u);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		cleanup_close int fd = open_archive(dir, lies[i]);
		const struct unpack_member m = {.name = "a.jpg", .size = 5};
		bool lists = strcmp(lies[i], "more bytes") != 0;
		bool reads = i < 3 || !lists;
		struct error err = ERROR_INIT;
		struct heard h = {0};

		if (lists) {
			assert_error(unpack_list(u, UNPACK_FD(fd), on_member, &h, &err), &err,
				     ERR_DATA);
			assert_string_equal(err.reason, "worker_died");
			error_clear(&err);
		}
		if (reads) {
			assert_error(unpack_read(u, UNPACK_FD(fd), i, &m, &err), &err, ERR_DATA);
			assert_string_equal(err.reason, "worker_died");
		}
		assert_works(u, dir);
	}
	unpack_close(u);
	testing_tempdir_remove(dir);
}

static void a_process_that_says_nothing_is_ended(void **state)
{
	char *dir = testing_tempdir();
	cleanup_close int fd = open_archive(dir, "be silent");
	struct error err = ERROR_INIT;
	struct unpack *u = NULL;
	struct heard h = {0};

	(void)state;
	open_with("tests/lying_unpack", 300, &u);
	/* Under load it may be slow enough to be late from its beginning, which is another error. */
	for (int i = 0; i < 100 && unpack_list(u, UNPACK_FD(fd), on_member, &h, &err) < 0 &&
			err.code != ERR_DATA;
	     i++)
		error_clear(&err);
	assert_int_equal(err.code, ERR_DATA);
	assert_string_equal(err.reason, "timeout");
	unpack_close(u);
	testing_tempdir_remove(dir);
}

static bool stops(void *arg)
{
	return ++*(size_t *)arg > 3;
}

static void whoever_reads_may_stop(void **state)
{
	char *dir = testing_tempdir();
	cleanup_close int fd = open_archive(dir, "read for ever");
	const struct unpack_member m = {.name = "a.jpg", .size = 5};
	struct error err = ERROR_INIT;
	struct unpack *u = NULL;
	size_t asked = 0;

	(void)state;
	open_with("tests/lying_unpack", UNPACK_SILENCE_MS, &u);
	u->stop = stops;
	u->stop_arg = &asked;
	assert_error(unpack_read(u, UNPACK_FD(fd), 1, &m, &err), &err, ERR_TRANSIENT);
	assert_int_equal(asked, 4);
	u->stop = NULL;
	assert_works(u, dir);
	unpack_close(u);
	testing_tempdir_remove(dir);
}

static void without_the_program_it_is_no_fault_of_the_archive(void **state)
{
	static const char *const programs[] = {"tests/none", "/bin/false"};
	char *dir = testing_tempdir();
	cleanup_close int fd = open_archive(dir, "fine");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		struct error err = ERROR_INIT;
		struct unpack *u = NULL;
		struct heard h = {0};

		open_with(programs[i], UNPACK_SILENCE_MS, &u);
		assert_error(unpack_list(u, UNPACK_FD(fd), on_member, &h, &err), &err, ERR_IO);
		assert_non_null(strstr(err.message, "archives cannot be read"));
		unpack_close(u);
	}
	testing_tempdir_remove(dir);
}

static int make_real(const char *dir, const char *kind, const char *tail)
{
	cleanup_free char *path = testing_path(dir, kind);
	struct archive_samples *s = archive_samples_begin(path, NULL);
	struct error err = ERROR_INIT;

	for (int i = 0; i < 3; i++) {
		cleanup_free char *name = xasprintf("%d.jpg", i);
		cleanup_free char *text = xasprintf("%d.txt", i);
		cleanup_free char *bytes = xasprintf("bytes %d %s", i, tail);

		archive_samples_add(s, name, bytes, strlen(bytes));
		archive_samples_add(s, text, tail, strlen(tail));
	}
	archive_samples_end(s);
	return file_open(path, O_RDONLY, 0, &err);
}

static void the_real_one_reads_two_archives_in_turns(void **state)
{
	char *dir = testing_tempdir();
	cleanup_close int one = make_real(dir, "a.tar.gz", "one"),
			  two = make_real(dir, "b.tar", "two");
	const int fds[] = {one, two};
	static const char *const tails[] = {"one", "two"};
	struct error err = ERROR_INIT;
	struct unpack *u = NULL;
	struct heard h[2] = {{0}, {0}};

	(void)state;
	open_with("daemon/latentd-unpack", UNPACK_SILENCE_MS, &u);
	for (int i = 0; i < 2; i++) {
		assert_ok(unpack_list(u, UNPACK_FD(fds[i]), on_member, &h[i], &err), &err);
		assert_int_equal(h[i].members, 6);
		assert_int_equal(h[i].last.text_size, 3);
	}
	for (size_t k = 0; k < 12; k++) {
		size_t a = k % 2, i = k / 2 % 3;
		const struct unpack_member m = {.name = h[a].names[2 * i],
						.size = 11,
						.place = h[a].places[2 * i],
						.offset = h[a].offsets[2 * i]};
		cleanup_free char *want = xasprintf("bytes %zu %s", i, tails[a]);
		int fd = unpack_read(u, UNPACK_FD(fds[a]), a, &m, &err);

		if (fd < 0)
			fail_msg("%s", err.message);
		assert_bytes(fd, want);
	}
	unpack_close(u);
	testing_tempdir_remove(dir);
}

/* An archive that is elsewhere. */
struct elsewhere {
	int fd;
	size_t reads, fails_at; /* fails_at: 0: never */
};

static int read_elsewhere(void *arg, uint64_t offset, void *out, size_t size, struct error *err)
{
	struct elsewhere *e = arg;

	if (++e->reads == e->fails_at)
		return error_data(err, "no_ranges", "not today");
	assert_int_equal(pread(e->fd, out, size, (off_t)offset), size);
	return 0;
}

static struct unpack_input input_of(struct elsewhere *e)
{
	size_t size = 0;
	struct error err = ERROR_INIT;

	assert_ok(fd_size(e->fd, &size, &err), &err);
	return (struct unpack_input){-1, size, read_elsewhere, e};
}

static void what_is_elsewhere_is_asked_for_piece_by_piece(void **state)
{
	static const char *const kinds[] = {"a.tar", "a.tar.gz", "a.zip", "a.7z"};
	char *dir = testing_tempdir();
	struct unpack *u = NULL;

	(void)state;
	open_with("daemon/latentd-unpack", UNPACK_SILENCE_MS, &u);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		cleanup_close int file = make_real(dir, kinds[k], "tail");
		struct elsewhere e = {.fd = file};
		const struct unpack_input in = input_of(&e);
		struct error err = ERROR_INIT;
		struct heard h = {0};

		assert_ok(unpack_list(u, &in, on_member, &h, &err), &err);
		assert_int_equal(h.members, 6);
		for (size_t i = 0; i < 3; i++) {
			const struct unpack_member m = {.name = h.names[2 * i],
							.size = 12,
							.place = h.places[2 * i],
							.offset = h.offsets[2 * i]};
			cleanup_free char *want = xasprintf("bytes %zu tail", i);
			int fd = unpack_read(u, &in, k, &m, &err);

			if (fd < 0)
				fail_msg("%s: %s", kinds[k], err.message);
			assert_bytes(fd, want);
		}
		assert_true(e.reads > 0);
	}
	unpack_close(u);
	testing_tempdir_remove(dir);
}

static void why_it_cannot_be_had_is_why_it_cannot_be_read(void **state)
{
	char *dir = testing_tempdir();
	cleanup_close int file = make_real(dir, "a.zip", "tail");
	struct elsewhere e = {.fd = file};
	struct unpack_input in = input_of(&e);
	struct unpack *real = NULL;
	struct error err = ERROR_INIT;
	struct heard h = {0};

	(void)state;
	open_with("daemon/latentd-unpack", UNPACK_SILENCE_MS, &real);
	for (e.fails_at = 1; e.fails_at <= 2; e.fails_at++) {
		e.reads = 0;
		error_clear(&err);
		assert_error(unpack_list(real, &in, on_member, &h, &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "no_ranges");
	}
	e.fails_at = 0;
	h = (struct heard){0};
	error_clear(&err);
	assert_ok(unpack_list(real, &in, on_member, &h, &err), &err);
	assert_int_equal(h.members, 6);
	in.size = 0;
	assert_error(unpack_list(real, &in, on_member, &h, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "truncated");
	unpack_close(real);
	testing_tempdir_remove(dir);
}

static void whoever_lists_may_stop(void **state)
{
	char *dir = testing_tempdir();
	cleanup_close int fd = make_real(dir, "a.zip", "one");
	struct heard h = {.stop = 1};
	struct error err = ERROR_INIT;
	struct unpack *u = NULL;

	(void)state;
	open_with("daemon/latentd-unpack", UNPACK_SILENCE_MS, &u);
	assert_int_equal(unpack_list(u, UNPACK_FD(fd), on_member, &h, &err), UNPACK_STOPPED);
	assert_int_equal(h.members + h.ticks, 1);
	h = (struct heard){.stop = 0};
	assert_ok(unpack_list(u, UNPACK_FD(fd), on_member, &h, &err), &err);
	assert_int_equal(h.members, 6);
	unpack_close(u);
	testing_tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_process_that_lies_or_dies_costs_what_it_was_asked),
	    cmocka_unit_test(a_process_that_says_nothing_is_ended),
	    cmocka_unit_test(without_the_program_it_is_no_fault_of_the_archive),
	    cmocka_unit_test(the_real_one_reads_two_archives_in_turns),
	    cmocka_unit_test(what_is_elsewhere_is_asked_for_piece_by_piece),
	    cmocka_unit_test(why_it_cannot_be_had_is_why_it_cannot_be_read),
	    cmocka_unit_test(whoever_lists_may_stop),
	    cmocka_unit_test(whoever_reads_may_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is no file in a folder of images, and files that change under the listing. */
#include "tests/unit/source_rig.h"

#include "tests/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* -- odd files --------------------------------------------------------------------------------- */

static void a_fifo_is_listed_and_not_regular_and_never_opened(void **state)
{
	struct source_rig *f = *state;
	cleanup_free char *path = testing_path(f->dir, "pipe.jpg");
	cleanup_close int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	struct inotify_event event;

	assert_int_equal(mkfifoat(f->fd, "pipe.jpg", 0644), 0);
	assert_true(inotify_add_watch(watch, path, IN_OPEN) >= 0);
	assert_string_equal(list(f), "pipe.jpg|");
	assert_reason(f, "pipe.jpg", "not_regular");
	assert_int_equal(read(watch, &event, sizeof(event)), -1);
	assert_int_equal(errno, EAGAIN);
}

static void a_socket_is_listed_and_not_regular(void **state)
{
	struct source_rig *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s.jpg", f->dir);
	assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_string_equal(list(f), "s.jpg|");
	assert_reason(f, "s.jpg", "not_regular");
	close(s);
}

static void a_link_to_a_device_is_not_regular(void **state)
{
	struct source_rig *f = *state;

	assert_int_equal(symlinkat("/dev/zero", f->fd, "zero.jpg"), 0);
	assert_reason(f, "zero.jpg", "not_regular");
}

static void a_caption_that_is_no_regular_file_is_an_error(void **state)
{
	struct source_rig *f = *state;
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	make_file(f, "a.jpg");
	assert_int_equal(mkfifoat(f->fd, "a.txt", 0644), 0);
	open_source(f, true);
	assert_error(source_caption(f->source, "a.jpg", &out, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "not_regular");
}

/* -- things that change ------------------------------------------------------------------------ */

static void a_file_that_vanishes_after_its_listing_is_gone(void **state)
{
	struct source_rig *f = *state;

	make_file(f, "a.jpg");
	assert_string_equal(list(f), "a.jpg|");
	assert_int_equal(unlinkat(f->fd, "a.jpg", 0), 0);
	assert_reason(f, "a.jpg", "gone");
}

static void what_vanishes_during_the_listing_is_passed_over(void **state)
{
	struct source_rig *f = *state;
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;

	make_file(f, "a.jpg");
	make_file(f, "b.jpg");
	make_folder(f, "c");
	make_file(f, "d.jpg");
	open_source(f, true);
	assert_ok(source_next(f->source, &entry, &err), &err);
	assert_int_equal(unlinkat(f->fd, "b.jpg", 0), 0);
	assert_int_equal(unlinkat(f->fd, "c", AT_REMOVEDIR), 0);
	assert_string_equal(list(f), "d.jpg|");
	assert_string_equal(notes(f), "\"c\" is a folder no longer\n");
}

static void a_folder_replaced_by_a_link_is_not_followed(void **state)
{
	struct source_rig *f = *state;
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;

	make_file(f, "a.jpg");
	make_folder(f, "c");
	make_folder(f, "d");
	make_file(f, "d/x.jpg");
	open_source(f, true);
	assert_ok(source_next(f->source, &entry, &err), &err);
	assert_int_equal(unlinkat(f->fd, "c", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("d", f->fd, "c"), 0);
	assert_string_equal(list(f), "d/x.jpg|");
	assert_string_equal(notes(f), "\"c\" is a folder no longer\n");
}

static void without_descriptors_nothing_is_passed_over(void **state)
{
	struct source_rig *f = *state;
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;
	struct rlimit limit, none;

	make_file(f, "a.jpg");
	make_folder(f, "c");
	make_file(f, "c/x.jpg");
	open_source(f, true);
	assert_ok(source_next(f->source, &entry, &err), &err);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_error(source_next(f->source, &entry, &err), &err, ERR_TRANSIENT);
	error_clear(&err);
	assert_error(source_open_sample(f->source, "a.jpg", &err), &err, ERR_TRANSIENT);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_string_equal(list(f), "c/x.jpg|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    source_test(a_fifo_is_listed_and_not_regular_and_never_opened),
	    source_test(a_socket_is_listed_and_not_regular),
	    source_test(a_link_to_a_device_is_not_regular),
	    source_test(a_caption_that_is_no_regular_file_is_an_error),
	    source_test(a_file_that_vanishes_after_its_listing_is_gone),
	    source_test(what_vanishes_during_the_listing_is_passed_over),
	    source_test(a_folder_replaced_by_a_link_is_not_followed),
	    source_test(without_descriptors_nothing_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Links in a folder of images: which are followed, and what may be behind them. */
#include "tests/unit/source_rig.h"

#include "tests/testing.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* -- links ------------------------------------------------------------------------------------- */

static void links_to_files_are_followed_and_to_folders_not(void **state)
{
	struct source_rig *f = *state;
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;

	make_file(f, "real.txt");
	make_folder(f, "sub");
	make_file(f, "sub/a.jpg");
	assert_int_equal(symlinkat("real.txt", f->fd, "file.jpg"), 0);
	assert_int_equal(symlinkat("sub", f->fd, "again"), 0);
	assert_int_equal(symlinkat("sub", f->fd, "folder.jpg"), 0);
	assert_int_equal(symlinkat(".", f->fd, "sub/loop"), 0);
	assert_string_equal(list(f), "file.jpg|sub/a.jpg|");
	assert_non_null(strstr(notes(f), "\"again\" is a link to a folder"));
	assert_non_null(strstr(notes(f), "\"folder.jpg\" is a link to a folder"));
	assert_non_null(strstr(notes(f), "\"sub/loop\" is a link to a folder"));
	open_source(f, true);
	assert_ok(source_next(f->source, &entry, &err), &err);
	assert_int_equal(entry.size, strlen("real.txt"));
	assert_opens(f, "file.jpg");
	assert_reason(f, "again/a.jpg", "gone");
}

/* -- links that are followed or not, as somebody chose ------------------------------------------- */

static void open_with_links(struct source_rig *f, enum source_links links)
{
	const struct source_folder_options options = {.recursive = true,
						      .captions = true,
						      .choice = {.links = links},
						      .unread = &f->unread,
						      .note = collect_note,
						      .note_arg = f};
	struct error err = ERROR_INIT;

	source_close(f->source);
	f->source = NULL;
	assert_ok(source_folder_open(f->dir, &options, &f->source, &err), &err);
}

static void without_links_nothing_behind_one_counts(void **state)
{
	struct source_rig *f = *state;
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer caption = BUFFER_INIT;

	make_folder(f, "d");
	make_file(f, "d/a.jpg");
	make_file(f, "text");
	assert_int_equal(symlinkat("../text", f->fd, "d/a.txt"), 0);
	assert_int_equal(symlinkat("a.jpg", f->fd, "d/b.jpg"), 0);
	assert_int_equal(symlinkat("d", f->fd, "e"), 0);
	open_with_links(f, LINKS_NONE);
	assert_ok(source_next(f->source, &entry, &err), &err);
	assert_string_equal(entry.path, "d/a.jpg");
	assert_int_equal(entry.caption, 0);
	assert_string_equal(list(f), "");
	assert_string_equal(notes(f), "");
	assert_reason(f, "d/b.jpg", "not_regular");
	assert_reason(f, "e/a.jpg", "gone");
	assert_int_equal(source_examine(f->source, "d/b.jpg", &entry, &err), SOURCE_GONE);
	assert_error(source_caption(f->source, "d/a.jpg", &caption, &err), &err, ERR_DATA);
}

static void with_all_links_folders_behind_them_are_listed_and_open(void **state)
{
	struct source_rig *f = *state;
	char *outside = testing_tempdir();
	cleanup_free char *file = testing_path(outside, "x.jpg"),
			  *below = testing_path(outside, "in");
	cleanup_free char *deep = testing_path(below, "y.jpg");
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;

	testing_write(file, "x", 1);
	assert_int_equal(mkdir(below, 0755), 0);
	testing_write(deep, "yy", 2);
	make_file(f, "a.jpg");
	make_folder(f, "d");
	assert_int_equal(symlinkat(outside, f->fd, "d/out.jpg"), 0);
	open_with_links(f, LINKS_ALL);
	assert_string_equal(list(f), "a.jpg|d/out.jpg/in/y.jpg|d/out.jpg/x.jpg|");
	assert_string_equal(notes(f), "\"d/out.jpg\" is a folder with the name of an image\n");
	assert_ok(source_examine(f->source, "d/out.jpg/in/y.jpg", &entry, &err), &err);
	assert_int_equal(entry.size, 2);
	assert_opens(f, "d/out.jpg/in/y.jpg");
	assert_int_equal(f->unread, 0);
	testing_tempdir_remove(outside);
}

static void no_link_leads_back_nor_two_to_the_same_folder(void **state)
{
	struct source_rig *f = *state;

	make_folder(f, "d");
	make_folder(f, "d/in");
	make_file(f, "d/in/a.jpg");
	assert_int_equal(symlinkat("..", f->fd, "d/in/up"), 0);
	assert_int_equal(symlinkat("d/in", f->fd, "l1"), 0);
	assert_int_equal(symlinkat("d/in", f->fd, "l2"), 0);
	open_with_links(f, LINKS_ALL);
	assert_string_equal(list(f), "d/in/a.jpg|l1/a.jpg|l1/up/in/a.jpg|");
	assert_non_null(strstr(notes(f), "\"d/in/up\" is a link back to a folder that it is in"));
	assert_non_null(strstr(notes(f), "\"l1/up/in/up\" is a link back to"));
	assert_non_null(
	    strstr(notes(f), "\"l2\" is a link to a folder that another link has led to"));
}

static void a_link_that_leads_nowhere_may_be_a_folder_that_cannot_be_read(void **state)
{
	struct source_rig *f = *state;

	make_file(f, "a.jpg");
	assert_int_equal(symlinkat("/no/such/disk", f->fd, "store"), 0);
	open_with_links(f, LINKS_FILES);
	assert_string_equal(list(f), "a.jpg|");
	assert_int_equal(f->unread, 0);
	open_with_links(f, LINKS_ALL);
	assert_string_equal(list(f), "a.jpg|");
	assert_int_equal(f->unread, 1);
	assert_string_equal(notes(f), "\"store\" is a link that leads nowhere\n");
}

static void a_link_whose_disk_goes_while_others_are_listed_has_not_been_read(void **state)
{
	struct source_rig *f = *state;
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;

	make_file(f, "a.jpg");
	make_folder(f, ".disk");
	assert_int_equal(symlinkat(".disk", f->fd, "store"), 0);
	open_with_links(f, LINKS_ALL);
	assert_ok(source_next(f->source, &entry, &err), &err);
	assert_int_equal(unlinkat(f->fd, ".disk", AT_REMOVEDIR), 0);
	assert_string_equal(list(f), "");
	assert_int_equal(f->unread, 1);
	assert_string_equal(notes(f), "\"store\" is a link that leads nowhere\n");
}

static int next_descriptor(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

static void a_linked_folder_that_could_not_be_read_at_once_is_read_later(void **state)
{
	struct source_rig *f = *state;
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;
	struct rlimit limit, few;

	make_file(f, "a.jpg");
	make_folder(f, "d");
	make_file(f, "d/x.jpg");
	assert_int_equal(symlinkat("d", f->fd, "c"), 0);
	open_with_links(f, LINKS_ALL);
	assert_ok(source_next(f->source, &entry, &err), &err);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	/* The folder can be opened, and nothing more to read it. */
	few =
	    (struct rlimit){.rlim_cur = (rlim_t)next_descriptor() + 1, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_error(source_next(f->source, &entry, &err), &err, ERR_TRANSIENT);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_string_equal(list(f), "c/x.jpg|d/x.jpg|");
}

static void a_dangling_link_is_listed_with_size_0_and_gone_when_opened(void **state)
{
	struct source_rig *f = *state;
	struct source_entry entry = {.size = 1, .inode = 1, .mtime_ns = 1};
	struct error err = ERROR_INIT;

	assert_int_equal(symlinkat("nowhere.jpg", f->fd, "a.jpg"), 0);
	open_source(f, true);
	assert_ok(source_next(f->source, &entry, &err), &err);
	assert_string_equal(entry.path, "a.jpg");
	assert_int_equal(entry.size, 0);
	assert_int_equal(entry.inode, 0);
	assert_int_equal(entry.mtime_ns, 0);
	assert_reason(f, "a.jpg", "gone");
}

static void a_link_to_itself_is_listed_and_unreadable(void **state)
{
	struct source_rig *f = *state;

	assert_int_equal(symlinkat("a.jpg", f->fd, "a.jpg"), 0);
	assert_string_equal(list(f), "a.jpg|");
	assert_reason(f, "a.jpg", "unreadable");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    source_test(links_to_files_are_followed_and_to_folders_not),
	    source_test(without_links_nothing_behind_one_counts),
	    source_test(with_all_links_folders_behind_them_are_listed_and_open),
	    source_test(no_link_leads_back_nor_two_to_the_same_folder),
	    source_test(a_link_that_leads_nowhere_may_be_a_folder_that_cannot_be_read),
	    source_test(a_link_whose_disk_goes_while_others_are_listed_has_not_been_read),
	    source_test(a_linked_folder_that_could_not_be_read_at_once_is_read_later),
	    source_test(a_dangling_link_is_listed_with_size_0_and_gone_when_opened),
	    source_test(a_link_to_itself_is_listed_and_unreadable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What only a folder has: links, permissions, odd files, files that change under the listing.
 */
#include "tests/testing.h"

#include "base/checked.h"
#include "base/files.h"
#include "source/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

struct fixture {
	char *dir;
	int fd; /* of dir: names in deep trees are made from here */
	struct buffer notes, listing;
	struct source *source;
	size_t unread;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct error err = ERROR_INIT;

	f->dir = testing_tempdir();
	assert_int_equal(chmod(f->dir, 0755), 0);
	f->fd = file_open(f->dir, O_RDONLY | O_DIRECTORY, 0, &err);
	assert_true(f->fd >= 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	source_close(f->source);
	close(f->fd);
	testing_tempdir_remove(f->dir);
	buffer_release(&f->notes);
	buffer_release(&f->listing);
	free(f);
	return 0;
}

static void make_file(struct fixture *f, const char *name)
{
	int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, name, strlen(name)), (ssize_t)strlen(name));
	close(fd);
}

static void make_folder(struct fixture *f, const char *name)
{
	assert_int_equal(mkdirat(f->fd, name, 0755), 0);
}

static void collect_note(void *arg, const char *line)
{
	struct fixture *f = arg;

	buffer_append_string(&f->notes, line);
	buffer_append_string(&f->notes, "\n");
}

static void open_source(struct fixture *f, bool recursive)
{
	const struct source_folder_options options = {
	    .recursive = recursive, .note = collect_note, .note_arg = f};
	struct error err = ERROR_INIT;

	source_close(f->source);
	f->source = NULL;
	assert_ok(source_folder_open(f->dir, &options, &f->source, &err), &err);
}

/* All paths, each followed by '|'. */
static const char *list(struct fixture *f)
{
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;
	int r;

	buffer_reset(&f->listing);
	buffer_append_string(&f->listing, "");
	if (!f->source)
		open_source(f, true);
	while ((r = source_next(f->source, &entry, &err)) == 0)
		buffer_appendf(&f->listing, "%s|", entry.path);
	if (r < 0)
		fail_msg("%s", err.message);
	return (const char *)f->listing.data;
}

static const char *notes(struct fixture *f)
{
	buffer_append_string(&f->notes, "");
	return (const char *)f->notes.data;
}

static void assert_reason(struct fixture *f, const char *path, const char *reason)
{
	struct error err = ERROR_INIT;

	if (!f->source)
		open_source(f, true);
	assert_error(source_open_sample(f->source, path, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, reason);
}

static void assert_opens(struct fixture *f, const char *path)
{
	struct error err = ERROR_INIT;
	int fd = source_open_sample(f->source, path, &err);

	if (fd < 0)
		fail_msg("%s", err.message);
	close(fd);
}

/* -- names ------------------------------------------------------------------------------------- */

static void only_names_of_images_are_listed_in_any_case(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {
	    "a.JPG",	 "b.jpeg", "c.Jpe",  "d.jfif", "e.png",	 "f.webp", "g.gif",	 "h.bmp",
	    "i.tif",	 "j.TIFF", "k.avif", "l.jxl",  "m.heic", "n.heif", "o.txt",	 "p.json",
	    "q.jpg.bak", "r",	   "jpg",    "s.jpgx", "t.jp",	 ".jpg",   ".hidden.jpg"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		make_file(f, names[i]);
	assert_string_equal(list(f), "a.JPG|b.jpeg|c.Jpe|d.jfif|e.png|f.webp|g.gif|h.bmp|i.tif|"
				     "j.TIFF|k.avif|l.jxl|m.heic|n.heif|");
	assert_string_equal(notes(f), "");
}

static void hidden_folders_are_left_out(void **state)
{
	struct fixture *f = *state;

	make_folder(f, ".git");
	make_file(f, ".git/a.jpg");
	assert_string_equal(list(f), "");
}

/* With this choice, from a fresh start. */
static const char *list_chosen(struct fixture *f, const char *include, const char *exclude,
			       bool hidden)
{
	const struct source_folder_options options = {
	    .recursive = true,
	    .captions = true,
	    .choice = {.include = {&include, include != NULL},
		       .exclude = {&exclude, exclude != NULL},
		       .hidden = hidden},
	    .note = collect_note,
	    .note_arg = f};
	struct error err = ERROR_INIT;

	source_close(f->source);
	f->source = NULL;
	assert_ok(source_folder_open(f->dir, &options, &f->source, &err), &err);
	return list(f);
}

static void hidden_names_are_listed_where_they_are_asked_for(void **state)
{
	struct fixture *f = *state;

	make_folder(f, ".git");
	make_file(f, ".git/a.jpg");
	make_file(f, ".b.jpg");
	make_file(f, "c.jpg");
	assert_string_equal(list_chosen(f, NULL, NULL, true), ".b.jpg|.git/a.jpg|c.jpg|");
	assert_opens(f, ".git/a.jpg");
	assert_string_equal(list_chosen(f, NULL, ".git/", true), ".b.jpg|c.jpg|");
}

static void what_is_included_and_not_excluded_is_listed(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "a");
	make_folder(f, "a/masks");
	make_file(f, "a/masks/1.png");
	make_file(f, "a/1.png");
	make_file(f, "a/2.jpg");
	make_file(f, "masks.png");
	assert_string_equal(list_chosen(f, "*.jpg", NULL, false), "a/2.jpg|");
	assert_string_equal(list_chosen(f, "a", NULL, false), "a/1.png|a/2.jpg|a/masks/1.png|");
	assert_string_equal(list_chosen(f, NULL, "masks/", false), "a/1.png|a/2.jpg|masks.png|");
	assert_string_equal(list_chosen(f, "a/*", "*.jpg", false), "a/1.png|a/masks/1.png|");
	assert_string_equal(list_chosen(f, "none", NULL, false), "");
}

static void what_is_excluded_is_gone_where_somebody_asks_for_it(void **state)
{
	struct fixture *f = *state;
	struct source_entry entry;
	struct error err = ERROR_INIT;

	make_folder(f, "raw");
	make_file(f, "raw/a.jpg");
	make_file(f, "b.jpg");
	list_chosen(f, NULL, "/raw", false);
	assert_ok(source_examine(f->source, "b.jpg", &entry, &err), &err);
	assert_int_equal(source_examine(f->source, "raw/a.jpg", &entry, &err), SOURCE_GONE);
}

/* Folders that may not be read, or are links, are noted where they are entered. */
static void an_excluded_folder_is_not_entered(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "a");
	make_folder(f, "a/b.jpg");
	make_folder(f, "a/b.jpg/c.jpg");
	list_chosen(f, NULL, "*.gif", false);
	assert_non_null(strstr(notes(f), "c.jpg"));
	buffer_reset(&f->notes);
	list_chosen(f, NULL, "a/b*", false);
	assert_string_equal(notes(f), "");
	list_chosen(f, "b/**", NULL, false);
	assert_string_equal(notes(f), "");
}

static void any_name_the_file_system_allows_is_listed_and_opens(void **state)
{
	struct fixture *f = *state;
	char longest[256];

	memset(longest, 'n', 251);
	memcpy(longest + 251, ".jpg", 5);
	make_file(f, "two words.jpg");
	make_file(f, "new\nline.jpg");
	make_file(f, "\xff\xfe.jpg");
	make_file(f, "-rf %s \\ \"'.jpg");
	make_file(f, longest);
	buffer_append_string(&f->notes, "-rf %s \\ \"'.jpg|new\nline.jpg|");
	buffer_appendf(&f->notes, "%s|two words.jpg|\xff\xfe.jpg|", longest);
	assert_string_equal(list(f), notes(f));
	assert_opens(f, "two words.jpg");
	assert_opens(f, "new\nline.jpg");
	assert_opens(f, "\xff\xfe.jpg");
	assert_opens(f, "-rf %s \\ \"'.jpg");
	assert_opens(f, longest);
}

static void without_recursion_only_the_root_is_listed(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "sub");
	make_file(f, "sub/a.jpg");
	make_file(f, "z.jpg");
	open_source(f, false);
	assert_string_equal(list(f), "z.jpg|");
}

static void the_order_is_the_same_on_every_run(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *first = NULL;

	for (unsigned i = 0; i < 300; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%x.jpg", i * 2654435761u);
		make_file(f, name);
	}
	first = xstrdup(list(f));
	open_source(f, true);
	assert_string_equal(list(f), first);
}

/* -- trees ------------------------------------------------------------------------------------- */

/* Folders @name/@name/... @depth deep, a.jpg in the last; @path is theirs, with a final '/'. */
static void make_deep(struct fixture *f, const char *name, size_t depth, struct buffer *path)
{
	int fd = dup(f->fd), file;

	for (size_t i = 0; i < depth; i++) {
		int next;

		assert_int_equal(mkdirat(fd, name, 0755), 0);
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
		buffer_appendf(path, "%s/", name);
	}
	file = openat(fd, "a.jpg", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(file >= 0);
	close(file);
	close(fd);
}

/* nftw and remove() of the fixture cannot: the paths are longer than PATH_MAX. */
static void remove_deep(struct fixture *f, const char *name)
{
	char command[512];

	snprintf(command, sizeof(command), "rm -rf '%s/%s'", f->dir, name);
	assert_int_equal(system(command), 0);
}

static void a_tree_128_deep_is_walked_and_its_longest_path_opens(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer path = BUFFER_INIT;
	char name[201];

	memset(name, 'd', 200);
	name[200] = '\0';
	make_deep(f, name, 128, &path); /* 25,600 bytes of path */
	buffer_append_string(&path, "a.jpg|");
	assert_string_equal(list(f), path.data);
	assert_string_equal(notes(f), "");
	path.data[path.size - 1] = '\0';
	assert_opens(f, (const char *)path.data);
	remove_deep(f, name);
}

static void folders_deeper_than_the_limit_are_noted(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer path = BUFFER_INIT;

	make_deep(f, "d", 129, &path);
	make_file(f, "z.jpg");
	assert_string_equal(list(f), "z.jpg|");
	assert_non_null(strstr(notes(f), "too deep"));
}

static void a_folder_with_an_images_name_is_entered_and_noted(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "x.jpg");
	make_file(f, "x.jpg/in.jpg");
	assert_string_equal(list(f), "x.jpg/in.jpg|");
	assert_string_equal(notes(f), "\"x.jpg\" is a folder with the name of an image\n");
	assert_reason(f, "x.jpg", "not_regular");
}

/* -- links ------------------------------------------------------------------------------------- */

static void links_to_files_are_followed_and_to_folders_not(void **state)
{
	struct fixture *f = *state;
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

static void open_with_links(struct fixture *f, enum source_links links)
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
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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
	struct fixture *f = *state;

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
	struct fixture *f = *state;

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
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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
	struct fixture *f = *state;

	assert_int_equal(symlinkat("a.jpg", f->fd, "a.jpg"), 0);
	assert_string_equal(list(f), "a.jpg|");
	assert_reason(f, "a.jpg", "unreadable");
}

/* -- odd files --------------------------------------------------------------------------------- */

static void a_fifo_is_listed_and_not_regular_and_never_opened(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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
	struct fixture *f = *state;

	assert_int_equal(symlinkat("/dev/zero", f->fd, "zero.jpg"), 0);
	assert_reason(f, "zero.jpg", "not_regular");
}

static void a_caption_that_is_no_regular_file_is_an_error(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;

	make_file(f, "a.jpg");
	assert_string_equal(list(f), "a.jpg|");
	assert_int_equal(unlinkat(f->fd, "a.jpg", 0), 0);
	assert_reason(f, "a.jpg", "gone");
}

static void what_vanishes_during_the_listing_is_passed_over(void **state)
{
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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
	struct fixture *f = *state;
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

/* -- permissions ------------------------------------------------------------------------------- */

/*
 * Runs @check in a child in the fixture's folder, as nobody where we are root: root may read
 * everything. The child's failures are its exit status, for cmocka's jump must not leave it.
 */
static void as_nobody(struct fixture *f, bool (*check)(struct fixture *f))
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (fchdir(f->fd) < 0)
			_exit(2);
		if (geteuid() == 0 && (setegid(65534) < 0 || seteuid(65534) < 0))
			_exit(2);
		_exit(check(f) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool is_unreadable(struct source *s, const char *path)
{
	struct error err = ERROR_INIT;

	return source_open_sample(s, path, &err) < 0 && err.code == ERR_DATA &&
	       strcmp(err.reason, "unreadable") == 0;
}

static bool sees_locked_things(struct fixture *f)
{
	return strcmp(list(f), "locked.jpg|names/a.jpg|z.jpg|") == 0 &&
	       strcmp(notes(f), "\"shut\" is a folder that may not be read\n") == 0 &&
	       is_unreadable(f->source, "locked.jpg") && is_unreadable(f->source, "names/a.jpg") &&
	       is_unreadable(f->source, "shut/a.jpg") && !is_unreadable(f->source, "z.jpg");
}

static void what_may_not_be_read_is_reported_and_the_rest_listed(void **state)
{
	struct fixture *f = *state;

	make_file(f, "locked.jpg");
	make_folder(f, "names"); /* may be listed, not searched */
	make_file(f, "names/a.jpg");
	make_folder(f, "shut");
	make_file(f, "shut/a.jpg");
	make_file(f, "z.jpg");
	assert_int_equal(fchmodat(f->fd, "locked.jpg", 0, 0), 0);
	assert_int_equal(fchmodat(f->fd, "names", 0744, 0), 0);
	assert_int_equal(fchmodat(f->fd, "shut", 0700, 0), 0);
	if (geteuid() != 0) {
		assert_int_equal(fchmodat(f->fd, "names", 0444, 0), 0);
		assert_int_equal(fchmodat(f->fd, "shut", 0, 0), 0);
	}
	open_source(f, true);
	as_nobody(f, sees_locked_things);
	assert_int_equal(fchmodat(f->fd, "names", 0755, 0), 0);
	assert_int_equal(fchmodat(f->fd, "shut", 0755, 0), 0);
}

static bool has_not_vanished(struct fixture *f)
{
	struct source_entry entry = {.size = 1};
	struct error err = ERROR_INIT;

	return source_examine(f->source, "shut/deep/a.jpg", &entry, &err) == 0 && entry.size == 0 &&
	       source_examine(f->source, "none/deep/a.jpg", &entry, &err) == SOURCE_GONE;
}

static void what_may_not_be_reached_has_not_vanished(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "shut");
	make_folder(f, "shut/deep");
	make_file(f, "shut/deep/a.jpg");
	assert_int_equal(fchmodat(f->fd, "shut", geteuid() == 0 ? 0700 : 0, 0), 0);
	open_source(f, true);
	as_nobody(f, has_not_vanished);
	assert_int_equal(fchmodat(f->fd, "shut", 0755, 0), 0);
}

static bool root_is_refused(struct fixture *f)
{
	const struct source_folder_options options = {.recursive = true};
	struct error err = ERROR_INIT;
	struct source *s = NULL;

	(void)f;
	return source_folder_open("inner", &options, &s, &err) < 0 && err.code == ERR_CONFIG &&
	       strstr(err.message, "may not be read") && !s;
}

static void an_unreadable_root_is_one_clear_line(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "inner");
	assert_int_equal(fchmodat(f->fd, "inner", geteuid() == 0 ? 0700 : 0, 0), 0);
	as_nobody(f, root_is_refused);
	assert_int_equal(fchmodat(f->fd, "inner", 0755, 0), 0);
}

/* -- roots ------------------------------------------------------------------------------------- */

static void assert_root_refused(const char *path, const char *why)
{
	const struct source_folder_options options = {.recursive = true};
	struct error err = ERROR_INIT;
	struct source *s = NULL;

	assert_error(source_folder_open(path, &options, &s, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, why));
	assert_null(s);
}

static void a_missing_root_or_a_file_as_root_is_one_clear_line(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *missing = testing_path(f->dir, "no such"),
			  *file = testing_path(f->dir, "a.jpg");

	make_file(f, "a.jpg");
	assert_root_refused(missing, "no such\": there is no such folder");
	assert_root_refused(file, "a.jpg\" is not a folder");
	assert_root_refused("", "there is no such folder");
}

static void a_root_may_be_a_link(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *link = testing_path(f->dir, "link"), *real = f->dir;

	make_folder(f, "real");
	make_file(f, "real/a.jpg");
	assert_int_equal(symlinkat("real", f->fd, "link"), 0);
	f->dir = TAKE(link);
	assert_string_equal(list(f), "a.jpg|");
	free(f->dir);
	f->dir = TAKE(real);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static bool stop_at_second(void *arg)
{
	return ++*(int *)arg == 2;
}

static void reading_a_large_folder_can_be_stopped(void **state)
{
	struct fixture *f = *state;
	int asked = 0;
	const struct source_folder_options options = {.stop = stop_at_second, .stop_arg = &asked};
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;

	for (int i = 0; i < 3000; i++) {
		cleanup_free char *name = xasprintf("%d", i);

		assert_int_equal(symlinkat("x", f->fd, name), 0);
	}
	assert_ok(source_folder_open(f->dir, &options, &f->source, &err), &err);
	assert_error(source_next(f->source, &entry, &err), &err, ERR_TRANSIENT);
	assert_int_equal(asked, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(only_names_of_images_are_listed_in_any_case),
	    TEST(reading_a_large_folder_can_be_stopped),
	    TEST(hidden_folders_are_left_out),
	    TEST(hidden_names_are_listed_where_they_are_asked_for),
	    TEST(what_is_included_and_not_excluded_is_listed),
	    TEST(what_is_excluded_is_gone_where_somebody_asks_for_it),
	    TEST(an_excluded_folder_is_not_entered),
	    TEST(any_name_the_file_system_allows_is_listed_and_opens),
	    TEST(without_recursion_only_the_root_is_listed),
	    TEST(the_order_is_the_same_on_every_run),
	    TEST(a_tree_128_deep_is_walked_and_its_longest_path_opens),
	    TEST(folders_deeper_than_the_limit_are_noted),
	    TEST(a_folder_with_an_images_name_is_entered_and_noted),
	    TEST(links_to_files_are_followed_and_to_folders_not),
	    TEST(without_links_nothing_behind_one_counts),
	    TEST(with_all_links_folders_behind_them_are_listed_and_open),
	    TEST(no_link_leads_back_nor_two_to_the_same_folder),
	    TEST(a_link_that_leads_nowhere_may_be_a_folder_that_cannot_be_read),
	    TEST(a_link_whose_disk_goes_while_others_are_listed_has_not_been_read),
	    TEST(a_linked_folder_that_could_not_be_read_at_once_is_read_later),
	    TEST(a_dangling_link_is_listed_with_size_0_and_gone_when_opened),
	    TEST(a_link_to_itself_is_listed_and_unreadable),
	    TEST(a_fifo_is_listed_and_not_regular_and_never_opened),
	    TEST(a_socket_is_listed_and_not_regular),
	    TEST(a_link_to_a_device_is_not_regular),
	    TEST(a_caption_that_is_no_regular_file_is_an_error),
	    TEST(a_file_that_vanishes_after_its_listing_is_gone),
	    TEST(what_vanishes_during_the_listing_is_passed_over),
	    TEST(a_folder_replaced_by_a_link_is_not_followed),
	    TEST(without_descriptors_nothing_is_passed_over),
	    TEST(what_may_not_be_read_is_reported_and_the_rest_listed),
	    TEST(what_may_not_be_reached_has_not_vanished),
	    TEST(an_unreadable_root_is_one_clear_line),
	    TEST(a_missing_root_or_a_file_as_root_is_one_clear_line),
	    TEST(a_root_may_be_a_link),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

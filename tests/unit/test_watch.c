/*
 * What is told of a folder, on real ones: every test makes files and folders and says what must be told of them.
 */
#include "source/watch.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/thread.h"
#include "tests/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>

enum { WAIT_MS = 20000 };

/* -- seams ---------------------------------------------------------------------------------------- */

static int watches_left = -1; /* -1: as many as there are */

int __real_inotify_add_watch(int fd, const char *path, uint32_t mask);
int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask);

int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	if (watches_left == 0) {
		errno = ENOSPC;
		return -1;
	}
	watches_left -= watches_left > 0;
	return __real_inotify_add_watch(fd, path, mask);
}

static uint32_t pretended_f_type; /* 0: as it is */

int __real_fstatfs(int fd, struct statfs *st);
int __wrap_fstatfs(int fd, struct statfs *st);

int __wrap_fstatfs(int fd, struct statfs *st)
{
	int r = __real_fstatfs(fd, st);

	if (pretended_f_type != 0)
		st->f_type = pretended_f_type;
	return r;
}

/* -- fixture -------------------------------------------------------------------------------------- */

struct fixture {
	char *top, *dir; /* dir: the root, in top */
	struct watch *w;
	struct buffer told; /* "settled a.jpg|" */
	struct watch_options options;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct error err = ERROR_INIT;

	watches_left = -1;
	pretended_f_type = 0;
	f->top = testing_tempdir();
	f->dir = testing_path(f->top, "root");
	f->options.recursive = true;
	assert_ok(dir_make(f->dir, &err), &err);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	watch_close(f->w);
	buffer_release(&f->told);
	testing_tempdir_remove(f->top);
	free(f->dir);
	free(f);
	return 0;
}

static char *path_of(const struct fixture *f, const char *name)
{
	return xasprintf("%s/%s", f->dir, name);
}

static void write_file(const struct fixture *f, const char *name)
{
	cleanup_free char *path = path_of(f, name);

	testing_write(path, "x", 1);
}

static void make_folder(const struct fixture *f, const char *name)
{
	cleanup_free char *path = path_of(f, name);

	for (char *slash = path + strlen(f->top) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
}

static void move(const struct fixture *f, const char *from, const char *to)
{
	cleanup_free char *a = path_of(f, from), *b = path_of(f, to);

	assert_int_equal(rename(a, b), 0);
}

/* What is found, and then settled, is told twice. */
static void forget_found(struct fixture *f, const char *path)
{
	cleanup_free char *found = xasprintf("found %s|", path);
	size_t size = strlen(found);
	char *at;

	buffer_append_string(&f->told, "");
	at = strstr((char *)f->told.data, found);
	if (!at)
		return;
	memmove(at, at + size, strlen(at + size) + 1);
	f->told.size -= size;
}

static void tell(struct fixture *f, const struct watch_event *event)
{
	static const char *const names[] = {"settled", "found", "vanished",
					    "rescan",  "note",	"lost"};

	if (event->kind == WATCH_SETTLED)
		forget_found(f, event->path);
	buffer_appendf(&f->told, "%s %s|", names[event->kind], event->path);
	assert_int_equal(event->caption, event->kind != WATCH_NOTE && event->kind != WATCH_LOST &&
					     strstr(event->path, ".txt") != NULL);
}

/* Everything that is there now; nothing is waited for. */
static const char *told(struct fixture *f)
{
	struct watch_event event;
	struct error err = ERROR_INIT;
	int r;

	buffer_reset(&f->told);
	while ((r = watch_next(f->w, &event, &err)) == 0 || r == WATCH_AGAIN) {
		if (r == 0)
			tell(f, &event);
	}
	if (r < 0)
		fail_msg("%s", err.message);
	buffer_append_string(&f->told, "");
	return (const char *)f->told.data;
}

static void open_watch(struct fixture *f)
{
	struct error err = ERROR_INIT;

	assert_ok(watch_open(f->dir, &f->options, &f->w, &err), &err);
}

static void start(struct fixture *f)
{
	open_watch(f);
	assert_string_equal(told(f), "rescan |");
}

/* -- files ---------------------------------------------------------------------------------------- */

static void a_file_is_settled_when_it_is_closed_not_before(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = path_of(f, "a.jpg");
	int fd;

	start(f);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_string_equal(told(f), "");
	assert_int_equal(write(fd, "x", 1), 1);
	assert_string_equal(told(f), "");
	close(fd);
	assert_string_equal(told(f), "settled a.jpg|");
}

static void only_images_and_captions_are_told(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"a.JPG",  "b.txt", "c.jpg.part", "d.TXT",
					    ".e.jpg", "f.png", "README"};

	start(f);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		write_file(f, names[i]);
	assert_string_equal(told(f), "settled a.JPG|settled b.txt|settled f.png|");
}

static void a_file_that_is_renamed_into_place_is_settled(void **state)
{
	struct fixture *f = *state;

	start(f);
	write_file(f, ".a.jpg.tmp");
	move(f, ".a.jpg.tmp", "a.jpg");
	assert_string_equal(told(f), "settled a.jpg|");
	write_file(f, "../outside.jpg");
	move(f, "../outside.jpg", "b.jpg");
	assert_string_equal(told(f), "settled b.jpg|");
}

static void a_rename_is_a_file_that_vanished_and_one_that_came(void **state)
{
	struct fixture *f = *state;

	write_file(f, "a.jpg");
	start(f);
	move(f, "a.jpg", "b.jpg");
	assert_string_equal(told(f), "vanished a.jpg|settled b.jpg|");
	move(f, "b.jpg", "../b.jpg");
	assert_string_equal(told(f), "vanished b.jpg|");
}

static void deleted_images_and_captions_vanish(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *image = path_of(f, "a.jpg"), *caption = path_of(f, "a.txt");

	write_file(f, "a.jpg");
	write_file(f, "a.txt");
	start(f);
	unlink(image);
	unlink(caption);
	assert_string_equal(told(f), "vanished a.jpg|vanished a.txt|");
}

static void links_are_settled_at_once(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *from = path_of(f, "../a.jpg"), *hard = path_of(f, "hard.jpg"),
			  *soft = path_of(f, "soft.jpg");

	write_file(f, "../a.jpg");
	start(f);
	assert_int_equal(link(from, hard), 0);
	assert_int_equal(symlink("../a.jpg", soft), 0);
	assert_string_equal(told(f), "settled hard.jpg|settled soft.jpg|");
}

static void a_file_without_a_name_is_found_when_it_gets_one(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = path_of(f, "a.jpg");
	char by_number[32];
	int fd;

	start(f);
	fd = open(f->dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		skip(); /* a file system without */
	assert_int_equal(write(fd, "x", 1), 1);
	snprintf(by_number, sizeof(by_number), "/proc/self/fd/%d", fd);
	assert_int_equal(linkat(AT_FDCWD, by_number, AT_FDCWD, path, AT_SYMLINK_FOLLOW), 0);
	close(fd);
	assert_string_equal(told(f), "found a.jpg|");
}

/* -- folders -------------------------------------------------------------------------------------- */

static void what_was_there_before_is_not_told_but_watched(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "a/b/c");
	write_file(f, "a/b/old.jpg");
	start(f);
	assert_int_equal(watch_folders(f->w), 4);
	write_file(f, "a/b/c/new.jpg");
	assert_string_equal(told(f), "settled a/b/c/new.jpg|");
}

static void what_is_in_a_new_folder_is_found(void **state)
{
	struct fixture *f = *state;

	start(f);
	make_folder(f, "a/b");
	write_file(f, "a/b/early.jpg");
	assert_string_equal(told(f), "found a/b/early.jpg|");
	write_file(f, "a/b/late.jpg");
	assert_string_equal(told(f), "settled a/b/late.jpg|");
}

static void a_folder_that_moves_in_is_found_with_all_below_it(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "../new/deep");
	write_file(f, "../new/deep/a.jpg");
	start(f);
	move(f, "../new", "new");
	assert_string_equal(told(f), "found new/deep/a.jpg|");
	write_file(f, "new/deep/b.jpg");
	assert_string_equal(told(f), "settled new/deep/b.jpg|");
	assert_int_equal(watch_folders(f->w), 3);
}

static void a_folder_that_moves_out_is_no_longer_watched(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "a/b");
	start(f);
	move(f, "a", "../a");
	assert_string_equal(told(f), "vanished a/|");
	write_file(f, "../a/b/x.jpg");
	assert_string_equal(told(f), "");
	assert_int_equal(watch_folders(f->w), 1);
}

static void a_folder_that_moves_within_is_told_under_its_new_name(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "a/b");
	make_folder(f, "c");
	write_file(f, "a/b/x.jpg");
	start(f);
	move(f, "a", "c/d");
	assert_string_equal(told(f), "vanished a/|found c/d/b/x.jpg|");
	write_file(f, "c/d/b/y.jpg");
	assert_string_equal(told(f), "settled c/d/b/y.jpg|");
	assert_int_equal(watch_folders(f->w), 4);
}

static void a_deleted_tree_leaves_nothing_behind(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *c = path_of(f, "a/b/c"), *b = path_of(f, "a/b"), *a = path_of(f, "a");

	make_folder(f, "a/b/c");
	start(f);
	assert_int_equal(rmdir(c) | rmdir(b) | rmdir(a), 0);
	assert_string_equal(told(f), "vanished a/b/c/|vanished a/b/|vanished a/|");
	assert_int_equal(watch_folders(f->w), 1);
	make_folder(f, "a/b");
	write_file(f, "a/b/x.jpg");
	assert_string_equal(told(f), "found a/b/x.jpg|");
}

static void links_to_folders_and_hidden_ones_are_left_out(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *link = path_of(f, "link");

	make_folder(f, "../elsewhere");
	make_folder(f, ".hidden");
	assert_int_equal(symlink("../elsewhere", link), 0);
	start(f);
	make_folder(f, ".later");
	write_file(f, ".later/a.jpg");
	write_file(f, "../elsewhere/a.jpg");
	write_file(f, ".hidden/a.jpg");
	assert_string_equal(told(f), "");
	assert_int_equal(watch_folders(f->w), 1);
}

static void folders_behind_links_that_are_followed_are_known_and_not_watched(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *link = path_of(f, "link"), *later = path_of(f, "later");

	f->options.choice.links = LINKS_ALL;
	make_folder(f, "../elsewhere");
	assert_int_equal(symlink("../elsewhere", link), 0);
	open_watch(f);
	assert_non_null(strstr(told(f), "link\" is a link to a folder"));
	assert_int_equal(watch_folders(f->w), 1);
	assert_int_equal(watch_unwatched(f->w), 1);
	assert_int_equal(symlink("../elsewhere", later), 0);
	assert_string_equal(told(f), "");
	assert_int_equal(watch_unwatched(f->w), 2);
	assert_int_equal(unlink(later) | unlink(link), 0);
	assert_string_equal(told(f), "vanished later/|vanished link/|");
	assert_int_equal(watch_unwatched(f->w), 0);
}

static void what_is_not_chosen_is_neither_watched_nor_told(void **state)
{
	static const char *const include[] = {"*.jpg", "*.tar"}, *const exclude[] = {"raw/", "b.*"};
	struct fixture *f = *state;

	f->options.choice = (struct source_choice){.include = {include, ARRAY_SIZE(include)},
						   .exclude = {exclude, ARRAY_SIZE(exclude)},
						   .hidden = true};
	make_folder(f, "raw");
	make_folder(f, ".a");
	start(f);
	assert_int_equal(watch_folders(f->w), 2);
	make_folder(f, "later");
	make_folder(f, "later/raw");
	write_file(f, "later/raw/a.jpg");
	write_file(f, "raw/a.jpg");
	write_file(f, "a.png");
	write_file(f, "b.jpg");
	write_file(f, "b.tar");
	assert_string_equal(told(f), "");
	assert_int_equal(watch_folders(f->w), 3);
	write_file(f, ".a/c.jpg");
	write_file(f, "later/d.tar");
	assert_string_equal(told(f), "settled .a/c.jpg|settled later/d.tar|");
	move(f, "later/raw", "raw/raw");
	assert_string_equal(told(f), "");
}

static void not_recursive_is_the_root_alone(void **state)
{
	struct fixture *f = *state;

	make_folder(f, "a");
	f->options.recursive = false;
	start(f);
	make_folder(f, "b");
	write_file(f, "a/x.jpg");
	write_file(f, "b/x.jpg");
	write_file(f, "y.jpg");
	assert_string_equal(told(f), "settled y.jpg|");
}

static void as_deep_as_the_source_looks_and_no_deeper(void **state)
{
	struct fixture *f = *state;
	cleanup_buffer struct buffer path = BUFFER_INIT;

	for (int i = 0; i < 128; i++)
		buffer_append_string(&path, "d/");
	make_folder(f, (const char *)path.data);
	start(f);
	assert_int_equal(watch_folders(f->w), 129);
	buffer_append_string(&path, "d/");
	make_folder(f, (const char *)path.data);
	assert_string_equal(told(f), "");
	assert_int_equal(watch_folders(f->w), 129);
}

/* -- races ---------------------------------------------------------------------------------------- */

enum { TREES = 200 };

static void *make_trees(void *arg)
{
	struct fixture *f = arg;

	for (int i = 0; i < TREES; i++) {
		cleanup_free char *dir = xasprintf("t%d/a/b/c", i);
		cleanup_free char *file = xasprintf("%s/%d.jpg", dir, i);

		make_folder(f, dir);
		write_file(f, file);
	}
	return NULL;
}

static bool all_seen(const struct fixture *f, bool *seen)
{
	size_t n = 0;

	for (int i = 0; i < TREES; i++) {
		cleanup_free char *name = xasprintf(" t%d/a/b/c/%d.jpg|", i, i);

		seen[i] = seen[i] || strstr((const char *)f->told.data, name);
		n += seen[i];
	}
	return n == TREES;
}

static void no_file_slips_through_while_its_folders_are_made(void **state)
{
	struct fixture *f = *state;
	struct thread maker = THREAD_INIT;
	struct error err = ERROR_INIT;
	bool seen[TREES] = {false};

	start(f);
	assert_ok(thread_start(&maker, "maker", make_trees, f, &err), &err);
	for (told(f); !all_seen(f, seen); told(f)) {
		struct pollfd p = {watch_fd(f->w), POLLIN, 0};

		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	}
	thread_join(&maker);
	told(f);
	assert_int_equal(watch_folders(f->w), 1 + 4 * TREES);
}

static void *shuffle_folders(void *arg)
{
	struct fixture *f = arg;

	for (int i = 0; i < 300; i++) {
		move(f, "a/x", "b/x");
		move(f, "b/x", "a/x");
	}
	return NULL;
}

static void a_folder_that_moves_all_the_time_is_where_it_ends(void **state)
{
	struct fixture *f = *state;
	struct thread mover = THREAD_INIT;
	struct error err = ERROR_INIT;

	make_folder(f, "a/x/y");
	make_folder(f, "b");
	start(f);
	assert_ok(thread_start(&mover, "mover", shuffle_folders, f, &err), &err);
	for (int i = 0; i < 200; i++)
		told(f);
	thread_join(&mover);
	told(f);
	assert_int_equal(watch_folders(f->w), 5);
	write_file(f, "a/x/y/z.jpg");
	assert_string_equal(told(f), "settled a/x/y/z.jpg|");
}

static void ten_thousand_files_are_all_told(void **state)
{
	struct fixture *f = *state;
	size_t n = 0;

	start(f);
	for (int i = 0; i < 10000; i++) {
		cleanup_free char *name = xasprintf("%d.jpg", i);

		write_file(f, name);
		if (i % 1000 == 999) {
			for (const char *at = told(f); (at = strstr(at, "settled ")); at++)
				n++;
		}
	}
	assert_int_equal(n, 10000);
}

static void lost_events_are_answered_by_a_rescan_of_a_tree_that_is_watched_anew(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *gone = path_of(f, "gone");
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error err = ERROR_INIT;
	long limit;

	assert_ok(file_read_all("/proc/sys/fs/inotify/max_queued_events", 64, &text, &err), &err);
	limit = strtol((const char *)text.data, NULL, 10);
	if (limit > 100000)
		skip(); /* it would take too long to fill */
	make_folder(f, "gone");
	start(f);
	write_file(f, "a.jpg");
	for (long i = 0; i < limit; i += 2) /* two events each */
		move(f, i % 4 ? "b.jpg" : "a.jpg", i % 4 ? "a.jpg" : "b.jpg");
	assert_int_equal(rmdir(gone), 0);
	make_folder(f, "new/deep");
	assert_non_null(strstr(told(f), "rescan |"));
	assert_int_equal(watch_folders(f->w), 3);
	write_file(f, "new/deep/x.jpg");
	assert_string_equal(told(f), "settled new/deep/x.jpg|");
}

/* -- what cannot be watched ----------------------------------------------------------------------- */

static void the_limit_of_watches_is_named_and_counted_and_tried_again(void **state)
{
	struct fixture *f = *state;
	const char *text;

	make_folder(f, "a");
	make_folder(f, "c");
	watches_left = 2;
	open_watch(f);
	text = told(f);
	assert_non_null(strstr(text, "fs.inotify.max_user_watches is "));
	assert_non_null(strstr(text, "2 folders are watched"));
	assert_non_null(strstr(text, "rescan |"));
	assert_int_equal(watch_folders(f->w), 2);
	assert_int_equal(watch_unwatched(f->w), 1);
	assert_non_null(watch_note(f->w));
	make_folder(f, "d");
	assert_string_equal(told(f), ""); /* is said once */
	assert_int_equal(watch_unwatched(f->w), 2);

	write_file(f, "d/x.jpg");
	watches_left = -1;
	watch_retry(f->w);
	assert_non_null(strstr(told(f), "found d/x.jpg|"));
	assert_int_equal(watch_unwatched(f->w), 0);
	assert_int_equal(watch_folders(f->w), 4);
	assert_null(watch_note(f->w));
}

static void network_file_systems_are_not_watched_unless_one_says_so(void **state)
{
	struct fixture *f = *state;
	const char *text;

	make_folder(f, "a");
	pretended_f_type = 0x6969;
	open_watch(f);
	text = told(f);
	assert_non_null(strstr(text, "network file system (NFS)"));
	assert_non_null(strstr(text, "rescan |"));
	assert_int_equal(watch_folders(f->w), 0);
	assert_int_equal(watch_unwatched(f->w), 1);
	watch_retry(f->w);
	assert_string_equal(told(f), "");

	watch_close(f->w);
	f->options.network = true;
	start(f);
	assert_int_equal(watch_folders(f->w), 2);
}

static void without_descriptors_folders_wait_and_the_limit_is_named(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, low;
	const char *text;

	make_folder(f, "a");
	open_watch(f);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)watch_fd(f->w) + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	text = told(f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_non_null(strstr(text, "RLIMIT_NOFILE"));
	assert_int_equal(watch_unwatched(f->w), 1);
	watch_retry(f->w);
	told(f);
	assert_int_equal(watch_folders(f->w), 2);
	assert_int_equal(watch_unwatched(f->w), 0);
}

static void no_instance_is_an_error_with_the_name_of_the_limit(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	struct rlimit old, low;
	int r;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	r = watch_open(f->dir, &f->options, &f->w, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_error(r, &err, ERR_IO);
	assert_non_null(strstr(err.message, "fs.inotify.max_user_instances"));
}

/* -- the root ------------------------------------------------------------------------------------- */

static void a_root_that_is_not_there_is_an_error(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = path_of(f, "none");
	struct error err = ERROR_INIT;

	assert_error(watch_open(path, &f->options, &f->w, &err), &err, ERR_CONFIG);
}

static void a_root_that_is_deleted_is_lost(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_true(watch_is_there(f->w));
	assert_int_equal(rmdir(f->dir), 0);
	assert_string_equal(told(f), "lost it was deleted|");
	assert_string_equal(told(f), "");
	assert_false(watch_is_there(f->w));
	make_folder(f, "");
	assert_false(watch_is_there(f->w)); /* another one */
}

static void a_root_that_is_moved_is_lost(void **state)
{
	struct fixture *f = *state;

	start(f);
	move(f, "../root", "../other");
	assert_string_equal(told(f), "lost it was moved|");
	assert_false(watch_is_there(f->w));
}

static void a_root_whose_parent_moved_is_lost_when_a_folder_is_looked_for(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *inner = path_of(f, "inner"), *moved = path_of(f, "../moved");
	struct error err = ERROR_INIT;

	make_folder(f, "inner");
	assert_ok(watch_open(inner, &f->options, &f->w, &err), &err);
	assert_string_equal(told(f), "rescan |");
	assert_int_equal(rename(f->dir, moved), 0);
	assert_int_equal(mkdir(f->dir, 0755), 0);
	make_folder(f, "../moved/inner/new");
	assert_non_null(strstr(told(f), "lost "));
}

static size_t open_descriptors(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 200; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void one_descriptor_is_held_however_many_folders_there_are(void **state)
{
	struct fixture *f = *state;
	size_t before = open_descriptors();

	for (int i = 0; i < 50; i++) {
		cleanup_free char *name = xasprintf("%d/a", i);

		make_folder(f, name);
	}
	start(f);
	assert_int_equal(watch_folders(f->w), 101);
	assert_int_equal(open_descriptors(), before + 1);
	watch_close(f->w);
	f->w = NULL;
	assert_int_equal(open_descriptors(), before);
}

#define watch_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    watch_test(a_file_is_settled_when_it_is_closed_not_before),
	    watch_test(only_images_and_captions_are_told),
	    watch_test(a_file_that_is_renamed_into_place_is_settled),
	    watch_test(a_rename_is_a_file_that_vanished_and_one_that_came),
	    watch_test(deleted_images_and_captions_vanish),
	    watch_test(links_are_settled_at_once),
	    watch_test(a_file_without_a_name_is_found_when_it_gets_one),
	    watch_test(what_was_there_before_is_not_told_but_watched),
	    watch_test(what_is_in_a_new_folder_is_found),
	    watch_test(a_folder_that_moves_in_is_found_with_all_below_it),
	    watch_test(a_folder_that_moves_out_is_no_longer_watched),
	    watch_test(a_folder_that_moves_within_is_told_under_its_new_name),
	    watch_test(a_deleted_tree_leaves_nothing_behind),
	    watch_test(links_to_folders_and_hidden_ones_are_left_out),
	    watch_test(folders_behind_links_that_are_followed_are_known_and_not_watched),
	    watch_test(what_is_not_chosen_is_neither_watched_nor_told),
	    watch_test(not_recursive_is_the_root_alone),
	    watch_test(as_deep_as_the_source_looks_and_no_deeper),
	    watch_test(no_file_slips_through_while_its_folders_are_made),
	    watch_test(a_folder_that_moves_all_the_time_is_where_it_ends),
	    watch_test(ten_thousand_files_are_all_told),
	    watch_test(lost_events_are_answered_by_a_rescan_of_a_tree_that_is_watched_anew),
	    watch_test(the_limit_of_watches_is_named_and_counted_and_tried_again),
	    watch_test(network_file_systems_are_not_watched_unless_one_says_so),
	    watch_test(without_descriptors_folders_wait_and_the_limit_is_named),
	    watch_test(no_instance_is_an_error_with_the_name_of_the_limit),
	    watch_test(a_root_that_is_not_there_is_an_error),
	    watch_test(a_root_that_is_deleted_is_lost),
	    watch_test(a_root_that_is_moved_is_lost),
	    watch_test(a_root_whose_parent_moved_is_lost_when_a_folder_is_looked_for),
	    watch_test(one_descriptor_is_held_however_many_folders_there_are),
	};

	/* In memory, where that is possible: on a busy disk ten thousand files take a minute. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

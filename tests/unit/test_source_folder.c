/* What only a folder has: names, trees, permissions, roots. */
#include "tests/unit/source_rig.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* -- names ------------------------------------------------------------------------------------- */

static void only_names_of_images_are_listed_in_any_case(void **state)
{
	struct source_rig *f = *state;
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
	struct source_rig *f = *state;

	make_folder(f, ".git");
	make_file(f, ".git/a.jpg");
	assert_string_equal(list(f), "");
}

/* With this choice, from a fresh start. */
static const char *list_chosen(struct source_rig *f, const char *include, const char *exclude,
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
	struct source_rig *f = *state;

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
	struct source_rig *f = *state;

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
	struct source_rig *f = *state;
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
	struct source_rig *f = *state;

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
	struct source_rig *f = *state;
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
	struct source_rig *f = *state;

	make_folder(f, "sub");
	make_file(f, "sub/a.jpg");
	make_file(f, "z.jpg");
	open_source(f, false);
	assert_string_equal(list(f), "z.jpg|");
}

static void the_order_is_the_same_on_every_run(void **state)
{
	struct source_rig *f = *state;
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
static void make_deep(struct source_rig *f, const char *name, size_t depth, struct buffer *path)
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
static void remove_deep(struct source_rig *f, const char *name)
{
	char command[512];

	snprintf(command, sizeof(command), "rm -rf '%s/%s'", f->dir, name);
	assert_int_equal(system(command), 0);
}

static void a_tree_128_deep_is_walked_and_its_longest_path_opens(void **state)
{
	struct source_rig *f = *state;
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
	struct source_rig *f = *state;
	cleanup_buffer struct buffer path = BUFFER_INIT;

	make_deep(f, "d", 129, &path);
	make_file(f, "z.jpg");
	assert_string_equal(list(f), "z.jpg|");
	assert_non_null(strstr(notes(f), "too deep"));
}

static void a_folder_with_an_images_name_is_entered_and_noted(void **state)
{
	struct source_rig *f = *state;

	make_folder(f, "x.jpg");
	make_file(f, "x.jpg/in.jpg");
	assert_string_equal(list(f), "x.jpg/in.jpg|");
	assert_string_equal(notes(f), "\"x.jpg\" is a folder with the name of an image\n");
	assert_reason(f, "x.jpg", "not_regular");
}

/* -- permissions ------------------------------------------------------------------------------- */

/*
 * Runs @check in a child in the fixture's folder, as nobody where we are root: root may read
 * everything. The child's failures are its exit status, for cmocka's jump must not leave it.
 */
static void as_nobody(struct source_rig *f, bool (*check)(struct source_rig *f))
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

static bool sees_locked_things(struct source_rig *f)
{
	return strcmp(list(f), "locked.jpg|names/a.jpg|z.jpg|") == 0 &&
	       strcmp(notes(f), "\"shut\" is a folder that may not be read\n") == 0 &&
	       is_unreadable(f->source, "locked.jpg") && is_unreadable(f->source, "names/a.jpg") &&
	       is_unreadable(f->source, "shut/a.jpg") && !is_unreadable(f->source, "z.jpg");
}

static void what_may_not_be_read_is_reported_and_the_rest_listed(void **state)
{
	struct source_rig *f = *state;

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

static bool has_not_vanished(struct source_rig *f)
{
	struct source_entry entry = {.size = 1};
	struct error err = ERROR_INIT;

	return source_examine(f->source, "shut/deep/a.jpg", &entry, &err) == 0 && entry.size == 0 &&
	       source_examine(f->source, "none/deep/a.jpg", &entry, &err) == SOURCE_GONE;
}

static void what_may_not_be_reached_has_not_vanished(void **state)
{
	struct source_rig *f = *state;

	make_folder(f, "shut");
	make_folder(f, "shut/deep");
	make_file(f, "shut/deep/a.jpg");
	assert_int_equal(fchmodat(f->fd, "shut", geteuid() == 0 ? 0700 : 0, 0), 0);
	open_source(f, true);
	as_nobody(f, has_not_vanished);
	assert_int_equal(fchmodat(f->fd, "shut", 0755, 0), 0);
}

static bool root_is_refused(struct source_rig *f)
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
	struct source_rig *f = *state;

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
	struct source_rig *f = *state;
	cleanup_free char *missing = testing_path(f->dir, "no such"),
			  *file = testing_path(f->dir, "a.jpg");

	make_file(f, "a.jpg");
	assert_root_refused(missing, "no such\": there is no such folder");
	assert_root_refused(file, "a.jpg\" is not a folder");
	assert_root_refused("", "there is no such folder");
}

static void a_root_may_be_a_link(void **state)
{
	struct source_rig *f = *state;
	cleanup_free char *link = testing_path(f->dir, "link"), *real = f->dir;

	make_folder(f, "real");
	make_file(f, "real/a.jpg");
	assert_int_equal(symlinkat("real", f->fd, "link"), 0);
	f->dir = TAKE(link);
	assert_string_equal(list(f), "a.jpg|");
	free(f->dir);
	f->dir = TAKE(real);
}

static bool stop_at_second(void *arg)
{
	return ++*(int *)arg == 2;
}

static void reading_a_large_folder_can_be_stopped(void **state)
{
	struct source_rig *f = *state;
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
	    source_test(only_names_of_images_are_listed_in_any_case),
	    source_test(reading_a_large_folder_can_be_stopped),
	    source_test(hidden_folders_are_left_out),
	    source_test(hidden_names_are_listed_where_they_are_asked_for),
	    source_test(what_is_included_and_not_excluded_is_listed),
	    source_test(what_is_excluded_is_gone_where_somebody_asks_for_it),
	    source_test(an_excluded_folder_is_not_entered),
	    source_test(any_name_the_file_system_allows_is_listed_and_opens),
	    source_test(without_recursion_only_the_root_is_listed),
	    source_test(the_order_is_the_same_on_every_run),
	    source_test(a_tree_128_deep_is_walked_and_its_longest_path_opens),
	    source_test(folders_deeper_than_the_limit_are_noted),
	    source_test(a_folder_with_an_images_name_is_entered_and_noted),
	    source_test(what_may_not_be_read_is_reported_and_the_rest_listed),
	    source_test(what_may_not_be_reached_has_not_vanished),
	    source_test(an_unreadable_root_is_one_clear_line),
	    source_test(a_missing_root_or_a_file_as_root_is_one_clear_line),
	    source_test(a_root_may_be_a_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Archives of every kind, whole, damaged and hostile, as a source shows them; parsed in this process.
 */
#include "tests/archive_samples.h"
#include "tests/testing.h"

#include "base/checked.h"
#include "base/files.h"
#include "source/source.h"
#include "source/unpack.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const kinds[] = {"a.tar",	"a.tar.gz",  "a.tgz", "a.tar.zst",
				    "a.tar.xz", "a.tar.bz2", "a.zip", "a.7z"};

enum { PICTURES = 5, PICTURE_BYTES = 40000 };

struct fixture {
	char *dir, *path;
	struct source *source;
	struct unpack_limits limits;
	char notes[2000];
};

static struct unpack_limits limits_now;

static int open_unpack(struct unpack **out, struct error *err)
{
	return unpack_local_open(&limits_now, out, err);
}

static void on_note(void *arg, const char *line)
{
	struct fixture *f = arg;

	strncat(f->notes, line, sizeof(f->notes) - strlen(f->notes) - 1);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	limits_now = (struct unpack_limits)UNPACK_LIMITS_DEFAULT;
	f->dir = testing_tempdir();
	*state = f;
	return 0;
}

static void close_source(struct fixture *f)
{
	source_close(f->source);
	free(f->path);
	f->source = NULL;
	f->path = NULL;
}

/* A bad sector: what is read at or behind it fails. */
static off_t bad_sector = -1;

ssize_t __real_pread(int fd, void *bytes, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t size, off_t offset);

ssize_t __wrap_pread(int fd, void *bytes, size_t size, off_t offset)
{
	if (bad_sector < 0 || offset + (off_t)size <= bad_sector)
		return __real_pread(fd, bytes, size, offset);
	if (offset < bad_sector)
		return __real_pread(fd, bytes, (size_t)(bad_sector - offset), offset);
	errno = EIO;
	return -1;
}

static int teardown(void **state)
{
	bad_sector = -1;
	struct fixture *f = *state;

	close_source(f);
	testing_tempdir_remove(f->dir);
	free(f);
	return 0;
}

/* Bytes that no compressor makes smaller, of picture @i. */
static void fill(uint8_t *bytes, size_t n, unsigned i)
{
	uint32_t x = 2463534242u + i;

	for (size_t k = 0; k < n; k++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		bytes[k] = (uint8_t)x;
	}
}

static void add_picture(struct archive_samples *s, unsigned i)
{
	uint8_t bytes[PICTURE_BYTES];
	char name[32], caption[32];

	fill(bytes, sizeof(bytes), i);
	snprintf(name, sizeof(name), "d/%u.jpg", i);
	archive_samples_add(s, name, bytes, sizeof(bytes));
	snprintf(name, sizeof(name), "d/%u.txt", i);
	snprintf(caption, sizeof(caption), "caption %u", i);
	archive_samples_add(s, name, caption, strlen(caption));
}

static void make(struct fixture *f, const char *name, const char *password)
{
	struct archive_samples *s;

	f->path = testing_path(f->dir, name);
	s = archive_samples_begin(f->path, password);
	for (unsigned i = 0; i < PICTURES; i++)
		add_picture(s, i);
	archive_samples_end(s);
}

/* @path: of the archive or a folder. */
static void open_at(struct fixture *f, const char *path)
{
	const struct source_folder_options options = {.recursive = true,
						      .captions = true,
						      .unpack = open_unpack,
						      .note = on_note,
						      .note_arg = f};
	struct error err = ERROR_INIT;

	f->notes[0] = '\0';
	source_close(f->source);
	f->source = NULL;
	assert_ok(source_open(path, &options, &f->source, &err), &err);
}

/* False at the end. */
static bool next(struct fixture *f, struct source_entry *entry)
{
	struct error err = ERROR_INIT;
	int r = source_next(f->source, entry, &err);

	if (r < 0)
		fail_msg("%s", err.message);
	return r == 0;
}

static size_t count(struct fixture *f)
{
	struct source_entry entry;
	size_t n = 0;

	while (next(f, &entry))
		n++;
	return n;
}

static void assert_picture(struct fixture *f, const char *path, unsigned i)
{
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;
	uint8_t want[PICTURE_BYTES];
	cleanup_close int fd = source_open_sample(f->source, path, &err);

	if (fd < 0)
		fail_msg("%s", err.message);
	assert_ok(fd_read_all(fd, PICTURE_BYTES, &got, &err), &err);
	fill(want, sizeof(want), i);
	assert_int_equal(got.size, sizeof(want));
	assert_memory_equal(got.data, want, sizeof(want));
}

static void assert_refused(struct fixture *f, const char *path, const char *reason)
{
	struct error err = ERROR_INIT;

	assert_error(source_open_sample(f->source, path, &err), &err, ERR_DATA);
	if (strcmp(err.reason, reason) != 0)
		fail_msg("%s: %s, not %s: %s", path, err.reason, reason, err.message);
}

static void assert_caption(struct fixture *f, const char *path, const char *want)
{
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;

	assert_ok(source_caption(f->source, path, &got, &err), &err);
	assert_string_equal((const char *)got.data, want);
}

static void assert_meta(struct fixture *f, const char *path, const char *want)
{
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;
	int r = source_meta(f->source, path, &got, &err);

	if (!want) {
		assert_int_equal(r, SOURCE_NO_META);
		return;
	}
	assert_ok(r, &err);
	assert_string_equal((const char *)got.data, want);
}

/* -- whole ---------------------------------------------------------------------------------------- */

static void members_of_every_kind_of_archive_are_listed_in_their_order_and_read_in_any(void **state)
{
	static const unsigned order[] = {3, 0, 4, 4, 1, 2, 0};
	struct fixture *f = *state;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct source_entry entry;

		make(f, kinds[k], NULL);
		open_at(f, f->path);
		for (unsigned i = 0; i < PICTURES; i++) {
			char name[32], caption[32];

			snprintf(name, sizeof(name), "d/%u.jpg", i);
			snprintf(caption, sizeof(caption), "caption %u", i);
			assert_true(next(f, &entry));
			assert_string_equal(entry.path, name);
			assert_int_equal(entry.size, PICTURE_BYTES);
			assert_int_not_equal(entry.caption, 0);
			assert_caption(f, name, caption);
		}
		assert_false(next(f, &entry));
		for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
			char name[32];

			snprintf(name, sizeof(name), "d/%u.jpg", order[i]);
			assert_picture(f, name, order[i]);
		}
		close_source(f);
	}
}

static void an_archive_in_a_folder_is_like_a_folder_of_its_name(void **state)
{
	static const char *const want[] = {"a.jpg",
					   "sub/a.tar.gz/d/0.jpg",
					   "sub/a.tar.gz/d/1.jpg",
					   "sub/a.tar.gz/d/2.jpg",
					   "sub/a.tar.gz/d/3.jpg",
					   "sub/a.tar.gz/d/4.jpg",
					   "z.jpg"};
	struct fixture *f = *state;
	cleanup_free char *first = testing_path(f->dir, "a.jpg"),
			  *last = testing_path(f->dir, "z.jpg");
	cleanup_free char *sub = testing_path(f->dir, "sub");
	struct error err = ERROR_INIT;
	struct source_entry entry, found;

	assert_ok(dir_make(sub, &err), &err);
	make(f, "sub/a.tar.gz", NULL);
	testing_write(first, "x", 1);
	testing_write(last, "x", 1);
	open_at(f, f->dir);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_true(next(f, &entry));
		assert_string_equal(entry.path, want[i]);
		assert_ok(source_examine(f->source, want[i], &found, &err), &err);
		assert_int_equal(found.size, entry.size);
		assert_int_equal(found.inode, entry.inode);
		assert_int_equal(found.caption, entry.caption);
		assert_int_equal(found.place, entry.place);
		if (i == 3) {
			assert_string_equal(entry.key, "sub/a/d/2.jpg");
			assert_int_equal(entry.archive, strlen("sub/a.tar.gz"));
			assert_string_equal(found.key, "sub/a/d/2.jpg");
		}
	}
	assert_false(next(f, &entry));
	assert_picture(f, "sub/a.tar.gz/d/3.jpg", 3);
	assert_caption(f, "sub/a.tar.gz/d/3.jpg", "caption 3");
	assert_int_equal(source_examine(f->source, "sub/a.tar.gz", &found, &err), SOURCE_GONE);
	assert_refused(f, "sub/a.tar.gz/none.jpg", "gone");
	assert_refused(f, "sub/none.tar/0.jpg", "gone");
}

static void samples_of_webdataset_stay_together(void **state)
{
	struct fixture *f = *state;
	struct archive_samples *s;
	struct source_entry entry;
	static const char *const keys[] = {"0001.jpg", "0002.png", "v1.2.jpg", "d.x/3.webp"};
	static const char *const members[][2] = {
	    {"0001.txt", "one"},       {"0001.json", "{\"caption\": \"not this\", \"width\": 5}"},
	    {"0001.cls", "7\n"},       {"0001.jpg", "x"},
	    {"0002.image.png", "x"},   {"0002.json", "{\"caption\": \"two\"}"},
	    {"v1.2.jpg", "x"},	       {"v1.2.txt", "whole name"},
	    {"d.x/3.thumb.webp", "x"}, {"d.x/3.cls", "cat"},
	    {"d.x/3.json", "[1, 2"},
	};

	f->path = testing_path(f->dir, "a.tar");
	s = archive_samples_begin(f->path, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		archive_samples_add(s, members[i][0], members[i][1], strlen(members[i][1]));
	archive_samples_end(s);
	open_at(f, f->path);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		assert_true(next(f, &entry));
		assert_string_equal(entry.key, keys[i]);
	}
	assert_caption(f, "0001.jpg", "one");
	assert_caption(f, "0002.image.png", "two");
	assert_caption(f, "v1.2.jpg", "whole name");
	assert_meta(f, "0001.jpg", "{\"caption\":\"not this\",\"width\":5,\"cls\":7}");
	assert_meta(f, "0002.image.png", "{\"caption\":\"two\"}");
	assert_meta(f, "v1.2.jpg", NULL);
	assert_meta(f, "d.x/3.thumb.webp", "{\"cls\":\"cat\"}");
}

static void of_members_of_one_name_the_last_one_counts(void **state)
{
	struct fixture *f = *state;
	struct archive_samples *s;
	cleanup_buffer struct buffer got = BUFFER_INIT;
	struct error err = ERROR_INIT;
	cleanup_close int fd = -1;

	f->path = testing_path(f->dir, "a.tar");
	s = archive_samples_begin(f->path, NULL);
	archive_samples_add(s, "./a.jpg", "old", 3);
	archive_samples_add(s, "a.txt", "old", 3);
	archive_samples_add(s, "a.jpg", "new one", 7);
	archive_samples_add(s, "a.txt", "new", 3);
	archive_samples_end(s);
	open_at(f, f->path);
	assert_int_equal(count(f), 1);
	fd = source_open_sample(f->source, "a.jpg", &err);
	assert_true(fd >= 0);
	assert_ok(fd_read_all(fd, 100, &got, &err), &err);
	assert_string_equal((const char *)got.data, "new one");
	assert_caption(f, "a.jpg", "new");
}

static void an_archive_that_is_replaced_is_listed_again(void **state)
{
	struct fixture *f = *state;
	struct archive_samples *s;
	struct source_entry before, after;
	struct error err = ERROR_INIT;
	cleanup_free char *other = testing_path(f->dir, "b.tar");

	make(f, "a.tar", NULL);
	open_at(f, f->path);
	assert_ok(source_examine(f->source, "d/1.jpg", &before, &err), &err);
	s = archive_samples_begin(other, NULL);
	add_picture(s, 7);
	add_picture(s, 1);
	archive_samples_end(s);
	assert_int_equal(rename(other, f->path), 0);
	assert_picture(f, "d/1.jpg", 1);
	assert_picture(f, "d/7.jpg", 7);
	assert_refused(f, "d/2.jpg", "gone");
	assert_ok(source_examine(f->source, "d/1.jpg", &after, &err), &err);
	assert_int_not_equal(before.inode, after.inode);
	assert_int_equal(before.caption, after.caption);
}

static void what_is_passed_over_may_be_of_any_size(void **state)
{
	static const size_t sizes[] = {1 << 16, (1 << 16) - 5};
	struct fixture *f = *state;
	cleanup_free uint8_t *other = xcalloc(1, 1 << 16);
	uint8_t picture[PICTURE_BYTES];

	fill(other, 1 << 16, 7);
	fill(picture, sizeof(picture), 0);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct archive_samples *s;

		f->path = testing_path(f->dir, kinds[k]);
		s = archive_samples_begin(f->path, NULL);
		archive_samples_add(s, "a.bin", other, sizes[0]);
		archive_samples_add(s, "a.txt", "hello", 5);
		archive_samples_add(s, "b.bin", other, sizes[1]);
		archive_samples_add(s, "a.jpg", picture, sizeof(picture));
		archive_samples_end(s);
		open_at(f, f->path);
		assert_int_equal(count(f), 1);
		assert_caption(f, "a.jpg", "hello");
		assert_picture(f, "a.jpg", 0);
		close_source(f);
	}
}

/* -- hostile -------------------------------------------------------------------------------------- */

static void tricks_with_paths_and_links_are_passed_over_and_told(void **state)
{
	struct fixture *f = *state;
	struct archive_samples *s;
	struct source_entry entry;

	f->path = testing_path(f->dir, "a.tar");
	s = archive_samples_begin(f->path, NULL);
	archive_samples_add(s, "../up.jpg", "x", 1);
	archive_samples_add(s, "a/../../up.jpg", "x", 1);
	archive_samples_add(s, "/etc/passwd.jpg", "x", 1);
	archive_samples_add(s, "__MACOSX/._b.jpg", "x", 1);
	archive_samples_add(s, "b.jpg", "fine", 4);
	archive_samples_add_link(s, "c.jpg", "/etc/passwd", 0);
	archive_samples_add_link(s, "d.jpg", "b.jpg", 1);
	archive_samples_add_link(s, "e.jpg", NULL, 0);
	archive_samples_end(s);
	open_at(f, f->path);
	assert_true(next(f, &entry));
	assert_string_equal(entry.path, "b.jpg");
	assert_false(next(f, &entry));
	assert_non_null(
	    strstr(f->notes, "has 6 images that are links or lead out of it, as \"e.jpg\""));
}

static void a_bomb_stops_at_the_limit_and_what_was_before_it_is_used(void **state)
{
	struct fixture *f = *state;
	struct archive_samples *s;
	cleanup_free char *zeros = xcalloc(1, 4 << 20);
	static const char *const compressed[] = {"a.tar.gz", "a.tar.xz", "a.tar.zst", "a.tar.bz2",
						 "a.7z"};

	limits_now.grown_bytes = 1 << 20;
	limits_now.grown_times = 100;
	for (size_t k = 0; k < ARRAY_SIZE(compressed); k++) {
		f->path = testing_path(f->dir, compressed[k]);
		s = archive_samples_begin(f->path, NULL);
		add_picture(s, 0);
		for (int i = 0; i < 40; i++) {
			char name[32];

			snprintf(name, sizeof(name), "%d.bin", i);
			archive_samples_add(s, name, zeros, 4 << 20);
		}
		archive_samples_end(s);
		open_at(f, f->path);
		assert_int_equal(count(f), 2);
		assert_refused(f, compressed[k], "bomb");
		assert_picture(f, "d/0.jpg", 0);
		close_source(f);
	}
}

static void a_member_over_the_limit_is_too_large(void **state)
{
	struct fixture *f = *state;

	limits_now.member_bytes = PICTURE_BYTES - 1;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		make(f, kinds[k], NULL);
		open_at(f, f->path);
		assert_refused(f, "d/1.jpg", "too_large");
		close_source(f);
	}
}

static int list_without_memory(struct unpack *u, const struct unpack_input *in,
			       unpack_member_fn on_member, void *arg, struct error *err)
{
	(void)u;
	(void)in;
	(void)on_member;
	(void)arg;
	return error_set(err, ERR_NOMEM, "no memory to unpack it");
}

static void close_nothing(struct unpack *u)
{
	(void)u;
}

static int open_without_memory(struct unpack **out, struct error *err)
{
	static const struct unpack_ops ops = {
	    .name = "without memory", .list = list_without_memory, .close = close_nothing};
	static struct unpack unpack = {.ops = &ops};

	(void)err;
	*out = &unpack;
	return 0;
}

static void
an_archive_that_asks_for_too_much_memory_keeps_no_other_file_from_being_found(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *picture = testing_path(f->dir, "z.jpg");
	size_t unread = 0;
	const struct source_folder_options options = {.unpack = open_without_memory,
						      .unread = &unread};
	struct source_entry entry;
	struct error err = ERROR_INIT;

	make(f, "a.tar.xz", NULL);
	testing_write(picture, "picture", 7);
	assert_ok(source_open(f->dir, &options, &f->source, &err), &err);
	assert_true(next(f, &entry));
	assert_string_equal(entry.path, "a.tar.xz");
	assert_true(next(f, &entry));
	assert_string_equal(entry.path, "z.jpg");
	assert_false(next(f, &entry));
	assert_refused(f, "a.tar.xz", "too_large");
	assert_int_equal(unread, 1);
}

static void more_members_than_the_limit_are_not_listed(void **state)
{
	struct fixture *f = *state;

	limits_now.members = 4;
	make(f, "a.zip", NULL);
	open_at(f, f->path);
	assert_int_equal(count(f), 3);
	assert_refused(f, "a.zip", "too_large");
}

/* -- damaged -------------------------------------------------------------------------------------- */

static void encrypted_members_are_listed_and_refused(void **state)
{
	struct fixture *f = *state;

	make(f, "a.zip", "secret");
	open_at(f, f->path);
	assert_int_equal(count(f), PICTURES);
	assert_refused(f, "d/1.jpg", "encrypted");
}

/* All but the last @cut bytes of the archive are left. */
static void cut(struct fixture *f, off_t bytes)
{
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(truncate(f->path, st.st_size - bytes), 0);
}

static void of_a_truncated_tar_what_is_there_is_used(void **state)
{
	static const char *const tars[] = {"a.tar", "a.tar.gz", "a.tar.zst", "a.tar.xz"};
	struct fixture *f = *state;

	for (size_t k = 0; k < ARRAY_SIZE(tars); k++) {
		struct error err = ERROR_INIT;
		int fd;

		make(f, tars[k], NULL);
		cut(f, PICTURE_BYTES);
		open_at(f, f->path);
		assert_in_range(count(f), 3, PICTURES + 1);
		assert_picture(f, "d/0.jpg", 0);
		if (k == 0)
			assert_picture(f, "d/1.jpg", 1);
		fd = source_open_sample(f->source, tars[k], &err);
		assert_true(fd < 0);
		assert_non_null(strstr(err.message, "images are used"));
		assert_true(strcmp(err.reason, "truncated") == 0 ||
			    strcmp(err.reason, "corrupt") == 0);
		close_source(f);
	}
}

/* Their lists are at their ends. */
/* Others in its folder are nobody's loss. */
static void of_an_archive_with_a_bad_sector_what_is_before_it_is_used(void **state)
{
	struct fixture *f = *state;
	struct source_entry entry;
	size_t members = 0, others = 0, damaged = 0;

	for (size_t i = 0; i < 2; i++) {
		make(f, i == 0 ? "a.tar" : "b.tar", NULL);
		free(TAKE(f->path));
	}
	open_at(f, f->dir);
	bad_sector = 2 * PICTURE_BYTES;
	while (next(f, &entry)) {
		members += strncmp(entry.path, "a.tar/", 6) == 0;
		damaged += strcmp(entry.path, "a.tar") == 0;
		if (damaged > 0)
			bad_sector = -1;
		others += strncmp(entry.path, "b.tar/", 6) == 0;
	}
	assert_in_range(members, 1, PICTURES - 1);
	assert_int_equal(damaged, 1);
	assert_int_equal(others, PICTURES);
}

static void of_a_truncated_zip_or_7z_it_is_told(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"a.zip", "a.7z"};

	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		struct source_entry entry;
		struct error err = ERROR_INIT;
		bool told = false;

		make(f, names[k], NULL);
		cut(f, PICTURE_BYTES);
		open_at(f, f->path);
		while (next(f, &entry))
			told = told || strcmp(entry.path, names[k]) == 0;
		assert_true(told);
		assert_true(source_open_sample(f->source, names[k], &err) < 0);
		close_source(f);
	}
}

static void damaged_bytes_cost_that_member(void **state)
{
	struct fixture *f = *state;
	struct buffer bytes;

	make(f, "a.zip", NULL);
	bytes = testing_read(f->path);
	bytes.data[PICTURE_BYTES + PICTURE_BYTES / 2] ^= 0x55; /* in the second picture */
	testing_write(f->path, bytes.data, bytes.size);
	buffer_release(&bytes);
	open_at(f, f->path);
	assert_int_equal(count(f), PICTURES);
	assert_picture(f, "d/0.jpg", 0);
	assert_refused(f, "d/1.jpg", "corrupt");
	assert_picture(f, "d/2.jpg", 2);
}

static void what_is_no_archive_is_an_entry_that_says_so(void **state)
{
	struct fixture *f = *state;
	struct source_entry entry;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		f->path = testing_path(f->dir, kinds[k]);
		testing_write(f->path, "this is no archive, whatever its name says.", 43);
		open_at(f, f->path);
		assert_true(next(f, &entry));
		assert_string_equal(entry.path, kinds[k]);
		assert_false(next(f, &entry));
		assert_refused(f, kinds[k], "unsupported");
		testing_write(f->path, "", 0);
		open_at(f, f->path);
		assert_refused(f, kinds[k], "truncated");
		close_source(f);
	}
}

static size_t opened; /* parsers */

static int open_and_count(struct unpack **out, struct error *err)
{
	opened++;
	return open_unpack(out, err);
}

static void open_with_lists(struct fixture *f, const char *path, const char *name)
{
	const struct source_folder_options options = {
	    .recursive = true, .unpack = open_and_count, .note = on_note, .note_arg = f};
	cleanup_free char *lists = testing_path(f->dir, name);
	struct error err = ERROR_INIT;

	source_close(f->source);
	f->source = NULL;
	assert_ok(source_open(path, &options, &f->source, &err), &err);
	source_keep_lists(f->source, lists);
}

static void an_archive_that_has_not_changed_is_not_listed_again(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *photos = testing_path(f->dir, "photos");
	struct error err = ERROR_INIT;

	assert_ok(dir_make(photos, &err), &err);
	make(f, "photos/a.tar.gz", NULL);
	cut(f, PICTURE_BYTES);
	for (int i = 0; i < 2; i++) { /* in its folder, by itself */
		size_t n;

		opened = 0;
		open_with_lists(f, i == 0 ? photos : f->path, i == 0 ? "lists" : "other");
		n = count(f);
		assert_int_equal(opened, 1);
		open_with_lists(f, i == 0 ? photos : f->path, i == 0 ? "lists" : "other");
		assert_int_equal(count(f), n);
		assert_caption(f, i == 0 ? "a.tar.gz/d/1.jpg" : "d/1.jpg", "caption 1");
		assert_refused(f, "a.tar.gz", "truncated");
		assert_int_equal(opened, 1); /* not for that */
		assert_picture(f, i == 0 ? "a.tar.gz/d/0.jpg" : "d/0.jpg", 0);
		assert_int_equal(opened, 2);
	}
	free(f->path);
	make(f, "photos/a.tar.gz", NULL);
	opened = 0;
	open_with_lists(f, photos, "lists");
	assert_int_equal(count(f), PICTURES);
	assert_int_equal(opened, 1);
}

/* Files in the folder of lists. */
static size_t lists_of(struct fixture *f)
{
	cleanup_free char *folder = testing_path(f->dir, "lists");
	DIR *dir = opendir(folder);
	size_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n > 2 ? n - 2 : 0;
}

static void lists_of_archives_that_are_gone_go_too_and_damaged_ones_are_made_again(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *photos = testing_path(f->dir, "photos");
	cleanup_free char *command =
	    xasprintf("for f in %s/lists/*; do truncate -s -1 $f; done", f->dir);
	struct error err = ERROR_INIT;

	assert_ok(dir_make(photos, &err), &err);
	make(f, "photos/a.zip", NULL);
	free(f->path);
	make(f, "photos/b.7z", NULL);
	open_with_lists(f, photos, "lists");
	assert_int_equal(count(f), 2 * PICTURES);
	assert_int_equal(lists_of(f), 2);
	assert_int_equal(system(command), 0);
	opened = 0;
	open_with_lists(f, photos, "lists");
	assert_int_equal(count(f), 2 * PICTURES);
	assert_int_equal(opened, 1);
	assert_int_equal(unlink(f->path), 0);
	open_with_lists(f, photos, "lists");
	assert_int_equal(count(f), PICTURES);
	assert_int_equal(lists_of(f), 1);
}

static bool it_waits(void *arg, const struct source_entry *entry)
{
	(void)entry;
	return *(bool *)arg;
}

static void an_archive_that_is_being_written_is_left_alone(void **state)
{
	struct fixture *f = *state;
	bool waits = true;
	const struct source_folder_options options = {.recursive = true,
						      .unpack = open_unpack,
						      .archive_waits = it_waits,
						      .archive_arg = &waits};
	struct error err = ERROR_INIT;

	make(f, "a.tar", NULL);
	for (int i = 0; i < 2; i++) {
		const char *path = i == 0 ? f->path : f->dir;

		waits = true;
		assert_ok(source_open(path, &options, &f->source, &err), &err);
		assert_int_equal(count(f), 0);
		source_close(f->source);
		waits = false;
		assert_ok(source_open(path, &options, &f->source, &err), &err);
		assert_int_equal(count(f), PICTURES);
		source_close(f->source);
		f->source = NULL;
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(members_of_every_kind_of_archive_are_listed_in_their_order_and_read_in_any),
	    TEST(an_archive_in_a_folder_is_like_a_folder_of_its_name),
	    TEST(samples_of_webdataset_stay_together),
	    TEST(of_members_of_one_name_the_last_one_counts),
	    TEST(an_archive_that_is_replaced_is_listed_again),
	    TEST(tricks_with_paths_and_links_are_passed_over_and_told),
	    TEST(a_bomb_stops_at_the_limit_and_what_was_before_it_is_used),
	    TEST(what_is_passed_over_may_be_of_any_size),
	    TEST(a_member_over_the_limit_is_too_large),
	    TEST(an_archive_that_asks_for_too_much_memory_keeps_no_other_file_from_being_found),
	    TEST(more_members_than_the_limit_are_not_listed),
	    TEST(encrypted_members_are_listed_and_refused),
	    TEST(of_a_truncated_tar_what_is_there_is_used),
	    TEST(of_a_truncated_zip_or_7z_it_is_told),
	    TEST(of_an_archive_with_a_bad_sector_what_is_before_it_is_used),
	    TEST(damaged_bytes_cost_that_member),
	    TEST(what_is_no_archive_is_an_entry_that_says_so),
	    TEST(an_archive_that_is_being_written_is_left_alone),
	    TEST(an_archive_that_has_not_changed_is_not_listed_again),
	    TEST(lists_of_archives_that_are_gone_go_too_and_damaged_ones_are_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

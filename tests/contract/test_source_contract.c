/*
 * What every source does, run on each: the same files in memory, in a folder, in archives of which one is read
 * at any place and the others from their beginning, and named by manifests.
 */
#include "tests/archive_samples.h"
#include "tests/testing.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"
#include "source/source.h"
#include "source/unpack.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

struct backend {
	const char *name;
	char *dir; /* of the folder and of archives */
	struct source *source;
};

static void open_memory(struct backend *b, const struct source_memory_file *files, size_t n)
{
	struct error err = ERROR_INIT;

	assert_ok(source_memory_open(files, n, &b->source, &err), &err);
}

static void write_file(const char *dir, const char *name, const void *data, size_t size)
{
	struct error err = ERROR_INIT;
	cleanup_free char *path = testing_path(dir, name), *parent = xstrdup(path);

	*strrchr(parent, '/') = '\0';
	assert_ok(dir_make(parent, &err), &err);
	testing_write(path, data, size);
}

static void open_folder(struct backend *b, const struct source_memory_file *files, size_t n)
{
	const struct source_folder_options options = {.recursive = true};
	struct error err = ERROR_INIT;

	b->dir = testing_tempdir();
	for (size_t i = 0; i < n; i++) {
		const char *dot = strrchr(files[i].path, '.');
		cleanup_free char *caption =
		    xasprintf("%.*s.txt", (int)(dot - files[i].path), files[i].path);

		if (files[i].data)
			write_file(b->dir, files[i].path, files[i].data, files[i].size);
		if (files[i].caption)
			write_file(b->dir, caption, files[i].caption, strlen(files[i].caption));
	}
	assert_ok(source_folder_open(b->dir, &options, &b->source, &err), &err);
}

static int unpack_open(struct unpack **out, struct error *err)
{
	const struct unpack_limits limits = UNPACK_LIMITS_DEFAULT;

	return unpack_local_open(&limits, out, err);
}

/* Kinds are told by the name of the backend. */
static void open_archive(struct backend *b, const struct source_memory_file *files, size_t n)
{
	const struct source_folder_options options = {.unpack = unpack_open};
	struct error err = ERROR_INIT;
	cleanup_free char *path = NULL;
	struct archive_samples *s;

	b->dir = testing_tempdir();
	path = testing_path(b->dir, b->name);
	s = archive_samples_begin(path, NULL);
	for (size_t i = 0; i < n; i++) {
		const char *dot = strrchr(files[i].path, '.');
		cleanup_free char *caption =
		    xasprintf("%.*s.txt", (int)(dot - files[i].path), files[i].path);

		if (files[i].caption)
			archive_samples_add(s, caption, files[i].caption, strlen(files[i].caption));
		if (files[i].data)
			archive_samples_add(s, files[i].path, files[i].data, files[i].size);
	}
	archive_samples_end(s);
	assert_ok(source_open(path, &options, &b->source, &err), &err);
}

/* What a file is called in a manifest, and its caption; in CSV an empty one is none. */
static void put_line(struct buffer *out, bool json, const struct source_memory_file *file)
{
	json_t *object = json_pack("{s:s}", "path", file->path);

	if (file->caption)
		json_object_set_new(object, "caption", json_string(file->caption));
	if (json) {
		char *line = json_dumps(object, JSON_COMPACT);

		buffer_appendf(out, "%s\n", line);
		free(line);
	} else {
		buffer_appendf(out, "\"%s\",\"%s\"\r\n", file->path,
			       file->caption ? file->caption : "");
	}
	json_decref(object);
}

/* What a manifest cannot say (bytes that are no UTF-8, an empty caption in CSV) lies beside the image. */
static void open_manifest(struct backend *b, const struct source_memory_file *files, size_t n)
{
	const struct source_folder_options options = {.recursive = true};
	bool json = strcmp(b->name, "images.jsonl") == 0;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error err = ERROR_INIT;
	cleanup_free char *path = NULL;

	b->dir = testing_tempdir();
	if (!json)
		buffer_append_string(&text, "path,caption\r\n");
	for (size_t i = 0; i < n; i++) {
		struct source_memory_file file = files[i];

		if (file.data)
			write_file(b->dir, file.path, file.data, file.size);
		if (file.caption &&
		    (!utf8_valid(file.caption, strlen(file.caption)) || !*file.caption)) {
			const char *dot = strrchr(file.path, '.');
			cleanup_free char *caption =
			    xasprintf("%.*s.txt", (int)(dot - file.path), file.path);

			write_file(b->dir, caption, file.caption, strlen(file.caption));
			file.caption = NULL;
		}
		put_line(&text, json, &file);
	}
	write_file(b->dir, b->name, text.data ? text.data : (const void *)"", text.size);
	path = testing_path(b->dir, b->name);
	assert_ok(source_open(path, &options, &b->source, &err), &err);
}

static void backend_open(void **state, const struct source_memory_file *files, size_t n)
{
	struct backend *b = *state;

	if (strcmp(b->name, "memory") == 0)
		open_memory(b, files, n);
	else if (strcmp(b->name, "folder") == 0)
		open_folder(b, files, n);
	else if (strncmp(b->name, "images.", 7) == 0)
		open_manifest(b, files, n);
	else
		open_archive(b, files, n);
}

static int teardown(void **state)
{
	struct backend *b = *state;

	source_close(b->source);
	b->source = NULL;
	if (b->dir)
		testing_tempdir_remove(b->dir);
	b->dir = NULL;
	return 0;
}

/* The path of the next entry; NULL at the end. */
static const char *next_path(struct source *s)
{
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;
	int r = source_next(s, &entry, &err);

	if (r < 0)
		fail_msg("%s", err.message);
	return r == SOURCE_END ? NULL : entry.path;
}

static void entries_come_in_byte_order_of_their_paths_and_then_the_end(void **state)
{
	struct backend *b = *state;
	static const char *const sorted[] = {
	    "A.jpg",	  "a b.jpg",	  "a-b.jpg",  "a.jpg", "a/b.jpg",	   "a/b/c.jpg",
	    "a/c.jpg",	  "a0.jpg",	  "b.jpg",    "b.png", "b.x/deep/one.jpg", "b/z.jpg",
	    "new\nl.jpg", "\xc3\xa9.jpg", "\xff.jpg",
	};
	/* A manifest is UTF-8. */
	size_t n = ARRAY_SIZE(sorted) - (strncmp(b->name, "images.", 7) == 0);
	struct source_memory_file files[ARRAY_SIZE(sorted)];

	/* An archive's is the order of its members, a manifest's that of its lines. 7 and 15 are coprime */
	for (size_t i = 0; i < n; i++)
		files[i] = (struct source_memory_file){
		    sorted[strchr(b->name, '.') ? i : i * 7 % ARRAY_SIZE(sorted)], "x", 1, NULL};
	backend_open(state, files, n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(next_path(b->source), sorted[i]);
	assert_null(next_path(b->source));
	assert_null(next_path(b->source));
}

static void an_empty_source_is_at_its_end(void **state)
{
	struct backend *b = *state;

	backend_open(state, NULL, 0);
	assert_null(next_path(b->source));
}

static void an_entry_has_the_size_of_its_file(void **state)
{
	struct backend *b = *state;
	static const struct source_memory_file files[] = {{"a.jpg", "12345", 5, NULL},
							  {"b.jpg", "", 0, NULL}};
	struct source_entry entry = {0};
	struct error err = ERROR_INIT;

	backend_open(state, files, ARRAY_SIZE(files));
	assert_ok(source_next(b->source, &entry, &err), &err);
	assert_int_equal(entry.size, 5);
	assert_int_not_equal(entry.inode, 0);
	assert_ok(source_next(b->source, &entry, &err), &err);
	assert_int_equal(entry.size, 0);
}

static void one_path_is_examined_as_the_listing_would_show_it(void **state)
{
	struct backend *b = *state;
	static const struct source_memory_file files[] = {{"a/b.jpg", "12345", 5, "caption"},
							  {"c.jpg", "12", 2, NULL}};
	struct source_entry listed = {0}, found = {0};
	struct error err = ERROR_INIT;

	backend_open(state, files, ARRAY_SIZE(files));
	for (size_t i = 0; i < 2; i++) {
		assert_ok(source_next(b->source, &listed, &err), &err);
		assert_ok(source_examine(b->source, files[i].path, &found, &err), &err);
		assert_string_equal(found.path, listed.path);
		assert_int_equal(found.size, listed.size);
		assert_int_equal(found.mtime_ns, listed.mtime_ns);
		assert_int_equal(found.inode, listed.inode);
		assert_true(found.caption == listed.caption);
	}
	assert_int_equal(source_examine(b->source, "none.jpg", &found, &err), SOURCE_GONE);
	assert_int_equal(source_examine(b->source, "c.jpg/d.jpg", &found, &err), SOURCE_GONE);
	assert_int_equal(source_examine(b->source, "a", &found, &err), SOURCE_GONE);
	assert_error(source_examine(b->source, "../c.jpg", &found, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "outside");
}

static void assert_sample(struct source *s, const char *path, const char *want)
{
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	cleanup_close int fd = source_open_sample(s, path, &err);

	if (fd < 0)
		fail_msg("%s", err.message);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_ok(fd_read_all(fd, 1000, &bytes, &err), &err);
	assert_string_equal(bytes.data, want);
}

static void a_sample_opens_before_during_and_after_the_listing(void **state)
{
	struct backend *b = *state;
	static const struct source_memory_file files[] = {{"a/b.jpg", "first", 5, NULL},
							  {"c.jpg", "second", 6, NULL}};

	backend_open(state, files, ARRAY_SIZE(files));
	assert_sample(b->source, "c.jpg", "second");
	assert_string_equal(next_path(b->source), "a/b.jpg");
	assert_sample(b->source, "a/b.jpg", "first");
	assert_string_equal(next_path(b->source), "c.jpg");
	assert_null(next_path(b->source));
	assert_sample(b->source, "a/b.jpg", "first");
	assert_sample(b->source, "a/b.jpg", "first");
}

static void a_sample_that_is_not_there_is_gone(void **state)
{
	struct backend *b = *state;
	static const struct source_memory_file files[] = {{"a.jpg", "x", 1, NULL}};
	static const char *const paths[] = {"b.jpg", "no/such/folder.jpg", "a.jpg/below.jpg"};

	backend_open(state, files, ARRAY_SIZE(files));
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct error err = ERROR_INIT;

		assert_error(source_open_sample(b->source, paths[i], &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "gone");
	}
}

static void a_path_that_leaves_the_source_is_refused(void **state)
{
	struct backend *b = *state;
	static const struct source_memory_file files[] = {{"a/b.jpg", "x", 1, NULL}};
	static const char *const paths[] = {"",		"/etc/passwd", "..",
					    "../x.jpg", "a/..",	       "a/../a/b.jpg",
					    "./a.jpg",	"a//b.jpg",    "a/b.jpg/"};

	backend_open(state, files, ARRAY_SIZE(files));
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		cleanup_buffer struct buffer out = BUFFER_INIT;
		struct error err = ERROR_INIT;

		assert_error(source_open_sample(b->source, paths[i], &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "outside");
		error_clear(&err);
		assert_error(source_caption(b->source, paths[i], &out, &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "outside");
	}
}

static void a_caption_is_clean_utf8(void **state)
{
	struct backend *b = *state;
	static const struct source_memory_file files[] = {
	    {"d.x/plain.jpg", "x", 1, "a red fox"},
	    {"bom.jpg", "x", 1,
	     "\xef\xbb\xbf"
	     "caf\xc3\xa9\r\n"},
	    {"crlf.jpg", "x", 1, " one,\r\n two \t\r\n\r\n\f\v"},
	    {"bad.jpg", "x", 1, "na\xefve"},
	    {"two.dots.png", "x", 1, "dots"},
	    {"two.boms.png", "x", 1, "\xef\xbb\xbf\xef\xbb\xbfx"},
	};
	static const char *const want[] = {"a red fox",	       "caf\xc3\xa9", " one,\r\n two",
					   "na\xef\xbf\xbdve", "dots",	      "\xef\xbb\xbfx"};

	backend_open(state, files, ARRAY_SIZE(files));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		cleanup_buffer struct buffer out = BUFFER_INIT;
		struct error err = ERROR_INIT;

		buffer_append_string(&out, ">");
		assert_ok(source_caption(b->source, files[i].path, &out, &err), &err);
		assert_string_equal((const char *)out.data + 1, want[i]);
		assert_int_equal(out.size, strlen(want[i]) + 1);
	}
}

static void an_empty_caption_is_not_a_missing_one(void **state)
{
	struct backend *b = *state;
	static const struct source_memory_file files[] = {{"empty.jpg", "x", 1, ""},
							  {"blank.jpg", "x", 1, "\xef\xbb\xbf \n"},
							  {"none.jpg", "x", 1, NULL}};
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	backend_open(state, files, ARRAY_SIZE(files));
	assert_ok(source_caption(b->source, "empty.jpg", &out, &err), &err);
	assert_ok(source_caption(b->source, "blank.jpg", &out, &err), &err);
	assert_int_equal(source_caption(b->source, "none.jpg", &out, &err), SOURCE_NO_CAPTION);
	assert_int_equal(source_caption(b->source, "no/such.jpg", &out, &err), SOURCE_NO_CAPTION);
	assert_int_equal(out.size, 0);
}

static void a_caption_over_a_mebibyte_is_too_large(void **state)
{
	struct backend *b = *state;
	cleanup_free char *text = xmalloc(SOURCE_CAPTION_MAX + 2);
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;
	struct source_memory_file file = {"a.jpg", "x", 1, text};

	memset(text, 'c', SOURCE_CAPTION_MAX + 1);
	text[SOURCE_CAPTION_MAX + 1] = '\0';
	backend_open(state, &file, 1);
	assert_error(source_caption(b->source, "a.jpg", &out, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "too_large");
	assert_int_equal(out.size, 0);
}

/* 3 is what "there is no archive on this path" was once told from by its number. */
static void a_member_of_an_archive_in_a_folder_opens_as_descriptor_three(void **state)
{
	const struct source_folder_options options = {.recursive = true, .unpack = unpack_open};
	struct backend *b = *state;
	struct error err = ERROR_INIT;
	cleanup_free char *path = NULL;
	struct archive_samples *s;
	char bytes[8];
	int fd;

	b->dir = testing_tempdir();
	path = testing_path(b->dir, "a.zip");
	s = archive_samples_begin(path, NULL);
	archive_samples_add(s, "cat.jpg", "miaow", 5);
	archive_samples_end(s);
	assert_int_equal(dup2(STDIN_FILENO, 3), 3);
	assert_ok(source_folder_open(b->dir, &options, &b->source, &err), &err);
	/* What the source keeps open is open from here on. */
	close(source_open_sample(b->source, "a.zip/cat.jpg", &err));
	close(3);
	fd = source_open_sample(b->source, "a.zip/cat.jpg", &err);
	if (fd < 0)
		fail_msg("%s", err.message);
	assert_int_equal(fd, 3);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), 5);
	close(fd);
}

#define CONTRACT(test)                                                                             \
	cmocka_unit_test_prestate_setup_teardown(test, NULL, teardown, &memory),                   \
	    cmocka_unit_test_prestate_setup_teardown(test, NULL, teardown, &folder),               \
	    cmocka_unit_test_prestate_setup_teardown(test, NULL, teardown, &tar),                  \
	    cmocka_unit_test_prestate_setup_teardown(test, NULL, teardown, &tar_gz),               \
	    cmocka_unit_test_prestate_setup_teardown(test, NULL, teardown, &zip),                  \
	    cmocka_unit_test_prestate_setup_teardown(test, NULL, teardown, &jsonl),                \
	    cmocka_unit_test_prestate_setup_teardown(test, NULL, teardown, &csv)

int main(void)
{
	static struct backend memory = {.name = "memory"}, folder = {.name = "folder"},
			      tar = {.name = "a.tar"}, tar_gz = {.name = "a.tar.gz"},
			      zip = {.name = "a.zip"}, jsonl = {.name = "images.jsonl"},
			      csv = {.name = "images.csv"};
	const struct CMUnitTest tests[] = {
	    CONTRACT(entries_come_in_byte_order_of_their_paths_and_then_the_end),
	    CONTRACT(an_empty_source_is_at_its_end),
	    CONTRACT(an_entry_has_the_size_of_its_file),
	    CONTRACT(one_path_is_examined_as_the_listing_would_show_it),
	    CONTRACT(a_sample_opens_before_during_and_after_the_listing),
	    CONTRACT(a_sample_that_is_not_there_is_gone),
	    CONTRACT(a_path_that_leaves_the_source_is_refused),
	    CONTRACT(a_caption_is_clean_utf8),
	    CONTRACT(an_empty_caption_is_not_a_missing_one),
	    CONTRACT(a_caption_over_a_mebibyte_is_too_large),
	    cmocka_unit_test_prestate_setup_teardown(
		a_member_of_an_archive_in_a_folder_opens_as_descriptor_three, NULL, teardown,
		&folder),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/unit/source_rig.h"

#include "base/checked.h"
#include "base/files.h"
#include "tests/testing.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int source_rig_setup(void **state)
{
	struct source_rig *f = xcalloc(1, sizeof(*f));
	struct error err = ERROR_INIT;

	f->dir = testing_tempdir();
	assert_int_equal(chmod(f->dir, 0755), 0);
	f->fd = file_open(f->dir, O_RDONLY | O_DIRECTORY, 0, &err);
	assert_true(f->fd >= 0);
	*state = f;
	return 0;
}

int source_rig_teardown(void **state)
{
	struct source_rig *f = *state;

	source_close(f->source);
	close(f->fd);
	testing_tempdir_remove(f->dir);
	buffer_release(&f->notes);
	buffer_release(&f->listing);
	free(f);
	return 0;
}

void make_file(struct source_rig *f, const char *name)
{
	int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, name, strlen(name)), (ssize_t)strlen(name));
	close(fd);
}

void make_folder(struct source_rig *f, const char *name)
{
	assert_int_equal(mkdirat(f->fd, name, 0755), 0);
}

void collect_note(void *arg, const char *line)
{
	struct source_rig *f = arg;

	buffer_append_string(&f->notes, line);
	buffer_append_string(&f->notes, "\n");
}

void open_source(struct source_rig *f, bool recursive)
{
	const struct source_folder_options options = {
	    .recursive = recursive, .note = collect_note, .note_arg = f};
	struct error err = ERROR_INIT;

	source_close(f->source);
	f->source = NULL;
	assert_ok(source_folder_open(f->dir, &options, &f->source, &err), &err);
}

const char *list(struct source_rig *f)
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

const char *notes(struct source_rig *f)
{
	buffer_append_string(&f->notes, "");
	return (const char *)f->notes.data;
}

void assert_reason(struct source_rig *f, const char *path, const char *reason)
{
	struct error err = ERROR_INIT;

	if (!f->source)
		open_source(f, true);
	assert_error(source_open_sample(f->source, path, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, reason);
}

void assert_opens(struct source_rig *f, const char *path)
{
	struct error err = ERROR_INIT;
	int fd = source_open_sample(f->source, path, &err);

	if (fd < 0)
		fail_msg("%s", err.message);
	close(fd);
}

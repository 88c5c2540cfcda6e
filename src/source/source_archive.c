/*
 * The archive is listed when something is first asked of it, and again when it is another file. It is held open
 * meanwhile: what is being read stays what was listed, also where somebody puts another archive in its place.
 */
#include "source/archive_file.h"
#include "source/folder_files.h"
#include "source/source_path.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct source_archive {
	struct source base;
	struct source_folder_options options;
	char *path;
	const char *name; /* its last part */
	int folder;	  /* that it is in */
	struct archive_reading reading;
	struct archive_file *file; /* NULL: not listed yet */
	size_t at;
};

static struct source_archive *source_archive_of(struct source *s)
{
	return (struct source_archive *)s;
}

/* Lists it if it is not what it was. SOURCE_GONE: it is not there. */
static int look(struct source_archive *s, struct error *err)
{
	struct error failed = ERROR_INIT;
	struct archive_file *file = NULL;
	struct stat st;
	int fd;

	if (fstatat(s->folder, s->name, &st, 0) < 0)
		return SOURCE_GONE;
	if (s->file && archive_file_is(s->file, &st))
		return 0;
	fd = folder_open_file(s->folder, LINKS_FILES, s->name, &failed);
	if ((fd < 0 && failed.code != ERR_DATA) || (fd >= 0 && fstat(fd, &st) < 0)) {
		if (fd >= 0)
			close(fd);
		return error_set(err, ERR_TRANSIENT, "%s", fd < 0 ? failed.message : "fstat");
	}
	if (archive_file_open(fd, s->name, &st, &failed, &s->reading, &file, err) < 0)
		return -1;
	archive_file_close(s->file);
	s->file = file;
	return 0;
}

/* What archive_file calls @path; an entry of the archive itself is told by no member of its name. */
static const char *inside_of(const struct source_archive *s, const char *path)
{
	return strcmp(path, s->name) == 0 ? NULL : path;
}

static bool waits(const struct source_archive *s)
{
	struct source_entry entry;
	struct stat st;

	if (!s->options.archive_waits || fstatat(s->folder, s->name, &st, 0) < 0)
		return false;
	archive_file_describe(&st, &entry);
	entry.path = s->name;
	return s->options.archive_waits(s->options.archive_arg, &entry);
}

/* The archive's own entry, of which path is NULL, always is. */
static bool is_chosen(const struct source_archive *s, const char *path)
{
	return !path || source_choice_takes(&s->options.choice, path);
}

static int source_archive_next(struct source *base, struct source_entry *entry, struct error *err)
{
	struct source_archive *s = source_archive_of(base);
	int r;

	if (s->at == 0) {
		if (waits(s))
			return SOURCE_END;
		r = look(s, err);
		if (r == SOURCE_GONE)
			return error_set(err, ERR_IO, "source %s is not there any more", s->path);
		if (r < 0)
			return r;
		archive_file_count_unread(s->file, &s->options);
	}
	do {
		if (!archive_file_entry(s->file, s->at, entry))
			return SOURCE_END;
		s->at++;
	} while (!is_chosen(s, entry->path));
	if (!entry->path)
		entry->path = s->name;
	return 0;
}

static int source_archive_examine(struct source *base, const char *path, struct source_entry *entry,
				  struct error *err)
{
	struct source_archive *s = source_archive_of(base);
	struct source_entry found;
	int r = is_chosen(s, inside_of(s, path)) ? look(s, err) : SOURCE_GONE;

	if (r == 0)
		r = archive_file_examine(s->file, inside_of(s, path), &found);
	if (r != 0)
		return r;
	found.path = path;
	*entry = found;
	return 0;
}

static int gone(const struct source_archive *s, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	return error_data(err, "gone", "%s is not there", text_quote(s->path, quoted));
}

static int source_archive_open_sample(struct source *base, const char *path, struct error *err)
{
	struct source_archive *s = source_archive_of(base);
	int r = look(s, err);

	if (r == SOURCE_GONE)
		return gone(s, err);
	return r < 0 ? r : archive_file_read(s->file, inside_of(s, path), &s->reading, err);
}

static int source_archive_caption(struct source *base, const char *path, struct buffer *out,
				  struct error *err)
{
	struct source_archive *s = source_archive_of(base);
	int r = look(s, err);

	if (r == SOURCE_GONE)
		return SOURCE_NO_CAPTION;
	return r < 0 ? r : archive_file_caption(s->file, inside_of(s, path), out, err);
}

static int source_archive_meta(struct source *base, const char *path, struct buffer *out,
			       struct error *err)
{
	struct source_archive *s = source_archive_of(base);
	int r = look(s, err);

	if (r == SOURCE_GONE)
		return SOURCE_NO_META;
	return r < 0 ? r : archive_file_meta(s->file, inside_of(s, path), out);
}

static void source_archive_keep_lists(struct source *base, const char *folder)
{
	struct source_archive *s = source_archive_of(base);

	archive_lists_close(s->reading.lists);
	s->reading.lists = archive_lists_open(folder);
}

static void source_archive_close(struct source *base)
{
	struct source_archive *s = source_archive_of(base);

	archive_file_close(s->file);
	archive_reading_release(&s->reading);
	source_choice_release(&s->options.choice);
	close(s->folder);
	free(s->path);
	free(s);
}

static const struct source_ops source_archive_ops = {
    .name = "archive",
    .next = source_archive_next,
    .examine = source_archive_examine,
    .open_sample = source_archive_open_sample,
    .caption = source_archive_caption,
    .meta = source_archive_meta,
    .keep_lists = source_archive_keep_lists,
    .close = source_archive_close,
};

int source_archive_open(const char *path, const struct source_folder_options *options,
			struct source **out, struct error *err)
{
	cleanup_free char *parent = dir_of(path);
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	cleanup_close int folder = folder_open_at(AT_FDCWD, parent, O_PATH | O_DIRECTORY);
	struct error why = ERROR_INIT;
	cleanup_close int fd = folder < 0 ? -1 : folder_open_file(folder, LINKS_FILES, name, &why);
	char quoted[TEXT_QUOTE_SIZE];
	struct source_archive *s;

	if (folder < 0)
		return error_set(err, ERR_CONFIG, "source %s is not there",
				 text_quote(path, quoted));
	if (fd < 0)
		return error_set(err, why.code == ERR_DATA ? ERR_CONFIG : why.code, "source %s: %s",
				 text_quote(path, quoted), why.message);
	s = xcalloc(1, sizeof(*s));
	s->base.ops = &source_archive_ops;
	s->options = *options;
	s->options.choice = source_choice_copy(&options->choice);
	s->reading.options = &s->options;
	s->path = xstrdup(path);
	s->name = s->path + (name - path);
	s->folder = TAKE_FD(folder);
	*out = &s->base;
	return 0;
}

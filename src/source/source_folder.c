/*
 * A walk with a stack of levels, one for each folder between the root and where it is. A level is
 * read whole and sorted when it is entered. Folders are kept as "name/": then the plain order of
 * the names is the byte order of the full paths ("a.jpg" before "a/b.jpg" before "a0.jpg").
 *
 * Where captions are looked for, their names and those of metadata are kept among the others and passed over by the
 * walk: an image without one costs no call.
 *
 * An archive is kept as "name.tar/" too, and stands where a folder of that name would.
 *
 * Samples are opened part by part from the root's descriptor: no link is followed to another
 * folder unless all are, and no path is too long.
 */
#include "source/source.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"
#include "source/folder_ahead.h"
#include "source/folder_archives.h"
#include "source/folder_files.h"
#include "source/folder_links.h"
#include "source/folder_names.h"
#include "source/source_path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
	FILES_AHEAD = 2048,
	FOLDERS_AHEAD = 32,
	TIMED = 8, /* one of so many looks at files is */
};

struct level {
	int fd;
	struct folder_names names;
	size_t at, ahead; /* ahead: what is before it has been looked at or is going to be */
	size_t prefix;	  /* bytes of the walk's path that lead here, with the last '/' */
};

struct source_folder {
	struct source base;
	struct source_folder_options options;
	int root;
	bool started, unread; /* unread: some folder could not be read */
	struct level *levels; /* root first */
	size_t depth;
	struct buffer path;		  /* of the current entry */
	struct folder_archives *archives; /* NULL: they are passed over */
	struct archive_file *archive;	  /* that is being listed; NULL: none */
	size_t archive_at, archive_prefix;
	struct buffer key;
	struct folder_links links;
	struct folder_ahead *ahead;
	size_t looks; /* at files */
};

static struct source_folder *source_folder_of(struct source *s)
{
	return (struct source_folder *)s;
}

static void note(const struct source_folder *f, const char *what)
{
	folder_note(&f->options, &f->path, what);
}

static void note_unread(struct source_folder *f, const char *what)
{
	folder_note_unread(&f->options, &f->path, what);
	f->unread = true;
}

/* The path is the first @prefix bytes that it has now and @name. Returns where @name begins. */
static const char *path_set(struct source_folder *f, size_t prefix, const char *name)
{
	f->path.size = prefix;
	buffer_append_string(&f->path, name);
	return (const char *)f->path.data + prefix;
}

/* -- listing ----------------------------------------------------------------------------------- */

static void level_release(struct level *level)
{
	if (level->fd >= 0)
		close(level->fd);
	folder_names_release(&level->names);
}

/* Whether @path, of a file or an archive, may be asked for. */
static bool is_chosen(const struct source_folder *f, const char *path)
{
	return f->archives && source_path_is_archive(path)
		   ? source_choice_enters(&f->options.choice, path)
		   : source_choice_takes(&f->options.choice, path);
}

/* Reads the folder @fd, which it takes, and goes on there; the walk's path leads to it. */
static int level_push(struct source_folder *f, int fd, struct error *err)
{
	const struct folder_reading reading = {&f->options, f->archives, &f->path};
	struct level level = {.fd = fd, .prefix = f->path.size};

	if (folder_names_read(&level.names, fd, &reading, err) < 0) {
		level_release(&level);
		return -1;
	}
	f->unread = f->unread || level.names.unread;
	f->levels[f->depth++] = level;
	return 0;
}

static int start(struct source_folder *f, struct error *err)
{
	int fd = folder_open_at(f->root, ".", O_RDONLY | O_DIRECTORY);

	path_set(f, 0, "");
	/* Whatever it is: a source whose root cannot be read must not look empty. */
	if (fd < 0)
		return folder_error(err, "open folder", ".");
	if (level_push(f, fd, err) < 0)
		return -1;
	f->started = true;
	return 0;
}

/* The archive "name/" that @level stands at is listed from now on, unless somebody still writes it. */
static int enter_archive(struct source_folder *f, struct level *level, const struct stat *st,
			 struct error *err)
{
	struct source_entry entry;

	archive_file_describe(st, &entry);
	entry.path = (const char *)f->path.data;
	if (f->options.archive_waits && f->options.archive_waits(f->options.archive_arg, &entry)) {
		level->at++;
		return 0;
	}
	if (folder_archives_get(f->archives, entry.path, &f->archive, err) < 0)
		return -1;
	archive_file_count_unread(f->archive, &f->options);
	f->archive_at = 0;
	f->archive_prefix = f->path.size;
	level->at++;
	return 0;
}

/* Has the names behind the one that @level stands at looked at, where answers take long. */
static void look_ahead(struct source_folder *f, struct level *level)
{
	const struct folder_names *names = &level->names;
	const char *name;
	size_t most, end;

	if (!folder_ahead_is_on(f->ahead) || level->ahead >= names->n)
		return;
	name = names->names[level->ahead];
	most = name[strlen(name) - 1] == '/' ? FOLDERS_AHEAD : FILES_AHEAD;
	if (level->ahead >= level->at + most / 2 + 1)
		return;
	end = level->at + most < names->n ? level->at + most : names->n;
	level->ahead = folder_ahead_post(f->ahead, level->fd, names->names,
					 level->ahead > level->at ? level->ahead : level->at, end);
}

/* -1 with errno. *linked: a link led there, and *refused says why it is not followed. */
static int open_folder(struct source_folder *f, const struct level *level, const char *name,
		       bool *linked, const char **refused)
{
	int flags = O_RDONLY | O_DIRECTORY, above[SOURCE_FOLDER_DEPTH + 1];
	int64_t began = clock_mono_ns();
	cleanup_close int fd = folder_open_at(level->fd, name, flags | O_NOFOLLOW);
	int saved = errno;

	folder_ahead_took(f->ahead, clock_mono_ns() - began);
	errno = saved;
	*linked =
	    fd < 0 && (errno == ENOTDIR || errno == ELOOP) && f->options.choice.links == LINKS_ALL;
	*refused = NULL;
	if (!*linked)
		return TAKE_FD(fd);
	fd = folder_open_at(level->fd, name, flags);
	for (size_t i = 0; i < f->depth; i++)
		above[i] = f->levels[i].fd;
	if (fd >= 0)
		*refused = folder_links_refuse(&f->links, fd, above, f->depth);
	return TAKE_FD(fd);
}

/* What is said of a folder that could not be opened; or ERR_TRANSIENT, ERR_IO. @linked: a link leads there. */
static int pass_over(struct source_folder *f, bool linked, struct error *err)
{
	switch (errno) {
	case EACCES:
	case EPERM:
		note_unread(f, "is a folder that may not be read");
		return 0;
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
		/* Where its disk has gone meanwhile, what is in it has not been deleted. */
		if (linked)
			note_unread(f, "is a link that leads nowhere");
		else
			note(f, "is a folder no longer");
		return 0;
	default:
		return folder_error(err, "open folder", (const char *)f->path.data);
	}
}

/* Enters the folder "name/" that @level stands at, or notes why not. */
static int enter_folder(struct source_folder *f, struct level *level, struct error *err)
{
	const char *refused = NULL;
	bool linked = false;
	int fd;

	if (f->depth > SOURCE_FOLDER_DEPTH) {
		note_unread(f, "is too deep: not read");
		level->at++;
		return 0;
	}
	fd = open_folder(f, level, (const char *)f->path.data + level->prefix, &linked, &refused);
	if (fd < 0 && pass_over(f, linked, err) < 0)
		return -1;
	if (refused) {
		note(f, refused);
		close(fd);
	} else if (fd >= 0) {
		if (linked && folder_is_empty(fd))
			note_unread(f, "is a link to a folder that is empty, as if its disk were "
				       "not mounted");
		buffer_put_u8(&f->path, '/');
		if (level_push(f, fd, err) < 0)
			return -1;
		if (linked)
			folder_links_entered(&f->links, fd);
	}
	level->at++;
	return 0;
}

/* What @level stands at, "name/", is a folder or an archive. */
static int enter(struct source_folder *f, struct level *level, struct error *err)
{
	const char *name = path_set(f, level->prefix, level->names.names[level->at]);
	int follow = f->options.choice.links == LINKS_ALL ? 0 : AT_SYMLINK_NOFOLLOW;
	struct stat st;

	f->path.data[--f->path.size] = '\0'; /* with the '/', O_NOFOLLOW would follow */
	if (!f->archives || !source_path_is_archive(name) ||
	    fstatat(level->fd, name, &st, follow) < 0 || S_ISDIR(st.st_mode))
		return enter_folder(f, level, err);
	if (folder_stat(level->fd, f->options.choice.links, name, &st) == 0 && S_ISREG(st.st_mode))
		return enter_archive(f, level, &st, err);
	note(f, "is no archive");
	level->at++;
	return 0;
}

/* The next entry of the archive that is being listed; false: that was all. What is said of the archive itself is one always. */
static bool list_archive(struct source_folder *f, struct source_entry *entry)
{
	while (archive_file_entry(f->archive, f->archive_at, entry)) {
		f->archive_at++;
		path_set(f, f->archive_prefix, "");
		folder_archives_place(&f->path, &f->key, entry);
		if (!entry->key || source_choice_takes(&f->options.choice, entry->path))
			return true;
	}
	archive_file_close(TAKE(f->archive));
	return false;
}

static bool has_name(const void *arg, const char *name)
{
	return folder_names_have(arg, name);
}

static void look_for_companions(const struct source_folder *f, const struct level *level,
				const char *name, struct source_entry *entry)
{
	const struct companion_search search = {has_name, &level->names, f->options.need_captions};

	entry->caption = f->options.captions ? 0 : SOURCE_UNSEEN;
	if (level->names.captions)
		companions_look(level->fd, f->options.choice.links, name, &search, entry);
}

static enum folder_found look(struct source_folder *f, const struct level *level, const char *name,
			      struct source_entry *entry)
{
	bool timed = !folder_ahead_is_on(f->ahead) && f->looks++ % TIMED == 0;
	int64_t began = timed ? clock_mono_ns() : 0;
	enum folder_found found = folder_look(level->fd, f->options.choice.links, name, entry);

	if (timed)
		folder_ahead_took(f->ahead, clock_mono_ns() - began);
	return found;
}

/* Fills @entry for the walk's path; false if there is nothing to list. */
static bool list(struct source_folder *f, const struct level *level, const char *name,
		 struct source_entry *entry)
{
	enum folder_found found = look(f, level, name, entry);

	if (found == FOLDER_FOLDER)
		note(f, "is a link to a folder: not followed");
	entry->path = (const char *)f->path.data;
	if (found == FOLDER_FILE)
		look_for_companions(f, level, name, entry);
	return found == FOLDER_FILE;
}

static int source_folder_next(struct source *s, struct source_entry *entry, struct error *err)
{
	struct source_folder *f = source_folder_of(s);

	if (!f->started && start(f, err) < 0)
		return -1;
	while (f->depth > 0) {
		struct level *level = &f->levels[f->depth - 1];
		const char *name;

		if (f->archive && list_archive(f, entry))
			return 0;
		if (level->at == level->names.n) {
			level_release(level);
			f->depth--;
			continue;
		}
		look_ahead(f, level);
		name = level->names.names[level->at];
		if (name[strlen(name) - 1] == '/') {
			if (enter(f, level, err) < 0)
				return -1;
			continue;
		}
		level->at++;
		if (level->names.captions && source_path_is_caption(name))
			continue;
		if (list(f, level, path_set(f, level->prefix, name), entry))
			return 0;
	}
	if (f->archives && !f->unread)
		folder_archives_listed(f->archives);
	return SOURCE_END;
}

/* -- opening ----------------------------------------------------------------------------------- */

static int source_folder_open_sample(struct source *s, const char *path, struct error *err)
{
	struct source_folder *f = source_folder_of(s);
	int fd = -1;
	int r = f->archives ? folder_archives_open_sample(f->archives, path, &fd, err)
			    : FOLDER_NO_ARCHIVE;

	if (r != FOLDER_NO_ARCHIVE)
		return r == 0 ? fd : -1;
	return folder_open_file(f->root, f->options.choice.links, path, err);
}

static int source_folder_examine(struct source *s, const char *path, struct source_entry *entry,
				 struct error *err)
{
	struct source_folder *f = source_folder_of(s);
	const struct companion_search search = {.read_json = f->options.need_captions};
	int r = !is_chosen(f, path) ? SOURCE_GONE
		: f->archives	    ? folder_archives_examine(f->archives, path, entry, err)
				    : FOLDER_NO_ARCHIVE;

	return r != FOLDER_NO_ARCHIVE
		   ? r
		   : folder_examine(f->root, f->options.choice.links, path,
				    f->options.captions ? &search : NULL, entry, err);
}

static int source_folder_caption(struct source *s, const char *path, struct buffer *out,
				 struct error *err)
{
	struct source_folder *f = source_folder_of(s);
	int r =
	    f->archives ? folder_archives_caption(f->archives, path, out, err) : FOLDER_NO_ARCHIVE;

	return r != FOLDER_NO_ARCHIVE
		   ? r
		   : companions_caption(f->root, f->options.choice.links, path, out, err);
}

static int source_folder_meta(struct source *s, const char *path, struct buffer *out,
			      struct error *err)
{
	struct source_folder *f = source_folder_of(s);
	int r = f->archives ? folder_archives_meta(f->archives, path, out, err) : FOLDER_NO_ARCHIVE;

	return r != FOLDER_NO_ARCHIVE
		   ? r
		   : companions_meta(f->root, f->options.choice.links, path, out, err);
}

/* -- open and close ---------------------------------------------------------------------------- */

static void source_folder_keep_lists(struct source *s, const char *folder)
{
	struct source_folder *f = source_folder_of(s);

	if (f->archives)
		folder_archives_keep_lists(f->archives, folder);
}

static void source_folder_close(struct source *s)
{
	struct source_folder *f = source_folder_of(s);

	folder_ahead_close(f->ahead);
	while (f->depth > 0)
		level_release(&f->levels[--f->depth]);
	free(f->levels);
	archive_file_close(f->archive);
	folder_archives_close(f->archives);
	buffer_release(&f->path);
	buffer_release(&f->key);
	folder_links_release(&f->links);
	source_choice_release(&f->options.choice);
	close(f->root);
	free(f);
}

static const struct source_ops source_folder_ops = {
    .name = "folder",
    .next = source_folder_next,
    .examine = source_folder_examine,
    .open_sample = source_folder_open_sample,
    .caption = source_folder_caption,
    .meta = source_folder_meta,
    .keep_lists = source_folder_keep_lists,
    .close = source_folder_close,
};

int source_folder_open(const char *path, const struct source_folder_options *options,
		       struct source **out, struct error *err)
{
	/* "/." asks for what the walk needs: a folder that may be read and searched. */
	cleanup_free char *inside = xasprintf("%s%s", path, *path ? "/." : "");
	int root = folder_open_at(AT_FDCWD, inside, O_RDONLY | O_DIRECTORY), saved = errno;
	char quoted[TEXT_QUOTE_SIZE];
	struct source_folder *f;

	text_quote(path, quoted);
	errno = saved;
	if (root < 0 && errno == ENOENT)
		return error_set(err, ERR_CONFIG, "source %s: there is no such folder", quoted);
	if (root < 0 && errno == ENOTDIR)
		return error_set(err, ERR_CONFIG, "source %s is not a folder", quoted);
	if (root < 0 && (errno == EACCES || errno == EPERM || errno == ELOOP))
		return error_set(err, ERR_CONFIG, "source %s may not be read: %s", quoted,
				 strerror(errno));
	if (root < 0)
		return folder_error(err, "open source", path);
	f = xcalloc(1, sizeof(*f));
	f->base.ops = &source_folder_ops;
	f->options = *options;
	f->options.choice = source_choice_copy(&options->choice);
	f->root = root;
	f->ahead = folder_ahead_new(options->choice.links);
	f->levels = xcalloc(SOURCE_FOLDER_DEPTH + 1, sizeof(*f->levels));
	if (options->unpack)
		f->archives = folder_archives_new(root, &f->options);
	*out = &f->base;
	return 0;
}

/*
 * The last few are kept open with their lists: jobs of one archive come one after another (daemon/scan.c), but what is
 * tried again should not make a list anew.
 */
#include "source/folder_archives.h"

#include "base/checked.h"
#include "base/text.h"
#include "source/folder_files.h"
#include "source/source_path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { KEPT = 8 };

struct folder_archives {
	int root;
	struct archive_reading reading;
	struct archive_file *kept[KEPT]; /* the last used one first */
	struct buffer path, key;	 /* of what was examined last */
};

struct folder_archives *folder_archives_new(int root, const struct source_folder_options *options)
{
	struct folder_archives *a = xcalloc(1, sizeof(*a));

	a->root = root;
	a->reading.options = options;
	return a;
}

void folder_archives_close(struct folder_archives *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < KEPT; i++)
		archive_file_close(a->kept[i]);
	archive_reading_release(&a->reading);
	buffer_release(&a->path);
	buffer_release(&a->key);
	free(a);
}

void folder_archives_keep_lists(struct folder_archives *a, const char *folder)
{
	archive_lists_close(a->reading.lists);
	a->reading.lists = archive_lists_open(folder);
}

void folder_archives_listed(struct folder_archives *a)
{
	if (a->reading.lists)
		archive_lists_sweep(a->reading.lists);
}

/* -- which archive -------------------------------------------------------------------------------- */

static enum source_links links_of(const struct folder_archives *a)
{
	return a->reading.options->choice.links;
}

static bool stat_file(const struct folder_archives *a, const char *path, struct stat *st)
{
	cleanup_free char *copy = xstrdup(path);
	const char *base = NULL;
	cleanup_close int dir = folder_open_parent(a->root, links_of(a), copy, &base);

	return dir >= 0 && folder_stat(dir, links_of(a), base, st) == 0 && S_ISREG(st->st_mode);
}

/* Takes what was at @i to the front. */
static struct archive_file *use(struct folder_archives *a, size_t i)
{
	struct archive_file *file = a->kept[i];

	memmove(a->kept + 1, a->kept, i * sizeof(a->kept[0]));
	a->kept[0] = file;
	return file;
}

/* The file @path is listed and takes the place of slot @i. */
static int list(struct folder_archives *a, const char *path, size_t i, struct error *err)
{
	struct error failed = ERROR_INIT;
	struct archive_file *file = NULL;
	struct stat st;
	int fd;

	fd = folder_open_file(a->root, links_of(a), path, &failed);
	if (fd < 0 && failed.code != ERR_DATA) {
		*err = failed;
		return -1;
	}
	memset(&st, 0, sizeof(st));
	if (fd >= 0 ? fstat(fd, &st) < 0 : !stat_file(a, path, &st)) {
		if (fd >= 0)
			close(fd);
		return error_set(err, ERR_TRANSIENT, "%s: %s", path, strerror(errno));
	}
	if (archive_file_open(fd, path, &st, &failed, &a->reading, &file, err) < 0)
		return -1;
	archive_file_close(a->kept[i]);
	a->kept[i] = file;
	return 0;
}

/* Archive @path, which @st describes. */
static int get(struct folder_archives *a, const char *path, const struct stat *st,
	       struct archive_file **out, struct error *err)
{
	size_t i = 0;

	while (i + 1 < KEPT && a->kept[i] && strcmp(a->kept[i]->path, path) != 0)
		i++;
	if ((!a->kept[i] || strcmp(a->kept[i]->path, path) != 0 ||
	     !archive_file_is(a->kept[i], st)) &&
	    list(a, path, i, err) < 0)
		return -1;
	*out = use(a, i);
	return 0;
}

int folder_archives_get(struct folder_archives *a, const char *path, struct archive_file **out,
			struct error *err)
{
	struct stat st;

	if (!stat_file(a, path, &st))
		return error_set(err, ERR_TRANSIENT, "%s is not there any more", path);
	if (get(a, path, &st, out, err) < 0)
		return -1;
	(*out)->users++;
	return 0;
}

/* The archive that @path leads into; *inside is the rest, NULL where it is the archive's own path. */
static int find(struct folder_archives *a, const char *path, struct archive_file **out,
		const char **inside, struct error *err)
{
	cleanup_free char *part = xstrdup(path);

	for (size_t end = strcspn(path, "/");; end += 1 + strcspn(path + end + 1, "/")) {
		struct stat st;

		memcpy(part, path, end);
		part[end] = '\0';
		if (source_path_is_archive(part) && stat_file(a, part, &st)) {
			*inside = path[end] == '/' ? path + end + 1 : NULL;
			return get(a, part, &st, out, err);
		}
		if (path[end] == '\0')
			return FOLDER_NO_ARCHIVE;
	}
}

/* -- entries -------------------------------------------------------------------------------------- */

void folder_archives_place(struct buffer *path, struct buffer *key, struct source_entry *entry)
{
	size_t archive = path->size;

	if (entry->key) {
		buffer_reset(key);
		buffer_append(key, path->data, source_path_archive_stem((const char *)path->data));
		buffer_appendf(key, "/%s", entry->key);
		entry->key = (const char *)key->data;
		entry->archive = archive;
		buffer_appendf(path, "/%s", entry->path);
	}
	entry->path = (const char *)path->data;
}

int folder_archives_examine(struct folder_archives *a, const char *path, struct source_entry *entry,
			    struct error *err)
{
	struct archive_file *file = NULL;
	struct source_entry found;
	const char *inside = NULL;
	int r = find(a, path, &file, &inside, err);

	if (r != 0)
		return r;
	r = archive_file_examine(file, inside, &found);
	if (r != 0)
		return r;
	if (found.path) {
		buffer_reset(&a->path);
		buffer_append_string(&a->path, file->path);
		folder_archives_place(&a->path, &a->key, &found);
	}
	found.path = path;
	*entry = found;
	return 0;
}

int folder_archives_open_sample(struct folder_archives *a, const char *path, int *out,
				struct error *err)
{
	struct archive_file *file = NULL;
	const char *inside = NULL;
	int r = find(a, path, &file, &inside, err);

	if (r != 0)
		return r;
	*out = archive_file_read(file, inside, &a->reading, err);
	return *out < 0 ? -1 : 0;
}

int folder_archives_caption(struct folder_archives *a, const char *path, struct buffer *out,
			    struct error *err)
{
	struct archive_file *file = NULL;
	const char *inside = NULL;
	int r = find(a, path, &file, &inside, err);

	return r != 0 ? r : archive_file_caption(file, inside, out, err);
}

int folder_archives_meta(struct folder_archives *a, const char *path, struct buffer *out,
			 struct error *err)
{
	struct archive_file *file = NULL;
	const char *inside = NULL;
	int r = find(a, path, &file, &inside, err);

	return r != 0 ? r : archive_file_meta(file, inside, out);
}

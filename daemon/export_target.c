/*
 * What an export writes depends on its dataset and options alone, so going on needs no journal: bytes are compared. A file or a
 * folder that is there may be of an export that was killed before it synced the folder around it, so at the end all are synced.
 */
#include "daemon/export_target.h"

#include "base/atomic_batch.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

#define HIDDEN	  ".latentd-export"
#define ABOUT_MAX ((size_t)1 << 20)

struct export_target {
	char *dir;
	char *hidden; /* DIR/.latentd-export, of the batch too */
	int lock_fd;
	json_t *folders; /* of files and of folders, as keys: to be synced */
	struct atomic_batch files;
};

/* The first name in @dir, or NULL; to be freed. A folder that is not there is empty. */
static int first_name(const char *dir, char **out, struct error *err)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	if (!d)
		return errno == ENOENT ? 0 : error_sys(err, "open folder %s", dir);
	while (!*out && (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    strcmp(entry->d_name, HIDDEN) != 0)
			*out = xstrdup(entry->d_name);
	}
	closedir(d);
	return 0;
}

static int list_is_free(const char *dir, const char *list, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s", dir, list);
	char quoted[TEXT_QUOTE_SIZE];

	return file_exists(path)
		   ? error_set(err, ERR_CONFIG,
			       "%s is there and no list of such an export: nothing is "
			       "overwritten",
			       text_quote(path, quoted))
		   : 0;
}

int export_target_check(const char *dir, const char *format, const char *list, const char *about,
			bool beside, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/" HIDDEN "/%s.json", dir, format);
	cleanup_free char *name = NULL;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];

	if (file_exists(path)) {
		if (file_read_all(path, ABOUT_MAX, &text, err) < 0)
			return -1;
		if (text.size == strlen(about) && memcmp(text.data, about, text.size) == 0)
			return 0;
		return error_set(err, ERR_CONFIG,
				 "%s holds an export of another dataset or with other options "
				 "(%s): choose another folder",
				 dir, path);
	}
	if (first_name(dir, &name, err) < 0)
		return -1;
	if (name && !beside)
		return error_set(err, ERR_CONFIG,
				 "%s is not empty (%s) and holds no such export: choose another "
				 "folder, or say --beside to put files among those",
				 dir, text_quote(name, quoted));
	return list ? list_is_free(dir, list, err) : 0;
}

static int lock(struct export_target *t, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/lock", t->hidden);
	int r = file_lock(path, 0666, &t->lock_fd, err);

	return r == FILE_LOCKED ? EXPORT_TARGET_BUSY : r;
}

int export_target_open(const char *dir, const char *format, const char *list, const char *about,
		       bool beside, struct export_target **out, struct error *err)
{
	struct export_target *t = xcalloc(1, sizeof(*t));
	cleanup_free char *path = xasprintf("%s/" HIDDEN "/%s.json", dir, format);
	int r;

	t->dir = xstrdup(dir);
	t->hidden = xasprintf("%s/" HIDDEN, dir);
	t->lock_fd = -1;
	t->folders = json_object();
	t->files.dir = t->hidden;
	r = export_target_check(dir, format, list, about, beside, err);
	if (r == 0)
		r = dir_make(t->hidden, err);
	if (r == 0)
		r = lock(t, err);
	if (r == 0) /* again: another process may have begun and ended in between */
		r = export_target_check(dir, format, list, about, beside, err);
	if (r == 0)
		r = atomic_file_sweep(t->hidden, err);
	if (r == 0 && !file_exists(path))
		r = atomic_file_write(path, about, strlen(about), err);
	if (r != 0) {
		export_target_close(t);
		return r;
	}
	*out = t;
	return 0;
}

/* 1: @path has exactly these bytes, 0: others. Something else than a file is never the same. */
static int same_bytes(const char *path, const void *data, size_t size, struct error *err)
{
	cleanup_buffer struct buffer there = BUFFER_INIT;
	cleanup_close int fd = file_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, err);
	size_t length = 0;

	if (fd < 0 || fd_size(fd, &length, err) < 0)
		return -1;
	if (length != size)
		return 0;
	if (fd_read_all(fd, size + 1, &there, err) < 0)
		return -1;
	return there.size == size && memcmp(there.data, data, size) == 0;
}

/* Of @path, relative: its folder and those above it, up to the target. */
static void note_folders(struct export_target *t, const char *path)
{
	cleanup_free char *folder = xstrdup(path);
	char *slash;

	do {
		slash = strrchr(folder, '/');
		folder[slash ? slash - folder : 0] = '\0';
		if (json_object_get(t->folders, folder))
			return; /* and so those above it */
		json_object_set_new_nocheck(t->folders, folder, json_true());
	} while (slash);
}

static int write_below(struct export_target *t, const char *path, const char *full,
		       const void *data, size_t size, struct error *err)
{
	cleanup_free char *folder = dir_of(path);

	if (strcmp(folder, ".") != 0 && dir_make_below(t->dir, folder, err) < 0)
		return -1;
	return atomic_batch_write(&t->files, full, data, size, err);
}

int export_target_put(struct export_target *t, const char *path, const void *data, size_t size,
		      struct error *err)
{
	cleanup_free char *full = xasprintf("%s/%s", t->dir, path);
	char quoted[TEXT_QUOTE_SIZE];

	note_folders(t, path);
	if (file_exists(full)) {
		int same = same_bytes(full, data, size, err);

		if (same < 0)
			return -1;
		return same ? EXPORT_TARGET_KEPT
			    : error_set(err, ERR_CONFIG,
					"%s is there with other contents: nothing is overwritten",
					text_quote(full, quoted));
	}
	return write_below(t, path, full, data, size, err);
}

int export_target_list(struct export_target *t, const char *path, const void *data, size_t size,
		       struct error *err)
{
	cleanup_free char *full = xasprintf("%s/%s", t->dir, path);

	return write_below(t, path, full, data, size, err);
}

int export_target_end(struct export_target *t, struct error *err)
{
	const char *folder;
	json_t *unused;

	if (atomic_batch_commit(&t->files, err) < 0)
		return -1;
	json_object_foreach(t->folders, folder, unused)
	{
		cleanup_free char *full = xasprintf("%s/%s", t->dir, folder);

		if (dir_sync(full, err) < 0)
			return -1;
	}
	return 0;
}

void export_target_close(struct export_target *t)
{
	if (!t)
		return;
	atomic_batch_release(&t->files);
	json_decref(t->folders);
	if (t->lock_fd >= 0)
		close(t->lock_fd);
	free(t->dir);
	free(t->hidden);
	free(t);
}

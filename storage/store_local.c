/*
 * A folder on a file system. Everything that becomes visible does so through atomic_file; what is
 * being written and what was put aside lives in ROOT/.latentd, on the same file system.
 */
#include "storage/store.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct local_store {
	struct store base;
	char *root;
	char *partial; /* folder of temporaries, below it */
	bool readonly;
	/* Of the root, when the store was opened, or when it was made. */
	dev_t device;
	ino_t inode; /* 0: not made yet */
};

struct local_writer {
	struct store_writer base;
	struct atomic_file file;
	bool failed; /* a write or fsync did: nothing is known about the file */
};

static const struct store_ops local_ops;

static struct local_store *local_store(struct store *s)
{
	assert(s->ops == &local_ops);
	return (struct local_store *)s;
}

static int refuse_readonly(const struct local_store *s, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	return error_set(err, ERR_BUG, "store %s was opened for reading only",
			 text_quote(s->root, quoted));
}

/* -- writing ------------------------------------------------------------------------------ */

/*
 * A root that was moved away or unmounted in the middle of a run must not be made anew in its old place: what
 * went there would be hidden below the mount, or lie in a second output. So it is made only where it was not there when the
 * store was opened, and folders in it are made below its descriptor, whatever its path leads to by then.
 */
static int open_root(struct local_store *s, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_close int fd = -1;
	struct stat st;

	if (s->inode == 0 && dir_make(s->root, err) < 0)
		return -1;
	fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, "folder %s", text_quote(s->root, quoted));
	if (s->inode == 0) {
		s->device = st.st_dev;
		s->inode = st.st_ino;
	}
	if (st.st_dev != s->device || st.st_ino != s->inode)
		return error_set(err, ERR_IO,
				 "%s is not the folder any more that it was: was it moved, or "
				 "unmounted?",
				 text_quote(s->root, quoted));
	return TAKE_FD(fd);
}

/* @path: below the root. */
static int make_folder(struct local_store *s, const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_close int root = open_root(s, err);

	if (root < 0)
		return -1;
	if (dir_make_at(root, path, err) < 0)
		return error_wrap(err, "%s", text_quote(s->root, quoted));
	return 0;
}

static int local_write(struct sink *sink, const void *data, size_t size, struct error *err)
{
	struct local_writer *w = (struct local_writer *)sink;

	w->file.synced = false;
	if (fd_write_all(w->file.fd, data, size, err) < 0) {
		w->failed = true;
		return -1;
	}
	return 0;
}

static int local_begin(struct store *base, struct store_writer **out, struct error *err)
{
	struct local_store *s = local_store(base);
	struct local_writer *w;
	struct atomic_file file = ATOMIC_FILE_INIT;
	cleanup_free char *partial = xasprintf("%s/%s", s->root, s->partial);

	if (s->readonly)
		return refuse_readonly(s, err);
	if (make_folder(s, s->partial, err) < 0 || atomic_file_begin(&file, partial, err) < 0)
		return -1;
	w = xcalloc(1, sizeof(*w));
	w->base = (struct store_writer){.sink = {.write = local_write}, .store = base};
	w->file = file;
	*out = &w->base;
	return 0;
}

static int local_flush(struct store_writer *base, struct error *err)
{
	struct local_writer *w = (struct local_writer *)base;
	char quoted[TEXT_QUOTE_SIZE];

	if (w->failed)
		return error_set(err, ERR_IO, "%s failed before", text_quote(w->file.path, quoted));
	if (w->file.synced)
		return 0;
	if (atomic_file_sync(&w->file, err) < 0) {
		w->failed = true;
		return -1;
	}
	return 0;
}

static int local_writer_read(struct store_writer *base, void *data, size_t size, uint64_t offset,
			     struct error *err)
{
	struct local_writer *w = (struct local_writer *)base;

	return fd_pread_all(w->file.fd, data, size, (off_t)offset, err);
}

/* "train/x" or ".latentd/staged/train/x"; to be freed. */
static char *area_name(enum store_area area, const char *name)
{
	static const char *const folders[STORE_AREAS] = {"", ".latentd/staged/",
							 ".latentd/retired/"};

	return xasprintf("%s%s", folders[area], name);
}

/* The same with the root before it. */
static char *area_path(const struct local_store *s, enum store_area area, const char *name)
{
	cleanup_free char *below = area_name(area, name);

	return xasprintf("%s/%s", s->root, below);
}

static int make_folder_of(struct local_store *s, enum store_area area, const char *name,
			  struct error *err)
{
	cleanup_free char *path = area_name(area, name);
	char *slash = strrchr(path, '/');

	path[slash ? slash - path : 0] = '\0';
	return make_folder(s, path, err);
}

static int local_publish(struct store_writer *base, enum store_area area, const char *name,
			 struct error *err)
{
	struct local_writer *w = (struct local_writer *)base;
	cleanup_free char *target = area_path(local_store(base->store), area, name);
	int r;

	if (local_flush(base, err) < 0 ||
	    make_folder_of(local_store(base->store), area, name, err) < 0)
		return -1;
	r = atomic_file_commit(&w->file, target, ATOMIC_NO_REPLACE, err);
	return r == ATOMIC_EXISTS ? STORE_EXISTS : r;
}

static void local_discard(struct store_writer *base)
{
	struct local_writer *w = (struct local_writer *)base;

	atomic_file_abort(&w->file);
	free(w);
}

/* -- reading ------------------------------------------------------------------------------ */

/* The descriptor of a visible object, or -1. */
static int local_open(const struct local_store *s, const char *name, uint64_t *bytes,
		      struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *path = xasprintf("%s/%s", s->root, name);
	/* O_NONBLOCK: a FIFO of that name must not hold us up. */
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return error_data(err, "missing", "%s is not there", text_quote(path, quoted));
	if (fd < 0)
		return error_sys(err, "open %s", text_quote(path, quoted));
	if (fstat(fd, &st) < 0)
		return error_sys(err, "stat %s", text_quote(path, quoted));
	if (!S_ISREG(st.st_mode))
		return error_data(err, "missing", "%s is not a file", text_quote(path, quoted));
	*bytes = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

static int local_read(struct store *base, const char *name, void *data, size_t size,
		      uint64_t offset, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	uint64_t bytes = 0;
	cleanup_close int fd = local_open(local_store(base), name, &bytes, err);

	if (fd < 0)
		return -1;
	if (offset > bytes || size > bytes - offset)
		return error_data(err, "truncated", "%s has only %llu bytes",
				  text_quote(name, quoted), (unsigned long long)bytes);
	if (fd_pread_all(fd, data, size, (off_t)offset, err) < 0)
		return error_wrap(err, "%s", text_quote(name, quoted));
	return 0;
}

static int local_size(struct store *base, const char *name, uint64_t *bytes, struct error *err)
{
	cleanup_close int fd = local_open(local_store(base), name, bytes, err);

	return fd < 0 ? -1 : 0;
}

/* -- listing ------------------------------------------------------------------------------ */

struct local_object {
	char *name;
	uint64_t bytes;
};

struct local_listing {
	struct local_object *objects;
	size_t n, capacity;
	char **folders; /* that are still to be read, each with its '/' */
	size_t n_folders, folder_capacity;
};

static void local_listing_release(struct local_listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->objects[i].name);
	free(l->objects);
	for (size_t i = 0; i < l->n_folders; i++)
		free(l->folders[i]);
	free(l->folders);
}

static void add_folder(struct local_listing *l, const char *name)
{
	ARRAY_GROW(l->folders, l->n_folders, l->folder_capacity);
	l->folders[l->n_folders++] = xasprintf("%s%s", name, name[0] ? "/" : "");
}

static int compare_objects(const void *a, const void *b)
{
	const struct local_object *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Or never was, or is a link by now. */
static bool is_gone(void)
{
	return errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
}

static int take_entry(struct local_listing *l, int dir, const char *folder, const char *entry,
		      struct error *err)
{
	cleanup_free char *name = xasprintf("%s%s", folder, entry);
	char quoted[TEXT_QUOTE_SIZE];
	struct stat st;

	if (fstatat(dir, entry, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return is_gone() ? 0 : error_sys(err, "list %s", text_quote(name, quoted));
	if (S_ISDIR(st.st_mode)) {
		add_folder(l, name);
	} else if (S_ISREG(st.st_mode)) {
		ARRAY_GROW(l->objects, l->n, l->capacity);
		l->objects[l->n++] = (struct local_object){
		    .name = TAKE(name),
		    .bytes = (uint64_t)st.st_size,
		};
	}
	return 0;
}

/* @area: its path, with a '/'. */
static int take_folder(struct local_listing *l, const char *area, const char *folder,
		       struct error *err)
{
	cleanup_free char *path = xasprintf("%s%s", area, folder);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char quoted[TEXT_QUOTE_SIZE];
	struct dirent *entry;

	if (!dir) {
		r = is_gone() ? 0 : error_sys(err, "list %s", text_quote(path, quoted));
		if (fd >= 0)
			close(fd);
		return r;
	}
	for (errno = 0; r == 0 && (entry = readdir(dir)); errno = 0) {
		if (entry->d_name[0] != '.')
			r = take_entry(l, dirfd(dir), folder, entry->d_name, err);
	}
	if (r == 0 && errno != 0)
		r = error_sys(err, "list %s", text_quote(path, quoted));
	closedir(dir);
	return r;
}

/*
 * Links below @prefix are not followed: they may lead out of the store, or round in a ring. Not with fts(3): glibc's crashes where it has
 * no memory.
 */
static int local_list(struct store *base, enum store_area area, const char *prefix,
		      store_object_fn fn, void *arg, struct error *err)
{
	cleanup_free char *whole = area_path(local_store(base), area, "");
	struct local_listing l = {0};
	int r = 0;

	add_folder(&l, prefix);
	while (r == 0 && l.n_folders > 0) {
		cleanup_free char *folder = l.folders[--l.n_folders];

		r = take_folder(&l, whole, folder, err);
	}
	if (r == 0 && l.n > 0)
		qsort(l.objects, l.n, sizeof(l.objects[0]), compare_objects);
	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = fn(arg, l.objects[i].name, l.objects[i].bytes);
	local_listing_release(&l);
	return r;
}

/* -- the rest ----------------------------------------------------------------------------- */

static int local_move(struct store *base, const char *name, enum store_area from,
		      enum store_area to, struct error *err)
{
	struct local_store *s = local_store(base);
	cleanup_free char *source = area_path(s, from, name), *target = area_path(s, to, name);
	char quoted[TEXT_QUOTE_SIZE];
	int r;

	if (s->readonly)
		return refuse_readonly(s, err);
	if (!file_exists(source))
		return error_data(err, "missing", "%s is not there", text_quote(source, quoted));
	if (make_folder_of(s, to, name, err) < 0)
		return -1;
	r = atomic_file_move(source, target, err);
	return r == ATOMIC_EXISTS ? STORE_EXISTS : r;
}

static int local_remove(struct store *base, enum store_area area, const char *name,
			struct error *err)
{
	struct local_store *s = local_store(base);
	cleanup_free char *path = area_path(s, area, name);
	char quoted[TEXT_QUOTE_SIZE];

	if (s->readonly)
		return refuse_readonly(s, err);
	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
		return error_sys(err, "remove %s", text_quote(path, quoted));
	return 0;
}

static int local_quarantine(struct store *base, const char *name, struct error *err)
{
	struct local_store *s = local_store(base);
	cleanup_free char *from = xasprintf("%s/%s", s->root, name), *flat = xstrdup(name);
	uint64_t bytes;

	if (s->readonly)
		return refuse_readonly(s, err);
	if (local_size(base, name, &bytes, err) < 0 ||
	    make_folder(s, ".latentd/quarantine", err) < 0)
		return -1;
	for (char *p = flat; *p; p++)
		*p = *p == '/' ? '_' : *p;
	for (unsigned n = 0;; n++) {
		cleanup_free char *to = xasprintf("%s/.latentd/quarantine/%s", s->root, flat);
		cleanup_free char *numbered = xasprintf("%s.%u", to, n);
		int r = atomic_file_move(from, n == 0 ? to : numbered, err);

		if (r != ATOMIC_EXISTS)
			return r;
	}
}

static void local_close(struct store *base)
{
	struct local_store *s = local_store(base);

	free(s->root);
	free(s->partial);
	free(s);
}

static int open_folder(const char *root, bool readonly, bool sweeps, const char *node,
		       struct store **out, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *below =
	    xasprintf(".latentd/partial%s%s", node ? "/" : "", node ? node : "");
	cleanup_free char *partial = xasprintf("%s/%s", root, below);
	struct local_store *s;
	struct stat st = {.st_ino = 0};

	if (stat(root, &st) < 0 && (readonly || errno != ENOENT))
		return error_sys(err, "open folder %s", text_quote(root, quoted));
	if (sweeps && atomic_file_sweep(partial, err) < 0)
		return -1;
	s = xcalloc(1, sizeof(*s));
	s->base.ops = &local_ops;
	s->root = xstrdup(root);
	s->partial = TAKE(below);
	s->readonly = readonly;
	s->device = st.st_dev;
	s->inode = st.st_ino;
	*out = &s->base;
	return 0;
}

int store_local_open(const char *root, bool readonly, struct store **out, struct error *err)
{
	return open_folder(root, readonly, !readonly, NULL, out, err);
}

int store_local_open_shared(const char *root, const char *node, struct store **out,
			    struct error *err)
{
	return open_folder(root, false, true, node, out, err);
}

int store_local_open_beside(const char *root, const char *node, struct store **out,
			    struct error *err)
{
	return open_folder(root, false, false, node, out, err);
}

static const struct store_ops local_ops = {
    .name = "local",
    .begin = local_begin,
    .flush = local_flush,
    .writer_read = local_writer_read,
    .publish = local_publish,
    .discard = local_discard,
    .read = local_read,
    .size = local_size,
    .list = local_list,
    .move = local_move,
    .remove = local_remove,
    .quarantine = local_quarantine,
    .close = local_close,
};

/*
 * A folder is read whole and closed before anything in it is visited, and its names wait on a stack: no recursion, and depth
 * costs no descriptors. glibc's fts would do, but ends the process where its memory runs out while it opens.
 */
#include "base/file_tree.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct waiting {
	char *path;
	unsigned char type; /* DT_... as the folder said */
};

struct walk {
	struct waiting *stack;
	size_t n, capacity;
	size_t root_length;
};

static int by_path_down(const void *a, const void *b)
{
	const struct waiting *x = a, *y = b;

	return strcmp(y->path, x->path);
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* 0, or errno: what was read until then waits nevertheless. */
static int read_folder(struct walk *w, const char *path)
{
	DIR *dir = opendir(path);
	size_t first = w->n;
	struct dirent *entry;
	const char *slash;
	int why;

	if (!dir)
		return errno;
	slash = path[strlen(path) - 1] == '/' ? "" : "/";
	while ((errno = 0, entry = readdir(dir)) != NULL) {
		if (is_dots(entry->d_name))
			continue;
		ARRAY_GROW(w->stack, w->n, w->capacity);
		w->stack[w->n++] = (struct waiting){xasprintf("%s%s%s", path, slash, entry->d_name),
						    entry->d_type};
	}
	why = errno;
	closedir(dir);
	if (w->n > first)
		qsort(w->stack + first, w->n - first, sizeof(*w->stack), by_path_down);
	return why;
}

static unsigned char type_of(const char *path, int *why)
{
	struct stat st;

	*why = 0;
	if (lstat(path, &st) < 0) {
		*why = errno;
		return DT_UNKNOWN;
	}
	return (unsigned char)IFTODT(st.st_mode);
}

static enum file_tree_kind kind_of(unsigned char type)
{
	switch (type) {
	case DT_DIR:
		return FILE_TREE_FOLDER;
	case DT_REG:
		return FILE_TREE_FILE;
	case DT_LNK:
		return FILE_TREE_LINK;
	case DT_UNKNOWN:
		return FILE_TREE_UNREADABLE;
	default:
		return FILE_TREE_OTHER;
	}
}

static int visit_one(struct walk *w, const struct waiting *next, file_tree_visit visit, void *arg,
		     struct error *err)
{
	struct file_tree_entry entry = {.path = next->path, .below = next->path + w->root_length};
	unsigned char type = next->type;
	int r;

	if (type == DT_UNKNOWN)
		type = type_of(next->path, &entry.why);
	if (entry.why == ENOENT)
		return 0;
	entry.name = strrchr(next->path, '/') + 1;
	entry.kind = kind_of(type);
	r = visit(arg, &entry, err);
	if (r != 0 || type != DT_DIR)
		return r < 0 ? -1 : 0;
	entry.why = read_folder(w, next->path);
	if (entry.why == 0 || entry.why == ENOENT)
		return 0;
	entry.kind = FILE_TREE_UNREADABLE;
	return visit(arg, &entry, err) < 0 ? -1 : 0;
}

int file_tree_walk(const char *root, file_tree_visit visit, void *arg, struct error *err)
{
	struct walk w = {.root_length = strlen(root)};
	char quoted[TEXT_QUOTE_SIZE];
	int r = 0;

	if (root[0] == '\0' || root[w.root_length - 1] != '/')
		w.root_length++;
	errno = read_folder(&w, root);
	if (errno != 0)
		r = error_sys(err, "read folder %s", text_quote(root, quoted));
	while (w.n > 0) {
		struct waiting next = w.stack[--w.n];

		if (r == 0)
			r = visit_one(&w, &next, visit, arg, err);
		free(next.path);
	}
	free(w.stack);
	return r;
}

/*
 * Private to watch*.c: the folders that a watch knows, as a tree, found by watch descriptor and by name.
 *
 *	child = watch_tree_add(&tree, parent, "name")        not there yet; descriptor -1
 *	watch_tree_set(&tree, child, wd)
 *	watch_tree_find(&tree, wd)  watch_tree_child(&tree, parent, "name")
 *	watch_tree_remove(&tree, leaf)
 */
#ifndef LATENTD_SOURCE_WATCH_TREE_H
#define LATENTD_SOURCE_WATCH_TREE_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>

struct watch_folder {
	int wd;		/* -1: not watched */
	unsigned depth; /* 0: the root */
	bool unwatched; /* by the limit or the file system: looked at by others */
	bool may_retry; /* unwatched, but perhaps not for ever */
	struct watch_folder *parent, *children, *next, **link; /* among its parent's children */
	struct watch_folder *next_wd, *next_name;	       /* of one bucket */
	struct watch_folder *next_pending, **pending;	       /* NULL: not to be listed */
	char name[];
};

struct watch_tree {
	struct watch_folder *root; /* NULL: none */
	size_t n;
	struct watch_folder **by_wd, **by_name;
	size_t buckets; /* of each: a power of two, or 0 */
};

struct watch_folder *watch_tree_add(struct watch_tree *t, struct watch_folder *parent,
				    const char *name);
/* @wd -1: from now on it has none. No other folder may have it. */
void watch_tree_set(struct watch_tree *t, struct watch_folder *f, int wd);
struct watch_folder *watch_tree_find(const struct watch_tree *t, int wd);
struct watch_folder *watch_tree_child(const struct watch_tree *t, const struct watch_folder *parent,
				      const char *name);
/* A folder without children. */
void watch_tree_remove(struct watch_tree *t, struct watch_folder *f);
/* Appends "a/b/" for the folder b in a; nothing for the root. */
void watch_tree_path(const struct watch_folder *f, struct buffer *out);
void watch_tree_release(struct watch_tree *t);

#endif

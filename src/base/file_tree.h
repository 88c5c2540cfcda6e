/*
 * Everything below a folder, in the order of names. Symbolic links are reported, not followed, except @root itself.
 * Memory is that of the names of the folders that are open; one descriptor is used.
 */
#ifndef LATENTD_BASE_FILE_TREE_H
#define LATENTD_BASE_FILE_TREE_H

#include "base/error.h"

enum file_tree_kind {
	FILE_TREE_FOLDER,     /* before what is in it */
	FILE_TREE_FILE,	      /* a regular file */
	FILE_TREE_LINK,	      /* a symbolic link, wherever it leads */
	FILE_TREE_OTHER,      /* a FIFO, a socket, a device */
	FILE_TREE_UNREADABLE, /* it is there, but what is in it, or what it is, cannot be known */
};

struct file_tree_entry {
	const char *path;  /* @root and what is below it */
	const char *below; /* the same from @root on, without a slash in front */
	const char *name;  /* its last part */
	enum file_tree_kind kind;
	int why; /* errno of what is unreadable */
};

/* A visit's answer for a folder: nothing in it is looked at. */
#define FILE_TREE_SKIP 1

/* 0 goes on, below zero ends the walk with *err set. Strings live as long as the call. */
typedef int (*file_tree_visit)(void *arg, const struct file_tree_entry *entry, struct error *err);

/*
 * Calls @visit for everything below @root, not for @root. A root that cannot be read is an error (of the system's kind,
 * with its path); what vanishes meanwhile is passed over.
 */
int file_tree_walk(const char *root, file_tree_visit visit, void *arg, struct error *err);

#endif

/*
 * Private to src/source: files below a folder, reached part by part from its descriptor, so that no link is followed
 * to another folder unless all are.
 */
#ifndef LATENTD_SOURCE_FOLDER_FILES_H
#define LATENTD_SOURCE_FOLDER_FILES_H

#include "source/companions.h"
#include "source/source.h"

struct stat;

/* What errno says of a path when no more is known than that the system failed: "WHAT PATH: ...". -1. */
int folder_error(struct error *err, const char *what, const char *path);
/* openat with O_CLOEXEC that tries again when a signal came in between. */
int folder_open_at(int dir, const char *name, int flags);
/* As a disk looks that is not mounted. What cannot be listed is not. */
bool folder_is_empty(int dir);
/* The folder of @path, opened as a place only; *base is the name in it. -1 with errno. */
int folder_open_parent(int root, enum source_links links, char *path, const char **base);
/* A descriptor for reading; the errors of source_ops.open_sample. */
int folder_open_file(int root, enum source_links links, const char *path, struct error *err);
/* fstatat of a file that may be read by its name; a link that is not followed is one. */
int folder_stat(int dir, enum source_links links, const char *name, struct stat *st);
/* 48 bits that change with the file, and are not 0. */
uint64_t folder_stamp(const struct stat *st);

enum folder_found { FOLDER_FILE, FOLDER_FOLDER, FOLDER_NOTHING };

/* Fills @entry but for its path if @name in @dir is a file, or may be one. */
enum folder_found folder_look(int dir, enum source_links links, const char *name,
			      struct source_entry *entry);
/* As source_ops.examine; @companions: what lies beside it is looked for so; NULL: not. */
int folder_examine(int root, enum source_links links, const char *path,
		   const struct companion_search *companions, struct source_entry *entry,
		   struct error *err);

#endif

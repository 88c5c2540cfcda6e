/*
 * Private to src/source: the archives that a folder source meets. "a/b.tar/c.jpg" is member "c.jpg" of archive
 * "a/b.tar", if that is a file.
 */
#ifndef LATENTD_SOURCE_FOLDER_ARCHIVES_H
#define LATENTD_SOURCE_FOLDER_ARCHIVES_H

#include "source/archive_file.h"

#define FOLDER_NO_ARCHIVE 3 /* the path leads into none */

struct folder_archives;

/* @root and @options outlive it. */
struct folder_archives *folder_archives_new(int root, const struct source_folder_options *options);
/* NULL is fine. */
void folder_archives_close(struct folder_archives *a);
/* Lists are kept in @folder from now on. */
void folder_archives_keep_lists(struct folder_archives *a, const char *folder);
/* Every archive that there is has been asked for: lists of others go. */
void folder_archives_listed(struct folder_archives *a);
/* Archive @path, listed; it is *a's and stays open until the next call. */
int folder_archives_get(struct folder_archives *a, const char *path, struct archive_file **out,
			struct error *err);
/* Puts the paths of @entry, which are inside the archive that @path names, behind it: it points into both then. */
void folder_archives_place(struct buffer *path, struct buffer *key, struct source_entry *entry);

/* As the source's, or FOLDER_NO_ARCHIVE. */
int folder_archives_examine(struct folder_archives *a, const char *path, struct source_entry *entry,
			    struct error *err);
/* *out is a descriptor for reading. */
int folder_archives_open_sample(struct folder_archives *a, const char *path, int *out,
				struct error *err);
int folder_archives_caption(struct folder_archives *a, const char *path, struct buffer *out,
			    struct error *err);
int folder_archives_meta(struct folder_archives *a, const char *path, struct buffer *out,
			 struct error *err);

#endif

/*
 * What the parts of a manifest source share; nobody else includes it.
 *
 *	source_manifest.c        the source: its listing, and what is asked of one image
 *	source_manifest_find.c   paths as they stand there, the manifest itself, and the line of a path
 */
#ifndef LATENTD_SOURCE_SOURCE_MANIFEST_PARTS_H
#define LATENTD_SOURCE_SOURCE_MANIFEST_PARTS_H

#include "source/manifest_index.h"
#include "source/manifest_reader.h"
#include "source/remote_fetch.h"
#include "source/remote_window.h"
#include "source/source.h"

#include <sys/stat.h>

struct source_manifest {
	struct source base;
	struct source_folder_options options;
	char *path;
	const char *name; /* its last part */
	int folder;	  /* that it is in */
	int root;	  /* that its paths are below */
	char *roots
	    [2]; /* what an absolute path begins with: the root as it was given, and where that leads */
	enum manifest_format format;
	struct manifest_columns columns;
	char *asked[2]; /* what these point to */
	char *lists;	/* where its index is kept; NULL: nowhere */

	int fd; /* -1: it was not looked at yet */
	struct stat known;
	bool stale; /* it is another by now, which may still be written */
	struct manifest_reader *reader, *lookup;
	struct manifest_index *index;
	struct buffer clean; /* the path of an item */
	struct buffer found; /* and of its file */
	struct buffer mask;  /* and of its mask */
	struct remote_files *remote;
	struct remote_window *window;

	bool listing, ended;
	struct manifest_item item; /* that is being listed; path NULL: the next one is */
	struct manifest_place place;
	size_t bad, missing; /* lines that cannot be used; files that are not there */
};

/* Whether it is to stop, asked at every @n-th of many steps. */
bool manifest_stops(const struct source_manifest *s, uint64_t n);

/* @path into s->clean, without empty and "." parts if it is no URL; or what is wrong with it. */
const char *manifest_clean_path(struct source_manifest *s, const char *path);
/* Whether a mask is fetched. */
bool manifest_mask_is_url(const char *mask);
/* The same into s->mask, of a mask that must be a file below the root. */
const char *manifest_clean_mask(struct source_manifest *s, const char *path);
const char *manifest_cleaned(const struct source_manifest *s);
/* The file that the cleaned path names: of kohya's keys without an ending the one that is there. */
const char *manifest_file_of(struct source_manifest *s);

void manifest_forget(struct source_manifest *s);
bool manifest_is_same(const struct stat *a, const struct stat *b);
/*
 * It is read if it is not what it was. A manifest that is not there is no empty one: ERR_TRANSIENT. One that is still being
 * written is taken as it was, and so is one that is being listed: lines were added, or the old file is still open; in a file
 * that is written anew nothing is found where it was.
 */
int manifest_look(struct source_manifest *s, struct error *err);
/* The last line of the cleaned path @path of @n bytes, which is not s->clean; false: there is none. */
bool manifest_find_line(struct source_manifest *s, const char *path, size_t n,
			struct manifest_item *item, struct manifest_place *place);
/* The line of a file. SOURCE_GONE: it names no such path. */
int manifest_find(struct source_manifest *s, const char *path, struct manifest_item *item,
		  struct error *err);

#endif

/*
 * Which files below a folder count: what is included, or everything, without what is excluded; whether names that begin
 * with a dot do, and which links are followed. An archive is a folder of its name, and its members are below that. All zero: what is usual.
 */
#ifndef LATENTD_SOURCE_SOURCE_CHOICE_H
#define LATENTD_SOURCE_SOURCE_CHOICE_H

#include "base/path_glob.h"

/* Symbolic links that are followed: those to files; none; those to folders, too. */
enum source_links { LINKS_FILES, LINKS_NONE, LINKS_ALL };

struct source_choice {
	struct path_globs include, exclude;
	bool hidden;
	enum source_links links;
};

/* Whether a name in a folder is looked at. */
bool source_choice_sees(const struct source_choice *c, const char *name);
/* Whether the file @path is taken. */
bool source_choice_takes(const struct source_choice *c, const char *path);
/* Whether anything in folder or archive @path may be. */
bool source_choice_enters(const struct source_choice *c, const char *path);

/* A copy with a memory of its own, to be released. */
struct source_choice source_choice_copy(const struct source_choice *c);
void source_choice_release(struct source_choice *c);

#endif

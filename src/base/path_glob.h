/*
 * Patterns that choose paths, as people know them from .gitignore.
 *
 *	*.jpg       whatever has such a name, however deep
 *	raw/a?.png  a path from the top on, because there is a slash in it; so is /a.png
 *	masks/      a folder of that name, however deep
 *	b/@@/c      where @@ is two stars: any number of folders between the two, none also; b/@@ is b and all that is in it
 *	[a-f!]x     one of a set; [!a-f] one that is not in it
 *	\*          the character itself
 *
 * '*' and '?' do not match '/', '?' and a set match one character of UTF-8, or one byte that belongs to none. Letters
 * are as they stand. Time is bounded by a polynomial of both lengths, whatever the pattern.
 */
#ifndef LATENTD_BASE_PATH_GLOB_H
#define LATENTD_BASE_PATH_GLOB_H

#include <stdbool.h>
#include <stddef.h>

struct path_globs {
	const char *const *items; /* valid ones */
	size_t n;
};

/*
 * False for what is empty or can match nothing (an empty part, "." or ".." as one, a set that is not closed), and for what
 * begins with '!', which .gitignore has and this has not.
 */
bool path_glob_valid(const char *pattern);
#define PATH_GLOB_EXPECTED "a pattern like *.jpg, masks/ or raw/**, relative to the source"

/* Whether @pattern matches @path; @folder: that is one. */
bool path_glob_matches(const char *pattern, const char *path, bool folder);
/* Whether one of them matches @path or a folder that it is in. */
bool path_globs_cover(const struct path_globs *globs, const char *path, bool folder);
/* Whether one of them may match something below the folder @path. */
bool path_globs_reach(const struct path_globs *globs, const char *path);

/* A copy with a memory of its own, to be released. */
struct path_globs path_globs_copy(const struct path_globs *globs);
void path_globs_release(struct path_globs *globs);

#endif

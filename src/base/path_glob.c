/*
 * A path is matched part by part, and within a part character by character. In both, what cannot go on goes back to
 * the last star alone: an earlier one could only have taken what the last one can take as well.
 */
#include "base/path_glob.h"

#include "base/checked.h"
#include "base/text.h"

#include <stdint.h>
#include <string.h>

/* From @at up to @end. A position behind the last part is NULL. */
struct span {
	const char *at, *end;
};

static struct span part_of(struct span s)
{
	const char *slash = memchr(s.at, '/', (size_t)(s.end - s.at));

	return (struct span){s.at, slash ? slash : s.end};
}

static struct span behind_part(struct span s)
{
	const char *end = part_of(s).end;

	return (struct span){end < s.end ? end + 1 : NULL, s.end};
}

/* -- within a part -------------------------------------------------------------------------------- */

/* Bytes of the next character; *c tells it from others. */
static size_t character(struct span s, uint32_t *c)
{
	const uint8_t *bytes = (const uint8_t *)s.at;
	size_t n = utf8_sequence(bytes, (size_t)(s.end - s.at));

	if (n < 2) {
		*c = n == 1 ? bytes[0] : 0x110000u + bytes[0];
		return 1;
	}
	*c = bytes[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++)
		*c = *c << 6 | (bytes[i] & 0x3f);
	return n;
}

/* A character of a set, perhaps behind a backslash; NULL: there is none. */
static const char *set_character(struct span p, uint32_t *c)
{
	p.at += p.at < p.end && *p.at == '\\';
	return p.at < p.end ? p.at + character(p, c) : NULL;
}

/* What is behind the set that @p begins with, or NULL if it is not closed; *in: @c is in it. */
static const char *match_set(struct span p, uint32_t c, bool *in)
{
	bool other = false, found = false;

	p.at++;
	if (p.at < p.end && (*p.at == '!' || *p.at == '^')) {
		other = true;
		p.at++;
	}
	for (bool first = true; p.at < p.end && (first || *p.at != ']'); first = false) {
		uint32_t from = 0, to = 0;

		p.at = set_character(p, &from);
		if (!p.at)
			return NULL;
		to = from;
		if (p.end - p.at >= 2 && p.at[0] == '-' && p.at[1] != ']') {
			p.at = set_character((struct span){p.at + 1, p.end}, &to);
			if (!p.at)
				return NULL;
		}
		found = found || (c >= from && c <= to);
	}
	*in = found != other;
	return p.at < p.end ? p.at + 1 : NULL;
}

/* What is behind the first of @p, which is no star, or NULL: it does not match @c. */
static const char *match_one(struct span p, uint32_t c)
{
	uint32_t wanted = 0;
	bool in = false;

	if (p.at == p.end)
		return NULL;
	if (*p.at == '?')
		return p.at + 1;
	if (*p.at == '[') {
		p.at = match_set(p, c, &in);
		return in ? p.at : NULL;
	}
	p.at = set_character(p, &wanted);
	return wanted == c ? p.at : NULL;
}

static bool match_part(struct span p, struct span s)
{
	const char *star = NULL, *taken = NULL; /* behind it, and up to where it reaches */

	while (s.at < s.end) {
		uint32_t c = 0;
		size_t n = character(s, &c);
		const char *next;

		if (p.at < p.end && *p.at == '*') {
			star = ++p.at;
			taken = s.at;
		} else if ((next = match_one(p, c))) {
			p.at = next;
			s.at += n;
		} else if (star) {
			taken += character((struct span){taken, s.end}, &c);
			s.at = taken;
			p.at = star;
		} else {
			return false;
		}
	}
	while (p.at < p.end && *p.at == '*')
		p.at++;
	return p.at == p.end;
}

/* -- part by part --------------------------------------------------------------------------------- */

static bool is_any_depth(struct span pattern)
{
	struct span part = part_of(pattern);

	return part.end - part.at == 2 && memcmp(part.at, "**", 2) == 0;
}

static bool match_parts(struct span p, struct span s)
{
	struct span star = {NULL, NULL}, taken = {NULL, NULL};

	while (p.at || s.at) {
		if (p.at && is_any_depth(p)) {
			p = star = behind_part(p);
			taken = s;
			if (!p.at)
				return true;
		} else if (p.at && s.at && match_part(part_of(p), part_of(s))) {
			p = behind_part(p);
			s = behind_part(s);
		} else if (star.at && taken.at) {
			s = taken = behind_part(taken);
			p = star;
		} else {
			return false;
		}
	}
	return true;
}

/* What stands between the slashes at both ends. *rooted: it is a path from the top on. */
static struct span body(const char *pattern, bool *rooted, bool *folder)
{
	size_t n = strlen(pattern);
	struct span p = {pattern, pattern + n};

	*folder = n > 0 && pattern[n - 1] == '/';
	p.end -= *folder;
	*rooted = memchr(p.at, '/', (size_t)(p.end - p.at));
	p.at += p.at < p.end && *p.at == '/';
	return p;
}

static bool matches(const char *pattern, struct span path, bool is_folder)
{
	bool rooted = false, folder = false;
	struct span p = body(pattern, &rooted, &folder);

	if (folder && !is_folder)
		return false;
	if (!rooted && !is_any_depth(p)) {
		const char *slash = memrchr(path.at, '/', (size_t)(path.end - path.at));

		return match_part(p, (struct span){slash ? slash + 1 : path.at, path.end});
	}
	return match_parts(p, path);
}

bool path_glob_matches(const char *pattern, const char *path, bool folder)
{
	return matches(pattern, (struct span){path, path + strlen(path)}, folder);
}

bool path_globs_cover(const struct path_globs *globs, const char *path, bool folder)
{
	if (globs->n == 0)
		return false;
	for (const char *end = path;; end++) {
		end += strcspn(end, "/");
		for (size_t i = 0; i < globs->n; i++) {
			if (matches(globs->items[i], (struct span){path, end}, *end || folder))
				return true;
		}
		if (!*end)
			return false;
	}
}

static bool reaches(const char *pattern, struct span s)
{
	bool rooted = false, folder = false;
	struct span p = body(pattern, &rooted, &folder);

	if (!rooted)
		return true;
	while (p.at && s.at && !is_any_depth(p)) {
		if (!match_part(part_of(p), part_of(s)))
			return false;
		p = behind_part(p);
		s = behind_part(s);
	}
	return true;
}

bool path_globs_reach(const struct path_globs *globs, const char *path)
{
	const struct span s = {path, path + strlen(path)};

	for (size_t i = 0; i < globs->n; i++) {
		if (reaches(globs->items[i], s))
			return true;
	}
	return false;
}

/* -- which are good ------------------------------------------------------------------------------- */

static bool part_is_valid(struct span part)
{
	size_t n = (size_t)(part.end - part.at);
	uint32_t c = 0;
	bool in = false;

	if (n == 0 || (n == 1 && *part.at == '.') || (n == 2 && memcmp(part.at, "..", 2) == 0))
		return false;
	while (part.at && part.at < part.end)
		part.at = *part.at == '[' ? match_set(part, 0, &in) : set_character(part, &c);
	return part.at;
}

bool path_glob_valid(const char *pattern)
{
	bool rooted = false, folder = false;
	struct span p = body(pattern, &rooted, &folder);

	if (*pattern == '!')
		return false;
	for (; p.at; p = behind_part(p)) {
		if (!part_is_valid(part_of(p)))
			return false;
	}
	return true;
}

/* -- copies --------------------------------------------------------------------------------------- */

struct path_globs path_globs_copy(const struct path_globs *globs)
{
	char **items = globs->n > 0 ? xcalloc(globs->n, sizeof(*items)) : NULL;

	for (size_t i = 0; i < globs->n; i++)
		items[i] = xstrdup(globs->items[i]);
	return (struct path_globs){(const char *const *)items, globs->n};
}

void path_globs_release(struct path_globs *globs)
{
	char **items = (char **)globs->items;

	for (size_t i = 0; i < globs->n; i++)
		free(items[i]);
	free(items);
	*globs = (struct path_globs){NULL, 0};
}

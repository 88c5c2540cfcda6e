#include "source/source_choice.h"

#include <string.h>

bool source_choice_sees(const struct source_choice *c, const char *name)
{
	if (name[0] != '.')
		return true;
	return c->hidden && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

bool source_choice_takes(const struct source_choice *c, const char *path)
{
	return (c->include.n == 0 || path_globs_cover(&c->include, path, false)) &&
	       !path_globs_cover(&c->exclude, path, false);
}

bool source_choice_enters(const struct source_choice *c, const char *path)
{
	return (c->include.n == 0 || path_globs_cover(&c->include, path, true) ||
		path_globs_reach(&c->include, path)) &&
	       !path_globs_cover(&c->exclude, path, true);
}

struct source_choice source_choice_copy(const struct source_choice *c)
{
	return (struct source_choice){path_globs_copy(&c->include), path_globs_copy(&c->exclude),
				      c->hidden, c->links};
}

void source_choice_release(struct source_choice *c)
{
	path_globs_release(&c->include);
	path_globs_release(&c->exclude);
}

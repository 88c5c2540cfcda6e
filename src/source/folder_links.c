#include "source/folder_links.h"

#include "base/checked.h"

#include <search.h>
#include <sys/stat.h>

struct target {
	dev_t dev;
	ino_t ino;
};

static int compare(const void *a, const void *b)
{
	const struct target *left = a, *right = b;

	if (left->dev != right->dev)
		return left->dev < right->dev ? -1 : 1;
	return (left->ino > right->ino) - (left->ino < right->ino);
}

bool folder_links_lead_to_folder(enum source_links links, int dir, const char *name)
{
	struct stat st;

	return links == LINKS_ALL && fstatat(dir, name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

static bool target_of(int fd, struct target *out)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	*out = (struct target){st.st_dev, st.st_ino};
	return true;
}

const char *folder_links_refuse(const struct folder_links *l, int fd, const int *above, size_t n)
{
	struct target target, other;

	if (!target_of(fd, &target))
		return "is a link to a folder that cannot be examined";
	for (size_t i = 0; i < n; i++) {
		if (target_of(above[i], &other) && compare(&target, &other) == 0)
			return "is a link back to a folder that it is in: not followed";
	}
	return tfind(&target, &l->targets, compare)
		   ? "is a link to a folder that another link has led to: not followed"
		   : NULL;
}

void folder_links_entered(struct folder_links *l, int fd)
{
	struct target *kept = xmalloc(sizeof(*kept)), **found;

	if (!target_of(fd, kept)) {
		free(kept);
		return;
	}
	found = tsearch(kept, &l->targets, compare);
	if (!found)
		abort();
	if (*found != kept)
		free(kept);
}

void folder_links_release(struct folder_links *l)
{
	tdestroy(l->targets, free);
	l->targets = NULL;
}

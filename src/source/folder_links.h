/*
 * Private to src/source: links to folders that a walk follows. It enters none that leads back to a folder it is in, nor one
 * that leads where another link has led: a tree of links could have more paths than anybody can list.
 */
#ifndef LATENTD_SOURCE_FOLDER_LINKS_H
#define LATENTD_SOURCE_FOLDER_LINKS_H

#include "source/source_choice.h"

#include <stdbool.h>
#include <stddef.h>

/* What links have led to. All zero: nothing yet. */
struct folder_links {
	void *targets;
};

/* Whether link @name in folder @dir leads to a folder, and is followed. */
bool folder_links_lead_to_folder(enum source_links links, int dir, const char *name);

/*
 * NULL: the walk may enter folder @fd, which a link leads to; otherwise why not, to be noted: "is a link back to ...". @above:
 * descriptors of the @n folders that it is in.
 */
const char *folder_links_refuse(const struct folder_links *l, int fd, const int *above, size_t n);
/* It has entered it. */
void folder_links_entered(struct folder_links *l, int fd);
void folder_links_release(struct folder_links *l);

#endif

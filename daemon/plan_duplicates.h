/*
 * Finds files of equal content among many, by their hashes. Takes some fifty bytes a file and its name.
 *
 *	struct plan_duplicates d = PLAN_DUPLICATES_INIT;
 *	plan_duplicates_add(&d, &content, bytes, position, source, path) ...      in any order
 *	plan_duplicates_finish(&d);
 *	for (g = 0; g < d.n_groups; g++) ... d.files[d.groups[g].first + i] for i < d.groups[g].n ...
 */
#ifndef LATENTD_DAEMON_PLAN_DUPLICATES_H
#define LATENTD_DAEMON_PLAN_DUPLICATES_H

#include "base/buffer.h"
#include "base/hash.h"

struct plan_duplicate {
	struct hash128 content;
	uint64_t bytes, position;
	size_t source, name; /* plan_duplicates_path() */
};

struct plan_duplicate_group {
	size_t first, n; /* in `files`, in the order of the listing; n >= 2 */
};

struct plan_duplicates {
	struct plan_duplicate *files;
	size_t n_files, files_capacity;
	struct buffer names;
	/* Worked out by plan_duplicates_finish: groups in the order of their first files. */
	struct plan_duplicate_group *groups;
	size_t n_groups, groups_capacity;
	uint64_t extra_files, extra_bytes; /* that another file has already */
};

#define PLAN_DUPLICATES_INIT                                                                       \
	{                                                                                          \
		.files = NULL                                                                      \
	}

void plan_duplicates_add(struct plan_duplicates *d, const struct hash128 *content, uint64_t bytes,
			 uint64_t position, size_t source, const char *path);
void plan_duplicates_finish(struct plan_duplicates *d);
const char *plan_duplicates_path(const struct plan_duplicates *d,
				 const struct plan_duplicate *file);
void plan_duplicates_release(struct plan_duplicates *d);

#endif

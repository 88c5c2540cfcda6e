/*
 * Sorted by content, equal files are neighbours.
 */
#include "daemon/plan_duplicates.h"

#include "base/checked.h"

#include <string.h>

void plan_duplicates_add(struct plan_duplicates *d, const struct hash128 *content, uint64_t bytes,
			 uint64_t position, size_t source, const char *path)
{
	ARRAY_GROW(d->files, d->n_files, d->files_capacity);
	d->files[d->n_files++] =
	    (struct plan_duplicate){*content, bytes, position, source, d->names.size};
	buffer_append(&d->names, path, strlen(path) + 1);
}

static int by_content(const void *a, const void *b)
{
	const struct plan_duplicate *x = a, *y = b;
	int order = memcmp(x->content.bytes, y->content.bytes, sizeof(x->content.bytes));

	if (order != 0)
		return order;
	return (x->position > y->position) - (x->position < y->position);
}

/* Within `files`, which stay sorted by content, a group's first file has its lowest position. */
static int by_first_file(const void *a, const void *b, void *arg)
{
	const struct plan_duplicate_group *x = a, *y = b;
	const struct plan_duplicate *files = arg;
	uint64_t p = files[x->first].position, q = files[y->first].position;

	return (p > q) - (p < q);
}

void plan_duplicates_finish(struct plan_duplicates *d)
{
	size_t end;

	if (d->n_files == 0)
		return;
	qsort(d->files, d->n_files, sizeof(*d->files), by_content);
	for (size_t i = 0; i < d->n_files; i = end) {
		end = i + 1;
		while (end < d->n_files &&
		       hash128_equal(&d->files[i].content, &d->files[end].content))
			end++;
		if (end - i < 2)
			continue;
		ARRAY_GROW(d->groups, d->n_groups, d->groups_capacity);
		d->groups[d->n_groups++] = (struct plan_duplicate_group){i, end - i};
		d->extra_files += end - i - 1;
		d->extra_bytes += (end - i - 1) * d->files[i].bytes;
	}
	if (d->n_groups > 0)
		qsort_r(d->groups, d->n_groups, sizeof(*d->groups), by_first_file, d->files);
}

const char *plan_duplicates_path(const struct plan_duplicates *d, const struct plan_duplicate *file)
{
	return (const char *)d->names.data + file->name;
}

void plan_duplicates_release(struct plan_duplicates *d)
{
	free(d->files);
	free(d->groups);
	buffer_release(&d->names);
}

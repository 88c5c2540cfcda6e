#include "image/bucket_rules.h"

#include "base/checked.h"

#include <math.h>

double size_aspect(struct size s)
{
	return (double)s.width / (double)s.height;
}

void bucket_list_add(struct bucket_list *list, struct size size, double shape)
{
	ARRAY_GROW(list->items, list->count, list->capacity);
	list->items[list->count++] = (struct bucket){size, shape};
}

static int bucket_compare(const void *a, const void *b)
{
	const struct size *x = &((const struct bucket *)a)->size;
	const struct size *y = &((const struct bucket *)b)->size;

	if (x->width != y->width)
		return x->width < y->width ? -1 : 1;
	return (x->height > y->height) - (x->height < y->height);
}

void bucket_list_sort(struct bucket_list *list)
{
	size_t kept = 0;

	if (list->count == 0)
		return;
	qsort(list->items, list->count, sizeof(*list->items), bucket_compare);
	for (size_t i = 0; i < list->count; i++)
		if (kept == 0 || bucket_compare(&list->items[i], &list->items[kept - 1]) != 0)
			list->items[kept++] = list->items[i];
	list->count = kept;
}

const struct bucket *bucket_list_nearest(const struct bucket_list *list, double shape)
{
	const struct bucket *best = &list->items[0];
	double best_distance = fabs(best->shape - shape);

	for (size_t i = 1; i < list->count; i++) {
		double distance = fabs(list->items[i].shape - shape);

		if (distance < best_distance) {
			best_distance = distance;
			best = &list->items[i];
		}
	}
	return best;
}

struct size bucket_cover(struct size target, struct size image)
{
	double width = (double)image.width, height = (double)image.height;
	double scale = size_aspect(image) > size_aspect(target) ? (double)target.height / height
								: (double)target.width / width;

	return (struct size){(size_t)(width * scale + 0.5), (size_t)(height * scale + 0.5)};
}

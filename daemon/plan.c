/*
 * Buckets are few and are kept sorted by size, so that each image finds its own by bisection. Means are sums of whole
 * numbers: floating-point sums would depend on which worker was faster.
 */
#include "daemon/plan.h"

#include "base/checked.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MILLION 1000000.0

/* -- counting ------------------------------------------------------------------------------------- */

/* The place of a size in the sorted buckets, where it is or would be. */
static size_t bucket_index(const struct plan *p, size_t resolution, size_t width, size_t height)
{
	size_t low = 0, high = p->n_buckets;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct plan_bucket *b = &p->buckets[middle];

		if (b->resolution < resolution ||
		    (b->resolution == resolution &&
		     (b->width < width || (b->width == width && b->height < height))))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct plan_bucket *bucket_of(struct plan *p, size_t resolution, size_t width, size_t height)
{
	size_t i = bucket_index(p, resolution, width, height);
	struct plan_bucket *b;

	if (i < p->n_buckets && p->buckets[i].resolution == resolution &&
	    p->buckets[i].width == width && p->buckets[i].height == height)
		return &p->buckets[i];
	ARRAY_GROW(p->buckets, p->n_buckets, p->buckets_capacity);
	b = &p->buckets[i];
	memmove(b + 1, b, (p->n_buckets - i) * sizeof(*b));
	p->n_buckets++;
	*b = (struct plan_bucket){.resolution = resolution, .width = width, .height = height};
	return b;
}

static void reasons_add(struct plan_reasons *r, const char *word)
{
	size_t i = 0;

	r->files++;
	while (i < r->n && strcmp(r->list[i].word, word) != 0)
		i++;
	if (i == PLAN_REASONS)
		i--;
	else if (i == r->n)
		snprintf(r->list[r->n++].word, sizeof(r->list[0].word), "%s", word);
	r->list[i].files++;
}

/* The first in the listing are kept: a later one makes room for an earlier one. */
static void failures_add(struct plan *p, const struct survey_file *file)
{
	size_t at = p->n_failures;
	struct plan_failure *f;

	while (at > 0 && p->failures[at - 1].position > file->position)
		at--;
	if (at >= p->max_failures)
		return;
	if (p->n_failures == p->max_failures) {
		p->n_failures--;
		free(p->failures[p->n_failures].path);
		free(p->failures[p->n_failures].message);
	}
	ARRAY_GROW(p->failures, p->n_failures, p->failures_capacity);
	f = &p->failures[at];
	memmove(f + 1, f, (p->n_failures - at) * sizeof(*f));
	p->n_failures++;
	*f = (struct plan_failure){.position = file->position,
				   .source = file->source,
				   .path = xstrdup(file->path),
				   .message = xstrdup(file->why->message)};
	memcpy(f->reason, file->why->reason, sizeof(f->reason));
}

static void add_placement(struct plan *p, size_t resolution,
			  const struct bucket_placement *placement)
{
	struct plan_bucket *b =
	    bucket_of(p, resolution, placement->target_width, placement->target_height);

	b->images++;
	b->loss_sum += (uint64_t)llround(placement->crop_loss * MILLION);
	b->up_sum += (uint64_t)llround(placement->upscale * MILLION);
	b->max_upscale = fmax(b->max_upscale, placement->upscale);
	b->enlarged += placement->upscale > 1;
}

static void add_image(struct plan *p, const struct survey_file *file)
{
	struct image_header header = *file->header;
	struct bucket_placement placements[RESOLUTIONS_MAX];
	size_t width, height, skips, n = p->resolutions.n;

	if (!p->apply_exif)
		header.orientation = 1;
	image_oriented_size(&header, &width, &height);
	skips = resolutions_place(&p->resolutions, width, height, placements);
	if (skips < n) {
		reasons_add(&p->skipped, placements[skips].skip);
		return;
	}
	for (size_t i = 0; i < n; i++)
		add_placement(p, i, &placements[i]);
	p->enlarged += placements[n - 1].upscale > 1;
	p->images++;
	p->no_caption += p->captions && !file->has_caption;
}

void plan_add(struct plan *p, const struct survey_file *file)
{
	p->files++;
	p->bytes += file->bytes;
	if (file->content && p->hash)
		plan_duplicates_add(&p->duplicates, file->content, file->bytes, file->position,
				    file->source, file->path);
	if (file->header) {
		add_image(p, file);
		return;
	}
	reasons_add(&p->unreadable, file->why->reason);
	failures_add(p, file);
}

/* -- working out ---------------------------------------------------------------------------------- */

static int by_aspect(const void *a, const void *b)
{
	const struct plan_bucket *x = a, *y = b;
	uint64_t p = (uint64_t)x->width * y->height, q = (uint64_t)y->width * x->height;

	if (x->resolution != y->resolution)
		return x->resolution < y->resolution ? -1 : 1;
	if (p != q)
		return p < q ? -1 : 1;
	return (x->width > y->width) - (x->width < y->width);
}

static int by_files(const void *a, const void *b)
{
	const struct plan_reason *x = a, *y = b;

	if (x->files != y->files)
		return x->files > y->files ? -1 : 1;
	return strcmp(x->word, y->word);
}

static uint64_t latent_bytes(const struct plan *p, const struct plan_bucket *b)
{
	if (p->downscale == 0)
		return 0;
	return (uint64_t)(b->width / p->downscale) * (b->height / p->downscale) * p->channels * 2;
}

void plan_finish(struct plan *p)
{
	uint64_t loss_sum = 0;

	if (p->n_buckets > 0)
		qsort(p->buckets, p->n_buckets, sizeof(*p->buckets), by_aspect);
	qsort(p->skipped.list, p->skipped.n, sizeof(*p->skipped.list), by_files);
	qsort(p->unreadable.list, p->unreadable.n, sizeof(*p->unreadable.list), by_files);
	plan_duplicates_finish(&p->duplicates);
	for (size_t i = 0; i < p->n_buckets; i++) {
		struct plan_bucket *b = &p->buckets[i];

		b->crop_loss = (double)b->loss_sum / MILLION / (double)b->images;
		b->upscale = (double)b->up_sum / MILLION / (double)b->images;
		loss_sum += b->loss_sum;
		p->latent_bytes += latent_bytes(p, b) * b->images * (1 + p->more);
		if (p->batch > 0) {
			b->batches = b->images / p->batch;
			b->dropped = b->images % p->batch;
			p->batches += b->batches;
			p->dropped += b->dropped;
		}
	}
	if (p->images > 0)
		p->crop_loss = (double)loss_sum / MILLION / (double)(p->images * p->resolutions.n);
	if (p->rate > 0)
		p->seconds = (uint64_t)ceil((double)p->images / p->rate);
}

size_t plan_resolution(const struct plan *p, size_t number)
{
	return bucket_table_options(p->resolutions.tables[number])->resolution;
}

char *plan_name(const struct plan *p, size_t source, const char *path)
{
	const char *name = p->sources[source];
	size_t n = strlen(name);

	return xasprintf("%s%s%s", name, n > 0 && name[n - 1] == '/' ? "" : "/", path);
}

void plan_release(struct plan *p)
{
	for (size_t i = 0; i < p->n_failures; i++) {
		free(p->failures[i].path);
		free(p->failures[i].message);
	}
	free(p->failures);
	free(p->buckets);
	plan_duplicates_release(&p->duplicates);
}

/*
 * sd-scripts' own arithmetic, operation by operation, because a size that rounds differently is
 * another bucket: model_util.make_bucket_resolutions and BucketManager.select_bucket, get_crop_ltrb
 * in train_util. Python floats are doubles and int() truncates.
 */
#include "image/bucket.h"

#include "base/checked.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Sides beyond it are no bucket that a model encodes; it also keeps every product exact. */
#define MAX_SIDE     65536
#define DEFAULT_STEP 64

struct size {
	size_t width, height;
};

struct bucket_table {
	struct bucket_options options;
	struct size *sizes; /* sorted by width, then height; each once */
	size_t count, capacity;
};

static const char *const rule_names[] = {
    [BUCKET_KOHYA] = "kohya",
    [BUCKET_SQUARE] = "square",
};

int bucket_rule_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(rule_names); i++)
		if (rule_names[i] && strcmp(name, rule_names[i]) == 0)
			return (int)i;
	return -1;
}

const char *bucket_rule_name(enum bucket_rule rule)
{
	return rule_names[rule];
}

const char *const *bucket_rule_names(void)
{
	static const char *const names[] = {"kohya", "square", NULL};

	return names;
}

size_t bucket_table_multiple(const struct bucket_table *table)
{
	return table->options.rule == BUCKET_SQUARE ? table->options.resolution
						    : table->options.step;
}

void bucket_skip_message(const struct bucket_table *table, size_t width, size_t height,
			 const struct bucket_placement *placement, char *text, size_t size)
{
	(void)table;
	snprintf(text, size, "%s: %zu x %zu", placement->skip, width, height);
}

const struct bucket_options *bucket_table_options(const struct bucket_table *table)
{
	return &table->options;
}

static int options_fill(struct bucket_options *o, struct error *err)
{
	if (o->step == 0)
		o->step = DEFAULT_STEP;
	if (o->min_bucket == 0)
		o->min_bucket = o->resolution / 2;
	if (o->max_bucket == 0)
		o->max_bucket = o->resolution * 2;
	if (o->resolution < 1 || o->resolution > MAX_SIDE || o->max_bucket > MAX_SIDE * 2 ||
	    o->step > MAX_SIDE)
		return error_set(err, ERR_CONFIG,
				 "bucket sizes must be 1 to %d: resolution %zu, max_bucket %zu, "
				 "step %zu",
				 MAX_SIDE, o->resolution, o->max_bucket, o->step);
	if (o->min_bucket > o->max_bucket)
		return error_set(err, ERR_CONFIG, "min_bucket %zu is over max_bucket %zu",
				 o->min_bucket, o->max_bucket);
	o->min_bucket -= o->min_bucket % o->step;
	if (o->min_bucket == 0)
		o->min_bucket = o->step;
	o->max_bucket += (o->step - o->max_bucket % o->step) % o->step;
	return 0;
}

static void table_add(struct bucket_table *t, size_t width, size_t height)
{
	ARRAY_GROW(t->sizes, t->count, t->capacity);
	t->sizes[t->count++] = (struct size){width, height};
}

static int size_compare(const void *a, const void *b)
{
	const struct size *x = a, *y = b;

	if (x->width != y->width)
		return x->width < y->width ? -1 : 1;
	return (x->height > y->height) - (x->height < y->height);
}

static void table_sort(struct bucket_table *t)
{
	size_t kept = 0;

	qsort(t->sizes, t->count, sizeof(*t->sizes), size_compare);
	for (size_t i = 0; i < t->count; i++)
		if (kept == 0 || size_compare(&t->sizes[i], &t->sizes[kept - 1]) != 0)
			t->sizes[kept++] = t->sizes[i];
	t->count = kept;
}

/* make_bucket_resolutions: for each width the tallest height within the area, and both turned. */
static void table_fill_kohya(struct bucket_table *t)
{
	const struct bucket_options *o = &t->options;
	size_t area = o->resolution * o->resolution;
	size_t side = o->resolution / o->step * o->step;

	if (side > 0)
		table_add(t, side, side);
	for (size_t width = o->min_bucket; width <= o->max_bucket; width += o->step) {
		size_t height = area / width / o->step * o->step;

		if (height > o->max_bucket)
			height = o->max_bucket;
		if (height < o->min_bucket)
			continue;
		table_add(t, width, height);
		table_add(t, height, width);
	}
	if (t->count > 0)
		table_sort(t);
}

struct bucket_table *bucket_table_new(const struct bucket_options *options, struct error *err)
{
	struct bucket_options filled = *options;
	struct bucket_table *t;

	if (options_fill(&filled, err) < 0)
		return NULL;
	t = xcalloc(1, sizeof(*t));
	t->options = filled;
	if (filled.rule == BUCKET_SQUARE)
		table_add(t, filled.resolution, filled.resolution);
	else
		table_fill_kohya(t);
	if (t->count == 0) {
		bucket_table_free(t);
		error_set(err, ERR_CONFIG, "no bucket of %zu to %zu in steps of %zu fits %zu x %zu",
			  filled.min_bucket, filled.max_bucket, filled.step, filled.resolution,
			  filled.resolution);
		return NULL;
	}
	return t;
}

void bucket_table_free(struct bucket_table *table)
{
	if (!table)
		return;
	free(table->sizes);
	free(table);
}

size_t bucket_table_max_pixels(const struct bucket_table *table)
{
	size_t most = 0;

	for (size_t i = 0; i < table->count; i++) {
		size_t pixels = table->sizes[i].width * table->sizes[i].height;

		if (pixels > most)
			most = pixels;
	}
	return most;
}

static double aspect(size_t width, size_t height)
{
	return (double)width / (double)height;
}

/* An exact match wins, then the nearest aspect ratio, then the first of equals. */
static struct size table_select(const struct bucket_table *t, size_t width, size_t height)
{
	double wanted = aspect(width, height), best_distance = INFINITY;
	struct size best = t->sizes[0];

	for (size_t i = 0; i < t->count; i++) {
		struct size s = t->sizes[i];
		double distance = fabs(aspect(s.width, s.height) - wanted);

		if (s.width == width && s.height == height)
			return s;
		if (distance < best_distance) {
			best_distance = distance;
			best = s;
		}
	}
	return best;
}

/* Python's // on floats floors. */
static void crop_ltrb(struct size bucket, size_t width, size_t height, double ltrb[4])
{
	double bucket_aspect = aspect(bucket.width, bucket.height), wanted = aspect(width, height);
	double w = (double)bucket.width, h = (double)bucket.height;

	if (bucket_aspect > wanted)
		w = h * wanted;
	else
		h = w / wanted;
	ltrb[0] = floor(((double)bucket.width - w) / 2.0);
	ltrb[1] = floor(((double)bucket.height - h) / 2.0);
	ltrb[2] = ltrb[0] + w;
	ltrb[3] = ltrb[1] + h;
}

void bucket_place(const struct bucket_table *table, size_t width, size_t height,
		  struct bucket_placement *out)
{
	struct size bucket = table_select(table, width, height);
	bool wider = aspect(width, height) > aspect(bucket.width, bucket.height);
	double scale =
	    wider ? (double)bucket.height / (double)height : (double)bucket.width / (double)width;
	struct bucket_placement p = {
	    .target_width = bucket.width,
	    .target_height = bucket.height,
	    .resized_width = (size_t)((double)width * scale + 0.5),
	    .resized_height = (size_t)((double)height * scale + 0.5),
	};

	p.crop_left = (p.resized_width - p.target_width) / 2;
	p.crop_top = (p.resized_height - p.target_height) / 2;
	crop_ltrb(bucket, width, height, p.kohya_crop_ltrb);
	*out = p;
}

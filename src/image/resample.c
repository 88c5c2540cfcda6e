/*
 * The horizontal pass runs over each source row that the vertical one reads, into a ring that holds
 * the rows between the passes for as long as they matter; an output row is made as soon as its last
 * input is there. Kernels in fixed point take some rows at a time: each weight is then loaded
 * once for all of them. A pass that would change nothing is a copy, as Pillow leaves it out.
 *
 * Rows between the passes are 8-bit samples with Pillow's filters, as there, and floats with
 * INTER_AREA: OpenCV's order of additions, which runs down the columns, is that of the ring.
 */
#include "image/resample.h"

#include "base/checked.h"
#include "image/resample_axis.h"

#include <string.h>

static const char *const names[] = {
    [FILTER_NEAREST] = "nearest", [FILTER_BOX] = "box",		[FILTER_BILINEAR] = "bilinear",
    [FILTER_HAMMING] = "hamming", [FILTER_BICUBIC] = "bicubic", [FILTER_LANCZOS] = "lanczos",
    [FILTER_KOHYA] = "kohya",
};

int resample_filter_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return (int)i;
	return -1;
}

const char *resample_filter_name(enum resample_filter filter)
{
	return names[filter];
}

struct resample_plan resample_whole(const struct image *source, size_t width, size_t height,
				    enum resample_filter filter)
{
	return (struct resample_plan){
	    .box = {0.0, 0.0, (double)source->width, (double)source->height},
	    .full_width = width,
	    .full_height = height,
	    .width = width,
	    .height = height,
	    .filter = filter,
	};
}

struct resampler {
	const struct resample_kernels *kernels;
	struct direction x, y;
	struct axis across, down;
	size_t width;	  /* of a source row */
	size_t row_bytes; /* of an output row */
	size_t lanes;	  /* rows that go through the horizontal pass together */
	size_t queue_stride;
	size_t ring_rows, ring_stride;
	size_t batch_bytes;
	size_t bytes;  /* all memory */
	size_t row;    /* the source row to come */
	size_t done;   /* source rows that are in the ring, or were */
	size_t queued; /* rows behind these that are in the queue */
	size_t next;   /* the output row to come */
	uint8_t *queue, *batch, *ring, *out;
	const void **inputs; /* [y.bound + MAX_GROUP], rows of the ring */
};

/* Everything but the memory. */
static int measure(struct resampler *r, const struct resample_plan *plan, size_t width,
		   size_t height, struct error *err)
{
	size_t sample, rows, queue, ring, pointers;

	r->kernels = resample_kernels();
	r->x.across = true;
	r->x.span = (struct span){(float)plan->box[0], (float)plan->box[2], width,
				  plan->full_width,    plan->left,	    plan->width};
	r->y.span = (struct span){(float)plan->box[1], (float)plan->box[3], height,
				  plan->full_height,   plan->top,	    plan->height};
	if (!span_valid(&r->x.span) || !span_valid(&r->y.span))
		return error_set(err, ERR_BUG, "resample: the plan leaves its frame");
	directions_choose(&r->x, &r->y, plan->filter);
	r->width = width;
	r->lanes = r->x.method == METHOD_FIXED ? r->kernels->lanes : 1;
	sample = r->x.method == METHOD_AREA || r->x.method == METHOD_MEAN ? sizeof(float) : 1;
	if (!direction_measure(&r->x, r->kernels) || !direction_measure(&r->y, r->kernels) ||
	    width > SIZE_MAX / 256 || r->x.outputs > SIZE_MAX / 256)
		return error_set(err, ERR_NOMEM, "resample: %zu x %zu does not fit", width, height);
	if (r->x.method == METHOD_FIXED) {
		size_t room = round_up(width, MAX_GROUP) * r->kernels->pixel_bytes;

		r->queue_stride = round_up(width * 3 + ROW_SLACK, ROW_ALIGN);
		r->batch_bytes = round_up(room * r->lanes, ROW_ALIGN);
	}
	r->row_bytes = plan->width * 3;
	r->ring_stride = round_up((r->x.outputs * 3 + ROW_SLACK) * sample, ROW_ALIGN);
	/* The queue begins with a row that the next output takes. */
	rows = r->ring_rows = r->y.bound + r->lanes - 1;
	queue = r->lanes * r->queue_stride;
	pointers = (rows + MAX_GROUP) * sizeof(*r->inputs);
	if (!size_mul(rows, r->ring_stride, &ring) || !size_add(ring, pointers, &r->bytes) ||
	    !size_add(r->bytes, queue + r->batch_bytes + sizeof(*r), &r->bytes) ||
	    !size_add(r->bytes, r->x.bytes, &r->bytes) ||
	    !size_add(r->bytes, r->y.bytes, &r->bytes))
		return error_set(err, ERR_NOMEM, "resample: %zu x %zu does not fit", width, height);
	return 0;
}

/* What lies behind a row, and lanes that no row came into, are read but do not count. */
static void *aligned_zeros(size_t size)
{
	void *p = aligned_alloc(ROW_ALIGN, size ? size : ROW_ALIGN);

	return p ? memset(p, 0, size) : NULL;
}

static int allocate(struct resampler *r, struct error *err)
{
	if (axis_init(&r->across, &r->x, r->kernels, err) < 0 ||
	    axis_init(&r->down, &r->y, r->kernels, err) < 0)
		return -1;
	r->inputs = calloc(r->ring_rows + MAX_GROUP, sizeof(*r->inputs));
	r->ring = aligned_zeros(r->ring_rows * r->ring_stride);
	r->queue = aligned_zeros(r->lanes * r->queue_stride);
	r->batch = aligned_zeros(r->batch_bytes);
	if (!r->inputs || !r->ring || !r->queue || !r->batch)
		return error_set(err, ERR_NOMEM, "no memory for %zu rows of %zu", r->ring_rows,
				 r->ring_stride);
	return 0;
}

int resampler_new(const struct resample_plan *plan, size_t width, size_t height, uint8_t *out,
		  struct resampler **made, struct error *err)
{
	struct resampler *r = calloc(1, sizeof(*r));

	if (!r)
		return error_set(err, ERR_NOMEM, "no memory for a resampler");
	if (measure(r, plan, width, height, err) < 0 || allocate(r, err) < 0) {
		resampler_free(r);
		return -1;
	}
	r->out = out;
	*made = r;
	return 0;
}

void resampler_free(struct resampler *r)
{
	if (!r)
		return;
	axis_release(&r->across);
	axis_release(&r->down);
	free(r->inputs);
	free(r->ring);
	free(r->queue);
	free(r->batch);
	free(r);
}

size_t resampler_bytes(const struct resample_plan *plan, size_t width, size_t height)
{
	struct resampler r = {0};
	struct error err = ERROR_INIT;

	return measure(&r, plan, width, height, &err) < 0 ? SIZE_MAX : r.bytes;
}

static uint8_t *ring_row(const struct resampler *r, size_t row)
{
	return r->ring + row % r->ring_rows * r->ring_stride;
}

/* Rows of the queue to the ring; lanes that are not filled come out as garbage nobody takes. */
static void flush(struct resampler *r)
{
	const uint8_t *rows[MAX_LANES];
	uint8_t *out[MAX_LANES];

	for (size_t i = 0; i < r->lanes; i++) {
		rows[i] = r->queue + i * r->queue_stride;
		out[i] = ring_row(r, r->done + i);
	}
	r->kernels->across(&r->across, rows, r->batch, out);
	r->done += r->queued;
	r->queued = 0;
}

static void take_nearest(const struct axis *a, const uint8_t *row, uint8_t *out)
{
	for (size_t x = 0; x < a->count; x++)
		memcpy(out + x * 3, row + a->taps[x].first * 3, 3);
}

static void take_row(struct resampler *r, const uint8_t *row)
{
	const struct axis *a = &r->across;
	const uint8_t *from = row + a->first * 3;
	uint8_t *to = ring_row(r, r->row);

	if (r->x.method == METHOD_FIXED) {
		memcpy(r->queue + r->queued++ * r->queue_stride, from, (a->end - a->first) * 3);
		if (r->queued == r->lanes || r->row + 1 == r->down.end)
			flush(r);
		return;
	}
	if (r->x.method == METHOD_COPY)
		memcpy(to, from, r->row_bytes);
	else if (r->x.method == METHOD_NEAREST)
		take_nearest(a, row, to);
	else
		r->kernels->area->across(a, row, r->width, (float *)(void *)to);
	r->done = r->row + 1;
}

/* The output row that is next; all its inputs are in the ring. */
static void put_row(struct resampler *r, uint8_t *out)
{
	const struct resample_kernels *kernels = r->kernels;
	const struct tap *tap = &r->down.taps[r->next];
	size_t n = r->row_bytes, from = r->next * r->down.stride;

	if (r->y.method == METHOD_COPY || r->y.method == METHOD_NEAREST) {
		memcpy(out, ring_row(r, tap->first), n);
		return;
	}
	/* Behind the last one rows of no weight, to fill up a group. */
	for (size_t i = 0; i < tap->count + MAX_GROUP; i++)
		r->inputs[i] = ring_row(r, tap->first + (i < tap->count ? i : 0));
	if (r->y.method == METHOD_FIXED)
		kernels->down((const uint8_t *const *)r->inputs, r->down.words + from,
			      round_up(tap->count, kernels->group) / kernels->group, n, out);
	else if (r->y.method == METHOD_AREA)
		kernels->area->down((const float *const *)r->inputs, r->down.weights + from,
				    tap->count, n, out);
	else
		kernels->area->mean((const float *const *)r->inputs, tap->count,
				    r->x.bound * r->y.bound, n, out);
}

void resampler_row(struct resampler *r, const uint8_t *row)
{
	const struct axis *down = &r->down;

	if (r->next == down->count)
		return;
	if (r->row < down->taps[r->next].first) {
		r->done = ++r->row;
		return;
	}
	take_row(r, row);
	r->row++;
	for (; r->next < down->count; r->next++) {
		const struct tap *tap = &down->taps[r->next];

		if (tap->first + tap->count > r->done)
			return;
		put_row(r, r->out + r->next * r->row_bytes);
	}
}

int resample(const struct image *source, const struct resample_plan *plan, uint8_t *out,
	     struct error *err)
{
	struct resampler *r;

	if (resampler_new(plan, source->width, source->height, out, &r, err) < 0)
		return -1;
	for (size_t y = 0; y < source->height; y++)
		resampler_row(r, source->pixels + y * source->width * 3);
	resampler_free(r);
	return 0;
}

#include "image/resample_axis.h"

#include "base/checked.h"

#include <string.h>

void directions_choose(struct direction *across, struct direction *down,
		       enum resample_filter filter)
{
	bool same_x = span_is_identity(&across->span), same_y = span_is_identity(&down->span);
	bool shrinks = span_shrinks(&across->span) && span_shrinks(&down->span);

	across->filter = down->filter = filter == FILTER_KOHYA ? FILTER_LANCZOS : filter;
	if (filter == FILTER_NEAREST) {
		across->method = down->method = METHOD_NEAREST;
	} else if (filter != FILTER_KOHYA || !shrinks || (same_x && same_y)) {
		across->method = same_x ? METHOD_COPY : METHOD_FIXED;
		down->method = same_y ? METHOD_COPY : METHOD_FIXED;
	} else {
		across->method = down->method =
		    span_whole_factor(&across->span) && span_whole_factor(&down->span)
			? METHOD_MEAN
			: METHOD_AREA;
	}
}

static size_t bound_of(const struct direction *d)
{
	switch (d->method) {
	case METHOD_FIXED:
		return taps_fixed_bound(&d->span, d->filter);
	case METHOD_AREA:
		return taps_area_bound(&d->span);
	case METHOD_MEAN:
		return span_whole_factor(&d->span);
	default:
		return 1;
	}
}

bool direction_measure(struct direction *d, const struct resample_kernels *kernels)
{
	bool fixed = d->method == METHOD_FIXED;
	size_t record, table, scratch;

	d->bound = bound_of(d);
	d->outputs = d->span.count;
	if (d->outputs > SIZE_MAX - OUTPUT_GROUP || d->bound > SIZE_MAX / 64)
		return false;
	if (fixed && d->across)
		d->outputs = round_up(d->outputs, OUTPUT_GROUP);
	/* The first group begins up to a group before the first input. */
	d->stride = fixed		       ? (d->bound / kernels->group + 2) * kernels->words
		    : d->method < METHOD_FIXED ? 0
					       : d->bound;
	record = sizeof(struct tap) + d->stride * sizeof(uint32_t);
	scratch = (d->bound + 2 * MAX_GROUP) * (sizeof(double) + sizeof(int32_t));
	return size_mul(d->outputs, record, &table) && size_add(table, scratch, &d->bytes);
}

struct scratch {
	double *values;	  /* [bound] */
	int32_t *weights; /* [bound], with zeros for a group before and behind */
};

/* Groups lie in a batch from the first input of all; down, from the output's own first input. */
static int fill_fixed(struct axis *a, const struct direction *d, size_t index,
		      const struct resample_kernels *kernels, const struct scratch *scratch,
		      struct error *err)
{
	int32_t *weights = scratch->weights + MAX_GROUP;
	uint32_t *words = a->words + index * a->stride;
	size_t group = kernels->group, lead = 0;
	struct tap tap;

	memset(scratch->weights, 0, (d->bound + 2 * MAX_GROUP) * sizeof(*weights));
	taps_fixed(&d->span, d->filter, index, scratch->values, &tap, weights);
	for (size_t i = 0; i < tap.count; i++)
		if (abs(weights[i]) > WEIGHT_LIMIT)
			return error_set(err, ERR_BUG, "resample: a weight of nearly 2");
	if (index == 0)
		a->first = tap.first;
	a->end = tap.first + tap.count;
	if (d->across)
		lead = (tap.first - a->first) % group;
	for (size_t i = 0; i < lead + tap.count; i += group, words += kernels->words)
		kernels->pack(weights - lead + i, words);
	if (d->across)
		tap = (struct tap){(tap.first - a->first) / group,
				   round_up(lead + tap.count, group) / group};
	a->taps[index] = tap;
	return 0;
}

static int fill(struct axis *a, const struct direction *d, const struct resample_kernels *kernels,
		const struct scratch *scratch, struct error *err)
{
	if (d->method == METHOD_NEAREST)
		taps_nearest(&d->span, a->taps);
	for (size_t i = 0; i < d->span.count; i++) {
		size_t output = d->span.first + i;

		if (d->method == METHOD_COPY)
			a->taps[i] = (struct tap){output, 1};
		else if (d->method == METHOD_AREA)
			taps_area(&d->span, i, &a->taps[i], a->weights + i * a->stride);
		else if (d->method == METHOD_MEAN)
			a->taps[i] = (struct tap){output * d->bound, d->bound};
		else if (d->method == METHOD_FIXED &&
			 fill_fixed(a, d, i, kernels, scratch, err) < 0)
			return -1;
	}
	if (d->method == METHOD_MEAN)
		for (size_t i = 0; i < a->count * a->stride; i++)
			a->weights[i] = 1.0f;
	if (d->method != METHOD_FIXED) {
		const struct tap *last = &a->taps[d->span.count - 1];

		a->first = a->taps[0].first;
		a->end = last->first + last->count;
	}
	return 0;
}

int axis_init(struct axis *a, const struct direction *d, const struct resample_kernels *kernels,
	      struct error *err)
{
	cleanup_free double *values = calloc(d->bound, sizeof(*values));
	cleanup_free int32_t *weights = calloc(d->bound + 2 * MAX_GROUP, sizeof(*weights));
	void *table = calloc(d->outputs * d->stride + 1, sizeof(uint32_t));

	a->count = d->outputs;
	a->stride = d->stride;
	a->taps = calloc(d->outputs, sizeof(*a->taps));
	if (d->method == METHOD_FIXED)
		a->words = table;
	else
		a->weights = table;
	if (!values || !weights || !table || !a->taps)
		return error_set(err, ERR_NOMEM, "no memory for %zu x %zu weights", d->outputs,
				 d->stride);
	return fill(a, d, kernels, &(struct scratch){values, weights}, err);
}

void axis_release(struct axis *a)
{
	free(a->taps);
	free(a->words);
	free(a->weights);
}

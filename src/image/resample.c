/*
 * Two passes over 8-bit samples. An axis holds, for every wanted output, which inputs it takes and
 * their weights; both come from Pillow's rules (Resample.c precompute_coeffs,
 * normalize_coeffs_8bpc). The horizontal pass runs only over the rows that the vertical pass reads.
 * A pass that would change nothing is left out, as Pillow does.
 */
#include "image/resample.h"

#include "base/checked.h"

#include <math.h>
#include <string.h>

/* 32 bits hold 8 of the sample, 2 for sums beyond 1 and the sign, and this fraction. */
#define WEIGHT_BITS 22
#define ROUND_HALF  (1 << (WEIGHT_BITS - 1))

/* Sums of a piece of a row stay in the first-level cache while all its input rows go by. */
#define BLOCK 1024

static double filter_box(double x)
{
	return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double filter_bilinear(double x)
{
	x = fabs(x);
	return x < 1.0 ? 1.0 - x : 0.0;
}

/* The two factors are single precision in Pillow. */
static double filter_hamming(double x)
{
	x = fabs(x);
	if (x == 0.0)
		return 1.0;
	if (x >= 1.0)
		return 0.0;
	x *= M_PI;
	return sin(x) / x * ((double)0.54f + (double)0.46f * cos(x));
}

/* Keys' cubic, a = -0.5. */
static double filter_bicubic(double x)
{
	const double a = -0.5;

	x = fabs(x);
	if (x < 1.0)
		return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
	if (x < 2.0)
		return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
	return 0.0;
}

static double sinc(double x)
{
	if (x == 0.0)
		return 1.0;
	x *= M_PI;
	return sin(x) / x;
}

static double filter_lanczos(double x)
{
	return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

static const struct filter {
	const char *name;
	double (*value)(double x);
	double support; /* the value is 0 farther out than this */
} filters[] = {
    [FILTER_NEAREST] = {"nearest", NULL, 0.0},
    [FILTER_BOX] = {"box", filter_box, 0.5},
    [FILTER_BILINEAR] = {"bilinear", filter_bilinear, 1.0},
    [FILTER_HAMMING] = {"hamming", filter_hamming, 1.0},
    [FILTER_BICUBIC] = {"bicubic", filter_bicubic, 2.0},
    [FILTER_LANCZOS] = {"lanczos", filter_lanczos, 3.0},
};

int resample_filter_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
		if (strcmp(name, filters[i].name) == 0)
			return (int)i;
	return -1;
}

const char *resample_filter_name(enum resample_filter filter)
{
	return filters[filter].name;
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

/* One direction of a plan. Pillow's box is single precision. */
struct span {
	float from, to; /* of the box */
	size_t inputs;	/* of the source */
	size_t full, first, count;
};

static bool span_valid(const struct span *s)
{
	return s->from >= 0.0f && s->to <= (float)s->inputs && s->to > s->from && s->count > 0 &&
	       s->first <= s->full && s->count <= s->full - s->first;
}

static double span_scale(const struct span *s)
{
	return (double)(s->to - s->from) / (double)s->full;
}

/* Nothing but a crop in this direction. */
static bool span_is_identity(const struct span *s)
{
	return s->full == s->inputs && s->from == 0.0f && s->to == (float)s->inputs;
}

struct tap {
	size_t first, count; /* inputs */
};

struct axis {
	size_t count;	  /* outputs */
	size_t stride;	  /* weights kept for each */
	struct tap *taps; /* [count] */
	int32_t *weights; /* [count][stride] */
};

static void axis_release(struct axis *a)
{
	free(a->taps);
	free(a->weights);
}

#define AXIS_INIT                                                                                  \
	{                                                                                          \
		0, 0, NULL, NULL                                                                   \
	}
#define cleanup_axis cleanup_with(axis_release)

static int32_t to_fixed(double weight)
{
	double scaled = weight * (1 << WEIGHT_BITS);

	return (int32_t)(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
}

/* Inputs and weights of output @index; @values: scratch of the axis' stride. */
static void axis_fill(struct axis *a, const struct span *s, const struct filter *filter,
		      size_t index, double *values)
{
	double scale = span_scale(s), stretch = scale < 1.0 ? 1.0 : scale;
	double support = filter->support * stretch, sum = 0.0;
	double center = (double)s->from + ((double)(s->first + index) + 0.5) * scale;
	double low = center - support + 0.5, high = center + support + 0.5;
	size_t first = low < 0.0 ? 0 : (size_t)low;
	size_t end = high > (double)s->inputs ? s->inputs : (size_t)high;
	struct tap tap = {first, end > first ? end - first : 0};

	for (size_t i = 0; i < tap.count; i++) {
		values[i] = filter->value(((double)(first + i) - center + 0.5) * (1.0 / stretch));
		sum += values[i];
	}
	for (size_t i = 0; i < tap.count; i++)
		a->weights[index * a->stride + i] =
		    to_fixed(sum != 0.0 ? values[i] / sum : values[i]);
	a->taps[index] = tap;
}

static int axis_init(struct axis *a, const struct span *s, const struct filter *filter,
		     struct error *err)
{
	double scale = span_scale(s);
	double reach = ceil(filter->support * (scale < 1.0 ? 1.0 : scale)) * 2.0 + 1.0;
	cleanup_free double *values = NULL;
	size_t bytes;

	a->count = s->count;
	a->stride = (size_t)reach;
	if (!size_mul3(a->count, a->stride, sizeof(*a->weights), &bytes))
		return error_set(err, ERR_NOMEM, "no memory for %zu x %zu weights", a->count,
				 a->stride);
	values = calloc(a->stride, sizeof(*values));
	a->taps = calloc(a->count, sizeof(*a->taps));
	a->weights = malloc(bytes);
	if (!values || !a->taps || !a->weights)
		return error_set(err, ERR_NOMEM, "no memory for %zu x %zu weights", a->count,
				 a->stride);
	for (size_t i = 0; i < a->count; i++)
		axis_fill(a, s, filter, i, values);
	return 0;
}

static uint8_t to_sample(int32_t sum)
{
	sum >>= WEIGHT_BITS;
	return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* @in: rows of pixels, @in_stride bytes apart; @out: [rows][axis->count][3]. */
static void pass_horizontal(const struct axis *a, const uint8_t *in, size_t in_stride, size_t rows,
			    uint8_t *out)
{
	for (size_t y = 0; y < rows; y++, in += in_stride) {
		for (size_t x = 0; x < a->count; x++, out += 3) {
			const uint8_t *p = in + a->taps[x].first * 3;
			const int32_t *w = a->weights + x * a->stride;
			int32_t r = ROUND_HALF, g = ROUND_HALF, b = ROUND_HALF;

			for (size_t k = 0; k < a->taps[x].count; k++, p += 3) {
				r += p[0] * w[k];
				g += p[1] * w[k];
				b += p[2] * w[k];
			}
			out[0] = to_sample(r);
			out[1] = to_sample(g);
			out[2] = to_sample(b);
		}
	}
}

/* @n <= BLOCK samples of one output row from @taps input rows. */
static void mix_rows(const uint8_t *in, size_t in_stride, const int32_t *weights, size_t taps,
		     size_t n, uint8_t *out)
{
	int32_t sums[BLOCK];

	for (size_t i = 0; i < n; i++)
		sums[i] = ROUND_HALF;
	for (size_t k = 0; k < taps; k++, in += in_stride) {
		int32_t weight = weights[k];

		for (size_t i = 0; i < n; i++)
			sums[i] += in[i] * weight;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = to_sample(sums[i]);
}

/* @in: its row 0 is source row @base; @out: [axis->count][row_bytes]. */
static void pass_vertical(const struct axis *a, const uint8_t *in, size_t in_stride, size_t base,
			  size_t row_bytes, uint8_t *out)
{
	for (size_t y = 0; y < a->count; y++, out += row_bytes) {
		const uint8_t *rows = in + (a->taps[y].first - base) * in_stride;

		for (size_t x = 0; x < row_bytes; x += BLOCK)
			mix_rows(rows + x, in_stride, a->weights + y * a->stride, a->taps[y].count,
				 row_bytes - x < BLOCK ? row_bytes - x : BLOCK, out + x);
	}
}

/*
 * Where each output of nearest comes from. The position is a running sum, as in Pillow's
 * ImagingScaleAffine: a product would round differently.
 */
static size_t *nearest_positions(const struct span *s, struct error *err)
{
	size_t *positions = calloc(s->count, sizeof(*positions));
	double scale = span_scale(s), at = (double)s->from + scale * 0.5;

	if (!positions) {
		error_set(err, ERR_NOMEM, "no memory for %zu positions", s->count);
		return NULL;
	}
	for (size_t i = 0; i < s->first + s->count; i++, at += scale) {
		size_t position = (size_t)at;

		if (i >= s->first)
			positions[i - s->first] = position < s->inputs ? position : s->inputs - 1;
	}
	return positions;
}

static int resample_nearest(const struct image *source, const struct span *across,
			    const struct span *down, uint8_t *out, struct error *err)
{
	cleanup_free size_t *columns = nearest_positions(across, err);
	cleanup_free size_t *rows = columns ? nearest_positions(down, err) : NULL;

	if (!columns || !rows)
		return -1;
	for (size_t y = 0; y < down->count; y++) {
		const uint8_t *row = source->pixels + rows[y] * source->width * 3;

		for (size_t x = 0; x < across->count; x++, out += 3)
			memcpy(out, row + columns[x] * 3, 3);
	}
	return 0;
}

static int resample_filtered(const struct image *source, const struct span *across,
			     const struct span *down, const struct filter *filter, uint8_t *out,
			     struct error *err)
{
	cleanup_axis struct axis horizontal = AXIS_INIT, vertical = AXIS_INIT;
	cleanup_free uint8_t *between = NULL;
	bool turn_x = !span_is_identity(across), turn_y = !span_is_identity(down);
	size_t stride = source->width * 3, row_bytes = across->count * 3;
	size_t first = down->first, rows = down->count, bytes;
	const uint8_t *in = source->pixels;

	if (turn_x && axis_init(&horizontal, across, filter, err) < 0)
		return -1;
	if (turn_y) {
		const struct tap *last;

		if (axis_init(&vertical, down, filter, err) < 0)
			return -1;
		last = &vertical.taps[vertical.count - 1];
		first = vertical.taps[0].first;
		rows = last->first + last->count - first;
	}
	in += first * stride;
	if (!turn_x)
		in += across->first * 3;
	if (turn_x && !turn_y) {
		pass_horizontal(&horizontal, in, stride, rows, out);
		return 0;
	}
	if (turn_x) {
		if (!size_mul(rows, row_bytes, &bytes) || !(between = malloc(bytes)))
			return error_set(err, ERR_NOMEM, "no memory for %zu rows of %zu", rows,
					 row_bytes);
		pass_horizontal(&horizontal, in, stride, rows, between);
		in = between;
		stride = row_bytes;
	}
	if (turn_y)
		pass_vertical(&vertical, in, stride, first, row_bytes, out);
	else
		for (size_t y = 0; y < rows; y++)
			memcpy(out + y * row_bytes, in + y * stride, row_bytes);
	return 0;
}

int resample(const struct image *source, const struct resample_plan *plan, uint8_t *out,
	     struct error *err)
{
	struct span across = {(float)plan->box[0], (float)plan->box[2], source->width,
			      plan->full_width,	   plan->left,		plan->width};
	struct span down = {(float)plan->box[1], (float)plan->box[3], source->height,
			    plan->full_height,	 plan->top,	      plan->height};

	if (!span_valid(&across) || !span_valid(&down))
		return error_set(err, ERR_BUG, "resample: the plan leaves its frame");
	if (plan->filter == FILTER_NEAREST)
		return resample_nearest(source, &across, &down, out, err);
	return resample_filtered(source, &across, &down, &filters[plan->filter], out, err);
}

#include "image/resample_taps.h"

#include <math.h>

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
	double (*value)(double x);
	double support; /* the value is 0 farther out than this */
} filters[] = {
    [FILTER_BOX] = {filter_box, 0.5},	      [FILTER_BILINEAR] = {filter_bilinear, 1.0},
    [FILTER_HAMMING] = {filter_hamming, 1.0}, [FILTER_BICUBIC] = {filter_bicubic, 2.0},
    [FILTER_LANCZOS] = {filter_lanczos, 3.0},
};

bool span_valid(const struct span *s)
{
	return s->from >= 0.0f && s->to <= (float)s->inputs && s->to > s->from && s->count > 0 &&
	       s->first <= s->full && s->count <= s->full - s->first;
}

bool span_is_identity(const struct span *s)
{
	return s->full == s->inputs && s->from == 0.0f && s->to == (float)s->inputs;
}

bool span_shrinks(const struct span *s)
{
	return (double)(s->to - s->from) >= (double)s->full;
}

static double fixed_scale(const struct span *s)
{
	return (double)(s->to - s->from) / (double)s->full;
}

static size_t at_most_inputs(const struct span *s, double taps)
{
	return taps < (double)s->inputs ? (size_t)taps : s->inputs;
}

size_t taps_fixed_bound(const struct span *s, enum resample_filter filter)
{
	double scale = fixed_scale(s);

	return at_most_inputs(s, ceil(filters[filter].support * (scale < 1.0 ? 1.0 : scale)) * 2.0 +
				     1.0);
}

static int32_t to_fixed(double weight)
{
	double scaled = weight * WEIGHT_ONE;

	return (int32_t)(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
}

void taps_fixed(const struct span *s, enum resample_filter filter, size_t index, double *scratch,
		struct tap *tap, int32_t *weights)
{
	const struct filter *f = &filters[filter];
	double scale = fixed_scale(s), stretch = scale < 1.0 ? 1.0 : scale;
	double support = f->support * stretch, sum = 0.0;
	double center = (double)s->from + ((double)(s->first + index) + 0.5) * scale;
	double low = center - support + 0.5, high = center + support + 0.5;
	size_t first = low < 0.0 ? 0 : (size_t)low;
	size_t end = high > (double)s->inputs ? s->inputs : (size_t)high;

	*tap = (struct tap){first, end > first ? end - first : 0};
	for (size_t i = 0; i < tap->count; i++) {
		scratch[i] = f->value(((double)(first + i) - center + 0.5) * (1.0 / stretch));
		sum += scratch[i];
	}
	for (size_t i = 0; i < tap->count; i++)
		weights[i] = to_fixed(sum != 0.0 ? scratch[i] / sum : scratch[i]);
}

/* OpenCV takes the inverse of the inverse, which need not be the quotient: 49 is one it misses. */
static double area_scale(const struct span *s)
{
	return 1.0 / ((double)s->full / (double)(s->to - s->from));
}

size_t span_whole_factor(const struct span *s)
{
	double scale = area_scale(s), whole = nearbyint(scale);
	bool complete = s->from == 0.0f && s->to == (float)s->inputs;

	return complete && fabs(scale - whole) < 0x1p-52 ? (size_t)whole : 0;
}

size_t taps_area_bound(const struct span *s)
{
	return at_most_inputs(s, ceil(area_scale(s)) + 2.0);
}

/*
 * The output covers [low, low + scale) of the inputs; what it covers of one by less than a
 * thousandth is left out, without making up for it.
 */
void taps_area(const struct span *s, size_t index, struct tap *tap, float *weights)
{
	const double least = 1e-3;
	double scale = area_scale(s), last = (double)(s->inputs - 1);
	double low = (double)s->from + (double)(s->first + index) * scale, high = low + scale;
	double width = fmin(scale, (double)s->inputs - low);
	double end = fmin(floor(high), last), begin = fmin(ceil(low), end);
	size_t n = 0;

	tap->first = (size_t)begin;
	if (begin - low > least) {
		tap->first--;
		weights[n++] = (float)((begin - low) / width);
	}
	for (double at = begin; at < end; at += 1.0)
		weights[n++] = (float)(1.0 / width);
	if (high - end > least)
		weights[n++] = (float)(fmin(fmin(high - end, 1.0), width) / width);
	tap->count = n;
}

/*
 * The position is a running sum, as in Pillow's ImagingScaleAffine: a product would round
 * differently.
 */
void taps_nearest(const struct span *s, struct tap *taps)
{
	double scale = fixed_scale(s), at = (double)s->from + scale * 0.5;

	for (size_t i = 0; i < s->first + s->count; i++, at += scale) {
		size_t position = (size_t)at;

		if (i >= s->first)
			taps[i - s->first] = (struct tap){
			    position < s->inputs ? position : s->inputs - 1,
			    1,
			};
	}
}

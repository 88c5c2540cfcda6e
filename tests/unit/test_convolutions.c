/* Convolutions of every fast engine and set of instructions by the definition. */
#include "base/checked.h"
#include "tests/testing.h"
#include "tests/unit/layer_testing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct conv_case {
	struct conv_shape shape;
	size_t height, width;
};

/* What is asked of a run beside the convolution. */
enum { ADD = 1, NORM = 2, SILU = 4, KINDS = 8 };

/* Rows of @c from @first on, to @out; the input holds only the rows that they need. */
static void run_rows(struct vae_engine *engine, struct vae_conv *conv, const struct conv_case *c,
		     int kind, const float *in, float *out, size_t first, size_t rows,
		     struct norm_stats *stats)
{
	const struct conv_shape *s = &c->shape;
	float *scale = values(s->in, 11), *shift = values(s->in, 12), *window;
	struct vae_norm norm = {scale, shift, kind & SILU};
	struct error err = ERROR_INIT;
	size_t from, end, row = c->width * s->in;
	struct vae_conv_run run = {.out = out,
				   .height = c->height,
				   .width = c->width,
				   .out_first = first,
				   .out_rows = rows,
				   .accumulate = kind & ADD,
				   .norm = kind & NORM ? &norm : NULL,
				   .stats = stats};

	vae_conv_needs(s, c->height, first, rows, &from, &end);
	window = xmalloc((end - from) * row * sizeof(float));
	memcpy(window, in + from * row, (end - from) * row * sizeof(float));
	run.in = window;
	run.in_first = from;
	assert_ok(engine->ops->conv(engine, conv, &run, &err), &err);
	free(window);
	free(scale);
	free(shift);
}

static struct vae_conv *new_conv(struct vae_engine *engine, const struct conv_shape *s)
{
	float *weight = values(s->out * s->in * s->kernel * s->kernel, 5);
	float *bias = values(s->out, 6);
	struct error err = ERROR_INIT;
	struct vae_conv *conv = NULL;

	assert_ok(engine->ops->conv_new(engine, s, weight, bias, &conv, &err), &err);
	free(weight);
	free(bias);
	return conv;
}

/* The whole map, @band rows at a time. */
static void run_conv(const struct variant *v, size_t threads, const struct conv_case *c, int kind,
		     size_t band, const float *in, float *out, struct norm_stats *stats)
{
	struct vae_engine *engine = open_engine(v, threads);
	struct vae_conv *conv = new_conv(engine, &c->shape);
	size_t rows = conv_out_size(&c->shape, c->height);
	size_t row = conv_out_size(&c->shape, c->width) * c->shape.out;

	if (stats)
		norm_stats_reset(stats, c->shape.out);
	for (size_t y = 0; y < rows; y += band)
		run_rows(engine, conv, c, kind, in, out + y * row, y,
			 rows - y < band ? rows - y : band, stats);
	engine->ops->conv_free(engine, conv);
	engine->ops->close(engine);
}

static void assert_stats(const struct norm_stats *got, const struct norm_stats *want, double limit,
			 const char *what)
{
	assert_true(got->pixels == want->pixels);
	for (size_t c = 0; c < want->channels; c++) {
		double deviation = want->deviation[c] + 1e-6 * want->pixels;

		if (!(fabs(got->mean[c] - want->mean[c]) < limit) ||
		    !(fabs(got->deviation[c] - want->deviation[c]) < 1e-4 * deviation))
			fail_msg("%s: channel %zu: mean %g, deviation %g instead of %g, %g", what,
				 c, got->mean[c], got->deviation[c], want->mean[c],
				 want->deviation[c]);
	}
}

/* Errors grow as sums do, with the root of their terms; Winograd's worst is some 2e-5 of the deviation. */
static void check_case(const struct conv_case *c, int kind, size_t band)
{
	const struct conv_shape *s = &c->shape;
	size_t n = conv_out_size(s, c->height) * conv_out_size(s, c->width) * s->out;
	float *in = values(c->height * c->width * s->in, 3), *want = values(n, 4);
	struct norm_stats wanted = {0}, stats = {0};
	double limit = 1e-5 + 8e-6 * sqrt((double)(s->in * s->kernel * s->kernel));
	char what[96];

	run_conv(&naive, 1, c, kind, SIZE_MAX, in, want, &wanted);
	for (size_t i = 0; i < FAST; i++) {
		float *got = values(n, 4);
		double worst;

		snprintf(what, sizeof(what), "%s %s: %zu to %zu channels, %zux%zu, kind %d",
			 fast[i].ops->name, fast[i].isa ? fast[i].isa : "", s->in, s->out, c->width,
			 c->height, kind);
		run_conv(&fast[i], 2, c, kind, band, in, got, &stats);
		worst = max_abs(got, want, n);
		if (!(worst <= limit))
			fail_msg("%s: max-abs %g", what, worst);
		assert_stats(&stats, &wanted, limit, what);
		free(got);
	}
	norm_stats_release(&wanted);
	norm_stats_release(&stats);
	free(in);
	free(want);
}

static const struct conv_case cases[] = {
    {{3, 128, 3, 1, 1, 1}, 9, 21},  {{32, 32, 3, 1, 1, 1}, 33, 17}, {{32, 64, 1, 1, 0, 0}, 5, 7},
    {{48, 24, 3, 1, 1, 1}, 8, 8},   {{16, 16, 3, 2, 0, 1}, 12, 10}, {{32, 32, 3, 2, 0, 1}, 13, 7},
    {{64, 8, 3, 1, 1, 1}, 3, 50},   {{5, 7, 3, 1, 1, 1}, 6, 6},	    {{8, 8, 1, 1, 0, 0}, 1, 1},
    {{64, 64, 3, 1, 1, 1}, 1, 1},   {{16, 16, 3, 2, 0, 1}, 2, 3},   {{17, 33, 3, 1, 1, 1}, 1, 40},
    {{4, 130, 3, 1, 1, 1}, 40, 1},  {{20, 20, 3, 1, 1, 1}, 5, 37},  {{8, 70, 1, 1, 0, 0}, 30, 33},
    {{130, 12, 3, 2, 0, 1}, 9, 30}, {{12, 16, 3, 1, 1, 1}, 29, 34}, {{1, 1, 3, 1, 1, 1}, 2, 3},
};

static void convolutions_are_the_naive_ones(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int kind = 0; kind < KINDS; kind++) {
			if (!(kind & NORM) || cases[i].shape.stride == 1)
				check_case(&cases[i], kind, SIZE_MAX);
		}
	}
}

static void rows_that_are_computed_apart_are_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int kind = cases[i].shape.stride == 1 ? ADD | NORM | SILU : ADD;

		for (size_t band = 1; band < 12; band += 5)
			check_case(&cases[i], kind, band);
	}
}

/* 512 channels: weights larger than caches, and blocks of another size */
static void deep_convolutions_are_the_naive_ones(void **state)
{
	static const struct conv_case deep = {{512, 200, 3, 1, 1, 1}, 7, 11};

	(void)state;
	check_case(&deep, NORM | SILU, SIZE_MAX);
}

static void the_number_of_threads_changes_no_bit(void **state)
{
	static const struct conv_case wide = {{24, 200, 3, 1, 1, 1}, 70, 90},
				      small = {{40, 500, 3, 1, 1, 1}, 6, 6},
				      strided = {{24, 40, 3, 2, 0, 1}, 70, 90};
	static const struct conv_case *const some[] = {&wide, &small, &strided};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(some); i++) {
		const struct conv_case *c = some[i];
		size_t n = c->height * c->width * c->shape.out;
		float *in = values(c->height * c->width * c->shape.in, 3);
		float *one = values(n, 4), *more = values(n, 4);
		struct norm_stats stats_one = {0}, stats_more = {0};

		run_conv(&fast[1], 1, c, ADD, SIZE_MAX, in, one, &stats_one);
		run_conv(&fast[1], 7, c, ADD, SIZE_MAX, in, more, &stats_more);
		assert_memory_equal(one, more, n * sizeof(float));
		assert_memory_equal(stats_one.mean, stats_more.mean, c->shape.out * sizeof(double));
		assert_memory_equal(stats_one.deviation, stats_more.deviation,
				    c->shape.out * sizeof(double));
		norm_stats_release(&stats_one);
		norm_stats_release(&stats_more);
		free(in);
		free(one);
		free(more);
	}
}

/* Weights that are not kept are made anew, of the same bits. */
static void kept_weights_change_no_bit(void **state)
{
	static const struct conv_case c = {{40, 70, 3, 1, 1, 1}, 20, 20};
	float *in = values(20 * 20 * 40, 3), *out[2];

	(void)state;
	for (size_t kept = 0; kept < 2; kept++) {
		struct vae_engine *engine = open_engine(&fast[1], 2);
		struct vae_conv *conv = new_conv(engine, &c.shape);
		size_t with = engine->ops->scratch_bytes(engine, 20, 20, 40, 1, 0), without;

		out[kept] = values(20 * 20 * 70, 4);
		engine->weight_room = 0;
		without = engine->ops->scratch_bytes(engine, 20, 20, 40, 1, 0);
		assert_true(without >= with + 40 * 70 * 36 * sizeof(float));
		engine->weight_room = kept ? SIZE_MAX : 0;
		run_rows(engine, conv, &c, 0, in, out[kept], 0, 20, NULL);
		run_rows(engine, conv, &c, 0, in, out[kept], 0, 20, NULL);
		engine->ops->conv_free(engine, conv);
		engine->ops->close(engine);
	}
	assert_memory_equal(out[0], out[1], 20 * 20 * 70 * sizeof(float));
	free(in);
	free(out[0]);
	free(out[1]);
}

/*
 * Maps of equal rows: those of a high one, computed in several bands, are those of a low one, of which
 * the middle row is repeated.
 */
static void a_convolution_in_bands_has_no_seams(void **state)
{
	enum { LOW = 5, HIGH = 40, WIDTH = 512, CHANNELS = 256 };
	const struct conv_case low = {{CHANNELS, CHANNELS, 3, 1, 1, 1}, LOW, WIDTH};
	struct conv_case high = low;
	size_t row = (size_t)WIDTH * CHANNELS;
	float *in = values(HIGH * row, 3), *want = xcalloc(LOW * row, sizeof(float));
	float *got = xcalloc(HIGH * row, sizeof(float));

	(void)state;
	high.height = HIGH;
	for (size_t y = 1; y < HIGH; y++)
		memcpy(in + y * row, in, row * sizeof(float));
	run_conv(&fast[0], 2, &low, 0, SIZE_MAX, in, want, NULL);
	run_conv(&fast[0], 2, &high, 0, SIZE_MAX, in, got, NULL);
	for (size_t y = 0; y < HIGH; y++) {
		size_t like = y < 2 ? y : y + 2 < HIGH ? 2 : LOW + y - HIGH;

		if (max_abs(got + y * row, want + like * row, row) > 1e-4)
			fail_msg("row %zu: max-abs %g", y,
				 max_abs(got + y * row, want + like * row, row));
	}
	free(in);
	free(want);
	free(got);
}

static double rms(const float *x, const float *minus, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		double d = (double)x[i] - (minus ? (double)minus[i] : 0);

		sum += d * d;
	}
	return sqrt(sum / (double)n);
}

/* Rounding to 8 bits on both sides of a product, twice to three times as large behind Winograd's transforms. */
static void convolutions_in_bf16_are_near_the_naive_ones(void **state)
{
	static const struct conv_case wide[] = {{{128, 128, 3, 1, 1, 1}, 9, 21},
						{{144, 130, 3, 1, 1, 1}, 33, 17},
						{{512, 200, 3, 1, 1, 1}, 7, 11},
						{{256, 128, 3, 1, 1, 1}, 1, 1}};

	(void)state;
	need_bf16();
	for (size_t i = 0; i < ARRAY_SIZE(wide); i++) {
		const struct conv_case *c = &wide[i];
		size_t n = c->height * c->width * c->shape.out;
		float *in = values(c->height * c->width * c->shape.in, 3);
		float *want = values(n, 4), *got = values(n, 4), *banded = values(n, 4);
		double error;

		run_conv(&naive, 1, c, ADD | NORM | SILU, SIZE_MAX, in, want, NULL);
		run_conv(&narrow, 2, c, ADD | NORM | SILU, SIZE_MAX, in, got, NULL);
		run_conv(&narrow, 7, c, ADD | NORM | SILU, 4, in, banded, NULL);
		error = rms(got, want, n) / rms(want, NULL, n);
		if (!(error > 1e-4 && error < 0.012))
			fail_msg("%zu to %zu channels, %zux%zu: %g", c->shape.in, c->shape.out,
				 c->width, c->height, error);
		assert_memory_equal(got, banded, n * sizeof(float));
		free(in);
		free(want);
		free(got);
		free(banded);
	}
}

/* Those that gain nothing, or whose outputs are not normed again. */
static void other_layers_beside_bf16_are_float32(void **state)
{
	static const struct conv_case some[] = {{{64, 128, 3, 1, 1, 1}, 5, 9},
						{{256, 8, 3, 1, 1, 1}, 5, 9},
						{{129, 128, 3, 1, 1, 1}, 5, 9},
						{{128, 128, 3, 2, 0, 1}, 6, 10},
						{{128, 256, 1, 1, 0, 0}, 5, 9}};

	(void)state;
	need_bf16();
	for (size_t i = 0; i < ARRAY_SIZE(some); i++) {
		const struct conv_case *c = &some[i];
		size_t n = conv_out_size(&c->shape, c->height) *
			   conv_out_size(&c->shape, c->width) * c->shape.out;
		float *in = values(c->height * c->width * c->shape.in, 3);
		float *want = values(n, 4), *got = values(n, 4);

		run_conv(&fast[1], 2, c, 0, SIZE_MAX, in, want, NULL);
		run_conv(&narrow, 2, c, 0, SIZE_MAX, in, got, NULL);
		assert_memory_equal(got, want, n * sizeof(float));
		free(in);
		free(want);
		free(got);
	}
}

static void nan_goes_through_bf16(void **state)
{
	static const struct conv_case c = {{128, 128, 3, 1, 1, 1}, 8, 8};
	float *x, *y;

	(void)state;
	need_bf16();
	x = values(64 * 128, 1);
	y = values(64 * 128, 2);
	x[1000] = NAN;
	run_conv(&narrow, 2, &c, NORM | SILU, SIZE_MAX, x, y, NULL);
	assert_true(isnan(y[1000]));
	free(x);
	free(y);
}

static void nan_goes_through(void **state)
{
	static const struct conv_case c = {{8, 8, 3, 1, 1, 1}, 8, 8};

	(void)state;
	for (size_t e = 0; e < FAST; e++) {
		float *x = values(64 * 8, 1), *y = values(64 * 8, 2);

		x[100] = NAN;
		run_conv(&fast[e], 2, &c, NORM | SILU, SIZE_MAX, x, y, NULL);
		assert_true(isnan(y[100]));
		free(x);
		free(y);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(convolutions_are_the_naive_ones),
	    cmocka_unit_test(rows_that_are_computed_apart_are_the_same),
	    cmocka_unit_test(deep_convolutions_are_the_naive_ones),
	    cmocka_unit_test(the_number_of_threads_changes_no_bit),
	    cmocka_unit_test(kept_weights_change_no_bit),
	    cmocka_unit_test(a_convolution_in_bands_has_no_seams),
	    cmocka_unit_test(nan_goes_through),
	    cmocka_unit_test(convolutions_in_bf16_are_near_the_naive_ones),
	    cmocka_unit_test(other_layers_beside_bf16_are_float32),
	    cmocka_unit_test(nan_goes_through_bf16),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

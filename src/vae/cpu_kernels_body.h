/*
 * The text of the kernels, included once by each cpu_kernels_ISA.c. It stands on LANES, PANEL_VECTORS,
 * the type vf (LANES floats; + - * / are its own) and v_set1, v_load, v_store, v_fma (a * b + c), v_min,
 * v_max (the second where either is NaN) and v_power; it defines the table KERNELS. Winograd's transforms
 * are in cpu_winograd_body.h. What a product multiplies is float32, unless PACKED is defined, how many channels take a
 * float's place, with v_product (a * b + c), v_store_run and v_pack_rows, which bring float32 into that form.
 */
#include <math.h>
#include <string.h>

#ifndef PACKED
#define PACKED 1

static inline vf v_product(vf a, vf b, vf c)
{
	return v_fma(a, b, c);
}

static inline void v_store_run(float *p, vf x)
{
	v_store(p, x);
}

static inline vf v_pack_rows(const vf rows[PACKED])
{
	return rows[0];
}
#endif

#define PANEL	  (PANEL_VECTORS * LANES)
#define GEMM_ROWS 6
#define UNROLL	  _Pragma("GCC unroll 36")

/* n < LANES floats, the rest zeros. */
static inline vf load_part(const float *p, size_t n)
{
	float full[LANES] = {0};

	memcpy(full, p, n * sizeof(float));
	return v_load(full);
}

static inline void store_part(float *p, vf x, size_t n)
{
	float full[LANES];

	v_store(full, x);
	memcpy(p, full, n * sizeof(float));
}

static inline vf load_some(const float *p, size_t n)
{
	return n >= LANES ? v_load(p) : load_part(p, n);
}

static inline void store_some(float *p, vf x, size_t n)
{
	if (n >= LANES)
		v_store(p, x);
	else
		store_part(p, x, n);
}

/* -- matrix product ------------------------------------------------------------------------------ */

/* @rows is a constant wherever this is inlined: the sums are registers. */
static inline __attribute__((always_inline)) void gemm_block(float *c, size_t c_row, const float *a,
							     size_t a_row, const float *b, size_t k,
							     const size_t rows, bool add)
{
	vf sums[GEMM_ROWS][PANEL_VECTORS];

	UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t j = 0; j < PANEL_VECTORS; j++)
	    sums[r][j] = add ? v_load(c + r * c_row + j * LANES) : v_set1(0);
	for (size_t i = 0; i < k; i++, b += PANEL) {
		vf weights[PANEL_VECTORS];

		UNROLL for (size_t j = 0; j < PANEL_VECTORS; j++) weights[j] =
		    v_load(b + j * LANES);
		UNROLL for (size_t r = 0; r < rows; r++)
		{
			vf x = v_set1(a[r * a_row + i]);

			UNROLL for (size_t j = 0; j < PANEL_VECTORS; j++) sums[r][j] =
			    v_product(x, weights[j], sums[r][j]);
		}
	}
	UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t j = 0; j < PANEL_VECTORS; j++)
	    v_store(c + r * c_row + j * LANES, sums[r][j]);
}

static void gemm_rows(float *c, size_t c_row, const float *a, size_t a_row, const float *b,
		      size_t k, size_t rows, bool add)
{
	switch (rows) {
	case 6:
		gemm_block(c, c_row, a, a_row, b, k, 6, add);
		break;
	case 5:
		gemm_block(c, c_row, a, a_row, b, k, 5, add);
		break;
	case 4:
		gemm_block(c, c_row, a, a_row, b, k, 4, add);
		break;
	case 3:
		gemm_block(c, c_row, a, a_row, b, k, 3, add);
		break;
	case 2:
		gemm_block(c, c_row, a, a_row, b, k, 2, add);
		break;
	default:
		gemm_block(c, c_row, a, a_row, b, k, 1, add);
	}
}

/* Rows are shared out evenly: the fewer a block has, the less it computes for each load. */
static void gemm(float *c, size_t c_row, const float *a, size_t a_row, const float *b,
		 size_t b_panel, size_t rows, size_t k, size_t panels, bool add)
{
	size_t blocks = (rows + GEMM_ROWS - 1) / GEMM_ROWS;

	for (size_t p = 0; p < panels; p++) {
		for (size_t i = 0; i < blocks; i++) {
			size_t first = i * rows / blocks, end = (i + 1) * rows / blocks;

			gemm_rows(c + first * c_row + p * PANEL, c_row, a + first * a_row, a_row,
				  b + p * b_panel, k, end - first, add);
		}
	}
}

/* -- norm and SiLU ------------------------------------------------------------------------------- */

/*
 * exp to about 1e-7 relative, for x in [-87, 88] (clamped there); NaN stays NaN. x = n ln 2 + r with
 * |r| <= ln 2 / 2; e^r by its Taylor series to r^7 / 7! (the rest is below 6e-9); ln 2 in two parts,
 * the first with so few bits that its products with n are exact (Cody and Waite). Adding 1.5 * 2^23
 * rounds to a whole number, which then lies in the low bits.
 */
static inline vf v_exp(vf x)
{
	vf rounder = v_set1(12582912.0f), shifted, n, r, e;

	x = v_min(v_set1(88.0f), v_max(v_set1(-87.0f), x));
	shifted = v_fma(x, v_set1(1.44269504f), rounder);
	n = shifted - rounder;
	r = v_fma(n, v_set1(-0.693359375f), x);
	r = v_fma(n, v_set1(2.12194440e-4f), r);
	e = v_set1(1.0f / 5040);
	e = v_fma(e, r, v_set1(1.0f / 720));
	e = v_fma(e, r, v_set1(1.0f / 120));
	e = v_fma(e, r, v_set1(1.0f / 24));
	e = v_fma(e, r, v_set1(1.0f / 6));
	e = v_fma(e, r, v_set1(0.5f));
	e = v_fma(e, r, v_set1(1.0f));
	e = v_fma(e, r, v_set1(1.0f));
	return e * v_power(shifted);
}

static inline vf v_silu(vf x)
{
	return x / (v_set1(1.0f) + v_exp(v_set1(0.0f) - x));
}

static void copy_pixels(float *out, size_t out_pixel, const float *in, size_t pixels,
			size_t channels)
{
	for (size_t p = 0; p < pixels; p++) {
		memcpy(out + p * out_pixel, in + p * channels, channels * sizeof(float));
		memset(out + p * out_pixel + channels, 0, (out_pixel - channels) * sizeof(float));
	}
}

static void activate(float *out, size_t out_pixel, const float *in, size_t pixels, size_t channels,
		     const float *scale, const float *shift, bool silu)
{
	if (!scale) {
		copy_pixels(out, out_pixel, in, pixels, channels);
		return;
	}
	for (size_t p = 0; p < pixels; p++, in += channels, out += out_pixel) {
		size_t c = 0;

		for (; c + LANES <= channels; c += LANES) {
			vf x = v_fma(v_load(in + c), v_load(scale + c), v_load(shift + c));

			v_store(out + c, silu ? v_silu(x) : x);
		}
		if (c < channels) {
			size_t n = channels - c;
			vf x = v_fma(load_part(in + c, n), load_part(scale + c, n),
				     load_part(shift + c, n));

			v_store(out + c, silu ? v_silu(x) : x);
		}
	}
}

/* -- sums of pixels ------------------------------------------------------------------------------- */

/* The sums of one channel vector, kept in registers over a few pixels. */
struct lane_sums {
	vf pivot, sum, square;
};

static inline struct lane_sums sums_load(const struct pixel_sums *s, size_t c, vf first)
{
	struct lane_sums sums = {v_load(s->pivot + c), v_load(s->sum + c), v_load(s->square + c)};

	if (!s->begun) {
		sums.pivot = first;
		sums.sum = sums.square = v_set1(0);
		v_store(s->pivot + c, first);
	}
	return sums;
}

static inline void sums_add(struct lane_sums *s, vf x)
{
	vf d = x - s->pivot;

	s->sum = s->sum + d;
	s->square = v_fma(d, d, s->square);
}

static inline void sums_store(const struct pixel_sums *s, size_t c, const struct lane_sums *sums)
{
	v_store(s->sum + c, sums->sum);
	v_store(s->square + c, sums->square);
}

#include "vae/cpu_winograd_body.h"

/* -- the other layers ---------------------------------------------------------------------------- */

static void finish(float *out, const float *c, size_t c_row, size_t pixels, size_t channels,
		   const float *bias, bool accumulate, struct pixel_sums *sums)
{
	for (size_t p = 0; p < pixels; p++, out += channels, c += c_row) {
		for (size_t i = 0; i < channels; i += LANES) {
			size_t n = channels - i;
			vf x = v_load(c + i) + v_load(bias + i);

			if (accumulate)
				x = x + load_some(out + i, n);
			store_some(out + i, x, n);
			if (sums) {
				struct lane_sums lanes = sums_load(sums, i, x);

				sums_add(&lanes, x);
				sums_store(sums, i, &lanes);
			}
		}
		if (sums)
			sums->begun = true;
	}
}

static inline float highest_of(vf x)
{
	float lanes[LANES], highest;

	v_store(lanes, x);
	highest = lanes[0];
	for (size_t i = 1; i < LANES; i++)
		highest = lanes[i] > highest ? lanes[i] : highest;
	return highest;
}

static inline float sum_of(vf x)
{
	float lanes[LANES], sum = 0;

	v_store(lanes, x);
	for (size_t i = 0; i < LANES; i++)
		sum += lanes[i];
	return sum;
}

static void softmax(float *scores, size_t n, float scale, struct softmax_state *state, float *sums,
		    size_t channels)
{
	vf most = v_set1(-INFINITY), total = v_set1(0), factor = v_set1(scale), minus;
	size_t whole = n - n % LANES, rest = n - whole;
	float highest = state->highest, old[LANES];

	for (size_t i = 0; i < whole; i += LANES)
		most = v_max(most, v_load(scores + i));
	highest = fmaxf(highest, highest_of(most) * scale);
	for (size_t i = whole; i < n; i++)
		highest = fmaxf(highest, scores[i] * scale);
	minus = v_set1(-highest);
	for (size_t i = 0; i < whole; i += LANES) {
		vf weight = v_exp(v_fma(v_load(scores + i), factor, minus));

		v_store(scores + i, weight);
		total = total + weight;
	}
	v_store(old, v_exp(v_set1(state->highest - highest)));
	state->highest = highest;
	state->sum = state->sum * old[0] + sum_of(total);
	if (rest > 0) {
		float last[LANES];

		v_store(last, v_exp(v_fma(load_part(scores + whole, rest), factor, minus)));
		memcpy(scores + whole, last, rest * sizeof(float));
		for (size_t i = 0; i < rest; i++)
			state->sum += last[i];
	}
	for (size_t i = 0; i < channels; i += LANES)
		v_store(sums + i, v_load(sums + i) * v_set1(old[0]));
}

const struct cpu_kernels KERNELS = {
    .isa = KERNELS_ISA,
    .lanes = LANES,
    .panel = PANEL,
    .packed = PACKED,
    .gemm = gemm,
    .activate = activate,
    .winograd_weights = winograd_weights,
    .winograd_input = winograd_input,
    .winograd_output = winograd_output,
    .finish = finish,
    .softmax = softmax,
};

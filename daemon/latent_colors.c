#include "daemon/latent_colors.h"

#include "base/cleanup.h"
#include "image/resample.h"

#include <math.h>
#include <string.h>

/* Added to each square, in units of the mean one: channels that say the same would make the equations singular. */
#define RIDGE 1e-4

/* False: one of them is no finite number, as shards may have it that others wrote. */
static bool values_at(const struct ndarray *raw, size_t pixel, double *out)
{
	size_t channels = raw->shape[0], plane = raw->shape[1] * raw->shape[2];
	const float *z = raw->data;
	bool finite = true;

	for (size_t i = 0; i < channels; i++) {
		out[i] = (double)z[i * plane + pixel];
		finite = finite && isfinite(out[i]);
	}
	out[channels] = 1;
	return finite;
}

int latent_colors_pool(struct ndarray *raw, size_t side, struct error *err)
{
	while (raw->shape[1] > side || raw->shape[2] > side) {
		const size_t shape[3] = {raw->shape[0], raw->shape[1] / 2, raw->shape[2] / 2};
		struct ndarray half = NDARRAY_INIT;
		const float *in = raw->data;
		float *out;

		if (shape[1] == 0 || shape[2] == 0)
			return 0;
		if (ndarray_alloc(&half, DTYPE_F32, 3, shape, err) < 0)
			return -1;
		out = half.data;
		for (size_t i = 0; i < ndarray_count(&half); i++) {
			size_t x = i % shape[2], y = i / shape[2] % shape[1];
			const float *at =
			    in + (i / shape[2] / shape[1] * raw->shape[1] + 2 * y) * raw->shape[2] +
			    2 * x;

			out[i] = (at[0] + at[1] + at[raw->shape[2]] + at[raw->shape[2] + 1]) / 4;
		}
		ndarray_release(raw);
		*raw = half;
	}
	return 0;
}

/* @picture: of the latent's size, or NULL. */
static void add(struct latent_colors *c, const struct ndarray *raw, const struct image *picture)
{
	size_t plane = raw->shape[1] * raw->shape[2];
	double x[COLORS_CHANNELS_MAX + 1];

	for (size_t p = 0; p < plane; p++) {
		if (!values_at(raw, p, x))
			continue;
		for (size_t i = 0; i < 3 && i < c->channels; i++) {
			c->sum[i] += x[i];
			c->square[i] += x[i] * x[i];
		}
		c->seen++;
		if (!picture)
			continue;
		c->n++;
		for (size_t i = 0; i <= c->channels; i++) {
			for (size_t j = 0; j <= i; j++)
				c->squares[i][j] += x[i] * x[j];
			for (size_t k = 0; k < 3; k++)
				c->products[i][k] += x[i] * (double)picture->pixels[3 * p + k];
		}
	}
}

int latent_colors_learn(struct latent_colors *c, const struct ndarray *raw,
			const struct image *picture, struct error *err)
{
	cleanup_image struct image small = IMAGE_INIT;

	if (picture) {
		const struct resample_plan plan =
		    resample_whole(picture, raw->shape[2], raw->shape[1], FILTER_BOX);

		if (image_alloc(&small, raw->shape[2], raw->shape[1], err) < 0 ||
		    resample(picture, &plan, small.pixels, err) < 0)
			return -1;
	}
	add(c, raw, picture ? &small : NULL);
	return 0;
}

/* The lower triangle becomes its Cholesky factor. */
static void decompose(struct latent_colors *c)
{
	size_t n = c->channels + 1;

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j <= i; j++) {
			double sum = c->squares[i][j];

			for (size_t k = 0; k < j; k++)
				sum -= c->squares[i][k] * c->squares[j][k];
			c->squares[i][j] =
			    i == j ? sqrt(sum > 1e-12 ? sum : 1e-12) : sum / c->squares[j][j];
		}
	}
}

static void solve(struct latent_colors *c, size_t color)
{
	size_t n = c->channels + 1;
	double y[COLORS_CHANNELS_MAX + 1];

	for (size_t i = 0; i < n; i++) {
		y[i] = c->products[i][color];
		for (size_t k = 0; k < i; k++)
			y[i] -= c->squares[i][k] * y[k];
		y[i] /= c->squares[i][i];
	}
	for (size_t i = n; i-- > 0;) {
		for (size_t k = i + 1; k < n; k++)
			y[i] -= c->squares[k][i] * c->factors[k][color];
		c->factors[i][color] = y[i] / c->squares[i][i];
	}
}

/* Mean and two deviations of the first channels to the range of a colour. */
static void false_colors(struct latent_colors *c)
{
	if (c->seen == 0)
		return; /* all is black */
	for (size_t i = 0; i < 3; i++) {
		size_t channel = i < c->channels ? i : c->channels - 1;
		double mean = c->sum[channel] / c->seen;
		double spread = sqrt(fmax(c->square[channel] / c->seen - mean * mean, 1e-12));

		c->factors[channel][i] = 255 / (4 * spread);
		c->factors[c->channels][i] = 127.5 - mean * c->factors[channel][i];
	}
}

void latent_colors_fit(struct latent_colors *c)
{
	c->fitted = c->n > 4 * (double)(c->channels + 1);
	if (!c->fitted) {
		false_colors(c);
		return;
	}
	for (size_t i = 0; i < c->channels; i++)
		c->squares[i][i] += RIDGE * c->n;
	decompose(c);
	for (size_t color = 0; color < 3; color++)
		solve(c, color);
}

int latent_colors_paint(const struct latent_colors *c, const struct ndarray *raw, struct image *out,
			struct error *err)
{
	size_t plane = raw->shape[1] * raw->shape[2];
	double x[COLORS_CHANNELS_MAX + 1];

	if (image_alloc(out, raw->shape[2], raw->shape[1], err) < 0)
		return -1;
	for (size_t p = 0; p < plane; p++) {
		bool finite = values_at(raw, p, x);

		for (size_t k = 0; k < 3; k++) {
			double value = 0;

			for (size_t i = 0; finite && i <= c->channels; i++)
				value += x[i] * c->factors[i][k];
			/* NaN is not above 0 */
			out->pixels[3 * p + k] = (uint8_t)(!(value > 0)	 ? 0
							   : value > 255 ? 255
									 : rint(value));
		}
	}
	return 0;
}

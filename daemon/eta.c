/*
 * The rate that is foretold is a mean that forgets. How wrong it may be is asked of the past: what would have been
 * foretold at each earlier moment is compared with the mean over as long a time as is to be foretold now.
 */
#include "daemon/eta.h"

#include <math.h>
#include <string.h>

/* Fewer blocks tell nothing. */
#define FEWEST 5
/* Of the logarithm of a rate: what is never known better, and what is assumed before anything is known. */
#define ERROR_LEAST 0.04
#define ERROR_GUESS 0.16
/* Deviations to either side of nine of ten, errors being what they are: more often large than a normal one's. */
#define DEVIATIONS 1.9

static void halve(struct eta *e)
{
	for (size_t i = 0; i < e->n / 2; i++)
		e->images[i] = e->images[2 * i] + e->images[2 * i + 1];
	e->n /= 2;
	e->block_ms *= 2;
}

/* @images in @ms, evenly. */
static void add(struct eta *e, double images, int64_t ms)
{
	while (ms > 0) {
		int64_t part = e->block_ms - e->open_ms < ms ? e->block_ms - e->open_ms : ms;
		double share = images * (double)part / (double)ms;

		e->open_ms += part;
		e->open_images += share;
		ms -= part;
		images -= share;
		if (e->open_ms < e->block_ms)
			return;
		e->images[e->n++] = e->open_images;
		e->open_images = 0;
		e->open_ms = 0;
		if (e->n == ETA_BLOCKS)
			halve(e);
	}
}

void eta_tick(struct eta *e, int64_t now, uint64_t done, bool works)
{
	if (e->ticked_at > 0 && e->works && now > e->ticked_at)
		add(e, done > e->done ? (double)(done - e->done) : 0, now - e->ticked_at);
	e->ticked_at = now;
	e->done = done;
	e->works = works;
}

/* Images a block, as foretold when there were @n blocks. */
static double foretold(const struct eta *e, size_t n)
{
	double keep = 1 - 1 / fmax(3, (double)n / 5), weight = 1, sum = 0, weights = 0;

	for (size_t i = n; i-- > 0;) {
		sum += weight * e->images[i];
		weights += weight;
		weight *= keep;
	}
	return sum / weights;
}

static double mean(const struct eta *e, size_t from, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += e->images[from + i];
	return sum / (double)n;
}

/* Mean square of what was wrong with forecasts of @length blocks, in logarithms; 0 where there was none. */
static double error_square(const struct eta *e, size_t length, double *times)
{
	double least = mean(e, 0, e->n) / 50, sum = 0;
	size_t first = e->n / 6 > 2 ? e->n / 6 : 2, n = 0;

	for (size_t at = first; at + length <= e->n; at++, n++) {
		double x = log((mean(e, at, length) + least) / (foretold(e, at) + least));

		sum += x * x;
	}
	/* Those that overlap tell the same. */
	*times = (double)n / (double)length;
	return n > 0 ? sum / (double)n : 0;
}

/* Standard deviation of the logarithm of the mean rate over the next @blocks. */
static double error_over(const struct eta *e, double blocks)
{
	size_t most = e->n / 2, length = blocks < 1		 ? 1
					 : blocks > (double)most ? most
								 : (size_t)blocks;
	double times, guess = ERROR_GUESS * ERROR_GUESS, weight = 1.5;
	double known = error_square(e, length > 0 ? length : 1, &times);
	double square = (known * times + guess * weight) / (times + weight);

	/* Nobody has seen what comes that far ahead. */
	if (blocks > (double)most)
		square *= 1 + 0.3 * log(blocks / (double)most);
	return fmax(sqrt(square), ERROR_LEAST);
}

static int64_t seconds(double s)
{
	return s < 1e15 ? (int64_t)s : (int64_t)1e15;
}

bool eta_forecast(const struct eta *e, uint64_t left, struct eta_range *out)
{
	double rate, blocks, spread, s;

	if (left == 0) {
		*out = (struct eta_range){0, 0, 0};
		return true;
	}
	if (e->n < FEWEST)
		return false;
	rate = foretold(e, e->n);
	if (rate <= 0)
		return false;
	blocks = (double)left / rate;
	spread = exp(DEVIATIONS * error_over(e, blocks));
	s = blocks * (double)e->block_ms / 1000;
	*out = (struct eta_range){seconds(s / spread), seconds(s) + 1, seconds(s * spread) + 1};
	return true;
}

#include "vae/posterior.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "vae/philox.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {
    [POSTERIOR_MEAN] = "mean",
    [POSTERIOR_MOMENTS] = "moments",
    [POSTERIOR_DRAW] = "draw",
};

/* Where a draw's noise comes from: Philox key, and the upper half of its counter. */
struct noise {
	uint32_t key[2], stream[2];
};

int posterior_parse(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return (int)i;
	}
	return -1;
}

const char *posterior_name(enum posterior posterior)
{
	return names[posterior];
}

size_t posterior_channels(enum posterior posterior, size_t latent_channels)
{
	return posterior == POSTERIOR_MOMENTS ? 2 * latent_channels : latent_channels;
}

static struct noise noise_init(const struct hash128 *content, uint64_t seed)
{
	static const char domain[] = "latentd draw 1";
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct sha256 digest;

	buffer_append(&text, domain, sizeof(domain));
	buffer_put_u64(&text, seed);
	buffer_append(&text, content->bytes, sizeof(content->bytes));
	digest = sha256_of(text.data, text.size);
	return (struct noise){
	    .key = {get_u32le(digest.bytes), get_u32le(digest.bytes + 4)},
	    .stream = {get_u32le(digest.bytes + 8), get_u32le(digest.bytes + 12)},
	};
}

/* Normal deviates 2 * @pair and 2 * @pair + 1 (Box and Muller). */
static void noise_pair(const struct noise *noise, uint64_t pair, double out[2])
{
	uint32_t counter[4] = {(uint32_t)pair, (uint32_t)(pair >> 32), noise->stream[0],
			       noise->stream[1]};
	uint32_t bits[4];
	double u, v, radius;

	philox4x32(counter, noise->key, bits);
	u = (double)(((uint64_t)bits[1] << 32 | bits[0]) >> 11) + 1; /* 1 .. 2^53: log is finite */
	v = (double)(((uint64_t)bits[3] << 32 | bits[2]) >> 11);
	radius = sqrt(-2 * log(u * 0x1p-53));
	out[0] = radius * cos(2 * M_PI * v * 0x1p-53);
	out[1] = radius * sin(2 * M_PI * v * 0x1p-53);
}

static void draw(const float *mean, const float *logvar, size_t n, const struct noise *noise,
		 float *out)
{
	double normal[2] = {0, 0};

	for (size_t i = 0; i < n; i++) {
		double clamped = fmin(fmax((double)logvar[i], -30), 20);

		if (i % 2 == 0)
			noise_pair(noise, i / 2, normal);
		out[i] = (float)((double)mean[i] + exp(0.5 * clamped) * normal[i % 2]);
	}
}

void posterior_apply(enum posterior posterior, const float *moments, size_t latent_channels,
		     size_t pixels, const struct hash128 *content, uint64_t seed, float *out)
{
	size_t n = latent_channels * pixels;
	struct noise noise;

	if (posterior != POSTERIOR_DRAW) {
		memcpy(out, moments,
		       posterior_channels(posterior, latent_channels) * pixels * sizeof(*out));
		return;
	}
	noise = noise_init(content, seed);
	draw(moments, moments + n, n, &noise, out);
}

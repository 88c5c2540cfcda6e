/*
 * With S the tile, L = S / downscale, b = L / 4 (all rounded down): tiles begin every 3/4 S and are S wide, or as wide
 * as the image is from there on. In order of rows, each tile's upper b rows are blended with the lowest ones of the
 * tile above, then its left b columns with the rightmost ones of the tile before it; the first L - b rows and columns
 * go into the result.
 *
 * Blending is in place: the neighbour that counts is the blended one. Mean and logvar are blended alike. Its factors are
 * computed in double and rounded to float32, as PyTorch does with Python's numbers.
 */
#include "vae/kl_tiles.h"

#include "base/checked.h"

#include <string.h>

/* Of a tile: the moments [channels][height][width]. */
struct tile {
	float *moments;
	size_t height, width;
};

struct tiling {
	/* Gives the moments of the tile whose first pixel is at @y, @x. */
	int (*fill)(struct tiling *t, size_t y, size_t x, struct tile *out, struct error *err);
	struct kl_encoder *vae;
	const struct kl_hooks *hooks;
	const float *pixels;	    /* [height][width][3] */
	const float *const *joined; /* moments of the next tiles, where others encode them */
	size_t height, width;
	size_t tile, stride, downscale; /* pixels */
	size_t blend, limit;		/* latent rows and columns */
	size_t channels, across;	/* of moments; tiles */
	struct tile *row, *above;	/* [across] */
	float *window;			/* pixels of a tile */
};

static struct tiling tiling_of(const struct vae_config *config, size_t tile)
{
	struct tiling t = {.tile = tile, .downscale = vae_config_downscale(config)};
	size_t latents = tile / t.downscale;

	t.stride = tile - (tile + 3) / 4;
	t.blend = latents / 4;
	t.limit = latents - t.blend;
	t.channels = 2 * config->latent_channels;
	return t;
}

int kl_tiles_check(const struct vae_config *config, struct error *err)
{
	const struct tiling t = tiling_of(config, config->sample_size);

	if (t.limit > 0 && t.limit * t.downscale == t.stride)
		return 0;
	return error_set(err, ERR_CONFIG,
			 "tiling: tiles of %zu pixels (sample_size in the model's config) do not "
			 "fit a VAE that halves sides to 1/%zu",
			 t.tile, t.downscale);
}

/* -- blending ------------------------------------------------------------------------------------ */

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

static float blended(float before, float here, size_t i, size_t extent)
{
	double share = (double)i / (double)extent;

	return before * (float)(1 - share) + here * (float)share;
}

static void blend_rows(const struct tiling *t, const struct tile *above, const struct tile *here)
{
	size_t extent = least(t->blend, above->height, here->height), width = here->width;

	for (size_t c = 0; c < t->channels; c++) {
		const float *a =
		    above->moments + (c * above->height + above->height - extent) * width;
		float *b = here->moments + c * here->height * width;

		for (size_t i = 0; i < extent * width; i++)
			b[i] = blended(a[i], b[i], i / width, extent);
	}
}

static void blend_columns(const struct tiling *t, const struct tile *before,
			  const struct tile *here)
{
	size_t extent = least(t->blend, before->width, here->width);

	for (size_t y = 0; y < t->channels * here->height; y++) {
		const float *a = before->moments + (y + 1) * before->width - extent;
		float *b = here->moments + y * here->width;

		for (size_t i = 0; i < extent; i++)
			b[i] = blended(a[i], b[i], i, extent);
	}
}

/* -- tiles --------------------------------------------------------------------------------------- */

static size_t rest(size_t whole, size_t first, size_t most)
{
	return whole - first < most ? whole - first : most;
}

static int encode_tile(struct tiling *t, size_t y, size_t x, struct tile *out, struct error *err)
{
	size_t height = rest(t->height, y, t->tile), width = rest(t->width, x, t->tile);

	for (size_t r = 0; r < height; r++)
		memcpy(t->window + r * width * 3, t->pixels + ((y + r) * t->width + x) * 3,
		       width * 3 * sizeof(float));
	return kl_encoder_encode(t->vae, t->window, height, width, out->moments, t->hooks, err);
}

static int copy_tile(struct tiling *t, size_t y, size_t x, struct tile *out, struct error *err)
{
	(void)y;
	(void)x;
	(void)err;
	memcpy(out->moments, *t->joined++, t->channels * out->height * out->width * sizeof(float));
	return 0;
}

/* The part of a tile that counts, at row @y and column @x of the result. */
static void write_tile(const struct tiling *t, const struct tile *tile, size_t y, size_t x,
		       float *moments)
{
	size_t rows = rest(tile->height, 0, t->limit), columns = rest(tile->width, 0, t->limit);
	size_t height = t->height / t->downscale, width = t->width / t->downscale;

	for (size_t c = 0; c < t->channels; c++)
		for (size_t r = 0; r < rows; r++)
			memcpy(moments + (c * height + y + r) * width + x,
			       tile->moments + (c * tile->height + r) * tile->width,
			       columns * sizeof(float));
}

static int encode_row(struct tiling *t, size_t i, float *moments, struct error *err)
{
	struct tile *above = t->row;

	t->row = t->above;
	t->above = above;
	for (size_t j = 0; j < t->across; j++) {
		size_t y = i * t->stride, x = j * t->stride;

		t->row[j].height = rest(t->height, y, t->tile) / t->downscale;
		t->row[j].width = rest(t->width, x, t->tile) / t->downscale;
		if (t->fill(t, y, x, &t->row[j], err) < 0)
			return -1;
		if (i > 0)
			blend_rows(t, &above[j], &t->row[j]);
		if (j > 0)
			blend_columns(t, &t->row[j - 1], &t->row[j]);
		write_tile(t, &t->row[j], i * t->limit, j * t->limit, moments);
	}
	return 0;
}

static struct tile *new_row(const struct tiling *t)
{
	struct tile *row = xcalloc(t->across, sizeof(*row));
	size_t side = t->tile / t->downscale;

	for (size_t j = 0; j < t->across; j++)
		row[j].moments = xmalloc(t->channels * side * side * sizeof(float));
	return row;
}

static void free_row(const struct tiling *t, struct tile *row)
{
	for (size_t j = 0; j < t->across; j++)
		free(row[j].moments);
	free(row);
}

static int run(struct tiling *t, float *moments, struct error *err)
{
	int r = 0;

	t->across = (t->width + t->stride - 1) / t->stride;
	t->row = new_row(t);
	t->above = new_row(t);
	for (size_t i = 0; r == 0 && i * t->stride < t->height; i++)
		r = encode_row(t, i, moments, err);
	free_row(t, t->row);
	free_row(t, t->above);
	return r;
}

int kl_tiles_encode(struct kl_encoder *vae, size_t tile, const float *pixels, size_t height,
		    size_t width, float *moments, const struct kl_hooks *hooks, struct error *err)
{
	struct tiling t = tiling_of(kl_encoder_config(vae), tile);
	int r;

	if (height <= tile && width <= tile)
		return kl_encoder_encode(vae, pixels, height, width, moments, hooks, err);
	t.fill = encode_tile;
	t.vae = vae;
	t.hooks = hooks;
	t.pixels = pixels;
	t.height = height;
	t.width = width;
	t.window = xmalloc(rest(height, 0, tile) * rest(width, 0, tile) * 3 * sizeof(float));
	r = run(&t, moments, err);
	free(t.window);
	return r;
}

size_t kl_tiles_list(const struct vae_config *config, size_t tile, size_t height, size_t width,
		     struct kl_tile **list)
{
	const struct tiling t = tiling_of(config, tile);
	size_t down = (height + t.stride - 1) / t.stride, n = 0;
	size_t across = (width + t.stride - 1) / t.stride;

	*list = xcalloc(down * across, sizeof(**list));
	for (size_t y = 0; y < height; y += t.stride) {
		for (size_t x = 0; x < width; x += t.stride)
			(*list)[n++] =
			    (struct kl_tile){y, x, rest(height, y, tile), rest(width, x, tile)};
	}
	return n;
}

void kl_tiles_join(const struct vae_config *config, size_t tile, size_t height, size_t width,
		   const float *const *tiles, float *moments)
{
	struct tiling t = tiling_of(config, tile);
	struct error never = ERROR_INIT;

	t.fill = copy_tile;
	t.joined = tiles;
	t.height = height;
	t.width = width;
	run(&t, moments, &never);
}

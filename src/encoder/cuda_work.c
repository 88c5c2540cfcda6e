/* Tile k of image i is item i * (tiles of its shape) + (how many of its shape come before it) of its shape's job. */
#include "encoder/cuda_work.h"

#include "base/checked.h"
#include "vae/kl_tiles.h"

#include <assert.h>
#include <string.h>

/* Room for @n images of one size. */
static struct cuda_job *add_job(struct cuda_work *w, size_t width, size_t height, size_t n)
{
	struct cuda_job *j = &w->jobs[w->n++];
	size_t downscale = vae_config_downscale(w->config);
	size_t floats = 2 * w->config->latent_channels * (width / downscale) * (height / downscale);

	if (w->batch->decode)
		floats = 3 * width * height;
	assert(w->n <= CUDA_WORK_JOBS);
	j->work = w;
	j->items = xcalloc(n, sizeof(*j->items));
	j->results = xcalloc(n * floats, sizeof(*j->results));
	for (size_t i = 0; i < n; i++)
		j->items[i].result = j->results + i * floats;
	j->job = (struct latentd_cuda_job){.width = (uint32_t)width,
					   .height = (uint32_t)height,
					   .n = (uint32_t)n,
					   .items = j->items,
					   .owner = w->batch};
	return j;
}

static bool same_shape(const struct kl_tile *a, const struct kl_tile *b)
{
	return a->width == b->width && a->height == b->height;
}

/* How many of the first @n tiles have the shape of @tile. */
static size_t count_shape(const struct cuda_work *w, const struct kl_tile *tile, size_t n)
{
	size_t count = 0;

	for (size_t k = 0; k < n; k++)
		count += same_shape(&w->tiles[k], tile);
	return count;
}

static struct cuda_job *job_of(struct cuda_work *w, const struct kl_tile *tile)
{
	for (size_t i = 0; i < CUDA_WORK_JOBS; i++) {
		if (w->jobs[i].job.width == tile->width && w->jobs[i].job.height == tile->height)
			return &w->jobs[i];
	}
	return NULL;
}

static struct latentd_cuda_item *item_of(struct cuda_work *w, size_t image, size_t k)
{
	const struct kl_tile *tile = &w->tiles[k];

	return &job_of(w, tile)
		    ->items[image * count_shape(w, tile, w->n_tiles) + count_shape(w, tile, k)];
}

static void cut_tile(const struct cuda_work *w, const struct kl_tile *tile, size_t image,
		     uint8_t *out)
{
	const uint8_t *pixels = w->batch->items[image].pixels;

	for (size_t row = 0; row < tile->height; row++)
		memcpy(out + row * tile->width * 3,
		       pixels + ((tile->y + row) * w->batch->width + tile->x) * 3, tile->width * 3);
}

static void add_tiles(struct cuda_work *w)
{
	const struct encode_batch *b = w->batch;

	w->n_tiles = kl_tiles_list(w->config, b->tile, b->height, b->width, &w->tiles);
	for (size_t k = 0; k < w->n_tiles; k++) {
		const struct kl_tile *tile = &w->tiles[k];
		size_t n = b->n * count_shape(w, tile, w->n_tiles),
		       bytes = tile->width * tile->height * 3;
		struct cuda_job *j;

		if (job_of(w, tile))
			continue;
		j = add_job(w, tile->width, tile->height, n);
		j->pixels = xmalloc(n * bytes);
		for (size_t i = 0; i < n; i++)
			j->items[i].input = j->pixels + i * bytes;
	}
	for (size_t i = 0; i < b->n; i++) {
		for (size_t k = 0; k < w->n_tiles; k++)
			cut_tile(w, &w->tiles[k], i, (uint8_t *)(uintptr_t)item_of(w, i, k)->input);
	}
}

struct cuda_work *cuda_work_new(const struct vae_config *config, struct encode_batch *batch)
{
	struct cuda_work *w = xcalloc(1, sizeof(*w));
	struct cuda_job *j;

	w->batch = batch;
	w->config = config;
	if (!batch->decode && batch->tile > 0 &&
	    (batch->width > batch->tile || batch->height > batch->tile)) {
		add_tiles(w);
		return w;
	}
	j = add_job(w, batch->width, batch->height, batch->n);
	for (size_t i = 0; i < batch->n; i++)
		j->items[i].input = batch->decode ? (const void *)batch->items[i].values
						  : (const void *)batch->items[i].pixels;
	return w;
}

void cuda_work_fail(struct cuda_work *w, const struct error *why)
{
	if (w->failure.code == ERR_NONE)
		w->failure = *why;
	w->n = w->submitted;
}

bool cuda_work_is_over(const struct cuda_work *w)
{
	return w->collected == w->n;
}

/* -- results -------------------------------------------------------------------------------------- */

static void take_moments(const struct cuda_work *w, struct encode_item *item, const float *moments)
{
	const struct encode_batch *b = w->batch;
	size_t channels = w->config->latent_channels, downscale = vae_config_downscale(w->config);
	size_t shape[3] = {posterior_channels(b->posterior, channels), b->height / downscale,
			   b->width / downscale};

	if (ndarray_alloc(&item->latent, DTYPE_F32, 3, shape, &item->error) == 0)
		posterior_apply(b->posterior, moments, channels, shape[1] * shape[2],
				&item->content, b->seed, item->latent.data);
}

static void take_picture(const struct cuda_work *w, struct encode_item *item, const float *picture)
{
	const size_t shape[3] = {w->batch->height, w->batch->width, 3};

	if (ndarray_alloc(&item->latent, DTYPE_F32, 3, shape, &item->error) == 0)
		memcpy(item->latent.data, picture, item->latent.bytes);
}

/* Flags of all parts of an image: done if every one is, the others if any has them. */
static uint32_t flags_of(struct cuda_work *w, size_t image)
{
	uint32_t any = 0, all = LATENTD_CUDA_ITEM_DONE;

	if (w->n_tiles == 0)
		return w->jobs[0].items[image].flags;
	for (size_t k = 0; k < w->n_tiles; k++) {
		uint32_t flags = item_of(w, image, k)->flags;

		any |= flags;
		all &= flags;
	}
	return all | (any & ~(uint32_t)LATENTD_CUDA_ITEM_DONE);
}

static void join_tiles(struct cuda_work *w, size_t image)
{
	const struct encode_batch *b = w->batch;
	size_t downscale = vae_config_downscale(w->config);
	size_t floats =
	    2 * w->config->latent_channels * (b->height / downscale) * (b->width / downscale);
	const float **parts = xcalloc(w->n_tiles, sizeof(*parts));
	float *moments = xmalloc(floats * sizeof(*moments));

	for (size_t k = 0; k < w->n_tiles; k++)
		parts[k] = item_of(w, image, k)->result;
	kl_tiles_join(w->config, b->tile, b->height, b->width, parts, moments);
	take_moments(w, &w->batch->items[image], moments);
	free(parts);
	free(moments);
}

void cuda_work_finish(struct cuda_work *w)
{
	const char *what = w->batch->decode ? "picture" : "latent";

	for (size_t i = 0; i < w->batch->n; i++) {
		struct encode_item *item = &w->batch->items[i];
		uint32_t flags = flags_of(w, i);

		item->in_float32 = flags & LATENTD_CUDA_ITEM_F32;
		if (!(flags & LATENTD_CUDA_ITEM_DONE))
			item->error = w->failure;
		else if (flags & LATENTD_CUDA_ITEM_TOO_LARGE)
			error_data(&item->error, "too_large",
				   "its %s overflows, and the GPU's memory is too small to repeat "
				   "it in float32",
				   what);
		else if (flags & LATENTD_CUDA_ITEM_NOT_FINITE)
			error_data(&item->error, "non_finite",
				   "the %s has values that are not finite, in float32 too", what);
		else if (w->batch->decode)
			take_picture(w, item, w->jobs[0].items[i].result);
		else if (w->n_tiles > 0)
			join_tiles(w, i);
		else
			take_moments(w, item, w->jobs[0].items[i].result);
	}
	cuda_work_free(w);
}

void cuda_work_free(struct cuda_work *w)
{
	for (size_t i = 0; i < CUDA_WORK_JOBS; i++) {
		free(w->jobs[i].items);
		free(w->jobs[i].pixels);
		free(w->jobs[i].results);
	}
	free(w->tiles);
	free(w);
}

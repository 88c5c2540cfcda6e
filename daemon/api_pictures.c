#include "daemon/api_pictures.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "image/png_encode.h"

#include "daemon/dataset_store.h"
#include "daemon/picture_cache.h"
#include "daemon/picture_view.h"
#include "daemon/recipe_colors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct api_pictures {
	struct api_turn *turn;
	struct picture_cache *cache; /* both belong to whoever has the turn */
	struct recipe_colors *colors;
};

struct api_pictures *api_pictures_new(void)
{
	struct api_pictures *p = xcalloc(1, sizeof(*p));

	p->turn = api_turn_new();
	p->cache = picture_cache_new(API_PICTURES_BYTES);
	p->colors = recipe_colors_new();
	return p;
}

void api_pictures_free(struct api_pictures *p)
{
	if (!p)
		return;
	recipe_colors_free(p->colors);
	picture_cache_free(p->cache);
	api_turn_free(p->turn);
	free(p);
}

void api_pictures_end(struct api_pictures *p)
{
	api_turn_close(p->turn);
}

bool api_pictures_busy(struct api_pictures *p)
{
	return api_turn_is_taken(p->turn);
}

static int encode(const struct image *image, struct buffer *png, struct error *err)
{
	cleanup_buffer struct buffer file = BUFFER_INIT;
	struct png_encoder *encoder = png_encoder_new();
	int r = png_encode(encoder, image->pixels, image->width, image->height, &file, err);

	png_encoder_free(encoder);
	if (r == 0)
		buffer_append(png, file.data, file.size);
	return r;
}

/* -- thumbnails -------------------------------------------------------------------------------------- */

struct wanted_job {
	bool found;
	uint32_t root;
	char *path;
	uint64_t size;
	int64_t mtime_ns;
};

static int on_job(void *arg, const struct job_row *row)
{
	*(struct wanted_job *)arg =
	    (struct wanted_job){true, row->root, xstrdup(row->path), row->size, row->mtime_ns};
	return 1;
}

static int draw_source(struct picture_view *v, const struct wanted_job *job, struct buffer *png,
		       struct error *err)
{
	const char *folder = sources_known_path(&v->folders, job->root);
	cleanup_image struct image image = IMAGE_INIT;

	if (!folder)
		return error_data(err, "gone", "nobody knows where its source folder is");
	if (picture_view_sources(v, (size_t)API_PICTURE_SIDE * API_PICTURE_SIDE, err) < 0)
		return -1;
	picture_view_root(v, job->root);
	if (sample_source_thumbnail(v->sources, folder, job->path, API_PICTURE_SIDE, &image, err) ==
	    0)
		return encode(&image, png, err);
	if (!api_turn_is_over(v->turn))
		return -1;
	error_clear(err);
	return error_set(err, ERR_TRANSIENT, "its source takes too long to read");
}

static int make_thumbnail(struct api_pictures *p, struct picture_view *v, const char *key,
			  struct buffer *png, struct error *err)
{
	const struct job_filter which = {.dataset = v->dataset->queue_id, .key = key, .limit = 1};
	struct wanted_job job = {.found = false};
	cleanup_free char *name = NULL;
	int r;

	if (queue_jobs(v->queue, &which, on_job, &job, err) < 0)
		return -1;
	if (!job.found)
		return error_set(err, ERR_CONFIG, "there is no image of this key");
	/* of the file as it was when it was last seen */
	name = xasprintf("%s %" PRId64 " %" PRIu64 " %" PRId64 " %s", v->dataset->state_folder,
			 v->dataset->queue_id, job.size, job.mtime_ns, key);
	if (picture_cache_get(p->cache, name, png)) {
		free(job.path);
		return 0;
	}
	r = draw_source(v, &job, png, err);
	free(job.path);
	if (r == 0)
		picture_cache_put(p->cache, name, png->data, png->size);
	return r;
}

int api_pictures_thumbnail(struct api_pictures *p, const struct service_dataset *dataset,
			   const char *key, struct buffer *png, struct error *err)
{
	struct picture_view v;
	int r;

	if (api_turn_take(p->turn, err) < 0)
		return -1;
	r = picture_view_open(&v, p->turn, dataset, err);
	if (r == 0)
		r = make_thumbnail(p, &v, key, png, err);
	picture_view_close(&v);
	api_turn_end(p->turn);
	return r;
}

/* -- samples of a shard ------------------------------------------------------------------------------ */

struct wanted_shard {
	int64_t id;
	char *path; /* NULL: not found */
};

static int on_shard(void *arg, const struct shard_row *row)
{
	struct wanted_shard *w = arg;

	if (row->id == w->id)
		w->path = xstrdup(row->path);
	return w->path != NULL;
}

static int on_sample(void *arg, const struct sample_row *row)
{
	struct shard_span *wanted = arg;

	if (row->offset != wanted->offset)
		return 0;
	wanted->bytes = row->bytes;
	return 1;
}

static int draw_sample(struct api_pictures *p, struct picture_view *v, const char *shard,
		       const struct shard_span *span, struct api_preview *out, struct error *err)
{
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	cleanup_image struct image image = IMAGE_INIT;
	struct store *store = NULL;
	int r = dataset_store_open(v->dataset->output, true, &store, err);

	if (r == 0)
		r = recipe_colors_latent(store, shard, span, API_PICTURE_SIDE, &latent, err);
	if (r == 0)
		r = recipe_colors_paint(p->colors, v, store, &latent, &image, &out->fitted, err);
	store_close(store);
	return r == 0 ? encode(&image, out->png, err) : -1;
}

static int make_preview(struct api_pictures *p, struct picture_view *v, int64_t shard,
			uint64_t offset, struct api_preview *out, struct error *err)
{
	struct wanted_shard wanted = {.id = shard};
	struct shard_span span = {.offset = offset}; /* bytes 0: not found */
	int r = queue_shards(v->queue, v->dataset->queue_id, on_shard, &wanted, err);

	if (r == 0 && wanted.path)
		r = queue_samples(v->queue, shard, on_sample, &span, err);
	if (r == 0 && span.bytes == 0)
		r = error_set(err, ERR_CONFIG, "this dataset has no such shard, or sample in it");
	if (r == 0)
		r = draw_sample(p, v, wanted.path, &span, out, err);
	free(wanted.path);
	return r;
}

int api_pictures_preview(struct api_pictures *p, const struct service_dataset *dataset,
			 int64_t shard, uint64_t offset, struct api_preview *out, struct error *err)
{
	/* Ids of shards are never used again. False colours are not kept: sources may come back. */
	cleanup_free char *name =
	    xasprintf("%s %" PRId64 " shard %" PRId64 " %" PRIu64, dataset->state_folder,
		      dataset->queue_id, shard, offset);
	struct picture_view v;
	int r;

	if (api_turn_take(p->turn, err) < 0)
		return -1;
	out->fitted = picture_cache_get(p->cache, name, out->png);
	if (out->fitted) {
		api_turn_end(p->turn);
		return 0;
	}
	r = picture_view_open(&v, p->turn, dataset, err);
	if (r == 0)
		r = make_preview(p, &v, shard, offset, out, err);
	if (r == 0 && out->fitted)
		picture_cache_put(p->cache, name, out->png->data, out->png->size);
	picture_view_close(&v);
	api_turn_end(p->turn);
	return r;
}

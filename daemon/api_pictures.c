#include "daemon/api_pictures.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "image/png_encode.h"
#include "storage/seal.h"

#include "daemon/api_lists.h"
#include "daemon/api_turn.h"
#include "daemon/dataset_store.h"
#include "daemon/latent_colors.h"
#include "daemon/latent_space.h"
#include "daemon/picture_cache.h"
#include "daemon/sample_source.h"
#include "daemon/sources.h"
#include "daemon/state_queue.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Samples that colours are fitted to, each of them at that size of the latent, of sources of at most so many pixels. */
enum { FIT_SAMPLES = 6, FIT_SIDE = 32, FIT_PIXELS = 4 << 20, RECIPES_MAX = 16 };

/* False colours, too, for so long: sources that are not there are not looked for with every sample of a page. */
enum { FALSE_COLORS_MS = 60000 };

/* The colours of a recipe's latents. */
struct recipe_colors {
	char *recipe_id;
	struct latent_colors *colors;
	int64_t until; /* monotonic ms */
};

struct api_pictures {
	struct api_turn *turn;
	struct picture_cache *cache; /* these belong to whoever has the turn */
	struct recipe_colors recipes[RECIPES_MAX];
	size_t next_recipe;
};

struct api_pictures *api_pictures_new(void)
{
	struct api_pictures *p = xcalloc(1, sizeof(*p));

	p->turn = api_turn_new();
	p->cache = picture_cache_new(API_PICTURES_BYTES);
	return p;
}

void api_pictures_free(struct api_pictures *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < RECIPES_MAX; i++) {
		free(p->recipes[i].recipe_id);
		free(p->recipes[i].colors);
	}
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

/* -- what a dataset has ------------------------------------------------------------------------------ */

struct view {
	struct api_turn *turn;
	const struct service_dataset *dataset;
	struct queue *queue;
	struct sources_known folders;
	char *recipe_json;
	struct sample_sources *sources; /* NULL: not wanted yet, or it cannot be */
};

static int on_dataset(void *arg, const struct queue_dataset *row)
{
	struct view *v = arg;

	if (row->id == v->dataset->queue_id)
		v->recipe_json = xstrdup(row->recipe_json);
	return v->recipe_json != NULL;
}

static int view_open(struct view *v, struct api_pictures *p, const struct service_dataset *dataset,
		     struct error *err)
{
	*v = (struct view){.turn = p->turn, .dataset = dataset};
	if (state_queue_open_readonly(dataset->state_folder, &v->queue, err) < 0 ||
	    queue_datasets(v->queue, on_dataset, v, err) < 0)
		return -1;
	if (!v->recipe_json)
		return error_set(err, ERR_CONFIG, "this dataset is not in the database");
	api_lists_sources(dataset, &v->folders);
	return 0;
}

static int view_open_sources(struct view *v, size_t pixels, struct error *err)
{
	if (sample_sources_open(v->recipe_json, pixels, &v->sources, err) < 0)
		return -1;
	sample_sources_stop(v->sources, api_turn_is_over, v->turn);
	return 0;
}

static void view_close(struct view *v)
{
	sample_sources_close(v->sources);
	sources_known_release(&v->folders);
	free(v->recipe_json);
	queue_close(v->queue);
}

/* Sources are remembered by their real paths. */
static void read_as_configured(struct view *v, uint32_t root)
{
	const char *known = sources_known_source(&v->folders, root);
	struct source_remote_options remote = {.connections = 0};
	enum source_links links = LINKS_FILES;

	for (size_t i = 0; i < v->dataset->n_sources; i++) {
		const struct service_source *source = &v->dataset->sources[i];
		cleanup_free char *path = sources_real_path(source->path);

		if (!path || !known || strcmp(path, known) != 0)
			continue;
		remote = sources_remote(&source->fetch);
		links = sources_links(source->symlinks);
	}
	sample_sources_fetch(v->sources, &remote);
	sample_sources_follow(v->sources, links);
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

static int draw_source(struct view *v, const struct wanted_job *job, struct buffer *png,
		       struct error *err)
{
	const char *folder = sources_known_path(&v->folders, job->root);
	cleanup_image struct image image = IMAGE_INIT;

	if (!folder)
		return error_data(err, "gone", "nobody knows where its source folder is");
	if (view_open_sources(v, (size_t)API_PICTURE_SIDE * API_PICTURE_SIDE, err) < 0)
		return -1;
	read_as_configured(v, job->root);
	if (sample_source_thumbnail(v->sources, folder, job->path, API_PICTURE_SIDE, &image, err) ==
	    0)
		return encode(&image, png, err);
	if (!api_turn_is_over(v->turn))
		return -1;
	error_clear(err);
	return error_set(err, ERR_TRANSIENT, "its source takes too long to read");
}

static int make_thumbnail(struct api_pictures *p, struct view *v, const char *key,
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
	struct view v;
	int r;

	if (api_turn_take(p->turn, err) < 0)
		return -1;
	r = view_open(&v, p, dataset, err);
	if (r == 0)
		r = make_thumbnail(p, &v, key, png, err);
	view_close(&v);
	api_turn_end(p->turn);
	return r;
}

/* -- samples of a shard ------------------------------------------------------------------------------ */

struct wanted_shard {
	int64_t id;
	char *path; /* NULL: not found */
	/* those whose samples colours are fitted to: one of each size, as far as there are so many */
	struct fit_shard {
		int64_t id;
		char *path, *group;
	} fit[FIT_SAMPLES];
	size_t n;
};

static int on_shard(void *arg, const struct shard_row *row)
{
	struct wanted_shard *w = arg;

	if (row->id == w->id)
		w->path = xstrdup(row->path);
	if (w->n < FIT_SAMPLES && (w->n == 0 || strcmp(w->fit[w->n - 1].group, row->group) != 0))
		w->fit[w->n++] =
		    (struct fit_shard){row->id, xstrdup(row->path), xstrdup(row->group)};
	return w->path && w->n == FIT_SAMPLES;
}

static void release_shards(struct wanted_shard *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free(w->fit[i].path);
		free(w->fit[i].group);
	}
	free(w->path);
}

/* Samples that colours are fitted to. */
struct fit_samples {
	const char *shard; /* path of the one that is being read */
	struct fit_sample {
		const char *shard;
		struct shard_span span;
		uint32_t root;
		char *path;
	} items[FIT_SAMPLES];
	size_t n, limit; /* of them, until the next shard */
};

static int on_fit_sample(void *arg, const struct sample_row *row)
{
	struct fit_samples *f = arg;

	if (!row->dead && row->variant == 0)
		f->items[f->n++] = (struct fit_sample){
		    f->shard, {row->offset, row->bytes}, row->root, xstrdup(row->path)};
	return f->n == f->limit;
}

/* As many of each shard as all of them have to give. */
static int find_fit_samples(struct view *v, const struct wanted_shard *w, struct fit_samples *out,
			    struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->n && out->n < FIT_SAMPLES; i++) {
		size_t left = FIT_SAMPLES - out->n, shards = w->n - i;

		out->shard = w->fit[i].path;
		out->limit = out->n + (left + shards - 1) / shards;
		r = queue_samples(v->queue, w->fit[i].id, on_fit_sample, out, err);
	}
	return r;
}

static int on_sample(void *arg, const struct sample_row *row)
{
	struct shard_span *wanted = arg;

	if (row->offset != wanted->offset)
		return 0;
	wanted->bytes = row->bytes;
	return 1;
}

static int read_latent(struct store *store, const char *path, const struct shard_span *span,
		       size_t side, struct record *record, struct record_facts *facts,
		       struct ndarray *raw, struct error *err)
{
	struct latent_space space;

	if (shard_read_record(store, path, span, record, err) < 0 ||
	    latent_space_open(record, 0, facts, &space, raw, err) < 0)
		return -1;
	if (raw->shape[0] > COLORS_CHANNELS_MAX)
		return error_data(err, "channels", "%zu channels are too many to show",
				  raw->shape[0]);
	return latent_colors_pool(raw, side, err);
}

/* -- colours ----------------------------------------------------------------------------------------- */

/* Its source as it was encoded, where it is still there. */
static void find_source(struct view *v, const struct fit_sample *sample,
			const struct record *record, const struct record_facts *facts,
			struct image *out)
{
	const char *folder = sources_known_path(&v->folders, sample->root);
	struct error ignored = ERROR_INIT;

	if (!folder)
		return;
	if (!v->sources && view_open_sources(v, FIT_PIXELS, &ignored) < 0)
		v->sources = NULL;
	error_clear(&ignored);
	if (!v->sources)
		return;
	read_as_configured(v, sample->root);
	sample_source_prepare(v->sources, folder, sample->path, record, facts, out, &ignored);
}

static int learn(struct view *v, struct store *store, const struct fit_sample *sample,
		 struct latent_colors *colors, struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;
	cleanup_ndarray struct ndarray raw = NDARRAY_INIT;
	cleanup_image struct image source = IMAGE_INIT;
	struct record_facts facts;

	if (read_latent(store, sample->shard, &sample->span, FIT_SIDE, &record, &facts, &raw, err) <
	    0)
		return -1;
	if (colors->channels == 0)
		colors->channels = raw.shape[0];
	if (colors->channels != raw.shape[0])
		return 0;
	find_source(v, sample, &record, &facts, &source);
	return latent_colors_learn(colors, &raw, source.pixels ? &source : NULL, err);
}

static struct recipe_colors *known_colors(struct api_pictures *p, const char *recipe_id)
{
	for (size_t i = 0; i < RECIPES_MAX; i++) {
		if (p->recipes[i].recipe_id && strcmp(p->recipes[i].recipe_id, recipe_id) == 0)
			return &p->recipes[i];
	}
	return NULL;
}

/* Takes @colors over. */
static void remember_colors(struct api_pictures *p, const char *recipe_id,
			    struct latent_colors *colors)
{
	struct recipe_colors *place = known_colors(p, recipe_id);

	if (!place)
		place = &p->recipes[p->next_recipe++ % RECIPES_MAX];
	free(place->recipe_id);
	free(place->colors);
	*place =
	    (struct recipe_colors){xstrdup(recipe_id), colors,
				   colors->fitted ? INT64_MAX : clock_mono_ms() + FALSE_COLORS_MS};
}

/* A sample that cannot be read, of a shard that is damaged perhaps, teaches nothing. */
static int fit_colors(struct view *v, struct store *store, const struct wanted_shard *shards,
		      const struct ndarray *raw, struct latent_colors *colors, struct error *err)
{
	struct fit_samples samples = {.n = 0};
	int r = find_fit_samples(v, shards, &samples, err);

	for (size_t i = 0; i < samples.n; i++) {
		struct error ignored = ERROR_INIT;

		if (r == 0)
			learn(v, store, &samples.items[i], colors, &ignored);
		free(samples.items[i].path);
	}
	if (r == 0 && colors->seen == 0)
		r = latent_colors_learn(colors, raw, NULL, err);
	if (r == 0)
		latent_colors_fit(colors);
	return r;
}

static int paint(struct api_pictures *p, struct view *v, struct store *store,
		 const struct wanted_shard *shards, const struct ndarray *raw, struct image *out,
		 bool *fitted, struct error *err)
{
	const struct recipe_colors *known = known_colors(p, v->dataset->recipe_id);
	struct latent_colors *colors = NULL;
	int r;

	if (known && known->colors->channels == raw->shape[0] && clock_mono_ms() < known->until) {
		*fitted = known->colors->fitted;
		return latent_colors_paint(known->colors, raw, out, err);
	}
	colors = xcalloc(1, sizeof(*colors));
	colors->channels = raw->shape[0];
	r = fit_colors(v, store, shards, raw, colors, err);
	if (r == 0)
		r = latent_colors_paint(colors, raw, out, err);
	*fitted = colors->fitted;
	if (r == 0)
		remember_colors(p, v->dataset->recipe_id, colors);
	else
		free(colors);
	return r;
}

static int draw_sample(struct api_pictures *p, struct view *v, const struct wanted_shard *shards,
		       const struct shard_span *span, struct api_preview *out, struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;
	cleanup_ndarray struct ndarray raw = NDARRAY_INIT;
	cleanup_image struct image image = IMAGE_INIT;
	struct record_facts facts;
	struct store *store = NULL;
	int r = dataset_store_open(v->dataset->output, true, &store, err);

	if (r == 0)
		r = read_latent(store, shards->path, span, API_PICTURE_SIDE, &record, &facts, &raw,
				err);
	if (r == 0)
		r = paint(p, v, store, shards, &raw, &image, &out->fitted, err);
	store_close(store);
	return r == 0 ? encode(&image, out->png, err) : -1;
}

static int make_preview(struct api_pictures *p, struct view *v, int64_t shard, uint64_t offset,
			struct api_preview *out, struct error *err)
{
	struct wanted_shard shards = {.id = shard};
	struct shard_span span = {.offset = offset}; /* bytes 0: not found */
	int r = queue_shards(v->queue, v->dataset->queue_id, on_shard, &shards, err);

	if (r == 0 && shards.path)
		r = queue_samples(v->queue, shard, on_sample, &span, err);
	if (r == 0 && span.bytes == 0)
		r = error_set(err, ERR_CONFIG, "this dataset has no such shard, or sample in it");
	if (r == 0)
		r = draw_sample(p, v, &shards, &span, out, err);
	release_shards(&shards);
	return r;
}

int api_pictures_preview(struct api_pictures *p, const struct service_dataset *dataset,
			 int64_t shard, uint64_t offset, struct api_preview *out, struct error *err)
{
	/* Ids of shards are never used again. False colours are not kept: sources may come back. */
	cleanup_free char *name =
	    xasprintf("%s %" PRId64 " shard %" PRId64 " %" PRIu64, dataset->state_folder,
		      dataset->queue_id, shard, offset);
	struct view v;
	int r;

	if (api_turn_take(p->turn, err) < 0)
		return -1;
	out->fitted = picture_cache_get(p->cache, name, out->png);
	if (out->fitted) {
		api_turn_end(p->turn);
		return 0;
	}
	r = view_open(&v, p, dataset, err);
	if (r == 0)
		r = make_preview(p, &v, shard, offset, out, err);
	if (r == 0 && out->fitted)
		picture_cache_put(p->cache, name, out->png->data, out->png->size);
	view_close(&v);
	api_turn_end(p->turn);
	return r;
}

#include "daemon/recipe_colors.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "daemon/latent_colors.h"
#include "daemon/latent_space.h"

#include <stdlib.h>
#include <string.h>

/* Samples that colours are fitted to, each of them at that size of the latent, of sources of at most so many pixels. */
enum { FIT_SAMPLES = 6, FIT_SIDE = 32, FIT_PIXELS = 4 << 20, RECIPES_MAX = 16 };

/* False colours, too, for so long: sources that are not there are not looked for with every sample of a page. */
enum { FALSE_COLORS_MS = 60000 };

struct known_colors {
	char *recipe_id;
	struct latent_colors *colors;
	int64_t until; /* monotonic ms */
};

struct recipe_colors {
	struct known_colors known[RECIPES_MAX];
	size_t next;
};

struct recipe_colors *recipe_colors_new(void)
{
	return xcalloc(1, sizeof(struct recipe_colors));
}

void recipe_colors_free(struct recipe_colors *c)
{
	for (size_t i = 0; c && i < RECIPES_MAX; i++) {
		free(c->known[i].recipe_id);
		free(c->known[i].colors);
	}
	free(c);
}

static int read_latent(struct store *store, const char *path, const struct shard_span *span,
		       size_t side, struct record *record, struct record_facts *facts,
		       struct ndarray *out, struct error *err)
{
	struct latent_space space;

	if (shard_read_record(store, path, span, record, err) < 0 ||
	    latent_space_open(record, 0, facts, &space, out, err) < 0)
		return -1;
	if (out->shape[0] > COLORS_CHANNELS_MAX)
		return error_data(err, "channels", "%zu channels are too many to show",
				  out->shape[0]);
	return latent_colors_pool(out, side, err);
}

int recipe_colors_latent(struct store *store, const char *path, const struct shard_span *span,
			 size_t side, struct ndarray *out, struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts facts;

	return read_latent(store, path, span, side, &record, &facts, out, err);
}

/* -- samples to fit to ------------------------------------------------------------------------------ */

/* Shards of different sizes, as far as there are so many. */
struct fit_shards {
	struct fit_shard {
		int64_t id;
		char *path, *group;
	} items[FIT_SAMPLES];
	size_t n;
};

static int on_shard(void *arg, const struct shard_row *row)
{
	struct fit_shards *f = arg;

	if (f->n == 0 || strcmp(f->items[f->n - 1].group, row->group) != 0)
		f->items[f->n++] =
		    (struct fit_shard){row->id, xstrdup(row->path), xstrdup(row->group)};
	return f->n == FIT_SAMPLES;
}

static void release_shards(struct fit_shards *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->items[i].path);
		free(f->items[i].group);
	}
}

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
static int find_samples(struct picture_view *v, const struct fit_shards *shards,
			struct fit_samples *out, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < shards->n && out->n < FIT_SAMPLES; i++) {
		size_t left = FIT_SAMPLES - out->n, others = shards->n - i;

		out->shard = shards->items[i].path;
		out->limit = out->n + (left + others - 1) / others;
		r = queue_samples(v->queue, shards->items[i].id, on_fit_sample, out, err);
	}
	return r;
}

/* -- fitting ---------------------------------------------------------------------------------------- */

/* Its source as it was encoded, where it is still there. */
static void find_source(struct picture_view *v, const struct fit_sample *sample,
			const struct record *record, const struct record_facts *facts,
			struct image *out)
{
	const char *folder = sources_known_path(&v->folders, sample->root);
	struct error ignored = ERROR_INIT;

	if (!folder)
		return;
	if (!v->sources && picture_view_sources(v, FIT_PIXELS, &ignored) < 0)
		v->sources = NULL;
	error_clear(&ignored);
	if (!v->sources)
		return;
	picture_view_root(v, sample->root);
	sample_source_prepare(v->sources, folder, sample->path, record, facts, out, &ignored);
}

static int learn(struct picture_view *v, struct store *store, const struct fit_sample *sample,
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

/* A sample that cannot be read, of a shard that is damaged perhaps, teaches nothing. */
static int fit(struct picture_view *v, struct store *store, const struct ndarray *latent,
	       struct latent_colors *colors, struct error *err)
{
	struct fit_shards shards = {.n = 0};
	struct fit_samples samples = {.n = 0};
	int r = queue_shards(v->queue, v->dataset->queue_id, on_shard, &shards, err);

	if (r == 0)
		r = find_samples(v, &shards, &samples, err);
	for (size_t i = 0; i < samples.n; i++) {
		struct error ignored = ERROR_INIT;

		if (r == 0)
			learn(v, store, &samples.items[i], colors, &ignored);
		free(samples.items[i].path);
	}
	release_shards(&shards);
	if (r == 0 && colors->seen == 0)
		r = latent_colors_learn(colors, latent, NULL, err);
	if (r == 0)
		latent_colors_fit(colors);
	return r;
}

/* -- painting --------------------------------------------------------------------------------------- */

static struct known_colors *find(struct recipe_colors *c, const char *recipe_id)
{
	for (size_t i = 0; i < RECIPES_MAX; i++) {
		if (c->known[i].recipe_id && strcmp(c->known[i].recipe_id, recipe_id) == 0)
			return &c->known[i];
	}
	return NULL;
}

/* Takes @colors over. */
static void remember(struct recipe_colors *c, const char *recipe_id, struct latent_colors *colors)
{
	struct known_colors *place = find(c, recipe_id);

	if (!place)
		place = &c->known[c->next++ % RECIPES_MAX];
	free(place->recipe_id);
	free(place->colors);
	*place =
	    (struct known_colors){xstrdup(recipe_id), colors,
				  colors->fitted ? INT64_MAX : clock_mono_ms() + FALSE_COLORS_MS};
}

int recipe_colors_paint(struct recipe_colors *c, struct picture_view *v, struct store *store,
			const struct ndarray *latent, struct image *out, bool *fitted,
			struct error *err)
{
	const struct known_colors *known = find(c, v->dataset->recipe_id);
	struct latent_colors *colors = NULL;
	int r;

	if (known && known->colors->channels == latent->shape[0] &&
	    clock_mono_ms() < known->until) {
		*fitted = known->colors->fitted;
		return latent_colors_paint(known->colors, latent, out, err);
	}
	colors = xcalloc(1, sizeof(*colors));
	colors->channels = latent->shape[0];
	r = fit(v, store, latent, colors, err);
	if (r == 0)
		r = latent_colors_paint(colors, latent, out, err);
	*fitted = colors->fitted;
	if (r == 0)
		remember(c, v->dataset->recipe_id, colors);
	else
		free(colors);
	return r;
}

#include "daemon/verify_decode.h"

#include "daemon/catalog.h"
#include "daemon/dataset_store.h"
#include "daemon/latent_decoder.h"
#include "daemon/sample_source.h"
#include "daemon/sources.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "source/source_path.h"
#include "storage/seal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/*
 * How far a latent may be from the encoder's mean, root mean square, in units of the mean's own deviation: float16 and
 * bfloat16 are below 0.05, draws of the demo's VAE 0.014; a scale of 0.18215 too much is 0.8.
 */
#define FARTHEST 0.3

enum { LEAST_OF_4_CHANNELS = 14, LEAST_OF_MORE = 18, MANY_CHANNELS = 16, WORST_SHOWN = 5 };

struct measured {
	double psnr;
	char *key, *path;
};

struct decode_check {
	const struct opened_output *opened;
	const struct read_options *options;
	struct latent_decoder *decoder;
	double least;
	/* of the dataset at hand */
	const struct queue_dataset *dataset;
	struct store *store;
	struct sample_sources *sources;
	struct sources_known folders;
	struct measured *measured;
	size_t n, capacity, not_compared;
	bool factors_said;
	/* totals */
	size_t *bad;
	struct error *err;
};

/* -- which --------------------------------------------------------------------------------------- */

static uint64_t random_below(uint64_t n)
{
	uint64_t value = 0;

	while (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value))
		continue;
	return value % n;
}

/* Of @left candidates that are still to come, whether this one is among the @wanted that are to be chosen. */
static bool choose(size_t *left, size_t *wanted)
{
	bool chosen = *left > 0 && random_below(*left) < *wanted;

	*left -= *left > 0;
	*wanted -= chosen;
	return chosen;
}

/* -- one latent ---------------------------------------------------------------------------------- */

/* Records of other factors than the model's: what a trainer does with them is wrong, whatever they look like. */
static void check_factors(struct decode_check *c, const char *key, const struct latent_space *space)
{
	const struct vae_config *model = latent_decoder_config(c->decoder);
	cleanup_free char *difference =
	    c->factors_said || !model ? NULL : latent_space_difference(space, model);

	if (!difference)
		return;
	c->factors_said = true;
	++*c->bad;
	printf("%s/%s: its record says %s\n", c->dataset->name, key, difference);
}

/* Root mean square of a - b in units of b's deviation from its mean. */
static double distance(const struct ndarray *a, const struct ndarray *b)
{
	const float *x = a->data, *y = b->data;
	double n = (double)ndarray_count(b), mean = 0, difference = 0, spread = 0;

	for (size_t i = 0; i < ndarray_count(b); i++)
		mean += (double)y[i] / n;
	for (size_t i = 0; i < ndarray_count(b); i++) {
		double d = (double)x[i] - (double)y[i], s = (double)y[i] - mean;

		difference += d * d;
		spread += s * s;
	}
	return spread > 0 ? sqrt(difference / spread) : 0;
}

/* @raw against what the encoder makes of the same pixels. */
static int check_distance(struct decode_check *c, const char *key, const char *path,
			  const struct latent_space *space, const struct ndarray *raw,
			  const struct image *source, struct error *err)
{
	cleanup_ndarray struct ndarray own = NDARRAY_INIT;
	char quoted[TEXT_QUOTE_SIZE];
	double far;

	if (latent_decoder_encode(c->decoder, space, source, &own, err) < 0)
		return -1;
	if (!ndarray_same_shape(raw, &own))
		return error_data(err, "record", "its latent is not of the size of its picture");
	far = distance(raw, &own);
	if (far <= FARTHEST)
		return 0;
	++*c->bad;
	printf("%s/%s: its latent is not what the model makes of its picture: %.2f of its spread "
	       "away, expected %g at most: %s\n",
	       c->dataset->name, key, far, FARTHEST, text_quote(path, quoted));
	return 0;
}

static void keep(struct decode_check *c, const char *key, const char *path, double psnr)
{
	char quoted[TEXT_QUOTE_SIZE];

	ARRAY_GROW(c->measured, c->n, c->capacity);
	c->measured[c->n++] = (struct measured){psnr, xstrdup(key), xstrdup(path)};
	if (psnr >= c->least)
		return;
	++*c->bad;
	printf("%s/%s: %.2f dB, expected %g at least: %s\n", c->dataset->name, key, psnr, c->least,
	       text_quote(path, quoted));
}

/* ERR_DATA: this one cannot be compared, others can. */
static int compare(struct decode_check *c, const struct record *record, const char *folder,
		   const char *inside, const char *path, struct error *err)
{
	size_t downscale = latent_decoder_downscale(c->decoder);
	cleanup_image struct image decoded = IMAGE_INIT, source = IMAGE_INIT;
	cleanup_ndarray struct ndarray raw = NDARRAY_INIT;
	struct latent_space space;
	struct record_facts facts;

	if (record_facts_read(record, &facts, err) < 0 ||
	    latent_space_read(record, &facts, &space, err) < 0 ||
	    latent_decoder_check(c->decoder, record->key, &space, err) < 0 ||
	    latent_space_open(record, downscale, &facts, &space, &raw, err) < 0)
		return -1;
	check_factors(c, record->key, &space);
	if (sample_source_prepare(c->sources, folder, inside, record, &facts, &source, err) < 0 ||
	    latent_decoder_decode(c->decoder, &space, &raw, &decoded, err) < 0)
		return -1;
	if (decoded.width != source.width || decoded.height != source.height)
		return error_data(err, "record", "decodes to %zux%zu pixels, expected %zux%zu",
				  decoded.width, decoded.height, source.width, source.height);
	keep(c, record->key, path, image_psnr(&decoded, &source));
	if (!latent_decoder_encodes(c->decoder))
		return 0;
	return check_distance(c, record->key, path, &space, &raw, &source, err);
}

static int check_sample(struct decode_check *c, const struct shard_row *shard,
			const struct sample_row *row)
{
	const char *folder = sources_known_path(&c->folders, row->root);
	cleanup_free char *path = source_path_is_url(row->path)
				      ? xstrdup(row->path)
				      : xasprintf("%s/%s", folder ? folder : "", row->path);
	const struct shard_span span = {row->offset, row->bytes};
	cleanup_record struct record record = RECORD_INIT;
	struct error why = ERROR_INIT;
	char quoted[TEXT_QUOTE_SIZE];
	int r = shard_read_record(c->store, shard->path, &span, &record, &why);

	if (r == 0 && !folder)
		r = error_data(&why, "gone", "nobody knows in which folder its source %s was",
			       text_quote(row->path, quoted));
	if (r == 0)
		r = compare(c, &record, folder, row->path, path, &why);
	if (r == 0)
		return 0;
	if (why.code != ERR_DATA) {
		*c->err = why;
		return -1;
	}
	c->not_compared++;
	printf("%s/%s: not compared: %s\n", c->dataset->name, row->key, why.message);
	return 0;
}

/* -- one dataset --------------------------------------------------------------------------------- */

static int by_psnr(const void *a, const void *b)
{
	double x = ((const struct measured *)a)->psnr, y = ((const struct measured *)b)->psnr;

	return (x > y) - (x < y);
}

static void print_distribution(struct decode_check *c)
{
	char quoted[TEXT_QUOTE_SIZE];
	double sum = 0;

	qsort(c->measured, c->n, sizeof(*c->measured), by_psnr);
	for (size_t i = 0; i < c->n; i++)
		sum += c->measured[i].psnr;
	printf("%s: %zu latent%s decoded: PSNR mean %.2f dB, median %.2f, from %.2f to %.2f, "
	       "expected %g at least\n",
	       c->dataset->name, c->n, plural(c->n), sum / (double)c->n, c->measured[c->n / 2].psnr,
	       c->measured[0].psnr, c->measured[c->n - 1].psnr, c->least);
	for (size_t i = 0; i < c->n && i < WORST_SHOWN; i++)
		printf("  %6.2f dB  %s\n", c->measured[i].psnr,
		       text_quote(c->measured[i].path, quoted));
}

static int check_shards(struct decode_check *c, const struct shard_list *shards)
{
	size_t left = 0, wanted = c->options->decode;

	for (size_t i = 0; i < shards->n; i++)
		left += (size_t)(shards->rows[i].samples - shards->rows[i].dead);
	for (size_t i = 0; i < shards->n && wanted > 0; i++) {
		cleanup_sample_list struct sample_list rows = CATALOG_LIST_INIT;

		if (sample_list_read(c->opened->queue, shards->rows[i].id, &rows, c->err) < 0)
			return -1;
		for (size_t j = 0; j < rows.n; j++) {
			if (!rows.rows[j].dead && choose(&left, &wanted) &&
			    check_sample(c, &shards->rows[i], &rows.rows[j]) < 0)
				return -1;
		}
	}
	return 0;
}

/* The largest picture of the dataset: its shards' folders are named by their sizes. */
static size_t largest_picture(const struct shard_list *shards)
{
	size_t most = 1;

	for (size_t i = 0; i < shards->n; i++) {
		const char *at = shards->rows[i].group;
		size_t width = 0, height = 0, pixels = 0;

		for (; at; at = strchr(at, '_') ? strchr(at, '_') + 1 : NULL) {
			if (sscanf(at, "%zux%zu", &width, &height) == 2 &&
			    size_mul(width, height, &pixels) && pixels > most)
				most = pixels;
		}
	}
	return most;
}

static int check_dataset(struct decode_check *c, const char *folder)
{
	const struct source_remote_options remote = {.private_hosts = c->options->private_hosts};
	cleanup_shard_list struct shard_list shards = CATALOG_LIST_INIT;

	if (shard_list_read(c->opened->queue, c->dataset->id, &shards, c->err) < 0)
		return -1;
	if (shards.n == 0)
		return 0;
	if (dataset_store_open(folder, true, &c->store, c->err) < 0 ||
	    sample_sources_open(c->dataset->recipe_json, largest_picture(&shards), &c->sources,
				c->err) < 0)
		return -1;
	sample_sources_fetch(c->sources, &remote);
	sources_known_read(c->opened->output.state, c->dataset->name, &c->folders);
	if (check_shards(c, &shards) < 0)
		return -1;
	if (c->n == 0)
		return error_set(c->err, ERR_CONFIG,
				 "%s: not one of its latents could be compared with its source",
				 c->dataset->name);
	print_distribution(c);
	return 0;
}

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	const struct decode_check *total = arg;
	struct decode_check c = *total;
	cleanup_free char *folder = xasprintf("%s/%s", c.opened->output.root, d->name);
	int r = folder_state(c.opened->queue, d->id, folder, c.err);

	if (r != FOLDER_THERE)
		return r < 0 ? -1 : 0;
	c.dataset = d;
	r = check_dataset(&c, folder);
	for (size_t i = 0; i < c.n; i++) {
		free(c.measured[i].key);
		free(c.measured[i].path);
	}
	free(c.measured);
	sources_known_release(&c.folders);
	sample_sources_close(c.sources);
	store_close(c.store);
	return r;
}

/*
 * Below it a picture is no reconstruction: a VAE of 4 channels keeps about 25 dB of a photograph and not less than 15 of
 * foliage, one of 16 channels or more 30 and 22; pictures that have nothing to do with each other have 8 to 12.
 */
static double least_psnr(const struct read_options *o, const struct latent_decoder *decoder)
{
	const struct vae_preset *preset = latent_decoder_preset(decoder);

	if (o->min_psnr > 0)
		return o->min_psnr;
	if (preset)
		return preset->least_psnr;
	return latent_decoder_channels(decoder) >= MANY_CHANNELS ? LEAST_OF_MORE
								 : LEAST_OF_4_CHANNELS;
}

int verify_decode(const struct opened_output *opened, const struct read_options *options,
		  size_t *bad, struct error *err)
{
	struct remote_vae_options endpoint;
	struct latent_decoder_options with;
	struct decode_check check = {.opened = opened, .options = options, .bad = bad, .err = err};
	int r;

	if (latent_decoder_options_of(options, &endpoint, &with, err) < 0)
		return -1;
	with.encoder = true;
	with.factors = true;
	if (latent_decoder_open(&with, &check.decoder, err) < 0)
		return -1;
	if (!latent_decoder_encodes(check.decoder))
		printf("%s does not tell its model: pictures are compared, latents are not\n",
		       options->endpoint);
	check.least = least_psnr(options, check.decoder);
	r = each_dataset(opened->queue, &opened->output, options->name, on_dataset, &check, err);
	latent_decoder_close(check.decoder);
	return r;
}

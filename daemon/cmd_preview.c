/*
 * A sheet of what a shard or a dataset holds: each source beside what its latent decodes to. Without a decoder latents are
 * shown as colours, and marked as approximate.
 */
#include "daemon/commands.h"
#include "daemon/contact_sheet.h"
#include "daemon/dataset_splits.h"
#include "daemon/dataset_store.h"
#include "daemon/index.h"
#include "daemon/latent_colors.h"
#include "daemon/latent_decoder.h"
#include "daemon/picture_file.h"
#include "daemon/remote_shard.h"
#include "daemon/sample_source.h"
#include "daemon/shard_path.h"
#include "daemon/sources.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"
#include "image/resample.h"
#include "net/http_fetch.h"
#include "source/source_path.h"
#include "storage/seal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ENOUGH = 1, FAST_SIDE = 256, PIXELS_MAX = 64 << 20, USUAL_DOWNSCALE = 8 };

/* Bytes of a sample in a shard, at most: 16 channels of 1024x1024 in float16 have 512 KiB. */
#define SAMPLE_MOST ((size_t)2 << 20)

/* A sample on the sheet. */
struct cell {
	char *key, *about;
	char why[96]; /* there is no source, or no decoder */
	struct ndarray raw;
	struct image source, decoded; /* pixels NULL: none */
	double psnr;
};

struct preview {
	const struct read_options *options;
	struct latent_decoder *decoder; /* NULL: none was given */
	struct sample_sources *sources; /* NULL: nothing is known of them */
	struct sources_known folders;
	struct cell *cells;
	size_t n, shard_end; /* of the shard at hand: no more cells than that */
	struct latent_colors *colors;
	bool reading;	/* what fails is the shard's fault */
	bool in_record; /* and that of a record, which was there */
};

static void cell_release(struct cell *c)
{
	free(c->key);
	free(c->about);
	ndarray_release(&c->raw);
	image_release(&c->source);
	image_release(&c->decoded);
}

/* -- one sample ---------------------------------------------------------------------------------- */

static int shrink(const struct image *from, size_t width, size_t height, struct image *out,
		  struct error *err)
{
	const struct resample_plan plan = resample_whole(from, width, height, FILTER_BOX);

	if (image_alloc(out, width, height, err) < 0)
		return -1;
	return resample(from, &plan, out->pixels, err);
}

/* The source of the sample in whichever known folder it is; without one cell->why says so. */
static int find_source(struct preview *p, const struct record *record,
		       const struct record_facts *facts, struct cell *cell)
{
	struct error why = ERROR_INIT;
	bool url = source_path_is_url(facts->path);

	snprintf(cell->why, sizeof(cell->why), "source not known here");
	if (!url &&
	    !path_stays_below(facts->path)) /* a record of somebody else's may say anything */
		return 0;
	for (size_t i = 0; p->sources && i < (url ? 1 : p->folders.n); i++) {
		error_clear(&why);
		if (sample_source_prepare(p->sources, p->folders.folders[i].path, facts->path,
					  record, facts, &cell->source, &why) == 0) {
			cell->why[0] = '\0';
			return 0;
		}
		snprintf(cell->why, sizeof(cell->why), "source: %s", why.reason);
	}
	return 0;
}

static int decode(struct preview *p, const struct latent_space *space, struct cell *cell,
		  struct error *err)
{
	size_t downscale = latent_decoder_downscale(p->decoder);
	struct image small = IMAGE_INIT;

	if (p->options->fast &&
	    latent_colors_pool(&cell->raw, FAST_SIDE / (downscale ? downscale : USUAL_DOWNSCALE),
			       err) < 0)
		return -1;
	if (latent_decoder_decode(p->decoder, space, &cell->raw, &cell->decoded, err) < 0)
		return -1;
	if (!cell->source.pixels)
		return 0;
	if (cell->source.width != cell->decoded.width ||
	    cell->source.height != cell->decoded.height) {
		if (shrink(&cell->source, cell->decoded.width, cell->decoded.height, &small, err) <
		    0)
			return -1;
		image_release(&cell->source);
		cell->source = small;
	}
	cell->psnr = image_psnr(&cell->source, &cell->decoded);
	return 0;
}

/* For colours. */
static int learn(struct preview *p, const struct cell *cell, struct error *err)
{
	if (!p->colors) {
		if (cell->raw.shape[0] > COLORS_CHANNELS_MAX)
			return error_set(err, ERR_CONFIG, "%s: %zu channels are too many to show",
					 cell->key, cell->raw.shape[0]);
		p->colors = xcalloc(1, sizeof(*p->colors));
		p->colors->channels = cell->raw.shape[0];
	}
	if (p->colors->channels != cell->raw.shape[0])
		return error_set(err, ERR_CONFIG, "%s: its latent is of another model", cell->key);
	return latent_colors_learn(p->colors, &cell->raw,
				   cell->source.pixels ? &cell->source : NULL, err);
}

static int fill_cell(struct preview *p, const struct record *record, struct cell *cell,
		     struct error *err)
{
	size_t downscale = p->decoder ? latent_decoder_downscale(p->decoder) : 0;
	struct latent_space space;
	struct record_facts facts;

	p->reading = true;
	if (record_facts_read(record, &facts, err) < 0 ||
	    latent_space_read(record, &facts, &space, err) < 0 ||
	    (p->decoder && latent_decoder_check(p->decoder, record->key, &space, err) < 0) ||
	    latent_space_open(record, downscale, &facts, &space, &cell->raw, err) < 0)
		return -1;
	p->reading = false;
	cell->key = xstrdup(record->key);
	cell->about = sample_source_about(record, &facts);
	if (find_source(p, record, &facts, cell) < 0)
		return -1;
	return p->decoder ? decode(p, &space, cell, err) : learn(p, cell, err);
}

static int on_record(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	struct preview *p = arg;

	(void)span;
	if (p->n == p->shard_end)
		return ENOUGH;
	p->in_record = true;
	if (fill_cell(p, record, &p->cells[p->n++], err) < 0)
		return -1;
	p->in_record = false;
	p->reading = true;
	return p->n == p->shard_end ? ENOUGH : 0;
}

/* -- shards -------------------------------------------------------------------------------------- */

struct shard_names {
	char **items;
	size_t n, capacity;
};

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct shard_names *names = arg;

	(void)bytes;
	if (!shard_format_of_file(name))
		return 0;
	ARRAY_GROW(names->items, names->n, names->capacity);
	names->items[names->n++] = xstrdup(name);
	return 0;
}

/* @whole: all of the shard is there; else it ends where the part of it does. */
static int show_shard(struct preview *p, struct store *store, const char *name, const char *path,
		      bool whole, struct error *err)
{
	int r;

	p->reading = true;
	p->in_record = false;
	r = shard_read_stored(store, name, on_record, p, err);
	if (r >= 0)
		return 0;
	if (!whole && !p->in_record && p->n > 0) {
		error_clear(err);
		return 0;
	}
	return p->reading && err->code != ERR_CONFIG ? shard_failed("preview", path, err) : -1;
}

/* As many of each shard as all of them have to give. */
static int show_dataset(struct preview *p, const char *folder, struct error *err)
{
	struct shard_names names = {.n = 0};
	struct store *store = NULL;
	int r = dataset_store_open(folder, true, &store, err);

	if (r == 0)
		r = splits_list(store, on_object, &names, err);
	if (r == 0 && names.n == 0)
		r = error_set(err, ERR_CONFIG, "%s holds no shard", folder);
	for (size_t i = 0; r == 0 && i < names.n && p->n < p->options->count; i++) {
		size_t left = p->options->count - p->n, shards = names.n - i;

		p->shard_end = p->n + (left + shards - 1) / shards;
		r = show_shard(p, store, names.items[i], names.items[i], true, err);
	}
	for (size_t i = 0; i < names.n; i++)
		free(names.items[i]);
	free(names.items);
	store_close(store);
	return r;
}

/* "OUT/NAME" of a path in it, to be freed; NULL where it is in no dataset. */
static char *dataset_folder(const char *path)
{
	cleanup_free char *at = realpath(path, NULL);
	char *slash;

	while (at && (slash = strrchr(at, '/')) && slash != at) {
		cleanup_free char *train = xasprintf("%s/train", at);

		if (file_exists(train))
			return TAKE(at);
		*slash = '\0';
	}
	return NULL;
}

/* Where nothing is known of the sources there are only pictures of latents. */
static void find_sources(struct preview *p, const char *folder)
{
	cleanup_index_dataset struct index_dataset said = {.there = false};
	const char *slash = folder ? strrchr(folder, '/') : NULL;
	cleanup_free char *out = slash ? xasprintf("%.*s", (int)(slash - folder), folder) : NULL;
	struct output output = OUTPUT_INIT;
	const struct source_remote_options remote = {.private_hosts = p->options->private_hosts};
	struct error ignored = ERROR_INIT;
	bool running = false;

	if (!out || index_dataset_read(folder, &said, &ignored) < 0 || !said.recipe_json)
		return;
	error_clear(&ignored);
	if (output_peek(out, &output, &running, &ignored) == 0 && output.state)
		sources_known_read(output.state, slash + 1, &p->folders);
	output_close(&output);
	error_clear(&ignored);
	if (p->folders.n == 0)
		return;
	if (sample_sources_open(said.recipe_json, PIXELS_MAX, &p->sources, &ignored) < 0)
		p->sources = NULL;
	else
		sample_sources_fetch(p->sources, &remote);
}

/* As much of it as so many samples may take. Its sources are not known here. */
static int show_remote(struct preview *p, const char *url, struct error *err)
{
	cleanup_remote_shard struct remote_shard shard = REMOTE_SHARD_INIT;

	if (remote_shard_open(url, (p->options->count + 1) * SAMPLE_MOST, &shard, err) < 0)
		return -1;
	p->shard_end = p->options->count;
	return show_shard(p, shard.store, shard.name, url, shard.whole, err);
}

static int read_samples(struct preview *p, const char *what, struct error *err)
{
	cleanup_shard_path struct shard_path shard = SHARD_PATH_INIT;
	cleanup_free char *folder = dataset_folder(what);
	char quoted[TEXT_QUOTE_SIZE];

	if (http_fetch_is_url(what))
		return show_remote(p, what, err);
	find_sources(p, folder);
	if (!shard_format_of_file(what)) {
		if (!folder)
			return error_set(err, ERR_CONFIG,
					 "%s is neither a shard nor a dataset's folder, OUT/NAME",
					 text_quote(what, quoted));
		return show_dataset(p, folder, err);
	}
	if (shard_path_open(what, &shard, err) < 0)
		return -1;
	p->shard_end = p->options->count;
	return show_shard(p, shard.store, shard.name, what, true, err);
}

/* -- the sheet ----------------------------------------------------------------------------------- */

static int draw_cell(struct preview *p, struct contact_sheet *sheet, size_t i, struct error *err)
{
	struct cell *cell = &p->cells[i];
	char line[128], psnr[32] = "";

	if (!p->decoder && latent_colors_paint(p->colors, &cell->raw, &cell->decoded, err) < 0)
		return -1;
	if (cell->source.pixels && contact_sheet_picture(sheet, i, 0, &cell->source, err) < 0)
		return -1;
	if (contact_sheet_picture(sheet, i, 1, &cell->decoded, err) < 0)
		return -1;
	if (p->decoder && cell->source.pixels)
		snprintf(psnr, sizeof(psnr), "PSNR %.2f dB", cell->psnr);
	snprintf(line, sizeof(line), "%s%s%s", psnr, cell->why,
		 p->decoder	     ? ""
		 : p->colors->fitted ? ", approximate: no decoder"
				     : ", false colours: no decoder");
	contact_sheet_text(sheet, i, 0, cell->key);
	contact_sheet_text(sheet, i, 1, cell->about);
	contact_sheet_text(sheet, i, 2, *line == ',' ? line + 2 : line);
	return 0;
}

static int draw_sheet(struct preview *p, struct error *err)
{
	struct contact_sheet *sheet = NULL;
	int r;

	if (p->n == 0)
		return error_set(err, ERR_CONFIG, "%s holds no sample", p->options->words[0]);
	if (p->colors)
		latent_colors_fit(p->colors);
	r = contact_sheet_new(p->n, &sheet, err);
	for (size_t i = 0; r == 0 && i < p->n; i++)
		r = draw_cell(p, sheet, i, err);
	if (r == 0)
		r = picture_file_write(p->options->output, contact_sheet_image(sheet), err);
	if (r == 0)
		printf("%s: %zu latent%s%s\n", p->options->output, p->n, plural(p->n),
		       p->decoder
			   ? ""
			   : ", approximate: without --vae or --endpoint nothing is decoded");
	contact_sheet_free(sheet);
	return r;
}

static int preview(struct preview *p, struct error *err)
{
	const struct read_options *o = p->options;
	struct remote_vae_options endpoint;
	struct latent_decoder_options with;
	int r;

	if (picture_file_check(o->output, err) < 0 ||
	    latent_decoder_options_of(o, &endpoint, &with, err) < 0 ||
	    ((with.vae || with.endpoint) && latent_decoder_open(&with, &p->decoder, err) < 0))
		return -1;
	p->cells = xcalloc(o->count, sizeof(*p->cells));
	r = read_samples(p, o->words[0], err);
	if (r != 0)
		return r;
	return draw_sheet(p, err);
}

int cmd_preview(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "vae vae-options device output count fast private-hosts " READ_ENDPOINT, 1,
	    "preview SHARD|OUT/NAME|URL --out SHEET.png [-n 24] [--vae VAE|--endpoint URL] "
	    "[--device cuda] [--fast] [--private-hosts]"};
	struct read_options options = {.out = NULL};
	struct preview p = {.options = &options};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = preview(&p, err);
	for (size_t i = 0; i < p.n; i++)
		cell_release(&p.cells[i]);
	free(p.cells);
	free(p.colors);
	sources_known_release(&p.folders);
	sample_sources_close(p.sources);
	latent_decoder_close(p.decoder);
	return r;
}

/*
 * Reads every shard of an output again: the file's hashes against the catalog, each record against its own
 * JSON, each latent's frame, shape, hash and finiteness, and the samples against the catalog's rows. With --deep
 * what is damaged is put aside and queued again.
 */
#include "daemon/commands.h"
#include "daemon/dataset_splits.h"
#include "daemon/dataset_store.h"
#include "daemon/index.h"
#include "daemon/repair.h"
#include "daemon/verify_decode.h"

#include "storage/seal.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

struct names {
	char **items;
	size_t n, capacity;
};

struct verify {
	const struct opened_output *opened;
	bool deep;
	struct store *store;
	const struct queue_dataset *dataset;
	struct dataset_form form;     /* of what is rewritten */
	struct names objects, staged; /* shard files by name: visible, and about to be */
	struct shard_list shards;
	struct retired_list retired;
	/* of the shard being read */
	struct sample_list rows;
	size_t seen;
	/* totals */
	size_t samples, damaged, left, requeued, indexes;
	uint64_t bytes;
	struct error *err;
};

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct names *names = arg;

	(void)bytes;
	if (!shard_format_of_file(name))
		return 0;
	ARRAY_GROW(names->items, names->n, names->capacity);
	names->items[names->n++] = xstrdup(name);
	return 0;
}

static bool names_have(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++) {
		if (strcmp(names->items[i], name) == 0)
			return true;
	}
	return false;
}

static void names_release(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->items[i]);
	free(names->items);
}

/* The record against the catalog's row for that place, and against itself. */
static int on_record(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	struct verify *v = arg;
	const struct sample_row *row = v->seen < v->rows.n ? &v->rows.rows[v->seen] : NULL;

	v->seen++;
	if (!row || row->offset != span->offset || row->bytes != span->bytes)
		return error_data(err, "verify", "%s is not where the catalog says", record->key);
	return sample_check(record, row, v->dataset->recipe_id, err);
}

static int check_contents(struct verify *v, const struct shard_row *row, struct error *err)
{
	if (shard_check_file(v->store, row, err) < 0 ||
	    shard_read_stored(v->store, row->path, on_record, v, err) < 0)
		return -1;
	if (v->seen != row->samples || v->rows.n != row->samples)
		return error_data(err, "verify", "holds %zu sample%s, the catalog says %llu",
				  v->seen, plural(v->seen), (unsigned long long)row->samples);
	return 0;
}

static void on_note(void *arg, const char *line)
{
	const struct verify *v = arg;

	fprintf(stderr, "latentctl verify: %s: %s\n", v->dataset->name, line);
}

static struct replaced_options replaced_options_of(struct verify *v)
{
	return (struct replaced_options){.queue = v->opened->queue,
					 .store = v->store,
					 .dataset = v->dataset->id,
					 .note = on_note,
					 .arg = v};
}

/* 0, 1: nobody replaced it meanwhile, or -1. */
static int still_there(struct verify *v, const struct shard_row *row)
{
	cleanup_shard_list struct shard_list now = CATALOG_LIST_INIT;

	if (!v->opened->running)
		return 1;
	if (shard_list_read(v->opened->queue, v->dataset->id, &now, v->err) < 0)
		return -1;
	return shard_list_find(&now, row->path) != NULL;
}

/* What is gone, or not whole: its images are encoded again. What the disk does not give now, it may give later. */
static int repair(struct verify *v, const struct shard_row *row, const struct error *why)
{
	const struct replaced_options options = replaced_options_of(v);
	size_t n = 0;
	int r = REPAIR_LEFT;

	if (strcmp(why->reason, "missing") == 0)
		r = queue_drop_shard(options.queue, row->id, clock_wall_ms(), &n, v->err);
	else if (why->code != ERR_IO)
		r = repair_shard(&options, v->dataset->recipe_id, &v->form, row, &n, v->err);
	v->requeued += n;
	v->left += r == REPAIR_LEFT;
	return r < 0 ? -1 : 0;
}

/* A shard whose bytes the disk does not give is damaged too; the others are still read. */
static int on_damage(struct verify *v, const struct shard_row *row, const struct error *why)
{
	int there = still_there(v, row);

	if (why->code != ERR_DATA && why->code != ERR_IO) {
		*v->err = *why;
		return -1;
	}
	if (there <= 0)
		return there;
	if (strcmp(why->reason, "missing") == 0 && names_have(&v->staged, row->path)) {
		printf("%s/%s: its rewriting was cut off; the next encode completes it\n",
		       v->dataset->name, row->path);
		return 0;
	}
	v->damaged++;
	printf("%s/%s: %s\n", v->dataset->name, row->path, why->message);
	return v->deep ? repair(v, row, why) : 0;
}

static int check_shard(struct verify *v, const struct shard_row *row)
{
	struct error why = ERROR_INIT;
	int r = sample_list_read(v->opened->queue, row->id, &v->rows, v->err);

	v->seen = 0;
	if (r == 0 && check_contents(v, row, &why) < 0)
		r = on_damage(v, row, &why);
	v->samples += v->seen;
	v->bytes += row->bytes;
	sample_list_release(&v->rows);
	return r;
}

/* While a run is at work, a shard is visible for a moment before it has its row. */
static void report_unknown(const struct verify *v)
{
	if (v->opened->running)
		return;
	for (size_t i = 0; i < v->objects.n; i++) {
		const char *name = v->objects.items[i];

		if (retired_list_find(&v->retired, name))
			printf("%s/%s: replaced; the next encode takes it out of sight\n",
			       v->dataset->name, name);
		else if (!shard_list_find(&v->shards, name))
			printf("%s/%s: not in the catalog; the next encode adopts it\n",
			       v->dataset->name, name);
	}
}

static void on_index(void *arg, const char *name)
{
	struct verify *v = arg;

	v->indexes++;
	printf("%s/%s: not what catalog and shards say\n", v->dataset->name, name);
}

/* They are made from every shard, and again after each run. */
static int check_indexes(struct verify *v)
{
	if (v->damaged > 0 || v->opened->running)
		return 0;
	return index_check(v->opened->queue, v->dataset->id, v->opened->output.root, on_index, v,
			   v->err);
}

static int settle(struct verify *v)
{
	const struct replaced_options options = replaced_options_of(v);

	return v->deep ? replaced_settle(&options, v->err) : 0;
}

/* Lists the files first: what is published after that has its row by the time that rows are read. */
static int check_dataset(struct verify *v, const char *folder)
{
	cleanup_index_dataset struct index_dataset said = {.there = false};
	struct queue *queue = v->opened->queue;

	if (index_dataset_read(folder, &said, v->err) < 0)
		return -1;
	v->form = said.form;
	if (settle(v) < 0 || splits_list(v->store, on_object, &v->objects, v->err) < 0 ||
	    store_list_area(v->store, STORE_STAGED, on_object, &v->staged, v->err) < 0 ||
	    shard_list_read(queue, v->dataset->id, &v->shards, v->err) < 0 ||
	    retired_list_read(queue, v->dataset->id, &v->retired, v->err) < 0)
		return -1;
	report_unknown(v);
	for (size_t i = 0; i < v->shards.n; i++) {
		if (check_shard(v, &v->shards.rows[i]) < 0)
			return -1;
	}
	if (check_indexes(v) < 0)
		return -1;
	if (!v->deep)
		return 0;
	if (removed_list_write(queue, v->dataset->id, folder, v->err) < 0)
		return -1;
	if (v->left > 0) /* the indexes are made from every shard */
		return 0;
	return index_write_all(queue, v->dataset->id, v->opened->output.root, v->indexes > 0,
			       v->err);
}

static void verify_release(struct verify *v)
{
	sample_list_release(&v->rows);
	shard_list_release(&v->shards);
	retired_list_release(&v->retired);
	names_release(&v->objects);
	names_release(&v->staged);
	store_close(v->store);
}

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct verify *total = arg;
	struct verify v = {
	    .opened = total->opened, .deep = total->deep, .dataset = d, .err = total->err};
	cleanup_free char *folder = xasprintf("%s/%s", v.opened->output.root, d->name);
	char size[24];
	int r;

	r = folder_state(v.opened->queue, d->id, folder, v.err);
	if (r < 0 || r == FOLDER_NOT_YET)
		return r < 0 ? -1 : 0;
	if (r == FOLDER_LOST) {
		printf("%s: %s is not there\n", d->name, folder);
		total->damaged++;
		total->left++;
		return 0;
	}
	if (dataset_store_open(folder, !v.deep, &v.store, v.err) < 0)
		return -1;
	r = check_dataset(&v, folder);
	if (r == 0)
		printf("%s: %zu sample%s in %zu shard%s (%s) read and compared, %zu shard%s "
		       "damaged\n",
		       d->name, v.samples, plural(v.samples), v.shards.n, plural(v.shards.n),
		       text_bytes(v.bytes, size), v.damaged, plural(v.damaged));
	total->damaged += v.damaged;
	total->left += v.left;
	total->requeued += v.requeued;
	total->indexes += v.indexes;
	verify_release(&v);
	return r;
}

static void print_remedy(const struct verify *total)
{
	if (!total->deep)
		printf("delete or move away the shards named above, or let `latentctl verify "
		       "--deep` put them aside, and run the same encode again: it encodes their "
		       "images anew\n");
	else
		printf("%zu image%s will be encoded again by the next encode\n", total->requeued,
		       plural(total->requeued));
	if (total->left > 0 && total->deep)
		printf("%zu of these could not be read and were left as they are\n", total->left);
}

int cmd_verify(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "out name deep decode min-psnr private-hosts vae vae-options device " READ_ENDPOINT, 0,
	    "verify --out DIR [--name NAME] [--deep] [--decode N --vae VAE|--endpoint URL "
	    "[--device cuda] [--min-psnr DB] [--private-hosts]]"};
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	struct read_options options = {.out = NULL};
	struct verify total = {.opened = &opened, .err = err};
	size_t bad = 0;
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	if ((options.decode > 0) != (options.vae || options.endpoint))
		return error_set(err, ERR_CONFIG,
				 "--decode belongs together with --vae, the model that the latents "
				 "are of, or with --endpoint");
	total.deep = options.deep;
	r = options.deep ? opened_output_own("verify", options.out, &opened, err)
			 : opened_output_open(options.out, &opened, err);
	if (r != 0)
		return r;
	if (each_dataset(opened.queue, &opened.output, options.name, on_dataset, &total, err) < 0)
		return -1;
	if (total.indexes > 0)
		printf("%s\n", total.deep
				   ? "the indexes named above are made again"
				   : "`latentctl reindex` makes the indexes named above again");
	if (total.damaged > 0)
		print_remedy(&total);
	if (options.decode > 0 && verify_decode(&opened, &options, &bad, err) < 0) {
		if (total.damaged + total.indexes + bad == 0)
			return -1;
		fprintf(stderr, "latentctl verify: %s\n",
			err->message); /* what is damaged counts */
	}
	return total.damaged + total.indexes + bad > 0 ? EXIT_DAMAGED : EXIT_OK;
}

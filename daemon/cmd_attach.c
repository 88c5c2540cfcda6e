/*
 * Other arrays join the samples: shards that get some are rewritten, latents are copied byte for byte.
 */
#include "daemon/attachments.h"
#include "daemon/catalog.h"
#include "daemon/foreign_keys.h"
#include "daemon/maintenance.h"

#include "storage/seal.h"

#include "base/text.h"

#include <jansson.h>
#include <stdio.h>

struct attaching {
	const struct rewrite_options *base;
	struct attachments *arrays;
	size_t same, missing; /* live samples that have it already, or for which there is none */
	size_t attached, shards;
	bool left;  /* a shard could not be rewritten */
	bool unfit; /* a shard has no room for it */
};

static void pass_note(void *arg, const char *line)
{
	const struct attaching *a = arg;

	a->base->note(a->base->arg, line);
}

static int edit(void *arg, const struct sample_row *row, struct record *record, struct error *err)
{
	struct attaching *a = arg;

	if (!attachments_have(a->arrays, row->key))
		return 0;
	return attachments_put(a->arrays, row->key, record, err) < 0 ? -1 : 0;
}

/* *changes: samples of the shard that would get an array that they have not. */
static int compare(struct attaching *a, const struct shard_row *shard, size_t *changes,
		   struct error *err)
{
	cleanup_sample_list struct sample_list samples = CATALOG_LIST_INIT;

	if (sample_list_read(a->base->queue, shard->id, &samples, err) < 0)
		return -1;
	for (size_t i = 0; i < samples.n; i++) {
		const struct sample_row *row = &samples.rows[i];
		const struct shard_span span = {row->offset, row->bytes};
		cleanup_record struct record record = RECORD_INIT;
		int r;

		if (row->dead)
			continue;
		if (!attachments_have(a->arrays, row->key)) {
			a->missing++;
			continue;
		}
		if (shard_read_record(a->base->store, shard->path, &span, &record, err) < 0)
			return error_wrap(err, "%s", shard->path);
		r = attachments_put(a->arrays, row->key, &record, err);
		if (r < 0)
			return -1;
		*changes += r == ATTACHMENT_CHANGED;
		a->same += r == 0;
	}
	return 0;
}

static int attach_to_shard(struct attaching *a, struct rewriter *w, const struct shard_row *shard,
			   struct error *err)
{
	struct error why = ERROR_INIT;
	size_t changes = 0;
	int r;

	if (compare(a, shard, &changes, &why) < 0) {
		if (why.code != ERR_DATA) {
			*err = why;
			return -1;
		}
		a->left = true;
		pass_note(a, why.message);
		return 0;
	}
	if (changes == 0)
		return 0;
	r = rewrite_if_whole(w, shard, 1, err);
	if (r < 0)
		return -1;
	a->left = a->left || r == REWRITE_DAMAGED;
	a->unfit = a->unfit || r == REWRITE_UNFIT;
	a->attached += r == 0 ? changes : 0;
	a->shards += r == 0;
	return 0;
}

static int attach_to_all(struct attaching *a, struct error *err)
{
	struct rewrite_options options = *a->base;
	cleanup_shard_list struct shard_list shards = CATALOG_LIST_INIT;
	struct rewriter *w = NULL;
	int r;

	options.shard_samples = options.shard_bytes = 0;
	options.edit = edit;
	options.note = pass_note;
	options.arg = a;
	r = shard_list_read(options.queue, options.dataset, &shards, err);
	if (r == 0)
		r = rewriter_open(&options, &w, err);
	for (size_t i = 0; i < shards.n && r == 0; i++)
		r = attach_to_shard(a, w, &shards.rows[i], err);
	rewriter_close(w);
	return r;
}

static int attach(struct maintenance *m, struct error *err)
{
	const char *name = m->options->words[0];
	struct attaching a = {.base = m->rewrite};
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_foreign_keys struct foreign_keys foreign = FOREIGN_KEYS_INIT;
	int r;

	if (!attachment_name_valid(name))
		return error_set(err, ERR_CONFIG,
				 "%s is no name for arrays: up to %d of a-z, 0-9, _ and -",
				 text_quote(name, quoted), ATTACHMENT_NAME_MAX);
	r = attachments_open(name, m->options->words[1], &a.arrays, err);
	if (r == 0)
		r = foreign_keys_leave(m->rewrite->queue, m->dataset->id,
				       attachments_keys(a.arrays), &foreign, err);
	foreign_keys_say(&foreign, "attach", m->dataset->name);
	if (r == 0)
		r = attach_to_all(&a, err);
	if (r == 0) {
		printf("%s: %s %s %zu sample%s in %zu shard%s, %zu had it already",
		       m->dataset->name, name,
		       m->options->dry_run ? "would be attached to" : "attached to", a.attached,
		       plural(a.attached), a.shards, plural(a.shards), a.same);
		printf("; %zu sample%s not in %s\n", a.missing, a.missing == 1 ? " is" : "s are",
		       m->options->words[1]);
		m->ends = a.left				 ? EXIT_DAMAGED
			  : a.unfit || foreign.n + a.missing > 0 ? EXIT_QUARANTINED
								 : EXIT_OK;
	}
	attachments_close(a.arrays);
	return r;
}

int cmd_attach(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "out name dry-run", 2,
	    "attach NAME FILE.safetensors|DIR --out DIR [--name DATASET] [--dry-run]\n\n"
	    "Puts arrays beside the latents, as KEY.NAME.npy.zst: tensors by key of a .safetensors "
	    "file, or\n"
	    "KEY.npy below DIR. NAME is up to 11 of a-z, 0-9, _ and -."};

	return maintenance_run(argc, argv, &command, attach, err);
}

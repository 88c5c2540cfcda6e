/*
 * Brings a dataset into another form, without encoding.
 */
#include "daemon/maintenance.h"
#include "daemon/repack.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is not asked for stays; tars that were something else before are compressed as encode does it. */
static int choose_form(const struct maintenance *m, struct dataset_form *form, struct error *err)
{
	const struct read_options *o = m->options;
	const struct dataset_form *is = &m->form;
	const char *was = dataset_form_format(is)->name;
	struct output_options wanted = {.format = o->format ? o->format : was,
					.codec = is->codec,
					.shard_size = o->shard_size,
					.columns = o->columns};
	bool same = strcmp(wanted.format, was) == 0;

	if (!same)
		wanted.codec = OUTPUT_CODEC_ZSTD;
	if (o->codec && !dataset_form_parse_codec(o->codec, &wanted.codec))
		return error_set(err, ERR_BUG, "no codec %s", o->codec);
	if (o->codec && strcmp(wanted.format, "mds") == 0)
		return error_set(err, ERR_CONFIG,
				 "codecs are of format wds: mds compresses its "
				 "shards as a whole");
	if (same && !o->columns)
		wanted.columns = is->columns;
	return dataset_form_of(&wanted, form, err);
}

static void print_done(const struct maintenance *m, const struct repacked *done)
{
	const struct rewritten *s = &done->shards;
	bool dry_run = m->options->dry_run;
	char was[24], is[24];

	if (done->went_on)
		printf("%s: goes on where it was stopped\n", m->dataset->name);
	printf("%s: %zu shard%s (%s) %s into %zu (%s), %zu sample%s", m->dataset->name, s->retired,
	       plural(s->retired), text_bytes(s->retired_bytes, was),
	       dry_run ? "would be repacked" : "repacked", s->shards,
	       text_bytes(dry_run ? s->bytes : s->written, is), s->samples, plural(s->samples));
	if (done->kept > 0)
		printf("; %zu %s so already", done->kept, done->kept == 1 ? "is" : "are");
	printf("\n");
}

static void print_form(const struct maintenance *m, const struct dataset_form *form)
{
	cleanup_free char *other = dataset_form_difference(&m->form, form);

	if (!other || m->options->dry_run)
		return;
	printf("%s: from now on encode with --format %s", m->dataset->name,
	       dataset_form_format(form)->name);
	if (strcmp(dataset_form_format(form)->name, "wds") == 0)
		printf(" --codec %s", dataset_form_codec(form->codec));
	if (form->columns[0])
		printf(" --columns %s", form->columns);
	printf("\n");
}

static enum rewrite_order order_of(const char *name)
{
	if (!name)
		return REWRITE_KEEP;
	return strcmp(name, "scan") == 0 ? REWRITE_SCAN : REWRITE_SHUFFLED;
}

/* A run that ended before it had a shard has not said either which form the dataset has. */
static int without_form(const struct maintenance *m, struct error *err)
{
	cleanup_shard_list struct shard_list shards = CATALOG_LIST_INIT;

	if (shard_list_read(m->replaced.queue, m->dataset->id, &shards, err) < 0)
		return -1;
	if (shards.n == 0)
		return 0;
	return error_set(err, ERR_CONFIG,
			 "%s/.latentd/dataset.json is missing or damaged: latentctl reindex makes "
			 "it again",
			 m->folder);
}

static int on_dataset(struct maintenance *m, struct error *err)
{
	const struct read_options *o = m->options;
	struct repack_options options = {
	    .rewrite = *m->rewrite, .before = m->form, .folder = m->folder};
	struct repacked done;

	if (m->shared)
		return error_set(err, ERR_CONFIG,
				 "nodes share %s, and go on in the form that they began with: "
				 "`latentctl compact` merges its small shards, and another form or "
				 "order is for another output: `latentctl export %s --to wds`",
				 m->dataset->name, m->folder);
	if (!m->form.format)
		return without_form(m, err);
	if (choose_form(m, &options.rewrite.form, err) < 0)
		return -1;
	options.rewrite.order = order_of(o->order);
	options.rewrite.split = o->val != NULL;
	options.rewrite.val_share = o->val ? strtod(o->val, NULL) / 100 : 0;
	options.rewrite.even = true;
	if (repack(&options, &done, err) < 0)
		return -1;
	print_done(m, &done);
	print_form(m, &options.rewrite.form);
	if (done.damaged + done.unfit > 0)
		m->ends = done.damaged > 0 ? EXIT_DAMAGED : EXIT_QUARANTINED;
	return 0;
}

int cmd_repack(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {
	    "out name dry-run shard-samples shard-size format codec columns order val", 0,
	    "repack --out DIR [--name NAME] [--format F] [--codec C] [--columns LIST] "
	    "[--shard-samples N]\n"
	    "                        [--shard-size SIZE] [--order ORDER] [--val PERCENT] "
	    "[--dry-run]"};

	return maintenance_run(argc, argv, &command, on_dataset, err);
}

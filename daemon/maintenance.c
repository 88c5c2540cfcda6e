#include "daemon/maintenance.h"

#include "daemon/ctl_source.h"
#include "daemon/dataset_store.h"
#include "daemon/index.h"

#include "base/checked.h"
#include "base/files.h"

#include <stdio.h>

struct visit {
	const char *command;
	const struct read_options *options;
	const struct opened_output *opened;
	maintenance_fn fn;
	const char *dataset; /* name of the one it is at */
	struct error *err;
	int ends;
};

static void on_note(void *arg, const char *line)
{
	const struct visit *visit = arg;

	fprintf(stderr, "latentctl %s: %s: %s\n", visit->command, visit->dataset, line);
}

static int with_rewriter(struct visit *v, struct maintenance *m, struct error *err)
{
	const struct rewrite_options options = {.queue = m->replaced.queue,
						.store = m->replaced.store,
						.dataset = m->dataset->id,
						.recipe_id = m->dataset->recipe_id,
						.form = m->form,
						.shard_samples = v->options->shard_samples,
						.shard_bytes = v->options->shard_size,
						.dry_run = v->options->dry_run,
						.note = on_note,
						.arg = v};
	int r = options.dry_run ? 0 : replaced_settle(&m->replaced, err);

	m->rewrite = &options;
	if (r == 0)
		r = rewriter_open(&options, &m->rewriter, err);
	if (r == 0)
		r = v->fn(m, err);
	rewriter_close(m->rewriter);
	return r;
}

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct visit *v = arg;
	struct maintenance m = {
	    .options = v->options,
	    .dataset = d,
	    .replaced = {.queue = v->opened->queue, .dataset = d->id, .note = on_note, .arg = v}};
	cleanup_free char *folder = xasprintf("%s/%s", v->opened->output.root, d->name);
	cleanup_index_dataset struct index_dataset said = {.there = false};
	int r;

	v->dataset = d->name;
	m.folder = folder;
	r = folder_state(v->opened->queue, d->id, folder, v->err);

	if (r < 0 || r == FOLDER_NOT_YET)
		return r < 0 ? -1 : 0;
	if (r == FOLDER_LOST)
		return error_set(v->err, ERR_CONFIG, "%s is not there", folder);
	if (index_dataset_read(folder, &said, v->err) < 0)
		return -1;
	m.form = said.form;
	if (dataset_store_open(folder, v->options->dry_run, &m.replaced.store, v->err) < 0)
		return -1;
	r = with_rewriter(v, &m, v->err);
	if (r == 0 && !v->options->dry_run)
		r = removed_list_write(v->opened->queue, d->id, folder, v->err);
	if (r == 0 && !v->options->dry_run)
		r = index_write_all(v->opened->queue, d->id, v->opened->output.root, false, v->err);
	store_close(m.replaced.store);
	if (m.ends != EXIT_OK)
		v->ends = m.ends;
	return r;
}

/* 0, EXIT_BUSY or -1. */
static int open_output(const char *command, const struct read_options *options,
		       struct opened_output *opened, struct error *err)
{
	if (!options->dry_run)
		return opened_output_own(command, options->out, opened, err);
	if (opened_output_open(options->out, opened, err) < 0)
		return -1;
	if (!opened->running)
		return 0;
	return opened_output_busy(command, opened);
}

int maintenance_run(int argc, char **argv, const struct read_command *command, maintenance_fn fn,
		    struct error *err)
{
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	struct read_options options = {.out = NULL};
	struct visit visit = {
	    .command = argv[0], .options = &options, .opened = &opened, .fn = fn, .err = err};
	int r = read_options_parse(argc, argv, command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = open_output(argv[0], &options, &opened, err);
	if (r == 0)
		r = each_dataset(opened.queue, &opened.output, options.name, on_dataset, &visit,
				 err);
	return r != 0 ? r : visit.ends;
}

int maintenance_change(int argc, char **argv, const struct read_command *command, maintenance_fn fn,
		       maintenance_daemon_fn by_daemon, struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct read_options options = {.out = NULL};
	int r = read_options_parse(argc, argv, command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = ctl_source_open_daemon(&options, &source, err);
	if (r == 0)
		return by_daemon(source, &options, err);
	if (r < 0)
		return -1;
	error_clear(err);
	return maintenance_run(argc, argv, command, fn, err);
}

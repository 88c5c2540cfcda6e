#include "daemon/maintenance.h"

#include "daemon/ctl_source.h"
#include "daemon/dataset_store.h"
#include "daemon/index.h"
#include "daemon/shared_output.h"

#include "base/checked.h"
#include "base/files.h"

#include <stdio.h>

struct visit {
	const char *command;
	const struct read_options *options;
	struct queue *queue;
	const char *root; /* OUT */
	bool shared;
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
						.shared = v->shared,
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

static int work_on(struct visit *v, struct maintenance *m, struct error *err)
{
	bool changes = !v->options->dry_run;
	int r;

	if (dataset_store_open(m->folder, !changes, &m->replaced.store, err) < 0)
		return -1;
	r = with_rewriter(v, m, err);
	if (r == 0 && changes)
		r = removed_list_write(v->queue, m->dataset->id, m->folder, err);
	if (r == 0 && changes)
		r = index_write_all(v->queue, m->dataset->id, v->root, false, err);
	store_close(m->replaced.store);
	if (m->ends != EXIT_OK)
		v->ends = m->ends;
	return r;
}

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct visit *v = arg;
	struct maintenance m = {
	    .options = v->options,
	    .dataset = d,
	    .replaced = {.queue = v->queue, .dataset = d->id, .note = on_note, .arg = v},
	    .shared = v->shared};
	cleanup_free char *folder = xasprintf("%s/%s", v->root, d->name);
	cleanup_index_dataset struct index_dataset said = {.there = false};
	int r;

	v->dataset = d->name;
	m.folder = folder;
	r = folder_state(v->queue, d->id, folder, v->err);

	if (r < 0 || r == FOLDER_NOT_YET)
		return r < 0 ? -1 : 0;
	if (r == FOLDER_LOST)
		return error_set(v->err, ERR_CONFIG, "%s is not there", folder);
	if (index_dataset_read(folder, &said, v->err) < 0)
		return -1;
	m.form = said.form;
	return work_on(v, &m, v->err);
}

static int on_shared_dataset(void *arg, const struct queue_dataset *d, const char *root,
			     int64_t now)
{
	struct visit *v = arg;

	(void)now;
	v->root = root;
	return on_dataset(v, d);
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

static int run_own(struct visit *v, struct error *err)
{
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	int r = open_output(v->command, v->options, &opened, err);

	v->queue = opened.queue;
	v->root = opened.output.root;
	return r == 0 ? each_dataset(opened.queue, &opened.output, v->options->name, on_dataset, v,
				     err)
		      : r;
}

/* As run_own(). *none: nodes do not share it, and nothing was done. */
static int run_shared(struct visit *v, bool *none, struct error *err)
{
	cleanup_shared_output struct shared_output *shared = NULL;
	int r = shared_output_open(v->command, v->options, &shared, err);

	*none = r == SHARED_OUTPUT_NONE;
	if (r != 0)
		return r;
	v->queue = shared_output_queue(shared);
	v->shared = true;
	return shared_output_each(shared, on_shared_dataset, v, err);
}

int maintenance_run(int argc, char **argv, const struct read_command *command, maintenance_fn fn,
		    struct error *err)
{
	return maintenance_change(argc, argv, command, fn, NULL, true, err);
}

int maintenance_change(int argc, char **argv, const struct read_command *command, maintenance_fn fn,
		       maintenance_daemon_fn by_daemon, bool shared, struct error *err)
{
	cleanup_ctl_source struct ctl_source *source = NULL;
	struct read_options options = {.out = NULL};
	struct visit visit = {.command = argv[0], .options = &options, .fn = fn, .err = err};
	int r = read_options_parse(argc, argv, command, &options);
	bool own = true;

	if (r != 0)
		return read_options_exit(r);
	if (shared)
		r = run_shared(&visit, &own, err);
	if (own && by_daemon) {
		r = ctl_source_open_daemon(&options, &source, err);
		if (r <= 0)
			return r == 0 ? by_daemon(source, &options, err) : -1;
		error_clear(err);
	}
	if (own)
		r = run_own(&visit, err);
	return r != 0 ? r : visit.ends;
}

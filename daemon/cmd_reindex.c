#include "daemon/commands.h"
#include "daemon/dataset_store.h"
#include "daemon/index.h"
#include "daemon/replaced.h"

#include "base/checked.h"
#include "base/files.h"

#include <stdio.h>

struct reindex {
	const struct opened_output *opened;
	const struct queue_dataset *dataset; /* the one it is at */
	struct error *err;
};

static void on_note(void *arg, const char *line)
{
	const struct reindex *x = arg;

	fprintf(stderr, "latentctl reindex: %s: %s\n", x->dataset->name, line);
}

/* A rewrite that was cut off has shards in the catalog that are not in sight yet. */
static int settle(struct reindex *x, const char *folder)
{
	struct replaced_options options = {
	    .queue = x->opened->queue, .dataset = x->dataset->id, .note = on_note, .arg = x};
	int r;

	if (dataset_store_open(folder, false, &options.store, x->err) < 0)
		return -1;
	r = replaced_settle(&options, x->err);
	store_close(options.store);
	return r;
}

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct reindex *x = arg;
	const char *root = x->opened->output.root;
	cleanup_free char *folder = xasprintf("%s/%s", root, d->name);
	int r = folder_state(x->opened->queue, d->id, folder, x->err);

	if (r < 0 || r == FOLDER_NOT_YET)
		return r < 0 ? -1 : 0;
	if (r == FOLDER_LOST) {
		printf("%s: %s is not there\n", d->name, folder);
		return 0;
	}
	x->dataset = d;
	if (settle(x, folder) < 0 ||
	    index_write_all(x->opened->queue, d->id, root, true, x->err) < 0)
		return -1;
	printf("%s: indexes are up to date\n", d->name);
	return 0;
}

int cmd_reindex(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {"out name", 0,
						    "reindex --out DIR [--name NAME]"};
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	struct read_options options = {.out = NULL};
	struct reindex x = {.opened = &opened, .err = err};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = opened_output_own("reindex", options.out, &opened, err);
	return r != 0
		   ? r
		   : each_dataset(opened.queue, &opened.output, options.name, on_dataset, &x, err);
}

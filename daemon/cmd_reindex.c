#include "daemon/commands.h"
#include "daemon/index.h"

#include "base/checked.h"
#include "base/files.h"

#include <stdio.h>

struct reindex {
	const struct output *output;
	struct queue *queue;
	struct error *err;
};

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	const struct reindex *x = arg;
	cleanup_free char *folder = xasprintf("%s/%s", x->output->root, d->name);

	if (!file_exists(folder)) {
		printf("%s: %s is not there\n", d->name, folder);
		return 0;
	}
	if (index_write_all(x->queue, d->id, x->output->root, true, x->err) < 0)
		return -1;
	printf("%s: indexes are up to date\n", d->name);
	return 0;
}

int cmd_reindex(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {"out name", 0,
						    "reindex --out DIR [--name NAME]"};
	cleanup_free char *path = NULL;
	cleanup_queue struct queue *queue = NULL;
	struct output found = OUTPUT_INIT, output = OUTPUT_INIT;
	struct read_options options = {.out = NULL};
	struct reindex x = {.output = &output, .err = err};
	bool running = false;
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	if (output_find_queue(options.out, &found, &running, &path, err) < 0)
		return -1;
	r = output_open(options.out, found.state, &output, err);
	if (r == OUTPUT_BUSY) {
		fprintf(stderr, "latentctl reindex: %s\n", output.owner);
		r = EXIT_BUSY;
	} else if (r == 0) {
		r = queue_sqlite_open_readonly(path, &queue, err);
		x.queue = queue;
		if (r == 0)
			r = each_dataset(queue, &output, options.name, on_dataset, &x, err);
	}
	output_close(&found);
	output_close(&output);
	return r;
}

#include "daemon/commands.h"

#include "base/checked.h"
#include "base/clock.h"

#include <stdio.h>

struct retry {
	struct queue *queue;
	const char *reason;
	struct error *err;
};

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	const struct retry *retry = arg;
	size_t n = 0;

	if (queue_retry(retry->queue, d->id, JOB_QUARANTINED, retry->reason, clock_wall_ms(), &n,
			retry->err) < 0)
		return -1;
	printf("%s: %zu image%s will be tried again by the next encode\n", d->name, n, plural(n));
	return 0;
}

/* Takes the locks of exactly the output and state that were found; makes neither. */
static int open_found(const char *out, struct output *output, char **path, struct error *err)
{
	struct output found = OUTPUT_INIT;
	bool running = false;
	int r = output_peek(out, &found, &running, err);

	if (r == 0 && running) { /* its queue may not even be there yet */
		*output = found;
		return OUTPUT_BUSY;
	}
	output_close(&found);
	if (r < 0 || output_find_queue(out, &found, &running, path, err) < 0)
		return -1;
	r = output_open(out, found.state, output, err);
	output_close(&found);
	return r;
}

int cmd_retry(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {"out name reason", 0,
						    "retry --out DIR [--name NAME] [--reason R]"};
	cleanup_free char *path = NULL;
	struct output output = OUTPUT_INIT;
	struct read_options options = {.out = NULL};
	struct retry retry = {.err = err};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = open_found(options.out, &output, &path, err);
	if (r == OUTPUT_BUSY) {
		fprintf(stderr, "latentctl retry: %s\n", output.owner);
		r = EXIT_BUSY;
	} else if (r == 0) {
		r = queue_sqlite_open(path, &retry.queue, err);
		if (r == 0) {
			retry.reason = options.reason;
			r = each_dataset(retry.queue, options.name, on_dataset, &retry, err);
		}
		queue_close(retry.queue);
	}
	output_close(&output);
	return r;
}

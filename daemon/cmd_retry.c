#include "config/read_options.h"
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

	if (queue_retry(retry->queue, d->id, retry->reason, clock_wall_ms(), &n, retry->err) < 0)
		return -1;
	printf("%s: %zu images will be tried again by the next encode\n", d->name, n);
	return 0;
}

int cmd_retry(int argc, char **argv, struct error *err)
{
	cleanup_free const char **words = xcalloc((size_t)argc, sizeof(*words));
	struct queue *queue = NULL;
	cleanup_free char *path = NULL;
	struct output output = OUTPUT_INIT, peeked = OUTPUT_INIT;
	struct read_options options = {.out = NULL};
	struct retry retry = {.err = err};
	bool running = false;
	size_t n = 0;
	int code, r;

	if (read_options_parse(argc, argv, "out name reason",
			       "retry --out DIR [--name NAME] [--reason R]", &options, words, &n,
			       &code))
		return code;
	/* Looked at first: output_open would make an output where there is none. */
	if (output_peek(options.out, &peeked, &running, err) < 0)
		return -1;
	output_close(&peeked);
	r = output_open(options.out, NULL, &output, err);
	if (r == OUTPUT_BUSY) {
		fprintf(stderr, "latentctl retry: %s\n", output.owner);
		output_close(&output);
		return EXIT_BUSY;
	}
	if (r == 0) {
		path = xasprintf("%s/queue.db", output.state);
		r = queue_sqlite_open(path, &queue, err);
	}
	if (r == 0) {
		retry.queue = queue;
		retry.reason = options.reason;
		r = each_dataset(queue, options.name, on_dataset, &retry, err);
	}
	queue_close(queue);
	output_close(&output);
	return r;
}

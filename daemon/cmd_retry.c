#include "daemon/commands.h"

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
	const struct job_filter which = {
	    .dataset = d->id, .state = JOB_QUARANTINED, .reason = retry->reason};
	size_t n = 0;

	if (queue_retry(retry->queue, &which, clock_wall_ms(), &n, retry->err) < 0)
		return -1;
	printf("%s: %zu image%s will be tried again by the next encode\n", d->name, n, plural(n));
	return 0;
}

int cmd_retry(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {"out name reason", 0,
						    "retry --out DIR [--name NAME] [--reason R]"};
	cleanup_opened_output struct opened_output opened = OPENED_OUTPUT_INIT;
	struct read_options options = {.out = NULL};
	struct retry retry = {.err = err};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	r = opened_output_own("retry", options.out, &opened, err);
	if (r != 0)
		return r;
	retry.queue = opened.queue;
	retry.reason = options.reason;
	return each_dataset(opened.queue, options.name, on_dataset, &retry, err);
}

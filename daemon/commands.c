#include "daemon/commands.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include "daemon/ctl_source.h"
#include "daemon/state_queue.h"

#include <stdio.h>
#include <string.h>

int read_options_exit(int outcome)
{
	return outcome == READ_OPTIONS_HELP ? EXIT_OK : EXIT_USAGE;
}

int ctl_ended(const char *command, int r, struct error *err)
{
	if (r != CTL_NO_DAEMON)
		return r;
	fprintf(stderr, "latentctl %s: %s\n", command, err->message);
	return EXIT_NO_DAEMON;
}

int output_find_queue(const char *out, struct output *output, bool *running, struct error *err)
{
	struct output peeked = OUTPUT_INIT;

	if (output_peek(out, &peeked, running, err) < 0)
		return -1;
	if (!state_queue_exists(peeked.state)) {
		if (*running) /* it has only just begun */
			error_set(err, ERR_CONFIG, "%s, which has no queue yet", peeked.owner);
		else
			error_set(
			    err, ERR_CONFIG,
			    "%s names %s as its state folder, which has no queue (another host?)",
			    peeked.root, peeked.state);
		output_close(&peeked);
		return -1;
	}
	*output = peeked;
	return 0;
}

int opened_output_open(const char *out, struct opened_output *o, struct error *err)
{
	struct opened_output opened = OPENED_OUTPUT_INIT;

	if (output_find_queue(out, &opened.output, &opened.running, err) < 0)
		return -1;
	if (state_queue_open_readonly(opened.output.state, &opened.queue, err) < 0) {
		opened_output_close(&opened);
		return -1;
	}
	*o = opened;
	return 0;
}

/* Makes neither output nor state. 0, OUTPUT_BUSY or -1. */
static int lock_found(const char *out, struct output *output, struct error *err)
{
	struct output found = OUTPUT_INIT;
	bool running = false;
	int r = output_peek(out, &found, &running, err);

	if (r == 0 && running) { /* its queue may not even be there yet */
		*output = found;
		return OUTPUT_BUSY;
	}
	output_close(&found);
	if (r < 0 || output_find_queue(out, &found, &running, err) < 0)
		return -1;
	r = output_open(out, found.state, output, err);
	output_close(&found);
	return r;
}

int opened_output_busy(const char *command, const struct opened_output *o)
{
	fprintf(stderr,
		"latentctl %s: %s: again when that has ended, because one process at a time "
		"changes shards\n",
		command, o->output.owner);
	return EXIT_BUSY;
}

int opened_output_own(const char *command, const char *out, struct opened_output *o,
		      struct error *err)
{
	struct opened_output opened = OPENED_OUTPUT_INIT;
	int r = lock_found(out, &opened.output, err);

	if (r == OUTPUT_BUSY) {
		r = opened_output_busy(command, &opened);
	} else if (r == 0) {
		r = state_queue_open(opened.output.state, &opened.queue, err);
	}
	if (r != 0)
		opened_output_close(&opened);
	else
		*o = opened;
	return r;
}

void opened_output_close(struct opened_output *o)
{
	queue_close(o->queue);
	output_close(&o->output);
	o->queue = NULL;
}

/* Collected first, because a row callback must not call the queue. */
struct datasets {
	const struct output *output;
	const char *name;
	struct queue_dataset *items;
	size_t n, capacity;
};

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct datasets *list = arg;

	if (list->name && strcmp(list->name, d->name) != 0)
		return 0;
	if (list->output && !output_has_dataset(list->output, d->name, d->output))
		return 0;
	ARRAY_GROW(list->items, list->n, list->capacity);
	list->items[list->n++] =
	    (struct queue_dataset){d->id, xstrdup(d->name), xstrdup(d->output),
				   xstrdup(d->recipe_id), xstrdup(d->recipe_json)};
	return 0;
}

int each_dataset(struct queue *queue, const struct output *output, const char *name,
		 queue_dataset_fn fn, void *arg, struct error *err)
{
	struct datasets list = {.output = output, .name = name};
	int r = queue_datasets(queue, on_dataset, &list, err);

	if (r == 0 && list.n == 0)
		r = error_set(err, ERR_CONFIG, name ? "there is no dataset %s here" : "%s",
			      name ? name : "there is no dataset here yet");
	for (size_t i = 0; i < list.n; i++) {
		if (r == 0)
			r = fn(arg, &list.items[i]);
		queue_dataset_release(&list.items[i]);
	}
	free(list.items);
	return r;
}

int shard_failed(const char *command, const char *path, const struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	/* These are the store's own errors, which name the file. */
	if (err->code != ERR_DATA || strcmp(err->reason, "missing") == 0)
		return -1;
	fprintf(stderr, "latentctl %s: %s: %s\n", command, text_quote(path, quoted), err->message);
	return EXIT_DAMAGED;
}

const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

#include "daemon/commands.h"

#include "base/checked.h"
#include "base/files.h"

#include <string.h>

int opened_output_open(const char *out, struct opened_output *o, struct error *err)
{
	cleanup_free char *path = NULL;
	struct opened_output opened = OPENED_OUTPUT_INIT;

	if (output_peek(out, &opened.output, &opened.running, err) < 0)
		return -1;
	path = xasprintf("%s/queue.db", opened.output.state);
	if (!file_exists(path)) {
		error_set(err, ERR_CONFIG,
			  "%s names %s as its state folder, which has no queue (another host?)",
			  opened.output.root, opened.output.state);
		opened_output_close(&opened);
		return -1;
	}
	if (queue_sqlite_open_readonly(path, &opened.queue, err) < 0) {
		opened_output_close(&opened);
		return -1;
	}
	*o = opened;
	return 0;
}

void opened_output_close(struct opened_output *o)
{
	queue_close(o->queue);
	output_close(&o->output);
	o->queue = NULL;
}

/* Collected first, because a row callback must not call the queue. */
struct datasets {
	const char *name;
	struct queue_dataset *items;
	size_t n, capacity;
};

static int on_dataset(void *arg, const struct queue_dataset *d)
{
	struct datasets *list = arg;

	if (list->name && strcmp(list->name, d->name) != 0)
		return 0;
	ARRAY_GROW(list->items, list->n, list->capacity);
	list->items[list->n++] =
	    (struct queue_dataset){d->id, xstrdup(d->name), xstrdup(d->output),
				   xstrdup(d->recipe_id), xstrdup(d->recipe_json)};
	return 0;
}

int each_dataset(struct queue *queue, const char *name, queue_dataset_fn fn, void *arg,
		 struct error *err)
{
	struct datasets list = {.name = name};
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

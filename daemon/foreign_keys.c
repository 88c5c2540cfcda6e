#include "daemon/foreign_keys.h"

#include "daemon/commands.h"

#include "source/source_path.h"

#include "base/checked.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>

enum { NAMED = 3 };

static int on_key(void *arg, const struct job_row *row)
{
	(void)row;
	*(bool *)arg = true;
	return 0;
}

/* What is under no key, looked for under the paths of images. */
struct by_path {
	json_t *unknown, *list;
	json_t *met; /* the members of unknown that an image has */
};

static int on_image(void *arg, const struct job_row *row)
{
	struct by_path *b = arg;
	cleanup_free char *stem = xasprintf("%.*s", (int)source_path_stem(row->path), row->path);
	json_t *value = json_object_get(b->unknown, stem);

	if (value && !json_object_get(b->list, row->key)) {
		json_object_set(b->list, row->key, value);
		json_object_set_new_nocheck(b->met, stem, json_true());
	}
	return 0;
}

/* One look at all images, as there is no index of their paths. */
static int find_paths(struct queue *queue, int64_t dataset, struct by_path *b, struct error *err)
{
	const char *stem;
	json_t *unused;

	for (int state = 0; state < JOB_STATES; state++) {
		const struct job_filter which = {.dataset = dataset,
						 .state = (enum job_state)state};

		if (queue_jobs(queue, &which, on_image, b, err) < 0)
			return -1;
	}
	json_object_foreach(b->met, stem, unused) json_object_del(b->unknown, stem);
	return 0;
}

/* Moves what is under no key of the dataset. */
static int take_unknown(struct queue *queue, int64_t dataset, json_t *list, json_t *unknown,
			struct error *err)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(list, next, key, value)
	{
		const struct job_filter which = {.dataset = dataset, .key = key};
		bool known = false;

		if (queue_jobs(queue, &which, on_key, &known, err) < 0)
			return -1;
		if (known)
			continue;
		json_object_set_nocheck(unknown, key, value);
		json_object_del(list, key);
	}
	return 0;
}

int foreign_keys_leave(struct queue *queue, int64_t dataset, json_t *list,
		       struct foreign_keys *foreign, struct error *err)
{
	struct by_path b = {.unknown = json_object(), .list = list, .met = json_object()};
	char quoted[TEXT_QUOTE_SIZE];
	const char *key;
	json_t *unused;
	int r = take_unknown(queue, dataset, list, b.unknown, err);

	if (r == 0 && json_object_size(b.unknown) > 0)
		r = find_paths(queue, dataset, &b, err);
	json_object_foreach(b.unknown, key, unused)
	{
		if (foreign->n++ < NAMED)
			buffer_appendf(&foreign->names, " %s", text_quote(key, quoted));
	}
	json_decref(b.unknown);
	json_decref(b.met);
	return r;
}

char *foreign_keys_line(const struct foreign_keys *foreign, const char *dataset)
{
	if (foreign->n == 0)
		return NULL;
	return xasprintf("%zu key%s that %s does not have:%s%s", foreign->n, plural(foreign->n),
			 dataset, (const char *)foreign->names.data,
			 foreign->n > NAMED ? " ..." : "");
}

void foreign_keys_say(const struct foreign_keys *foreign, const char *command, const char *dataset)
{
	cleanup_free char *line = foreign_keys_line(foreign, dataset);

	if (line)
		fprintf(stderr, "latentctl %s: %s\n", command, line);
}

void foreign_keys_release(struct foreign_keys *foreign)
{
	buffer_release(&foreign->names);
}

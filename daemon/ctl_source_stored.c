/*
 * What a daemon would answer, from the database of one that does not run.
 */
#include "daemon/ctl_source_parts.h"

#include "base/checked.h"
#include "base/files.h"

#include "daemon/api_lists.h"
#include "daemon/commands.h"
#include "daemon/state_queue.h"
#include "daemon/status_json.h"

#include <jansson.h>
#include <string.h>

struct stored {
	struct service_dataset *items;
	size_t n, capacity;
};

static int on_stored(void *arg, const struct queue_dataset *d)
{
	struct stored *list = arg;

	ARRAY_GROW(list->items, list->n, list->capacity);
	list->items[list->n++] = (struct service_dataset){.name = xstrdup(d->name),
							  .output = xstrdup(d->output),
							  .recipe_id = xstrdup(d->recipe_id),
							  .queue_id = d->id};
	return 0;
}

static void stored_release(struct stored *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->items[i].name);
		free(list->items[i].output);
		free(list->items[i].state_folder);
		free(list->items[i].recipe_id);
	}
	free(list->items);
}

#define cleanup_stored cleanup_with(stored_release)

/* Every dataset of the state, with its counts. */
static int read_stored(const struct ctl_source *s, struct stored *list, struct error *err)
{
	cleanup_queue struct queue *queue = NULL;

	if (!state_queue_exists(s->state))
		return error_set(err, ERR_CONFIG, "%s: %s, which has no queue%s",
				 s->root ? s->root : s->state, s->state,
				 s->busy ? " yet" : " (another host?)");
	if (state_queue_open_readonly(s->state, &queue, err) < 0 ||
	    queue_datasets(queue, on_stored, list, err) < 0)
		return -1;
	for (size_t i = 0; i < list->n; i++) {
		struct service_dataset *d = &list->items[i];

		d->state_folder = xstrdup(s->state);
		if (queue_counts(queue, d->queue_id, &d->counts, err) < 0)
			return -1;
	}
	return 0;
}

/* Where a dataset lies now: an output may have been moved since its row was made. */
static void use_present_output(const struct ctl_source *s, struct service_dataset *d)
{
	cleanup_free char *here = s->root ? xasprintf("%s/%s", s->root, d->name) : NULL;

	if (here && file_exists(here)) {
		free(d->output);
		d->output = TAKE(here);
	}
}

static bool path_lies_in(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && path[n] == '/';
}

int ctl_source_stored_status(const struct ctl_source *s, json_t **out, struct error *err)
{
	cleanup_stored struct stored list = {.n = 0};
	json_t *root, *datasets;

	if (read_stored(s, &list, err) < 0)
		return -1;
	root = json_object();
	datasets = json_array();
	for (size_t i = 0; i < list.n; i++) {
		use_present_output(s, &list.items[i]);
		/* The state of a daemon has the datasets of its other outputs, too. */
		if (s->root && !path_lies_in(list.items[i].output, s->root))
			continue;
		json_array_append_new(datasets, status_json_dataset(&list.items[i], false));
	}
	json_object_set_new(root, "datasets", datasets);
	*out = root;
	return 0;
}

static const struct {
	const char *name, *takes;
	api_list_fn list;
} lists[] = {{"jobs", "state reason key after limit", api_list_jobs},
	     {"failures", "", api_list_failures},
	     {"dupes", "after limit", api_list_dupes}};

static api_list_fn find_list(const char *what, const char **takes)
{
	size_t n = strcspn(what, "?");

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		if (strlen(lists[i].name) == n && strncmp(lists[i].name, what, n) == 0) {
			*takes = lists[i].takes;
			return lists[i].list;
		}
	}
	return NULL;
}

static const struct service_dataset *find_stored(const struct stored *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++) {
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	}
	return NULL;
}

/* @what as it would be asked of the API: "jobs?state=skipped". */
int ctl_source_stored_list(const struct ctl_source *s, const char *dataset, const char *what,
			   json_t **out, struct error *err)
{
	cleanup_stored struct stored list = {.n = 0};
	cleanup_params struct api_params params = API_PARAMS_INIT;
	const struct service_dataset *d;
	const char *takes = "";
	api_list_fn fn = find_list(what, &takes);

	if (!fn)
		return error_set(err, ERR_BUG, "there is no list %s", what);
	if (read_stored(s, &list, err) < 0 || api_params_query(what, takes, &params, err) < 0)
		return -1;
	d = find_stored(&list, dataset);
	if (!d)
		return error_set(err, ERR_CONFIG, "there is no dataset %s here", dataset);
	return fn(d, &params, out, err);
}

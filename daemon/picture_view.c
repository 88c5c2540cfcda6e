#include "daemon/picture_view.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "daemon/api_lists.h"
#include "daemon/state_queue.h"

#include <stdlib.h>
#include <string.h>

static int on_dataset(void *arg, const struct queue_dataset *row)
{
	struct picture_view *v = arg;

	if (row->id == v->dataset->queue_id)
		v->recipe_json = xstrdup(row->recipe_json);
	return v->recipe_json != NULL;
}

int picture_view_open(struct picture_view *v, struct api_turn *turn,
		      const struct service_dataset *dataset, struct error *err)
{
	*v = (struct picture_view){.turn = turn, .dataset = dataset};
	if (state_queue_open_readonly(dataset->state_folder, &v->queue, err) < 0 ||
	    queue_datasets(v->queue, on_dataset, v, err) < 0)
		return -1;
	if (!v->recipe_json)
		return error_set(err, ERR_CONFIG, "this dataset is not in the database");
	api_lists_sources(dataset, &v->folders);
	return 0;
}

int picture_view_sources(struct picture_view *v, size_t pixels, struct error *err)
{
	if (sample_sources_open(v->recipe_json, pixels, &v->sources, err) < 0)
		return -1;
	sample_sources_stop(v->sources, api_turn_is_over, v->turn);
	return 0;
}

/* Sources are remembered by their real paths. */
void picture_view_root(struct picture_view *v, uint32_t root)
{
	const char *known = sources_known_source(&v->folders, root);
	struct source_remote_options remote = {.connections = 0};
	enum source_links links = LINKS_FILES;

	for (size_t i = 0; i < v->dataset->n_sources; i++) {
		const struct service_source *source = &v->dataset->sources[i];
		cleanup_free char *path = sources_real_path(source->path);

		if (!path || !known || strcmp(path, known) != 0)
			continue;
		remote = sources_remote(&source->fetch);
		links = sources_links(source->symlinks);
	}
	sample_sources_fetch(v->sources, &remote);
	sample_sources_follow(v->sources, links);
}

void picture_view_close(struct picture_view *v)
{
	sample_sources_close(v->sources);
	sources_known_release(&v->folders);
	free(v->recipe_json);
	queue_close(v->queue);
}

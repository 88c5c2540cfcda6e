/*
 * The catalog has shards by path. To find the newest all are looked at, which are thousands where images are millions; no
 * more are kept than are asked for.
 */
#include "daemon/api_shards.h"

#include "base/checked.h"

#include "daemon/json_text.h"
#include "daemon/state_queue.h"

#include <jansson.h>
#include <string.h>

struct shard {
	struct shard_row row; /* its strings are these */
	char *path, *format, *group;
};

struct newest {
	struct shard *shards; /* @limit of them, newest first */
	size_t n, limit;
};

static bool is_newer(const struct shard_row *a, const struct shard_row *b)
{
	return a->sealed_at != b->sealed_at ? a->sealed_at > b->sealed_at : a->id > b->id;
}

static void shard_release(struct shard *s)
{
	free(s->path);
	free(s->format);
	free(s->group);
}

static int on_shard(void *arg, const struct shard_row *row)
{
	struct newest *newest = arg;
	size_t at = newest->n;

	while (at > 0 && is_newer(row, &newest->shards[at - 1].row))
		at--;
	if (at == newest->limit)
		return 0;
	if (newest->n == newest->limit)
		shard_release(&newest->shards[--newest->n]);
	memmove(&newest->shards[at + 1], &newest->shards[at],
		(newest->n++ - at) * sizeof(*newest->shards));
	newest->shards[at] =
	    (struct shard){*row, xstrdup(row->path), xstrdup(row->format), xstrdup(row->group)};
	return 0;
}

static int find_newest(struct queue *queue, int64_t dataset, size_t limit, struct newest *out,
		       struct error *err)
{
	*out = (struct newest){.shards = xcalloc(limit, sizeof(*out->shards)), .limit = limit};
	return queue_shards(queue, dataset, on_shard, out, err);
}

static void newest_release(struct newest *newest)
{
	for (size_t i = 0; i < newest->n; i++)
		shard_release(&newest->shards[i]);
	free(newest->shards);
}

/* -- shards ------------------------------------------------------------------------------------------ */

static const char *state_of(const struct shard_row *row)
{
	return row->dead == 0 ? "whole" : row->dead < row->samples ? "partly_replaced" : "replaced";
}

static json_t *shard_json(const struct shard *shard)
{
	const struct shard_row *row = &shard->row;
	json_t *o = json_object();

	json_object_set_new(o, "id", json_integer(row->id));
	json_object_set_new(o, "path", json_path(shard->path));
	json_object_set_new(o, "format", json_clean(shard->format));
	json_object_set_new(o, "group", json_clean(shard->group));
	json_object_set_new(o, "state", json_string(state_of(row)));
	json_object_set_new(o, "bytes", json_count(row->bytes));
	json_object_set_new(o, "samples", json_count(row->samples));
	json_object_set_new(o, "replaced", json_count(row->dead));
	json_object_set_new(o, "sealed_at", json_integer(row->sealed_at));
	return o;
}

int api_list_shards(const struct service_dataset *dataset, const struct api_params *params,
		    json_t **out, struct error *err)
{
	cleanup_queue struct queue *queue = NULL;
	struct newest newest;
	json_t *body, *list;
	int r;

	if (state_queue_open_readonly(dataset->state_folder, &queue, err) < 0)
		return -1;
	r = find_newest(queue, dataset->queue_id, params->limit, &newest, err);
	if (r == 0) {
		body = json_object();
		list = json_array();
		for (size_t i = 0; i < newest.n; i++)
			json_array_append_new(list, shard_json(&newest.shards[i]));
		json_object_set_new(body, "shards", list);
		*out = body;
	}
	newest_release(&newest);
	return r;
}

/* -- samples ----------------------------------------------------------------------------------------- */

struct samples {
	const struct shard *shard;
	json_t *list;
	size_t limit;
};

static int on_sample(void *arg, const struct sample_row *row)
{
	struct samples *samples = arg;
	json_t *o;

	if (row->dead || row->variant != 0)
		return 0;
	o = json_object();
	json_object_set_new(o, "key", json_clean(row->key));
	json_object_set_new(o, "source", json_path(row->path));
	json_object_set_new(o, "shard", json_integer(samples->shard->row.id));
	json_object_set_new(o, "path", json_path(samples->shard->path));
	json_object_set_new(o, "offset", json_count(row->offset));
	json_object_set_new(o, "bytes", json_count(row->bytes));
	json_object_set_new(o, "group", json_clean(samples->shard->group));
	json_array_append_new(samples->list, o);
	return json_array_size(samples->list) == samples->limit;
}

int api_list_samples(const struct service_dataset *dataset, const struct api_params *params,
		     json_t **out, struct error *err)
{
	cleanup_queue struct queue *queue = NULL;
	struct samples samples = {.limit = params->limit};
	struct newest newest;
	json_t *body;
	int r;

	if (state_queue_open_readonly(dataset->state_folder, &queue, err) < 0)
		return -1;
	samples.list = json_array();
	r = find_newest(queue, dataset->queue_id, params->limit, &newest, err);
	for (size_t i = 0; r == 0 && i < newest.n && json_array_size(samples.list) < params->limit;
	     i++) {
		samples.shard = &newest.shards[i];
		r = queue_samples(queue, samples.shard->row.id, on_sample, &samples, err);
	}
	newest_release(&newest);
	if (r < 0) {
		json_decref(samples.list);
		return -1;
	}
	body = json_object();
	json_object_set_new(body, "samples", samples.list);
	*out = body;
	return 0;
}

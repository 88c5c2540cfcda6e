#include "daemon/api_lists.h"

#include "base/checked.h"
#include "base/hash.h"

#include "daemon/json_text.h"
#include "daemon/sources.h"
#include "daemon/state_queue.h"
#include "source/source_path.h"

#include <jansson.h>
#include <string.h>

void api_lists_sources(const struct service_dataset *dataset, struct sources_known *out)
{
	sources_known_read(dataset->state_folder, dataset->name, out);
}

/* Where a file is, or was when its folder was last scanned; null where nobody knows. */
static json_t *file_json(const struct sources_known *sources, uint32_t root, const char *path)
{
	const char *folder = sources_known_path(sources, root);
	cleanup_free char *whole = folder ? xasprintf("%s/%s", folder, path) : NULL;

	return json_path(source_path_is_url(path) ? path : whole);
}

/* -- jobs ----------------------------------------------------------------------------------------- */

struct job_page {
	const struct api_params *params;
	const struct sources_known *sources;
	json_t *jobs;
	size_t rows;
	int64_t last; /* of a full page: where the next begins */
};

static json_t *job_json(const struct sources_known *sources, const struct job_row *row)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", json_integer(row->id));
	json_object_set_new(o, "key", json_clean(row->key));
	json_object_set_new(o, "source", json_path(row->path));
	json_object_set_new(o, "path", file_json(sources, row->root, row->path));
	json_object_set_new(o, "size", json_count(row->size));
	json_object_set_new(o, "state", json_string(job_state_name(row->state)));
	json_object_set_new(o, "reason", json_clean(row->reason));
	json_object_set_new(o, "message", json_clean(row->message));
	json_object_set_new(o, "attempts", json_count(row->attempts));
	json_object_set_new(o, "crashes", json_count(row->crashes));
	json_object_set_new(o, "updated_at", json_integer(row->updated_at));
	return o;
}

static int on_job(void *arg, const struct job_row *row)
{
	struct job_page *page = arg;

	/* One that is asked for by its key comes whatever its state is. */
	if (page->params->state < 0 || (int)row->state == page->params->state)
		json_array_append_new(page->jobs, job_json(page->sources, row));
	if (++page->rows == page->params->limit)
		page->last = row->id;
	return 0;
}

static int parse_after(const char *text, int64_t *out, struct error *err)
{
	char *end = NULL;

	*out = 0;
	if (!text)
		return 0;
	*out = strtoll(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || *out == INT64_MAX)
		return error_set(err, ERR_CONFIG, "after: expected `next` of the page before");
	return 0;
}

int api_list_jobs(const struct service_dataset *dataset, const struct api_params *params,
		  json_t **out, struct error *err)
{
	cleanup_queue struct queue *queue = NULL;
	cleanup_sources struct sources_known sources = {.n = 0};
	struct job_page page = {.params = params, .sources = &sources};
	struct job_filter which = {.dataset = dataset->queue_id,
				   .state = params->state < 0 ? JOB_AVAILABLE
							      : (enum job_state)params->state,
				   .reason = params->reason,
				   .key = params->key,
				   .limit = params->limit};
	json_t *body;

	if (params->state < 0 && !params->key)
		return error_set(err, ERR_CONFIG, "state or key is missing");
	if (parse_after(params->after, &which.after, err) < 0 ||
	    state_queue_open_readonly(dataset->state_folder, &queue, err) < 0)
		return -1;
	api_lists_sources(dataset, &sources);
	page.jobs = json_array();
	if (queue_jobs(queue, &which, on_job, &page, err) < 0) {
		json_decref(page.jobs);
		return -1;
	}
	body = json_object();
	json_object_set_new(body, "jobs", page.jobs);
	json_object_set_new(body, "next", page.last ? json_integer(page.last) : json_null());
	*out = body;
	return 0;
}

/* -- reasons -------------------------------------------------------------------------------------- */

struct reasons {
	json_t *list;
	enum job_state state;
};

static int on_reason(void *arg, const struct reason_row *row)
{
	const struct reasons *r = arg;
	json_t *o = json_object();

	json_object_set_new(o, "state", json_string(job_state_name(r->state)));
	json_object_set_new(o, "reason", json_clean(row->reason));
	json_object_set_new(o, "jobs", json_count(row->jobs));
	json_array_append_new(r->list, o);
	return 0;
}

int api_list_failures(const struct service_dataset *dataset, const struct api_params *params,
		      json_t **out, struct error *err)
{
	static const enum job_state states[] = {JOB_QUARANTINED, JOB_RETRYABLE, JOB_SKIPPED};
	cleanup_queue struct queue *queue = NULL;
	struct reasons reasons = {.list = NULL};
	json_t *body;
	int r = 0;

	(void)params;
	if (state_queue_open_readonly(dataset->state_folder, &queue, err) < 0)
		return -1;
	body = json_object();
	reasons.list = json_array();
	json_object_set_new(body, "reasons", reasons.list);
	for (size_t i = 0; i < ARRAY_SIZE(states) && r == 0; i++) {
		reasons.state = states[i];
		r = queue_reasons(queue, dataset->queue_id, states[i], on_reason, &reasons, err);
	}
	if (r == 0)
		*out = body;
	else
		json_decref(body);
	return r;
}

/* -- duplicates ----------------------------------------------------------------------------------- */

struct dupes {
	const struct sources_known *sources;
	json_t *contents;
	json_t *jobs; /* of the last content */
	struct hash128 content;
};

static json_t *content_json(const struct hash128 *content)
{
	char hex[HASH128_HEX_SIZE];

	hash128_hex(content, hex);
	return json_string(hex);
}

static void begin_content(struct dupes *d, const struct hash128 *content)
{
	json_t *o = json_object();

	d->content = *content;
	d->jobs = json_array();
	json_object_set_new(o, "content", content_json(content));
	json_object_set_new(o, "jobs", d->jobs);
	json_array_append_new(d->contents, o);
}

static int on_duplicate(void *arg, const struct duplicate_row *row)
{
	struct dupes *d = arg;
	json_t *o = json_object();

	if (!d->jobs || !hash128_equal(&d->content, &row->content))
		begin_content(d, &row->content);
	json_object_set_new(o, "id", json_integer(row->job));
	json_object_set_new(o, "key", json_clean(row->key));
	json_object_set_new(o, "source", json_path(row->path));
	json_object_set_new(o, "path", file_json(d->sources, row->root, row->path));
	json_object_set_new(o, "stored", json_boolean(row->shard != 0));
	json_array_append_new(d->jobs, o);
	return 0;
}

int api_list_dupes(const struct service_dataset *dataset, const struct api_params *params,
		   json_t **out, struct error *err)
{
	cleanup_queue struct queue *queue = NULL;
	cleanup_sources struct sources_known sources = {.n = 0};
	struct dupes dupes = {.sources = &sources};
	struct hash128 after;
	json_t *body;
	bool full;

	if (params->after && !hash128_parse(params->after, &after))
		return error_set(err, ERR_CONFIG, "after: expected `next` of the page before");
	if (state_queue_open_readonly(dataset->state_folder, &queue, err) < 0)
		return -1;
	api_lists_sources(dataset, &sources);
	dupes.contents = json_array();
	if (queue_duplicates(queue, dataset->queue_id, params->after ? &after : NULL, params->limit,
			     on_duplicate, &dupes, err) < 0) {
		json_decref(dupes.contents);
		return -1;
	}
	body = json_object();
	full = json_array_size(dupes.contents) == params->limit;
	json_object_set_new(body, "contents", dupes.contents);
	json_object_set_new(body, "next", full ? content_json(&dupes.content) : json_null());
	*out = body;
	return 0;
}

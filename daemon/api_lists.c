#include "daemon/api_lists.h"

#include "base/checked.h"
#include "base/hash.h"

#include "daemon/json_text.h"

#include <jansson.h>
#include <string.h>

struct job_page {
	const struct api_params *params;
	json_t *jobs;
	int64_t last; /* of a full page: where the next begins */
};

static json_t *job_json(const struct job_row *row)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", json_integer(row->id));
	json_object_set_new(o, "key", json_clean(row->key));
	json_object_set_new(o, "source", json_path(row->path));
	json_object_set_new(o, "root", json_count(row->root));
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
	const struct api_params *p = page->params;

	if ((int)row->state != p->state)
		return 0;
	json_array_append_new(page->jobs, job_json(row));
	if (json_array_size(page->jobs) == p->limit)
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
	struct job_page page = {.params = params};
	struct job_filter which = {.dataset = dataset->queue_id,
				   .state = (enum job_state)params->state,
				   .reason = params->reason,
				   .key = params->key,
				   .limit = params->limit};
	json_t *body;

	if (params->state < 0)
		return error_set(err, ERR_CONFIG, "state is missing");
	if (parse_after(params->after, &which.after, err) < 0 ||
	    queue_sqlite_open_readonly(dataset->database, &queue, err) < 0)
		return -1;
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

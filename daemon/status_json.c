#include "daemon/status_json.h"

#include "base/checked.h"

#include "daemon/json_text.h"

#include <jansson.h>

/* The loop publishes once a second; what takes this long hangs. */
#define STALE_MS 15000

struct member {
	const char *name;
	json_t *value;
};

#define MEMBERS(...) ((const struct member[]){__VA_ARGS__, {NULL, NULL}})

/* Adds MEMBERS(...) in their order; the values belong to @object then. Returns it. */
static json_t *with(json_t *object, const struct member *members)
{
	for (; members->name; members++)
		json_object_set_new(object, members->name, members->value);
	return object;
}

static json_t *json_time(int64_t ms)
{
	return ms > 0 ? json_integer(ms) : json_null();
}

/* -1: not known. */
static json_t *json_seconds(int64_t s)
{
	return s < 0 ? json_null() : json_integer(s);
}

static json_t *json_known(double value)
{
	return value < 0 ? json_null() : json_rounded(value, 3);
}

/* 0: not known. */
static json_t *json_positive(uint64_t n)
{
	return n > 0 ? json_count(n) : json_null();
}

static json_t *jobs_json(const struct queue_counts *c)
{
	json_t *jobs = json_object();

	for (int i = 0; i < JOB_STATES; i++)
		json_object_set_new(jobs, job_state_name((enum job_state)i),
				    json_count(c->jobs[i]));
	return jobs;
}

static json_t *scan_json(const struct service_scan *scan)
{
	return with(json_object(), MEMBERS({"began_at", json_time(scan->began_at)},
					   {"duration_ms", json_integer(scan->duration_ms)},
					   {"files", json_count(scan->files)},
					   {"running", json_boolean(scan->running)},
					   {"running_files", json_count(scan->running_files)}));
}

static json_t *watch_json(const struct service_watch *watch)
{
	return with(json_object(), MEMBERS({"mode", json_string(watch_mode_name(watch->mode))},
					   {"folders", json_count(watch->folders)},
					   {"note", json_clean(watch->note)}));
}

static json_t *since_start_json(const struct service_dataset *d)
{
	return with(json_object(),
		    MEMBERS({"encoded", json_count(d->encoded)}, {"failed", json_count(d->failed)},
			    {"skipped", json_count(d->skipped)}));
}

static json_t *last_shard_json(const struct service_dataset *d)
{
	if (!d->last_shard)
		return json_null();
	return with(json_object(), MEMBERS({"path", json_path(d->last_shard)},
					   {"sealed_at", json_time(d->last_shard_at)}));
}

static void set_live(json_t *o, const struct service_dataset *d)
{
	with(o, MEMBERS({"vae", json_path(d->vae)},
			{"state", json_string(dataset_state_name(d->state))},
			{"why", json_clean(d->why)}, {"retry_at", json_time(d->retry_at)},
			{"priority", json_integer(d->priority)},
			{"images_per_second", json_rounded(d->images_per_second, 2)},
			{"eta_s", json_seconds(d->eta.likely_s)},
			{"eta_low_s", json_seconds(d->eta.low_s)},
			{"eta_high_s", json_seconds(d->eta.high_s)},
			{"since_start", since_start_json(d)}, {"scan", scan_json(&d->scan)},
			{"watch", watch_json(&d->watch)}, {"last_shard", last_shard_json(d)},
			{"deletions", json_count(d->deletions)}));
}

json_t *status_json_dataset(const struct service_dataset *d, bool live)
{
	json_t *o = json_object();

	with(o, MEMBERS({"name", json_clean(d->name)}, {"output", json_path(d->output)},
			{"recipe_id", json_clean(d->recipe_id)}));
	if (live)
		set_live(o, d);
	with(o, MEMBERS({"jobs", jobs_json(&d->counts)}, {"samples", json_count(d->counts.samples)},
			{"shards", json_count(d->counts.shards)},
			{"shard_bytes", json_count(d->counts.shard_bytes)}));
	return o;
}

static json_t *endpoint_json(const struct service_endpoint *p)
{
	return with(
	    json_object(),
	    MEMBERS(
		{"url", json_clean(p->url)}, {"model", json_clean(p->model)},
		{"state", json_string(p->state)}, {"why", json_clean(p->why)},
		{"wait_ms", json_integer(p->wait_ms)}, {"in_flight", json_count(p->in_flight)},
		{"limit", json_count(p->limit)},
		{"latency_ms", p->latency_ms > 0 ? json_rounded(p->latency_ms, 1) : json_null()},
		{"busy", json_known(p->busy)},
		{"images_per_second", json_known(p->images_per_second)},
		{"requests", json_count(p->requests)}, {"failures", json_count(p->failures)},
		{"images", json_count(p->images)}, {"sent_bytes", json_count(p->sent)},
		{"received_bytes", json_count(p->received)}));
}

static json_t *encoder_json(const struct service_encoder *e)
{
	json_t *o = json_object();

	with(o, MEMBERS({"name", json_clean(e->name)}, {"type", json_clean(e->type)},
			{"engine", json_clean(e->engine)},
			{"state", json_string(encoder_state_name(e->state))},
			{"why", json_clean(e->why)}, {"paused", json_boolean(e->paused)},
			{"busy", json_known(e->busy)}, {"in_flight", json_count(e->in_flight)},
			{"images_in_flight", json_count(e->images)},
			{"batch", e->batch > 0 ? json_rounded(e->batch, 1) : json_null()},
			{"images_done", json_count(e->images_done)},
			{"images_failed", json_count(e->images_failed)},
			{"images_per_second", json_rounded(e->images_per_second, 2)},
			{"memory_used", json_positive(e->memory_used)},
			{"memory_limit", json_positive(e->memory_limit)}));
	if (e->n_endpoints > 0) {
		json_t *endpoints = json_array();

		for (size_t i = 0; i < e->n_endpoints; i++)
			json_array_append_new(endpoints, endpoint_json(&e->endpoints[i]));
		json_object_set_new(o, "endpoints", endpoints);
	}
	return o;
}

static json_t *serve_json(const struct service_serve *s)
{
	if (!s->url)
		return json_null();
	return with(
	    json_object(),
	    MEMBERS({"url", json_clean(s->url)}, {"model", json_clean(s->model)},
		    {"state", json_string(serve_state_name(s->state))}, {"why", json_clean(s->why)},
		    {"connections", json_count(s->connections)},
		    {"in_flight", json_count(s->in_flight)}, {"requests", json_count(s->requests)},
		    {"refused", json_count(s->refused)},
		    {"images_done", json_count(s->images_done)},
		    {"images_per_second", json_rounded(s->images_per_second, 2)}));
}

static void add_problem(json_t *problems, const char *what, const char *name, const char *why)
{
	cleanup_free char *line =
	    xasprintf("%s%s%s%s%s", what, *name ? " " : "", name, why ? ": " : "", why ? why : "");

	json_array_append_new(problems, json_clean(line));
}

/* What is wrong with parts of it. Whether nothing can go on because of it. */
static bool add_problems(json_t *problems, const struct service_status *s)
{
	size_t blocked = 0, useless = 0;

	if (s->intake_paused)
		add_problem(problems, "nothing new is begun until there is room", "",
			    s->intake_paused);
	if (s->reload_error)
		add_problem(problems, "reload failed, the old settings are in force", "",
			    s->reload_error);
	if (s->decode_warning)
		add_problem(problems, s->decode_warning, "", NULL);
	for (size_t i = 0; i < s->n_datasets; i++) {
		if (s->datasets[i].state != DATASET_BLOCKED)
			continue;
		add_problem(problems, "dataset", s->datasets[i].name, s->datasets[i].why);
		blocked++;
	}
	for (size_t i = 0; i < s->n_encoders; i++) {
		enum encoder_state state = s->encoders[i].state;

		if (state != ENCODER_FAILED && state != ENCODER_WAITING && state != ENCODER_PAUSED)
			continue;
		add_problem(problems, "encoder", s->encoders[i].name, s->encoders[i].why);
		useless += state == ENCODER_FAILED || state == ENCODER_WAITING;
	}
	if (s->serve.url && s->serve.state == SERVE_FAILED)
		add_problem(problems, "serve", "", s->serve.why);
	if (s->webhook.why)
		add_problem(problems, "messages do not arrive at", s->webhook.server,
			    s->webhook.why);
	return s->intake_paused || (blocked > 0 && blocked == s->n_datasets) ||
	       (useless > 0 && useless == s->n_encoders);
}

static json_t *daemon_json(const struct service_status *s)
{
	json_t *problems = json_array();
	bool stuck = add_problems(problems, s);

	json_decref(problems);
	return with(json_object(),
		    MEMBERS({"version", json_clean(s->version)}, {"pid", json_integer(s->pid)},
			    {"started_at", json_time(s->started_at)},
			    {"state", json_string(service_state_name(s->state))},
			    {"healthy", json_boolean(!stuck)},
			    {"state_dir", json_path(s->state_dir)},
			    {"config", json_path(s->config)}, {"socket", json_path(s->socket)},
			    {"intake_paused", json_clean(s->intake_paused)},
			    {"memory_used", json_count(s->memory_used)},
			    {"memory_limit", json_count(s->memory_limit)},
			    {"decode_busy", json_count(s->decode_busy)},
			    {"decode_workers", json_count(s->decode_workers)},
			    {"decode_warning", json_clean(s->decode_warning)},
			    {"reloaded_at", json_time(s->reloaded_at)},
			    {"reload_error", json_clean(s->reload_error)}));
}

static json_t *stages_json(const struct service_status *s)
{
	json_t *list = json_array();

	for (int i = 0; i < STAGES; i++) {
		const struct stage_view *v = &s->stages[i];
		json_t *queue = i == STAGE_RESIZE ? json_null() : json_count(v->queue);

		json_array_append_new(
		    list,
		    with(json_object(),
			 MEMBERS({"name", json_string(stage_name((enum work_stage)i))},
				 {"images_per_second", json_known(v->images_per_second)},
				 {"busy", json_known(v->busy)}, {"workers", json_count(v->workers)},
				 {"queue", queue}, {"images", json_count(s->stage_sums[i].images)},
				 {"limits", json_boolean((int)s->limit_stage == i)})));
	}
	return list;
}

json_t *status_json_disk(const struct service_disk_view *d)
{
	return with(json_object(),
		    MEMBERS({"path", json_path(d->path)}, {"free_bytes", json_count(d->free)},
			    {"total_bytes", json_count(d->total)},
			    {"usable_bytes", json_count(d->usable)},
			    {"needed_bytes", json_count(d->needed)},
			    {"full_in_s", json_seconds(d->full_in_s)}));
}

static json_t *disks_json(const struct service_status *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n_disks; i++)
		json_array_append_new(list, status_json_disk(&s->disks[i]));
	return list;
}

static json_t *webhook_json(const struct service_webhook *w)
{
	if (!w->server)
		return json_null();
	return with(json_object(),
		    MEMBERS({"server", json_clean(w->server)}, {"waiting", json_count(w->waiting)},
			    {"sent", json_count(w->sent)}, {"lost", json_count(w->lost)},
			    {"why", json_clean(w->why)}));
}

static json_t *node_json(const struct service_node *n)
{
	if (!n->name)
		return json_null();
	return with(json_object(),
		    MEMBERS({"name", json_clean(n->name)}, {"drains", json_boolean(n->drains)},
			    {"encoded", json_count(n->encoded)},
			    {"images_per_second", json_known(n->images_per_second)},
			    {"why", json_clean(n->why)}));
}

json_t *status_json(const struct service_status *s)
{
	json_t *o = json_object(), *datasets = json_array(), *encoders = json_array();

	for (size_t i = 0; i < s->n_datasets; i++)
		json_array_append_new(datasets, status_json_dataset(&s->datasets[i], true));
	for (size_t i = 0; i < s->n_encoders; i++)
		json_array_append_new(encoders, encoder_json(&s->encoders[i]));
	with(o, MEMBERS({"taken_at", json_time(s->taken_at)}, {"daemon", daemon_json(s)},
			{"limit", json_clean(s->limit)}, {"stages", stages_json(s)},
			{"disks", disks_json(s)}, {"datasets", datasets}, {"encoders", encoders},
			{"serve", serve_json(&s->serve)}, {"webhook", webhook_json(&s->webhook)},
			{"node", node_json(&s->node)}));
	return o;
}

json_t *status_json_health(const struct service_status *s, int64_t age_ms, bool *healthy)
{
	json_t *o = json_object(), *problems = json_array();
	bool stuck = s && add_problems(problems, s);
	const char *state = s ? service_state_name(s->state) : "starting";

	if (age_ms > STALE_MS) {
		cleanup_free char *line =
		    xasprintf("the daemon has not moved for %lld s", (long long)(age_ms / 1000));

		json_array_append_new(problems, json_string(line));
		stuck = true;
	}
	*healthy = s && !stuck && (s->state == SERVICE_RUNNING || s->state == SERVICE_DRAINING);
	with(o, MEMBERS({"healthy", json_boolean(*healthy)}, {"state", json_string(state)},
			{"problems", problems}));
	return o;
}

#include "daemon/status_json.h"

#include "base/checked.h"

#include "daemon/json_text.h"

#include <jansson.h>

/* The loop publishes once a second; what takes this long hangs. */
#define STALE_MS 15000

static json_t *json_time(int64_t ms)
{
	return ms > 0 ? json_integer(ms) : json_null();
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
	json_t *o = json_object();

	json_object_set_new(o, "began_at", json_time(scan->began_at));
	json_object_set_new(o, "duration_ms", json_integer(scan->duration_ms));
	json_object_set_new(o, "files", json_count(scan->files));
	json_object_set_new(o, "running", json_boolean(scan->running));
	json_object_set_new(o, "running_files", json_count(scan->running_files));
	return o;
}

static json_t *watch_json(const struct service_watch *watch)
{
	json_t *o = json_object();

	json_object_set_new(o, "mode", json_string(watch_mode_name(watch->mode)));
	json_object_set_new(o, "folders", json_count(watch->folders));
	json_object_set_new(o, "note", json_clean(watch->note));
	return o;
}

static json_t *since_start_json(const struct service_dataset *d)
{
	json_t *o = json_object();

	json_object_set_new(o, "encoded", json_count(d->encoded));
	json_object_set_new(o, "failed", json_count(d->failed));
	json_object_set_new(o, "skipped", json_count(d->skipped));
	return o;
}

static json_t *last_shard_json(const struct service_dataset *d)
{
	json_t *o;

	if (!d->last_shard)
		return json_null();
	o = json_object();
	json_object_set_new(o, "path", json_path(d->last_shard));
	json_object_set_new(o, "sealed_at", json_time(d->last_shard_at));
	return o;
}

static void set_live(json_t *o, const struct service_dataset *d)
{
	json_object_set_new(o, "vae", json_path(d->vae));
	json_object_set_new(o, "state", json_string(dataset_state_name(d->state)));
	json_object_set_new(o, "why", json_clean(d->why));
	json_object_set_new(o, "retry_at", json_time(d->retry_at));
	json_object_set_new(o, "priority", json_integer(d->priority));
	json_object_set_new(o, "images_per_second", json_rounded(d->images_per_second, 2));
	json_object_set_new(o, "eta_s", d->eta_s < 0 ? json_null() : json_integer(d->eta_s));
	json_object_set_new(o, "since_start", since_start_json(d));
	json_object_set_new(o, "scan", scan_json(&d->scan));
	json_object_set_new(o, "watch", watch_json(&d->watch));
	json_object_set_new(o, "last_shard", last_shard_json(d));
	json_object_set_new(o, "deletions", json_count(d->deletions));
}

json_t *status_json_dataset(const struct service_dataset *d, bool live)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_clean(d->name));
	json_object_set_new(o, "output", json_path(d->output));
	json_object_set_new(o, "recipe_id", json_clean(d->recipe_id));
	if (live)
		set_live(o, d);
	json_object_set_new(o, "jobs", jobs_json(&d->counts));
	json_object_set_new(o, "samples", json_count(d->counts.samples));
	json_object_set_new(o, "shards", json_count(d->counts.shards));
	json_object_set_new(o, "shard_bytes", json_count(d->counts.shard_bytes));
	return o;
}

static json_t *endpoint_json(const struct service_endpoint *p)
{
	json_t *o = json_object();

	json_object_set_new(o, "url", json_clean(p->url));
	json_object_set_new(o, "model", json_clean(p->model));
	json_object_set_new(o, "state", json_string(p->state));
	json_object_set_new(o, "why", json_clean(p->why));
	json_object_set_new(o, "wait_ms", json_integer(p->wait_ms));
	json_object_set_new(o, "in_flight", json_count(p->in_flight));
	json_object_set_new(o, "limit", json_count(p->limit));
	json_object_set_new(o, "latency_ms",
			    p->latency_ms > 0 ? json_rounded(p->latency_ms, 1) : json_null());
	json_object_set_new(o, "requests", json_count(p->requests));
	json_object_set_new(o, "failures", json_count(p->failures));
	json_object_set_new(o, "images", json_count(p->images));
	json_object_set_new(o, "sent_bytes", json_count(p->sent));
	json_object_set_new(o, "received_bytes", json_count(p->received));
	return o;
}

static json_t *encoder_json(const struct service_encoder *e)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_clean(e->name));
	json_object_set_new(o, "type", json_clean(e->type));
	json_object_set_new(o, "engine", json_clean(e->engine));
	json_object_set_new(o, "state", json_string(encoder_state_name(e->state)));
	json_object_set_new(o, "why", json_clean(e->why));
	json_object_set_new(o, "in_flight", json_count(e->in_flight));
	json_object_set_new(o, "images_done", json_count(e->images_done));
	json_object_set_new(o, "images_per_second", json_rounded(e->images_per_second, 2));
	if (e->n_endpoints > 0) {
		json_t *endpoints = json_array();

		for (size_t i = 0; i < e->n_endpoints; i++)
			json_array_append_new(endpoints, endpoint_json(&e->endpoints[i]));
		json_object_set_new(o, "endpoints", endpoints);
	}
	return o;
}

static json_t *daemon_json(const struct service_status *s)
{
	json_t *o = json_object();

	json_object_set_new(o, "version", json_clean(s->version));
	json_object_set_new(o, "pid", json_integer(s->pid));
	json_object_set_new(o, "started_at", json_time(s->started_at));
	json_object_set_new(o, "state", json_string(service_state_name(s->state)));
	json_object_set_new(o, "state_dir", json_path(s->state_dir));
	json_object_set_new(o, "config", json_path(s->config));
	json_object_set_new(o, "socket", json_path(s->socket));
	json_object_set_new(o, "intake_paused", json_clean(s->intake_paused));
	json_object_set_new(o, "memory_used", json_count(s->memory_used));
	json_object_set_new(o, "memory_limit", json_count(s->memory_limit));
	json_object_set_new(o, "decode_busy", json_count(s->decode_busy));
	json_object_set_new(o, "decode_workers", json_count(s->decode_workers));
	json_object_set_new(o, "decode_warning", json_clean(s->decode_warning));
	json_object_set_new(o, "reloaded_at", json_time(s->reloaded_at));
	json_object_set_new(o, "reload_error", json_clean(s->reload_error));
	return o;
}

json_t *status_json(const struct service_status *s)
{
	json_t *o = json_object(), *datasets = json_array(), *encoders = json_array();

	for (size_t i = 0; i < s->n_datasets; i++)
		json_array_append_new(datasets, status_json_dataset(&s->datasets[i], true));
	for (size_t i = 0; i < s->n_encoders; i++)
		json_array_append_new(encoders, encoder_json(&s->encoders[i]));
	json_object_set_new(o, "taken_at", json_time(s->taken_at));
	json_object_set_new(o, "daemon", daemon_json(s));
	json_object_set_new(o, "datasets", datasets);
	json_object_set_new(o, "encoders", encoders);
	return o;
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
	size_t blocked = 0, failed = 0;

	if (s->intake_paused)
		add_problem(problems, "nothing new is begun", "", s->intake_paused);
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
		failed += state == ENCODER_FAILED;
	}
	return s->intake_paused || (blocked > 0 && blocked == s->n_datasets) ||
	       (failed > 0 && failed == s->n_encoders);
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
	json_object_set_new(o, "healthy", json_boolean(*healthy));
	json_object_set_new(o, "state", json_string(state));
	json_object_set_new(o, "problems", problems);
	return o;
}

/*
 * Both formats are the same lines, but for the names in a counter's TYPE and HELP and for the end.
 */
#include "daemon/metrics.h"

#include "base/checked.h"

#include "daemon/text_lines.h"

#include <stdio.h>
#include <string.h>

#define P "latentd_"

enum kind { GAUGE, COUNTER, HISTOGRAM };

struct writer {
	struct buffer *out;
	bool open;
};

/* A label: a pair of strings. */
struct label {
	const char *name, *value;
};

#define LABELS(...) ((const struct label[]){__VA_ARGS__, {NULL, NULL}})

static void family(const struct writer *w, const char *name, enum kind kind, const char *help)
{
	static const char *const types[] = {"gauge", "counter", "histogram"};
	const char *total = kind == COUNTER && !w->open ? "_total" : "";

	buffer_appendf(w->out, "# HELP " P "%s%s %s\n# TYPE " P "%s%s %s\n", name, total, help,
		       name, total, types[kind]);
}

static void put_value(struct buffer *out, const char *text)
{
	cleanup_buffer struct buffer clean = BUFFER_INIT;

	text_clean(&clean, text ? text : "");
	for (const char *p = clean.data ? (const char *)clean.data : ""; *p; p++) {
		if (*p == '\\' || *p == '"')
			buffer_append(out, "\\", 1);
		buffer_append(out, p, 1);
	}
}

static void sample(const struct writer *w, const char *name, const struct label *labels,
		   double value)
{
	buffer_appendf(w->out, P "%s", name);
	for (const struct label *l = labels; l && l->name; l++) {
		buffer_appendf(w->out, "%s%s=\"", l == labels ? "{" : ",", l->name);
		put_value(w->out, l->value);
		buffer_append_string(w->out, l[1].name ? "\"" : "\"}");
	}
	/* Whole numbers as such, as far as a double has them. */
	if (value >= 0 && value < 9e15 && value <= (double)(uint64_t)value)
		buffer_appendf(w->out, " %llu\n", (unsigned long long)value);
	else
		buffer_appendf(w->out, " %.9g\n", value);
}

/* One without labels. */
static void single(const struct writer *w, const char *name, enum kind kind, const char *help,
		   double value)
{
	cleanup_free char *full = xasprintf("%s%s", name, kind == COUNTER ? "_total" : "");

	family(w, name, kind, help);
	sample(w, full, NULL, value);
}

/* -- the daemon ------------------------------------------------------------------------------------- */

static void disk_metrics(const struct writer *w, const struct service_status *s)
{
	family(w, "disk_free_bytes", GAUGE, "Of a disk that state or outputs lie on.");
	for (size_t i = 0; i < s->n_disks; i++)
		sample(w, "disk_free_bytes", LABELS({"path", s->disks[i].path}),
		       (double)s->disks[i].free);
	family(w, "disk_usable_bytes", GAUGE, "Of that, until nothing new is begun.");
	for (size_t i = 0; i < s->n_disks; i++)
		sample(w, "disk_usable_bytes", LABELS({"path", s->disks[i].path}),
		       (double)s->disks[i].usable);
	family(w, "disk_needed_bytes", GAUGE, "What is left to do will take so much there.");
	for (size_t i = 0; i < s->n_disks; i++)
		sample(w, "disk_needed_bytes", LABELS({"path", s->disks[i].path}),
		       (double)s->disks[i].needed);
}

static void daemon_metrics(const struct writer *w, const struct service_status *s, bool healthy)
{
	family(w, "build_info", GAUGE, "The version that runs; always 1.");
	sample(w, "build_info", LABELS({"version", s->version}), 1);
	single(w, "start_time_seconds", GAUGE, "When it was started, since 1970.",
	       (double)s->started_at / 1000);
	single(w, "healthy", GAUGE, "1: it does what it is for, as /healthz says.", healthy);
	single(w, "intake_paused", GAUGE, "1: nothing new is begun anywhere, a disk is full.",
	       s->intake_paused != NULL);
	single(w, "reload_failed", GAUGE, "1: the last reload left the old settings in force.",
	       s->reload_error != NULL);
	disk_metrics(w, s);
	single(w, "memory_used_bytes", GAUGE, "Pixels and latents in flight.",
	       (double)s->memory_used);
	single(w, "memory_limit_bytes", GAUGE, "The setting memory_limit.",
	       (double)s->memory_limit);
}

/* -- datasets --------------------------------------------------------------------------------------- */

static void jobs_metrics(const struct writer *w, const struct service_status *s)
{
	family(w, "samples", GAUGE, "Images of a dataset, by the state that they are in.");
	for (size_t i = 0; i < s->n_datasets; i++) {
		const struct service_dataset *d = &s->datasets[i];

		for (int state = 0; state < JOB_STATES; state++)
			sample(w, "samples",
			       LABELS({"dataset", d->name},
				      {"state", job_state_name((enum job_state)state)}),
			       (double)d->counts.jobs[state]);
	}
	family(w, "images", COUNTER,
	       "Images of a dataset that ended since the daemon began, by how.");
	for (size_t i = 0; i < s->n_datasets; i++) {
		const struct service_dataset *d = &s->datasets[i];

		sample(w, "images_total", LABELS({"dataset", d->name}, {"outcome", "encoded"}),
		       (double)d->encoded);
		sample(w, "images_total", LABELS({"dataset", d->name}, {"outcome", "failed"}),
		       (double)d->failed);
		sample(w, "images_total", LABELS({"dataset", d->name}, {"outcome", "skipped"}),
		       (double)d->skipped);
	}
	family(w, "dataset_state", GAUGE, "1 for the state that a dataset is in.");
	for (size_t i = 0; i < s->n_datasets; i++) {
		const struct service_dataset *d = &s->datasets[i];

		for (int state = DATASET_STARTING; state <= DATASET_BLOCKED; state++)
			sample(w, "dataset_state",
			       LABELS({"dataset", d->name},
				      {"state", dataset_state_name((enum dataset_state)state)}),
			       (int)d->state == state);
	}
}

static double shards_of(const struct service_dataset *d)
{
	return (double)d->counts.shards;
}

static double shard_bytes_of(const struct service_dataset *d)
{
	return (double)d->counts.shard_bytes;
}

static double written_of(const struct service_dataset *d)
{
	return (double)d->shard_bytes_written;
}

static double sealed_of(const struct service_dataset *d)
{
	return (double)d->last_shard_at / 1000;
}

static double eta_of(const struct service_dataset *d)
{
	return (double)d->eta.likely_s;
}

static double deletions_of(const struct service_dataset *d)
{
	return (double)d->deletions;
}

/* Negative: not known, and left out. */
static void dataset_metric(const struct writer *w, const struct service_status *s, const char *name,
			   enum kind kind, const char *help,
			   double (*value)(const struct service_dataset *))
{
	cleanup_free char *full = xasprintf("%s%s", name, kind == COUNTER ? "_total" : "");

	family(w, name, kind, help);
	for (size_t i = 0; i < s->n_datasets; i++) {
		double v = value(&s->datasets[i]);

		if (v >= 0)
			sample(w, full, LABELS({"dataset", s->datasets[i].name}), v);
	}
}

static void dataset_metrics(const struct writer *w, const struct service_status *s)
{
	jobs_metrics(w, s);
	dataset_metric(w, s, "shards", GAUGE, "Shards of a dataset.", shards_of);
	dataset_metric(w, s, "shard_bytes", GAUGE, "Their size.", shard_bytes_of);
	dataset_metric(w, s, "shard_written_bytes", COUNTER,
		       "Bytes of shards that were sealed since the daemon began.", written_of);
	dataset_metric(
	    w, s, "last_shard_time_seconds", GAUGE,
	    "When the last shard was sealed, since 1970; 0: none since the daemon began.",
	    sealed_of);
	dataset_metric(w, s, "eta_seconds", GAUGE,
		       "Time until nothing is left to do; absent while it is not known.", eta_of);
	dataset_metric(w, s, "deletions_waiting", GAUGE,
		       "Samples of vanished files that wait for accept-deletions.", deletions_of);
}

/* -- stages ----------------------------------------------------------------------------------------- */

static void histogram(const struct writer *w, const char *stage, const struct stage_sums *sums)
{
	uint64_t n = 0;

	for (size_t i = 0; i < STAGE_BUCKETS; i++) {
		char bound[16] = "+Inf";

		if (i < STAGE_BUCKETS - 1)
			snprintf(bound, sizeof(bound), "%g", stage_bounds[i]);
		/* OpenMetrics wants numbers with a point. */
		if (i < STAGE_BUCKETS - 1 && !strchr(bound, '.'))
			strcat(bound, ".0");
		n += sums->buckets[i];
		sample(w, "stage_seconds_bucket", LABELS({"stage", stage}, {"le", bound}),
		       (double)n);
	}
	sample(w, "stage_seconds_sum", LABELS({"stage", stage}), (double)sums->took_ns / 1e9);
	sample(w, "stage_seconds_count", LABELS({"stage", stage}), (double)n);
}

static void stage_metrics(const struct writer *w, const struct service_status *s)
{
	family(w, "stage_seconds", HISTOGRAM,
	       "How long an image was in a stage, a batch in the stage encode.");
	for (int i = 0; i < STAGES; i++)
		histogram(w, stage_name((enum work_stage)i), &s->stage_sums[i]);
	family(w, "stage_images", COUNTER, "Images that left a stage.");
	for (int i = 0; i < STAGES; i++)
		sample(w, "stage_images_total", LABELS({"stage", stage_name((enum work_stage)i)}),
		       (double)s->stage_sums[i].images);
	family(w, "stage_queue_images", GAUGE, "Images that wait for a stage or are in it.");
	for (int i = 0; i < STAGES; i++) {
		if (i != STAGE_RESIZE)
			sample(w, "stage_queue_images",
			       LABELS({"stage", stage_name((enum work_stage)i)}),
			       (double)s->stages[i].queue);
	}
	family(w, "stage_busy_workers", GAUGE,
	       "Workers of a stage that were busy, on average over the last 15 seconds.");
	for (int i = 0; i < STAGES; i++)
		sample(w, "stage_busy_workers", LABELS({"stage", stage_name((enum work_stage)i)}),
		       s->stages[i].busy > 0 ? s->stages[i].busy : 0);
	family(w, "stage_workers", GAUGE,
	       "Workers of a stage; read, decode and resize have the same.");
	for (int i = 0; i < STAGES; i++)
		sample(w, "stage_workers", LABELS({"stage", stage_name((enum work_stage)i)}),
		       (double)s->stages[i].workers);
	family(w, "stage_limits", GAUGE, "1 for the stage that all others wait for.");
	for (int i = 0; i < STAGES; i++)
		sample(w, "stage_limits", LABELS({"stage", stage_name((enum work_stage)i)}),
		       (int)s->limit_stage == i);
}

/* -- encoders and endpoints ------------------------------------------------------------------------- */

static void device_metrics(const struct writer *w, const struct service_status *s)
{
	family(w, "device_memory_bytes", GAUGE,
	       "Weights and maps on the device of an encoder, and what they may take.");
	for (size_t i = 0; i < s->n_encoders; i++) {
		const struct service_encoder *e = &s->encoders[i];

		if (e->memory_used > 0)
			sample(w, "device_memory_bytes",
			       LABELS({"encoder", e->name}, {"kind", "used"}),
			       (double)e->memory_used);
		if (e->memory_limit > 0)
			sample(w, "device_memory_bytes",
			       LABELS({"encoder", e->name}, {"kind", "limit"}),
			       (double)e->memory_limit);
	}
}

static void encoder_metrics(const struct writer *w, const struct service_status *s)
{
	family(w, "encoder_state", GAUGE, "1 for the state that an encoder is in.");
	for (size_t i = 0; i < s->n_encoders; i++) {
		for (int state = ENCODER_STARTING; state <= ENCODER_WAITING; state++)
			sample(w, "encoder_state",
			       LABELS({"encoder", s->encoders[i].name},
				      {"state", encoder_state_name((enum encoder_state)state)}),
			       (int)s->encoders[i].state == state);
	}
	family(w, "encoder_busy_ratio", GAUGE, "Share of the last 15 seconds that it was busy.");
	for (size_t i = 0; i < s->n_encoders; i++)
		sample(w, "encoder_busy_ratio", LABELS({"encoder", s->encoders[i].name}),
		       s->encoders[i].busy > 0 ? s->encoders[i].busy : 0);
	family(w, "encoder_in_flight_images", GAUGE, "Images in its batches.");
	for (size_t i = 0; i < s->n_encoders; i++)
		sample(w, "encoder_in_flight_images", LABELS({"encoder", s->encoders[i].name}),
		       (double)s->encoders[i].images);
	family(w, "encoder_batch_images", GAUGE, "In one of its last batches, on average.");
	for (size_t i = 0; i < s->n_encoders; i++)
		sample(w, "encoder_batch_images", LABELS({"encoder", s->encoders[i].name}),
		       s->encoders[i].batch);
	family(w, "encoder_images", COUNTER, "Images that an encoder was given, by outcome.");
	for (size_t i = 0; i < s->n_encoders; i++) {
		const struct service_encoder *e = &s->encoders[i];

		sample(w, "encoder_images_total",
		       LABELS({"encoder", e->name}, {"outcome", "encoded"}),
		       (double)e->images_done);
		sample(w, "encoder_images_total",
		       LABELS({"encoder", e->name}, {"outcome", "failed"}),
		       (double)e->images_failed);
	}
}

static double latency_of(const struct service_endpoint *p)
{
	return p->latency_ms > 0 ? p->latency_ms / 1000 : -1;
}

static double ok_of(const struct service_endpoint *p)
{
	return p->state && strcmp(p->state, "ok") == 0;
}

static double busy_of(const struct service_endpoint *p)
{
	return p->busy > 0 ? p->busy : 0;
}

static double images_of(const struct service_endpoint *p)
{
	return (double)p->images;
}

static double in_flight_of(const struct service_endpoint *p)
{
	return (double)p->in_flight;
}

static double limit_of(const struct service_endpoint *p)
{
	return (double)p->limit;
}

static double requests_of(const struct service_endpoint *p)
{
	return (double)p->requests;
}

static double failures_of(const struct service_endpoint *p)
{
	return (double)p->failures;
}

static double sent_of(const struct service_endpoint *p)
{
	return (double)p->sent;
}

static double received_of(const struct service_endpoint *p)
{
	return (double)p->received;
}

static void endpoint_metrics(const struct writer *w, const struct service_status *s)
{
	static const struct {
		const char *name;
		enum kind kind;
		const char *help;
		double (*value)(const struct service_endpoint *);
	} metrics[] = {{"endpoint_up", GAUGE, "1: the endpoint answers.", ok_of},
		       {"endpoint_latency_seconds", GAUGE, "Of a request, smoothed.", latency_of},
		       {"endpoint_in_flight_requests", GAUGE, "Requests under way.", in_flight_of},
		       {"endpoint_limit_requests", GAUGE, "As many as it bears.", limit_of},
		       {"endpoint_busy_ratio", GAUGE,
			"What was under way of what it bears, over the last 15 seconds.", busy_of},
		       {"endpoint_images", COUNTER, "Latents that it gave.", images_of},
		       {"endpoint_requests", COUNTER, "Since the model was loaded.", requests_of},
		       {"endpoint_failures", COUNTER, "Of them without a latent.", failures_of},
		       {"endpoint_sent_bytes", COUNTER, "Bodies of requests.", sent_of},
		       {"endpoint_received_bytes", COUNTER, "Bodies of answers.", received_of}};

	for (size_t m = 0; m < ARRAY_SIZE(metrics); m++) {
		cleanup_free char *full =
		    xasprintf("%s%s", metrics[m].name, metrics[m].kind == COUNTER ? "_total" : "");

		family(w, metrics[m].name, metrics[m].kind, metrics[m].help);
		for (size_t i = 0; i < s->n_encoders; i++) {
			const struct service_encoder *e = &s->encoders[i];

			for (size_t k = 0; k < e->n_endpoints; k++) {
				const struct service_endpoint *p = &e->endpoints[k];
				double v = metrics[m].value(p);

				if (v >= 0)
					sample(w, full,
					       LABELS({"encoder", e->name}, {"url", p->url},
						      {"model", p->model}),
					       v);
			}
		}
	}
}

static void webhook_metrics(const struct writer *w, const struct service_webhook *hook)
{
	if (!hook->server)
		return;
	family(w, "webhook_messages", COUNTER, "Messages that arrived, or were given up.");
	sample(w, "webhook_messages_total", LABELS({"outcome", "sent"}), (double)hook->sent);
	sample(w, "webhook_messages_total", LABELS({"outcome", "lost"}), (double)hook->lost);
	single(w, "webhook_waiting_messages", GAUGE, "Messages that have not arrived yet.",
	       (double)hook->waiting);
}

/* Its own alone: whoever asks all nodes has each once. */
static void node_metrics(const struct writer *w, const struct service_node *node)
{
	if (!node->name)
		return;
	family(w, "node_images", COUNTER,
	       "Images that this node of a shared queue encoded since the daemon began.");
	sample(w, "node_images_total", LABELS({"node", node->name}), (double)node->encoded);
	family(w, "node_drains", GAUGE, "1: it begins nothing new, `latentctl nodes --drain`.");
	sample(w, "node_drains", LABELS({"node", node->name}), node->drains);
}

void metrics_text(const struct service_status *s, bool healthy, bool open, struct buffer *out)
{
	const struct writer w = {out, open};

	daemon_metrics(&w, s, healthy);
	dataset_metrics(&w, s);
	stage_metrics(&w, s);
	encoder_metrics(&w, s);
	device_metrics(&w, s);
	endpoint_metrics(&w, s);
	webhook_metrics(&w, &s->webhook);
	node_metrics(&w, &s->node);
	if (open)
		buffer_append_string(out, "# EOF\n");
}

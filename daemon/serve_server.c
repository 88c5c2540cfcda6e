#include "daemon/serve_server.h"

#include "daemon/json_text.h"
#include "daemon/rate.h"
#include "daemon/serve_http.h"

#include "base/checked.h"
#include "base/clock.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

enum {
	LOAD_AGAIN_MS = 30 * 1000,
	SENDING_MS = 5000, /* at the end, for answers that are made */
};

struct serve_server {
	struct serve_shared shared;
	const struct serve_options *options;
	struct serve_listen listen;
	struct serve_stats stats;
	struct rate rate; /* of images */
	struct engine *engine;
	struct serve_desk *desk;
	struct serve_http *http;
	char *url;
	enum engine_state seen; /* of the engine */
	bool rests;		/* its encoders do, then */
	int64_t failed_at;	/* monotonic ms */
	bool stopping, cancelled;
	int64_t patience_ends;
};

__attribute__((format(printf, 3, 4))) static void
server_log(const struct serve_server *s, enum log_event event, const char *fmt, ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	s->shared.log(s->shared.arg, event, "serve", line);
}

/* -- the model ----------------------------------------------------------------------------------- */

static bool decodes(const struct serve_server *s)
{
	return encode_group_can(engine_group(s->engine), ENCODE_DECODE);
}

/* What GET /v1/model answers; to be freed. */
static char *describe_model(const struct serve_server *s, const struct encode_model *m)
{
	const struct recipe recipe = {.fake = m->fake, .vae = m->vae, .weights = m->weights};
	json_t *o = json_object();
	char *text;

	json_object_set_new(o, "name", json_clean(m->name));
	json_object_set_new(o, "recipe_vae", recipe_vae_json(&recipe));
	json_object_set_new(o, "size_multiple", json_count(m->multiple));
	json_object_set_new(o, "latent_channels", json_count(m->vae.latent_channels));
	json_object_set_new(o, "downscale", json_count(serve_model_step(m)));
	json_object_set_new(o, "max_pixels", json_count(s->options->max_pixels));
	json_object_set_new(o, "max_body", json_count(s->options->max_body));
	json_object_set_new(o, "dtypes",
			    json_pack("[s,s,s,s]", "float16", "bfloat16", "float32", "uint8"));
	json_object_set_new(o, "decodes", json_boolean(decodes(s)));
	json_object_set_new(o, "latentd", json_string(LATENTD_VERSION));
	text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
	json_decref(o);
	if (!text)
		memory_is_out();
	return text;
}

static void model_is_ready(struct serve_server *s)
{
	const struct encode_model *m = engine_model(s->engine);
	struct serve_bounds bounds = {.downscale = serve_model_step(m),
				      .max_pixels = s->options->max_pixels,
				      .max_images = s->options->queue,
				      .max_body = s->options->max_body,
				      .deterministic = vae_config_deterministic(&m->vae)};
	struct serve_identity identity = {.precision = vae_precision_name(m->precision)};

	bounds.decodes = decodes(s);
	latent_space_of(&m->vae, &bounds.space);
	snprintf(identity.model, sizeof(identity.model), "%s", m->name);
	if (m->fake)
		snprintf(identity.weights, sizeof(identity.weights), VAE_WIRE_FAKE);
	else
		sha256_hex(&m->weights, identity.weights);
	serve_http_ready(s->http, &bounds, &identity, describe_model(s, m));
	server_log(s, LOG_PLAIN_INFO, "%s at %s", m->name, s->url);
}

/* The model stays in memory as long as it is served; one that failed is tried again. */
static void look_at_model(struct serve_server *s)
{
	enum engine_state state = engine_state(s->engine);
	const struct work_hours *hours = engine_rests(s->engine);
	bool other_hours = s->rests != (hours != NULL);

	s->rests = hours != NULL;
	if (state == ENGINE_READY && (state != s->seen || other_hours)) {
		cleanup_free char *why = hours ? work_hours_why(hours) : NULL;

		if (hours)
			serve_http_not_ready(s->http, why);
		else
			model_is_ready(s);
	} else if (state != s->seen && state == ENGINE_FAILED) {
		s->failed_at = clock_mono_ms();
		serve_http_not_ready(s->http, engine_failure(s->engine)->message);
	} else if (state != s->seen) {
		serve_http_not_ready(s->http, NULL);
	}
	s->seen = state;
	if (!s->stopping &&
	    (state != ENGINE_FAILED || clock_mono_ms() - s->failed_at >= LOAD_AGAIN_MS))
		engine_want(s->engine);
}

/* -- opening ------------------------------------------------------------------------------------- */

static int open_desk(struct serve_server *s, struct error *err)
{
	const struct serve_desk_options options = {.event = s->shared.event,
						   .inbox = s->shared.inbox,
						   .pool = s->shared.pool,
						   .memory = s->shared.memory,
						   .engine = s->engine,
						   .stats = &s->stats,
						   .batch = s->options->batch,
						   .max_pixels = s->options->max_pixels,
						   .gather_ms = s->options->gather};

	return serve_desk_open(&options, &s->desk, err);
}

int serve_server_open(const struct serve_shared *shared, const struct serve_options *options,
		      struct serve_server **out, struct error *err)
{
	const struct recipe_options recipe = {.vae = options->vae,
					      .vae_options = options->vae_options,
					      .precision = options->precision};
	struct serve_server *s = xcalloc(1, sizeof(*s));

	s->shared = *shared;
	s->options = options;
	s->listen = (struct serve_listen)SERVE_LISTEN_INIT;
	s->seen = ENGINE_UNLOADED;
	serve_stats_init(&s->stats);
	s->engine = engines_get(shared->engines, &recipe);
	if (serve_listen_open(options, &s->listen, err) < 0 || open_desk(s, err) < 0 ||
	    serve_http_open(options, &s->listen, s->desk, &s->stats, &s->http, err) < 0) {
		serve_server_close(s);
		return -1;
	}
	s->url = xasprintf("%s://%s", s->listen.cert ? "https" : "http", s->listen.address);
	if (!options->encode_only)
		engine_want_decoder(s->engine);
	engine_want(s->engine);
	*out = s;
	return 0;
}

void serve_server_close(struct serve_server *s)
{
	if (!s)
		return;
	serve_http_close(s->http);
	serve_desk_close(s->desk);
	serve_listen_close(&s->listen);
	serve_stats_release(&s->stats);
	free(s->url);
	free(s);
}

/* -- going on ------------------------------------------------------------------------------------ */

void serve_server_pump(struct serve_server *s)
{
	look_at_model(s);
	serve_desk_pump(s->desk);
	if (s->stopping && !s->cancelled && !serve_server_is_patient(s)) {
		s->cancelled = true;
		serve_http_end(s->http);
		serve_desk_cancel(s->desk);
	}
}

void serve_server_tick(struct serve_server *s)
{
	serve_http_tick(s->http);
}

bool serve_server_owns(const struct serve_server *s, const struct encode_batch *batch)
{
	return s && batch->owner == s->desk;
}

void serve_server_on_batch(struct serve_server *s, struct encode_batch *batch,
			   const struct error *failure)
{
	uint32_t done = 0;

	for (size_t i = 0; i < batch->n; i++)
		done += batch->items[i].error.code == ERR_NONE;
	rate_add(&s->rate, clock_mono_ms(), done);
	serve_desk_on_batch(s->desk, batch, failure);
}

const char *serve_server_url(const struct serve_server *s)
{
	return s->url;
}

bool serve_server_is_ready(const struct serve_server *s)
{
	return s->seen == ENGINE_READY && !s->rests;
}

const struct error *serve_server_failure(const struct serve_server *s)
{
	return s->seen == ENGINE_FAILED ? engine_failure(s->engine) : NULL;
}

void serve_server_view(struct serve_server *s, struct serve_view *view)
{
	*view = (struct serve_view){
	    .ready = serve_server_is_ready(s),
	    .stopping = s->stopping,
	    .failure = serve_server_failure(s),
	    .resting = engine_rests(s->engine),
	    .connections = serve_http_connections(s->http),
	    .in_flight = serve_http_encodes(s->http),
	    .sums = serve_stats_sums(&s->stats),
	    .images_per_second = rate_per_second(&s->rate, clock_mono_ms()),
	};
	if (view->ready)
		view->model = engine_model(s->engine)->name;
}

uint64_t serve_server_served(const struct serve_server *s)
{
	return serve_desk_served(s->desk);
}

void serve_server_set_served(struct serve_server *s, uint64_t pixels)
{
	serve_desk_set_served(s->desk, pixels);
}

bool serve_server_is_busy(const struct serve_server *s)
{
	return serve_desk_jobs(s->desk) > 0;
}

/* -- the end ------------------------------------------------------------------------------------- */

void serve_server_stop(struct serve_server *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->patience_ends = clock_mono_ms() + (int64_t)s->options->stop_timeout;
	serve_http_stop(s->http);
}

bool serve_server_is_patient(const struct serve_server *s)
{
	return serve_http_encodes(s->http) > 0 && clock_mono_ms() < s->patience_ends;
}

bool serve_server_is_done(const struct serve_server *s)
{
	if (!s->cancelled || serve_desk_jobs(s->desk) > 0)
		return false;
	return serve_http_encodes(s->http) == 0 || clock_mono_ms() >= s->patience_ends + SENDING_MS;
}

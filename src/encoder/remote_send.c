/*
 * Requests as they leave, and the question that goes before them. A foreign endpoint is asked as diffusers asks it: with the
 * factors, which are undone in what comes back; a latentd for what is wanted, unscaled.
 */
#include "base/checked.h"
#include "encoder/endpoint_model.h"
#include "encoder/remote_parts.h"
#include "net/vae_wire.h"

#include <stdio.h>
#include <string.h>

enum {
	QUESTION_MS = 30000,
	QUESTION_MAX = 1 << 20,
	HEADERS = 6,
	TOKEN_EVERY_MS = 30000,
	OTHER_CHANNELS = 8
};

struct remote_latent remote_latent_of(const struct encoder_remote *r,
				      const struct encode_batch *batch)
{
	size_t channels = r->caps.latent_channels;
	bool mean = r->options.declared || batch->posterior == POSTERIOR_MEAN;

	return (struct remote_latent){
	    .channels = mean ? channels : 2 * channels,
	    .height = batch->height / r->caps.downscale,
	    .width = batch->width / r->caps.downscale,
	};
}

static void make_query(const struct encoder_remote *r, const struct encode_batch *batch,
		       struct buffer *out)
{
	static const enum dtype dtypes[] = {[ENCODER_REMOTE_FLOAT16] = DTYPE_F16,
					    [ENCODER_REMOTE_FLOAT32] = DTYPE_F32,
					    [ENCODER_REMOTE_UINT8] = DTYPE_U8};
	const struct vae_config *vae = &r->options.vae;
	struct vae_wire_query q = VAE_WIRE_QUERY_INIT;

	if (r->options.send != ENCODER_REMOTE_PNG) {
		q.ndim = 4;
		q.shape[0] = 1;
		q.shape[1] = 3;
		q.shape[2] = batch->height;
		q.shape[3] = batch->width;
		q.has_dtype = true;
		q.dtype = dtypes[r->options.send];
	}
	if (r->options.declared) {
		q.has_scaling_factor = vae->n_statistics == 0;
		q.scaling_factor = vae->scaling_factor;
		q.has_shift_factor = q.has_scaling_factor && vae->has_shift_factor;
		q.shift_factor = vae->shift_factor;
	} else {
		q.posterior = batch->posterior == POSTERIOR_MEAN ? VAE_WIRE_MEAN : VAE_WIRE_MOMENTS;
		q.signed_range = q.ndim > 0 && q.dtype != DTYPE_U8;
		q.has_reply = true;
		q.reply = DTYPE_F32;
	}
	vae_wire_query_format(&q, out);
}

/* ---- flights ---------------------------------------------------------------------------------------------------- */

static struct remote_flight *flight_new(struct encoder_remote *r, size_t server, int64_t now,
					size_t class)
{
	struct remote_flight *f = r->spare;
	struct remote_server *s = &r->servers[server];
	struct buffer url = f ? f->url : (struct buffer)BUFFER_INIT;

	if (f)
		r->spare = f->next;
	else
		f = xcalloc(1, sizeof(*f));
	*f = (struct remote_flight){.server = server, .typed = s->typed, .url = url};
	f->x.owner = f;
	endpoint_start(&s->endpoint, now, class, &f->ticket);
	return f;
}

/* Sends it off. */
static bool flight_start(struct encoder_remote *r, struct remote_flight *f, const char *type,
			 int64_t now)
{
	struct remote_server *s = &r->servers[f->server];
	const char *headers[HEADERS] = {type};
	struct error err = ERROR_INIT;
	size_t n = 1;

	if (f->typed)
		headers[n++] = "Accept: tensor/binary";
	if (s->access.bearer)
		headers[n++] = s->access.bearer;
	if (f->ticket.wake) {
		snprintf(f->wake, sizeof(f->wake), "X-Scale-Up-Timeout: %lld",
			 (long long)r->options.scale_up_ms / 1000);
		headers[n++] = f->wake;
		f->x.timeout_ms += r->options.scale_up_ms;
	}
	f->x.url = (const char *)f->url.data;
	f->x.headers = headers;
	if (http_multi_start(r->multi, &f->x, &err) < 0) {
		remote_flight_over(r, f, now, ENDPOINT_UNASKED);
		return false;
	}
	s->requests++;
	r->requests++;
	f->charged = f->x.body_size;
	return true;
}

void remote_flight_over(struct encoder_remote *r, struct remote_flight *f, int64_t now,
			enum endpoint_outcome outcome)
{
	struct remote_server *s = &r->servers[f->server];
	enum endpoint_phase before = s->endpoint.phase;
	uint64_t moved = f->x.sent + f->x.received;

	s->sent += f->x.sent;
	s->received += f->x.received;
	cost_guard_spend(r->options.guard, now, 0, moved > f->charged ? moved - f->charged : 0);
	s->failures += f->item && outcome != ENDPOINT_GOOD && outcome != ENDPOINT_UNASKED;
	endpoint_done(&s->endpoint, &f->ticket, now, outcome, f->x.retry_after_ms, &r->random);
	if (s->endpoint.phase != ENDPOINT_OK && s->endpoint.phase != before)
		s->known = r->options.declared; /* who comes back may be another */
	if (s->endpoint.phase == ENDPOINT_OK && outcome == ENDPOINT_GOOD)
		s->reason[0] = '\0';
	http_exchange_release(&f->x);
	f->next = r->spare;
	r->spare = f;
}

void remote_flight_drop(struct encoder_remote *r, struct remote_flight *f, int64_t now)
{
	http_multi_cancel(r->multi, &f->x);
	remote_flight_over(r, f, now, ENDPOINT_UNASKED);
}

bool remote_send_image(struct encoder_remote *r, struct remote_item *item, size_t server,
		       int64_t now)
{
	const struct encode_batch *batch = item->batch->batch;
	const struct remote_latent want = remote_latent_of(r, batch);
	size_t slot = item->flights[0] ? 1 : 0;
	bool png = r->options.send == ENCODER_REMOTE_PNG;
	struct remote_flight *f;
	cleanup_buffer struct buffer query = BUFFER_INIT;
	const char *type = "Content-Type:";

	if (!cost_guard_take(r->options.guard, now, item->body.size))
		return false;
	f = flight_new(r, server, now, endpoint_class_of(batch->width * batch->height));
	if (f->typed)
		type = png ? "Content-Type: image/png" : "Content-Type: tensor/binary";
	make_query(r, batch, &query);
	remote_access_target(&r->servers[server].access, query.size ? (const char *)query.data : "",
			     &f->url);
	f->item = item;
	f->x.method = "POST";
	f->x.body = item->body.data;
	f->x.body_size = item->body.size;
	f->x.timeout_ms = r->options.timeout_ms;
	/* So that another model's latent is seen for what it is. */
	f->x.response_max = OTHER_CHANNELS * remote_reply_max(&want);
	if (!flight_start(r, f, type, now))
		return false;
	item->flights[slot] = f;
	r->n_flying++;
	return true;
}

/* ---- the question ----------------------------------------------------------------------------------------------- */

void remote_send_question(struct encoder_remote *r, size_t server, int64_t now)
{
	struct remote_server *s = &r->servers[server];
	struct remote_flight *f;
	cleanup_free char *url = NULL;

	if (!cost_guard_take(r->options.guard, now, 0))
		return;
	f = flight_new(r, server, now, 0);
	url = endpoint_model_url(s->access.url);
	f->typed = false;
	buffer_reset(&f->url);
	buffer_append_string(&f->url, url);
	f->x.method = "GET";
	f->x.timeout_ms = r->options.timeout_ms < QUESTION_MS ? r->options.timeout_ms : QUESTION_MS;
	f->x.response_max = QUESTION_MAX;
	s->question = flight_start(r, f, "Accept: application/json", now) ? f : NULL;
}

bool remote_new_token(struct remote_server *s, int64_t now)
{
	if (remote_access_reload(&s->access))
		return true;
	s->wants_token = s->access.token_file != NULL;
	s->token_at = now + TOKEN_EVERY_MS;
	return false;
}

static enum endpoint_outcome outcome_of(enum retry_class class)
{
	switch (class) {
	case RETRY_TIMED_OUT:
		return ENDPOINT_TIMES_OUT;
	case RETRY_THROTTLED:
		return ENDPOINT_THROTTLES;
	case RETRY_STARTING:
		return ENDPOINT_STARTS;
	case RETRY_STOP:
		return ENDPOINT_STOPS;
	case RETRY_NOT_NEEDED:
		return ENDPOINT_ALIVE;
	case RETRY_LATER:
	case RETRY_ELSEWHERE:
	case RETRY_REFUSED:
		break;
	}
	return ENDPOINT_FAILS;
}

void remote_answered(struct encoder_remote *r, struct remote_flight *f, int64_t now)
{
	struct remote_server *s = &r->servers[f->server];
	struct endpoint_model model = {.latentd = false};
	struct error err = ERROR_INIT;
	enum retry_class class = RETRY_LATER;
	enum endpoint_outcome outcome;
	long status = f->x.status;

	s->question = NULL;
	if (endpoint_model_read(&f->x, &s->access, &class, &model, &err) < 0) {
		size_t prefix = strlen(s->access.shown) + 2;

		snprintf(s->reason, sizeof(s->reason), "%s",
			 strlen(err.message) > prefix ? err.message + prefix : err.message);
	} else if (remote_tells_another(r, &model, s->reason)) {
		class = RETRY_STOP;
	}
	outcome = outcome_of(class);
	if ((status == 401 || status == 403) && outcome == ENDPOINT_STOPS &&
	    remote_new_token(s, now))
		outcome = ENDPOINT_UNASKED;
	remote_flight_over(r, f, now, outcome);
	if (outcome == ENDPOINT_ALIVE) {
		s->known = true;
		s->reason[0] = '\0';
	}
}

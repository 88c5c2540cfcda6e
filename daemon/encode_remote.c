#include "daemon/encode_remote.h"

#include "base/checked.h"
#include "config/encoder_scope.h"
#include "config/vae_presets.h"
#include "encoder/encoder_remote.h"

/* To be freed. */
static struct encoder_remote_endpoint *endpoints_of(const struct remote_config *c)
{
	struct encoder_remote_endpoint *endpoints = xcalloc(c->n_endpoints, sizeof(*endpoints));

	for (size_t i = 0; i < c->n_endpoints; i++)
		endpoints[i] = (struct encoder_remote_endpoint){
		    c->endpoints[i].url, c->endpoints[i].token_file, c->endpoints[i].max_in_flight};
	return endpoints;
}

int encode_remote_open(const struct remote_config *c, const struct encode_model *model,
		       size_t memory, struct cost_guard *guard, struct encoder **out,
		       struct error *err)
{
	static const enum encoder_remote_wire wires[] = {
	    [REMOTE_WIRE_AUTO] = ENCODER_REMOTE_AUTO,
	    [REMOTE_WIRE_EXACT] = ENCODER_REMOTE_EXACT,
	    [REMOTE_WIRE_TYPED] = ENCODER_REMOTE_TYPED,
	};
	static const enum encoder_remote_send bodies[] = {
	    [REMOTE_SEND_PNG] = ENCODER_REMOTE_PNG,
	    [REMOTE_SEND_TENSOR] = ENCODER_REMOTE_FLOAT16,
	    [REMOTE_SEND_FLOAT16] = ENCODER_REMOTE_FLOAT16,
	    [REMOTE_SEND_FLOAT32] = ENCODER_REMOTE_FLOAT32,
	    [REMOTE_SEND_UINT8] = ENCODER_REMOTE_UINT8,
	};
	cleanup_free struct encoder_remote_endpoint *endpoints = endpoints_of(c);
	struct encoder_remote_options options = ENCODER_REMOTE_OPTIONS_INIT;
	const struct encoder_scope_wish wish = {.declared = model->declared[0] != '\0',
						.send = remote_send_name(c->options.send)};

	if (encoder_scope_endpoint(&wish, err) < 0)
		return -1;
	options.endpoints = endpoints;
	options.n_endpoints = c->n_endpoints;
	options.name = model->name;
	options.vae = model->vae;
	options.declared = wish.declared;
	options.same_name = vae_name_same;
	options.weights = model->weights;
	options.fake = model->fake;
	options.wire = wires[c->options.wire];
	options.send = bodies[c->options.send];
	options.connect_ms = (int64_t)c->options.connect_timeout;
	options.timeout_ms = (int64_t)c->options.timeout;
	options.scale_up_ms = (int64_t)c->options.scale_up_timeout;
	options.retries = c->options.retries;
	options.ca_file = c->options.ca_file;
	options.proxy = remote_proxy_of(&c->options);
	options.proxy_auth_file = c->options.proxy_auth_file;
	options.memory = memory;
	options.guard = guard;
	return encoder_remote_open(&options, out, err);
}

int encode_remote_change(struct encoder *e, const struct remote_config *c, struct error *err)
{
	cleanup_free struct encoder_remote_endpoint *endpoints = endpoints_of(c);

	return encoder_remote_change(e, endpoints, c->n_endpoints, err);
}

/* -- what is wrong -------------------------------------------------------------------------------- */

/* "12 s", "5 min": rounded up. */
static void append_wait(struct buffer *out, int64_t ms)
{
	int64_t s = (ms + 999) / 1000;

	if (s < 120)
		buffer_appendf(out, "%lld s", (long long)s);
	else
		buffer_appendf(out, "%lld min", (long long)((s + 59) / 60));
}

static bool is_wrong(enum encoder_remote_state state)
{
	return state != ENCODER_REMOTE_UNKNOWN && state != ENCODER_REMOTE_OK;
}

static void append_endpoint(struct buffer *out, const struct encoder_remote_endpoint_view *v)
{
	buffer_appendf(out, "%s is %s", v->url, encoder_remote_state_name(v->state));
	if (v->reason[0])
		buffer_appendf(out, ": %s", v->reason);
	if (v->wait_ms > 0) {
		buffer_append_string(out, " (tried again in ");
		append_wait(out, v->wait_ms);
		buffer_append_string(out, ")");
	}
}

/* Of those with something wrong, in one line; how many those are, and how many of them are stopped. */
static size_t append_endpoints(struct buffer *out, const struct encoder *e, size_t n,
			       size_t *stopped)
{
	size_t wrong = 0;

	*stopped = 0;
	for (size_t i = 0; i < n; i++) {
		struct encoder_remote_endpoint_view v;

		if (!encoder_remote_endpoint_view(e, i, &v))
			break;
		*stopped += v.state == ENCODER_REMOTE_STOPPED;
		if (!is_wrong(v.state))
			continue;
		if (wrong++ > 0)
			buffer_append_string(out, "; ");
		append_endpoint(out, &v);
	}
	return wrong;
}

enum encode_remote_health encode_remote_look(const struct encoder *e, struct buffer *why)
{
	cleanup_buffer struct buffer endpoints = BUFFER_INIT;
	struct encoder_remote_view view;
	size_t wrong, stopped = 0;
	bool none;

	if (!encoder_remote_view(e, &view))
		return ENCODE_REMOTE_FINE;
	if (view.guarded) {
		buffer_appendf(why,
			       "paused by its cost guard (%llu requests in the last hour, %llu "
			       "bytes in the last day), for ",
			       (unsigned long long)view.requests_last_hour,
			       (unsigned long long)view.bytes_last_day);
		append_wait(why, view.guard_ms);
		return ENCODE_REMOTE_GUARDED;
	}
	wrong = append_endpoints(&endpoints, e, view.n_endpoints, &stopped);
	if (wrong == 0)
		return ENCODE_REMOTE_FINE;
	none =
	    wrong == view.n_endpoints || !view.usable; /* that one may be tried says nothing yet */
	if (none)
		buffer_append_string(why, "no endpoint can encode: ");
	buffer_append(why, endpoints.data, endpoints.size);
	if (stopped == view.n_endpoints)
		return ENCODE_REMOTE_STOPPED;
	return none ? ENCODE_REMOTE_WAITS : ENCODE_REMOTE_FINE;
}

/* -- news ----------------------------------------------------------------------------------------- */

enum { NEWS_AFTER_MS = 3000 };

bool encode_remote_is_news(struct encode_remote_told *t, enum encode_remote_health health,
			   int64_t now)
{
	if (health != t->seen) {
		t->seen = health;
		t->since = now;
	}
	if (health == t->told || (health == ENCODE_REMOTE_WAITS && now - t->since < NEWS_AFTER_MS))
		return false;
	t->told = health;
	return true;
}

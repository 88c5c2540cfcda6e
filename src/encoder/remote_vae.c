#include "encoder/remote_vae.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "encoder/remote_reply.h"
#include "net/vae_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIDE_MAX = 32, TIMEOUT_MS = 120 * 1000, ANSWER_SLACK = 64 << 10 };

struct remote_vae {
	struct remote_vae_options options;
	struct remote_access access;
	struct remote_proxy proxy;
	struct http_multi *multi;
	struct retry_random random;
	struct endpoint_model model;
};

/* A request that is sent until its answer is good. */
struct question {
	struct remote_vae *vae;
	const char *query;
	const void *body;
	size_t body_size, answer_max;
	/* 0, or *reason says what is wrong with an answer of status 2xx. */
	int (*read)(void *arg, const struct http_exchange *x, char reason[REMOTE_REASON_SIZE]);
	void *arg;
};

/* -- asking -------------------------------------------------------------------------------------- */

static void wait_before_next(const struct remote_vae *v, int64_t ms, const struct error *why)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	if (v->options.on_wait)
		v->options.on_wait(ms, why->message);
	while (nanosleep(&left, &left) < 0)
		continue;
}

/* One try at @url; @wake: the server may be starting, and is asked to hold the request until it has. */
static int send_once(const struct question *q, const char *url, bool wake, struct http_exchange *x,
		     struct error *err)
{
	const struct remote_vae *v = q->vae;
	int64_t timeout = v->options.ask.timeout_ms > 0 ? v->options.ask.timeout_ms : TIMEOUT_MS;
	cleanup_free char *hold =
	    xasprintf("X-Scale-Up-Timeout: %lld", (long long)v->options.ask.scale_up_ms / 1000);
	const char *headers[5] = {"Content-Type: tensor/binary", "Accept: tensor/binary"};
	size_t n = 2;

	if (v->access.bearer)
		headers[n++] = v->access.bearer;
	if (wake && v->options.ask.scale_up_ms > 0)
		headers[n++] = hold;
	*x = (struct http_exchange){
	    .method = "POST",
	    .url = url,
	    .headers = headers,
	    .body = q->body,
	    .body_size = q->body_size,
	    .timeout_ms = timeout + (wake ? v->options.ask.scale_up_ms : 0),
	    .response_max = q->answer_max + ANSWER_SLACK,
	};
	if (http_multi_start(v->multi, x, err) < 0)
		return -1;
	while (!http_multi_finished(v->multi))
		http_multi_wait(v->multi, -1);
	return 0;
}

/* What came of a try: 0 good, or the error in *err; *again: another try may help. */
static int judge(const struct question *q, const struct http_exchange *x, size_t tries, bool *wake,
		 bool *again, struct error *err)
{
	const struct remote_access *access = &q->vae->access;
	char reason[REMOTE_REASON_SIZE] = "";
	enum retry_class class = remote_reply_class(x, access, reason);

	*again = true;
	*wake = class == RETRY_STARTING;
	switch (class) {
	case RETRY_NOT_NEEDED:
		if (q->read(q->arg, x, reason) == 0)
			return 0;
		remote_access_mask(access, reason);
		break;
	case RETRY_STOP:
		*again = false;
		return error_set(err, ERR_CONFIG, "%s: %s", access->shown, reason);
	case RETRY_REFUSED:
		*again = false;
		return error_data(err, "refused", "%s: %s", access->shown, reason);
	case RETRY_ELSEWHERE: /* once more: servers say so of running out of memory too */
		*again = tries < 2;
		return error_data(err, "refused", "%s: %s", access->shown, reason);
	case RETRY_LATER:
	case RETRY_TIMED_OUT:
	case RETRY_THROTTLED:
	case RETRY_STARTING:
		break;
	}
	return error_set(err, ERR_TRANSIENT, "%s: %s", access->shown, reason);
}

static int ask(const struct question *q, struct error *err)
{
	struct remote_vae *v = q->vae;
	cleanup_buffer struct buffer url = BUFFER_INIT;
	bool wake = false;

	remote_access_target(&v->access, q->query, &url);
	for (size_t tries = 1;; tries++) {
		struct error why = ERROR_INIT;
		struct http_exchange x;
		bool again = false;
		int64_t pause;
		int r;

		if (send_once(q, (const char *)url.data, wake, &x, err) < 0)
			return -1;
		r = judge(q, &x, tries, &wake, &again, &why);
		pause = retry_pause_ms(tries, &v->random);
		if (x.retry_after_ms > pause)
			pause = x.retry_after_ms;
		http_exchange_release(&x);
		if (r == 0)
			return 0;
		if (!again || tries > v->options.retries) {
			*err = why;
			return -1;
		}
		wait_before_next(v, pause, &why);
	}
}

/* -- open ---------------------------------------------------------------------------------------- */

/* Which model it has; it may just be starting. */
static int ask_model(struct remote_vae *v, struct error *err)
{
	for (size_t tries = 1;; tries++) {
		struct error why = ERROR_INIT;

		if (endpoint_model_ask(&v->options.ask, &v->model, &why) == 0)
			return 0;
		if (why.code != ERR_TRANSIENT || tries > v->options.retries) {
			*err = why;
			return -1;
		}
		wait_before_next(v, retry_pause_ms(tries, &v->random), &why);
	}
}

static int connect_to(struct remote_vae *v, struct error *err)
{
	const struct endpoint_model_ask *ask = &v->options.ask;
	struct http_multi_options multi = {.connect_ms = ask->connect_ms, .ca_file = ask->ca_file};

	if (ask_model(v, err) < 0 ||
	    remote_access_init(&v->access, ask->url, ask->token_file, err) < 0 ||
	    remote_proxy_init(&v->proxy, ask->proxy, ask->proxy_auth_file, err) < 0)
		return -1;
	multi.proxy = v->proxy.url;
	multi.proxy_user = v->proxy.user;
	multi.proxy_password = v->proxy.password;
	return http_multi_open(&multi, &v->multi, err);
}

int remote_vae_open(const struct remote_vae_options *options, struct remote_vae **out,
		    struct error *err)
{
	struct remote_vae *v = xcalloc(1, sizeof(*v));

	v->options = *options;
	v->random.state = (uint64_t)clock_mono_ns();
	if (connect_to(v, err) < 0) {
		remote_vae_close(v);
		return -1;
	}
	*out = v;
	return 0;
}

void remote_vae_close(struct remote_vae *v)
{
	if (!v)
		return;
	http_multi_close(v->multi);
	remote_proxy_release(&v->proxy);
	remote_access_release(&v->access);
	free(v);
}

const struct endpoint_model *remote_vae_model(const struct remote_vae *v)
{
	return &v->model;
}

const char *remote_vae_name(const struct remote_vae *v)
{
	return v->access.shown;
}

/* -- decode -------------------------------------------------------------------------------------- */

struct picture {
	size_t height, width; /* of the latent */
	size_t side;
	uint8_t *pixels;
};

/* The answer's `shape`, when it is one of uint8 that its body has. */
static bool read_shape(const struct http_exchange *x, size_t shape[NDARRAY_MAX_DIMS])
{
	size_t ndim = 0, bytes = 0;
	struct error ignored = ERROR_INIT;
	char header[256];

	return http_exchange_header(x, "dtype", header, sizeof(header)) &&
	       strcmp(header, dtype_name(DTYPE_U8)) == 0 &&
	       http_exchange_header(x, "shape", header, sizeof(header)) &&
	       vae_wire_shape_parse(header, &ndim, shape, &ignored) == 0 && ndim == 4 &&
	       ndarray_bytes(DTYPE_U8, 4, shape, &bytes) && bytes == x->reply.size;
}

static int read_picture(void *arg, const struct http_exchange *x, char reason[REMOTE_REASON_SIZE])
{
	struct picture *p = arg;
	size_t shape[NDARRAY_MAX_DIMS] = {0}, side;

	if (!read_shape(x, shape)) {
		snprintf(reason, REMOTE_REASON_SIZE,
			 "the answer is no picture: a tensor of uint8, [1,height,width,3], with "
			 "headers `shape` and `dtype` was expected");
		return -1;
	}
	side = shape[1] / p->height;
	if (shape[0] != 1 || shape[3] != 3 || side == 0 || side > SIDE_MAX ||
	    shape[1] != side * p->height || shape[2] != side * p->width) {
		snprintf(reason, REMOTE_REASON_SIZE,
			 "the answer's shape is [%zu,%zu,%zu,%zu], which is no picture of a latent "
			 "of %zux%zu",
			 shape[0], shape[1], shape[2], shape[3], p->width, p->height);
		return -1;
	}
	p->side = side;
	p->pixels = xmalloc(x->reply.size);
	memcpy(p->pixels, x->reply.data, x->reply.size);
	return 0;
}

int remote_vae_decode(struct remote_vae *v, const struct ndarray *latent, uint8_t **pixels,
		      size_t *side, struct error *err)
{
	size_t downscale = v->model.latentd ? vae_config_downscale(&v->model.vae) : SIDE_MAX, most;
	struct vae_wire_query query = {
	    .decode = {.asked = true,
		       .output = VAE_WIRE_PT,
		       .partial_postprocess = true,
		       .has_do_scaling = true},
	    .ndim = 4,
	    .shape = {1, latent->shape[0], latent->shape[1], latent->shape[2]},
	    .has_dtype = true,
	    .dtype = DTYPE_F32,
	};
	struct picture picture = {.height = latent->shape[1], .width = latent->shape[2]};
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct question q = {.vae = v,
			     .body = latent->data,
			     .body_size = latent->bytes,
			     .read = read_picture,
			     .arg = &picture};

	if (!size_mul3(latent->shape[1] * latent->shape[2], downscale * downscale, 3, &most))
		return error_data(err, "too_large", "a latent of %zux%zu is too large",
				  latent->shape[2], latent->shape[1]);
	vae_wire_query_format(&query, &text);
	q.query = (const char *)text.data;
	q.answer_max = most;
	if (ask(&q, err) < 0)
		return -1;
	*pixels = picture.pixels;
	*side = picture.side;
	return 0;
}

/* -- encode -------------------------------------------------------------------------------------- */

struct encoded {
	struct remote_latent want;
	struct ndarray *latent;
};

static int read_latent(void *arg, const struct http_exchange *x, char reason[REMOTE_REASON_SIZE])
{
	const struct encoded *e = arg;

	return remote_reply_latent(x, &e->want, e->latent, reason) == REMOTE_ANSWER_GOOD ? 0 : -1;
}

int remote_vae_encode(struct remote_vae *v, const uint8_t *pixels, size_t height, size_t width,
		      struct ndarray *latent, struct error *err)
{
	size_t downscale = vae_config_downscale(&v->model.vae), n = height * width;
	const struct vae_wire_query query = {
	    .ndim = 4,
	    .shape = {1, 3, height, width},
	    .has_dtype = true,
	    .dtype = DTYPE_U8,
	    .posterior = VAE_WIRE_MEAN,
	    .has_reply = true,
	    .reply = DTYPE_F32,
	};
	struct encoded encoded = {
	    {v->model.vae.latent_channels, height / downscale, width / downscale}, latent};
	cleanup_buffer struct buffer text = BUFFER_INIT;
	cleanup_free uint8_t *planes = xmalloc(3 * n);
	struct question q = {.vae = v,
			     .body = planes,
			     .body_size = 3 * n,
			     .answer_max = remote_reply_max(&encoded.want),
			     .read = read_latent,
			     .arg = &encoded};

	for (size_t i = 0; i < 3 * n; i++)
		planes[i] = pixels[i % n * 3 + i / n];
	vae_wire_query_format(&query, &text);
	q.query = (const char *)text.data;
	return ask(&q, err);
}

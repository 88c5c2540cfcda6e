#include "daemon/serve_ask.h"

#include "daemon/json_text.h"

#include "base/checked.h"

#include <errno.h>
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* -- the query ----------------------------------------------------------------------------------- */

static enum posterior posterior_of(const struct vae_wire_query *q, bool deterministic)
{
	switch (q->posterior) {
	case VAE_WIRE_MEAN:
		return POSTERIOR_MEAN;
	case VAE_WIRE_MOMENTS:
		return POSTERIOR_MOMENTS;
	case VAE_WIRE_UNSAID:
		return deterministic ? POSTERIOR_MEAN : POSTERIOR_DRAW;
	case VAE_WIRE_DRAW:
		break;
	}
	return POSTERIOR_DRAW;
}

/* Of a VAE whose latents are scaled, and one for each image. */
static int check_deterministic(const struct serve_ask *ask, struct error *err)
{
	if (ask->posterior != POSTERIOR_MEAN)
		return error_data(
		    err, "query",
		    "the model is an AutoencoderTiny, which has no posterior: ask for "
		    "posterior=mean, or say nothing");
	if (ask->scale < 1 || ask->scale > 1 || ask->shift < 0 || ask->shift > 0)
		return error_data(err, "query",
				  "the model is an AutoencoderTiny, whose latents are scaled: ask "
				  "without scaling_factor and shift_factor");
	return 0;
}

/* The images that @q describes, against what is taken. */
static int read_shape(const struct vae_wire_query *q, const struct serve_bounds *bounds,
		      struct serve_ask *ask, struct error *err)
{
	size_t d = bounds->downscale, pixels;

	ask->tensor = true;
	ask->dtype = q->dtype;
	ask->n = q->shape[0];
	ask->height = q->shape[2];
	ask->width = q->shape[3];
	if (ask->n > bounds->max_images)
		return error_data(err, "too_large", "%zu images: at most %zu in one request",
				  ask->n, bounds->max_images);
	if (!size_mul(ask->height, ask->width, &pixels) || pixels > bounds->max_pixels)
		return error_data(err, "too_large", "%zux%zu pixels: at most %zu are taken",
				  ask->width, ask->height, bounds->max_pixels);
	if (ask->height % d != 0 || ask->width % d != 0)
		return error_data(err, "size",
				  "%zux%zu pixels: both sides of a tensor must be multiples of %zu "
				  "for this VAE",
				  ask->width, ask->height, d);
	if (!size_mul3(pixels, 3, dtype_size(q->dtype), &ask->bytes) ||
	    !size_mul(ask->bytes, ask->n, &ask->bytes) || ask->bytes > bounds->max_body)
		return error_data(err, "too_large", "a tensor larger than %zu bytes",
				  bounds->max_body);
	return 0;
}

int serve_ask_read(const char *query, const char *accept, const struct serve_bounds *bounds,
		   struct serve_ask *ask, struct error *err)
{
	struct vae_wire_query q = VAE_WIRE_QUERY_INIT;
	struct serve_ask read = {.n = 1, .scale = 1};

	if (query && vae_wire_query_parse(query, &q, err) < 0)
		return -1;
	if (q.unknown[0])
		return error_data(err, "query", "%s is no parameter of this endpoint", q.unknown);
	if (q.decode.asked) {
		if (serve_picture_read(&q, bounds, &read, err) < 0)
			return -1;
		serve_picture_accept(&read, accept);
		*ask = read;
		return 0;
	}
	read.deterministic = bounds->deterministic;
	read.posterior = posterior_of(&q, read.deterministic);
	if (read.posterior == POSTERIOR_MOMENTS && (q.has_scaling_factor || q.has_shift_factor))
		return error_data(err, "query",
				  "moments have no scale: ask for them without scaling_factor and "
				  "shift_factor");
	read.has_seed = q.has_seed;
	read.seed = q.seed;
	if (q.has_scaling_factor)
		read.scale = q.scaling_factor;
	if (q.has_shift_factor)
		read.shift = q.shift_factor;
	if (read.deterministic && check_deterministic(&read, err) < 0)
		return -1;
	read.signed_range = q.signed_range;
	read.reply = vae_wire_reply_dtype(&q, DTYPE_F16);
	if (q.ndim > 0 && read_shape(&q, bounds, &read, err) < 0)
		return -1;
	*ask = read;
	return 0;
}

int serve_ask_check_size(const struct serve_ask *ask, size_t size, struct error *err)
{
	if (size == 0)
		return error_data(err, "empty", "the body is empty: expected an image or a tensor");
	if (ask->tensor && size != ask->bytes)
		return error_data(err, "size",
				  "the body has %zu bytes, a tensor of this shape and dtype %zu",
				  size, ask->bytes);
	return 0;
}

/* -- the tensor ---------------------------------------------------------------------------------- */

size_t serve_tensor_bytes(const struct serve_ask *ask)
{
	size_t item = dtype_size(ask->dtype);

	if (!ask->tensor)
		return 0;
	if (ask->decode)
		return ask->n * serve_picture_latent_floats(ask) * sizeof(float);
	return ask->dtype == DTYPE_U8 ? ask->bytes : ask->bytes / item * sizeof(float);
}

size_t serve_ask_bytes(const struct serve_ask *ask)
{
	return serve_tensor_bytes(ask) + (ask->decode ? serve_picture_bytes(ask) : 0);
}

static void interleave_bytes(const uint8_t *planes, size_t pixels, uint8_t *out)
{
	for (size_t i = 0; i < pixels; i++) {
		out[3 * i] = planes[i];
		out[3 * i + 1] = planes[pixels + i];
		out[3 * i + 2] = planes[2 * pixels + i];
	}
}

enum { PIECE = 1024 }; /* values converted at a time: they stay in the cache */

/* The three planes of one image, interleaved; *least follows. False: a value is not finite. */
static bool interleave_floats(enum dtype dtype, const uint8_t *planes, size_t pixels, float *out,
			      float *least)
{
	size_t item = dtype_size(dtype);
	float piece[PIECE], low = *least;
	bool finite = true;

	for (size_t c = 0; c < 3; c++) {
		for (size_t at = 0; at < pixels; at += PIECE) {
			size_t n = pixels - at < PIECE ? pixels - at : PIECE;

			vae_wire_read(dtype, planes + (c * pixels + at) * item, n, piece);
			for (size_t i = 0; i < n; i++) {
				finite &= isfinite(piece[i]) != 0;
				low = piece[i] < low ? piece[i] : low;
				out[3 * (at + i) + c] = piece[i];
			}
		}
	}
	*least = low;
	return finite;
}

static int read_floats(const struct serve_ask *ask, const uint8_t *body, float *out,
		       struct error *err)
{
	size_t pixels = ask->width * ask->height, item = dtype_size(ask->dtype);
	size_t total = 3 * pixels * ask->n;
	float least = 0;

	for (size_t i = 0; i < ask->n; i++) {
		if (!interleave_floats(ask->dtype, body + i * 3 * pixels * item, pixels,
				       out + i * 3 * pixels, &least))
			return error_data(err, "non_finite",
					  "the tensor has values that are not finite");
	}
	if (ask->signed_range || least < 0)
		return 0;
	for (size_t i = 0; i < total; i++)
		out[i] = fminf(2.0f * out[i] - 1.0f, FLT_MAX);
	return 0;
}

int serve_tensor_read(const struct serve_ask *ask, const uint8_t *body, struct serve_tensor *out,
		      struct error *err)
{
	struct serve_tensor t = SERVE_TENSOR_INIT;
	size_t each = ask->bytes / ask->n, pixels = ask->width * ask->height;
	void *room = malloc(serve_tensor_bytes(ask));

	if (!room)
		return error_set(err, ERR_NOMEM, "no memory for the tensor");
	if (ask->decode) {
		t.values = room;
		if (serve_picture_values(ask, body, t.values, err) < 0) {
			serve_tensor_release(&t);
			return -1;
		}
	} else if (ask->dtype == DTYPE_U8) {
		t.pixels = room;
		for (size_t i = 0; i < ask->n; i++)
			interleave_bytes(body + i * each, pixels, t.pixels + i * each);
	} else {
		t.values = room;
		if (read_floats(ask, body, t.values, err) < 0) {
			serve_tensor_release(&t);
			return -1;
		}
	}
	t.contents = xcalloc(ask->n, sizeof(*t.contents));
	for (size_t i = 0; i < ask->n; i++)
		t.contents[i] = hash128_of(body + i * each, each);
	*out = t;
	return 0;
}

void serve_tensor_release(struct serve_tensor *t)
{
	free(t->pixels);
	free(t->values);
	free(t->contents);
	*t = (struct serve_tensor)SERVE_TENSOR_INIT;
}

/* -- the answer ---------------------------------------------------------------------------------- */

/* As a record of scaled latents has it: in float32. */
static void scale(const struct serve_ask *ask, float *z, size_t n)
{
	float factor = (float)ask->scale, shift = (float)ask->shift;

	for (size_t i = 0; i < n; i++)
		z[i] = (z[i] - shift) * factor;
}

/* Without one each image has its own: equal ones in a request have draws of their own. */
static uint64_t seed_of(const struct serve_ask *ask)
{
	uint64_t seed = ask->seed;

	if (!ask->has_seed && ask->posterior == POSTERIOR_DRAW)
		while (getrandom(&seed, sizeof(seed), 0) < 0 && errno == EINTR)
			continue;
	return seed;
}

void serve_ask_shape(struct http_answer *answer, size_t ndim, const size_t *shape, enum dtype dtype)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	vae_wire_shape_format(ndim, shape, &text);
	http_answer_header(answer, "shape", (const char *)text.data);
	http_answer_header(answer, "dtype", dtype_name(dtype));
}

void serve_ask_sign(const struct serve_identity *identity, struct http_answer *answer)
{
	char name[sizeof(identity->model)];

	snprintf(name, sizeof(name), "%s", identity->model);
	for (char *c = name; *c; c++) { /* a header has visible ASCII and spaces */
		if (*c < ' ' || *c > '~')
			*c = '_';
	}
	http_answer_header(answer, VAE_WIRE_HEADER_LATENTD, LATENTD_VERSION);
	http_answer_header(answer, VAE_WIRE_HEADER_MODEL, name);
	http_answer_header(answer, VAE_WIRE_HEADER_WEIGHTS, identity->weights);
	http_answer_header(answer, VAE_WIRE_HEADER_PRECISION, identity->precision);
}

static int answer_latents(const struct serve_ask *ask, const struct serve_latent *latents,
			  struct http_answer *answer, struct error *err)
{
	const struct ndarray *first = &latents[0].moments;
	size_t channels = ask->deterministic ? first->shape[0] : first->shape[0] / 2,
	       pixels = first->shape[1] * first->shape[2];
	size_t kept = posterior_channels(ask->posterior, channels);
	size_t shape[4] = {ask->n, kept, first->shape[1], first->shape[2]};
	cleanup_free float *z = xmalloc(kept * pixels * sizeof(*z));
	size_t bad = 0;

	if (buffer_reserve(&answer->body, ask->n * kept * pixels * dtype_size(ask->reply), err) < 0)
		return -1;
	for (size_t i = 0; i < ask->n; i++) {
		posterior_apply(ask->posterior, latents[i].moments.data, channels, pixels,
				&latents[i].content, seed_of(ask), z);
		if (ask->scale != 1 || ask->shift != 0)
			scale(ask, z, kept * pixels);
		bad += vae_wire_write(ask->reply, z, kept * pixels, &answer->body);
	}
	if (bad > 0) {
		buffer_reset(&answer->body);
		return error_data(err, "non_finite", "%zu values of the latent do not fit %s", bad,
				  dtype_name(ask->reply));
	}
	serve_ask_shape(answer, 4, shape, ask->reply);
	answer->status = 200;
	answer->type = "tensor/binary";
	return 0;
}

int serve_ask_answer(const struct serve_ask *ask, const struct serve_latent *latents,
		     struct http_answer *answer, struct error *err)
{
	if (ask->decode)
		return serve_picture_answer(ask, latents, answer, err);
	return answer_latents(ask, latents, answer, err);
}

/* -- errors -------------------------------------------------------------------------------------- */

unsigned serve_error_status(const struct error *err)
{
	switch (err->code) {
	case ERR_DATA:
		if (strcmp(err->reason, "query") == 0 || strcmp(err->reason, "empty") == 0)
			return 400;
		if (strcmp(err->reason, "too_large") == 0 || strcmp(err->reason, "bomb") == 0)
			return 413;
		return strcmp(err->reason, "unsupported") == 0 ? 415 : 422;
	case ERR_TRANSIENT:
	case ERR_NOMEM:
		return 503;
	default:
		return 500;
	}
}

void serve_error_answer(struct http_answer *answer, unsigned status, const char *message)
{
	json_t *root = json_object();

	json_object_set_new(root, "error", json_clean(message));
	http_answer_json(answer, status, root);
}

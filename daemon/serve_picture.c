/*
 * The rules are those of the handlers of diffusers' decode endpoints (hlky/sdxl-vae-fp16-fix, diffusers/FLUX.1-vae), except
 * that what they would silently drop is refused.
 */
#include "daemon/serve_picture.h"

#include "daemon/serve_ask.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "encoder/pixel_range.h"
#include "image/jpeg_encode.h"
#include "image/png_encode.h"

#include <math.h>
#include <string.h>

enum { PATCH = 2, HEADER_BYTES = 4096 };

/* -- the query ----------------------------------------------------------------------------------- */

static enum serve_picture_kind kind_of(const struct vae_wire_decode *d)
{
	if (d->partial_postprocess)
		return SERVE_PICTURE_BYTES;
	if (d->output == VAE_WIRE_PT)
		return SERVE_PICTURE_SIGNED;
	return d->format == VAE_WIRE_PNG ? SERVE_PICTURE_PNG : SERVE_PICTURE_JPEG;
}

/* [N,C,h,w], or [N,tokens,4C] of a picture whose sides are halved once more to patches. */
static int read_latent(const struct vae_wire_query *q, const struct serve_bounds *b,
		       struct serve_ask *ask, struct error *err)
{
	struct serve_picture *p = &ask->picture;
	size_t channels = b->space.vae.latent_channels, last = q->shape[q->ndim - 1], tokens;

	p->packed = q->ndim == 3;
	if (p->packed) { /* h = 2 * (height // 16), as the pipelines have it */
		p->latent_height = PATCH * (q->decode.height / (PATCH * b->downscale));
		p->latent_width = PATCH * (q->decode.width / (PATCH * b->downscale));
		tokens = p->latent_height / PATCH * (p->latent_width / PATCH);
		if (tokens == 0 || q->shape[1] != tokens)
			return error_data(err, "size",
					  "a picture of %zux%zu has %zu tokens, the latent has %zu",
					  q->decode.width, q->decode.height, tokens, q->shape[1]);
		if (last != PATCH * PATCH * channels)
			return error_data(err, "size",
					  "a packed latent of %zu values a token: expected %zu for "
					  "this model",
					  last, PATCH * PATCH * channels);
		return 0;
	}
	if (q->shape[1] != channels)
		return error_data(err, "size", "a latent of %zu channels: this model's have %zu",
				  q->shape[1], channels);
	p->latent_height = q->shape[2];
	p->latent_width = last;
	return 0;
}

/* What is needed for it fits what the server takes. */
static int check_bounds(const struct serve_bounds *b, struct serve_ask *ask, struct error *err)
{
	const struct serve_picture *p = &ask->picture;
	size_t pixels;

	if (ask->n > b->max_images)
		return error_data(err, "too_large", "%zu latents: at most %zu in one request",
				  ask->n, b->max_images);
	if (!size_mul(p->latent_height, b->downscale, &ask->height) ||
	    !size_mul(p->latent_width, b->downscale, &ask->width) ||
	    !size_mul(ask->height, ask->width, &pixels) || pixels > b->max_pixels)
		return error_data(err, "too_large",
				  "a latent of %zux%zu: pictures of at most %zu pixels are decoded",
				  p->latent_width, p->latent_height, b->max_pixels);
	if (!size_mul3(serve_picture_latent_floats(ask), dtype_size(ask->dtype), ask->n,
		       &ask->bytes) ||
	    ask->bytes > b->max_body)
		return error_data(err, "too_large", "a latent larger than %zu bytes", b->max_body);
	if (p->kind <= SERVE_PICTURE_PNG && ask->n != 1)
		return error_data(
		    err, "query",
		    "an image has room for one latent: ask for output_type=pt, or for "
		    "one after the other");
	return 0;
}

/*
 * A factor that is said counts; what is not said is the model's own, unless do_scaling=False; a shift that is not said
 * beside a factor is none.
 */
static int read_factors(const struct vae_wire_query *q, const struct serve_bounds *b,
			struct latent_space *space, struct error *err)
{
	struct vae_config *c = &space->vae;

	*space = b->space;
	space->scaled = !q->decode.has_do_scaling || q->decode.do_scaling;
	if (!q->has_scaling_factor && !q->has_shift_factor)
		return 0;
	if (b->deterministic && (q->scaling_factor < 1 || q->scaling_factor > 1 ||
				 q->shift_factor < 0 || q->shift_factor > 0))
		return error_data(err, "query",
				  "the model is an AutoencoderTiny, which takes scaled latents as "
				  "they are: ask without scaling_factor and shift_factor");
	if (c->n_statistics > 0)
		return error_data(err, "query",
				  "the model has a mean and a spread for each channel: ask with "
				  "do_scaling instead of scaling_factor and shift_factor");
	if (q->has_scaling_factor)
		c->scaling_factor = q->scaling_factor;
	if (q->has_scaling_factor || q->has_shift_factor) {
		c->has_shift_factor = q->has_shift_factor;
		c->shift_factor = q->has_shift_factor ? q->shift_factor : 0;
	}
	return 0;
}

int serve_picture_read(const struct vae_wire_query *q, const struct serve_bounds *bounds,
		       struct serve_ask *ask, struct error *err)
{
	if (!bounds->decodes)
		return error_data(err, "query", "this server encodes only: it has no decoder");
	ask->decode = true;
	ask->tensor = true;
	ask->dtype = q->dtype;
	ask->n = q->shape[0];
	ask->reply = vae_wire_reply_dtype(q, DTYPE_F16);
	ask->picture.kind = kind_of(&q->decode);
	if (read_latent(q, bounds, ask, err) < 0 ||
	    read_factors(q, bounds, &ask->picture.space, err) < 0)
		return -1;
	ask->picture.format_said = q->decode.format != VAE_WIRE_FORMAT_UNSAID;
	return check_bounds(bounds, ask, err);
}

void serve_picture_accept(struct serve_ask *ask, const char *accept)
{
	enum serve_picture_kind *kind = &ask->picture.kind;

	if (!ask->decode || !accept || *kind > SERVE_PICTURE_PNG)
		return;
	if (strstr(accept, "tensor/binary"))
		*kind = SERVE_PICTURE_UNIT;
	else if (!ask->picture.format_said && strstr(accept, "image/png"))
		*kind = SERVE_PICTURE_PNG;
}

/* -- the latent ---------------------------------------------------------------------------------- */

size_t serve_picture_latent_floats(const struct serve_ask *ask)
{
	const struct serve_picture *p = &ask->picture;

	return p->space.vae.latent_channels * p->latent_height * p->latent_width;
}

size_t serve_picture_bytes(const struct serve_ask *ask)
{
	size_t values = ask->n * 3 * ask->height * ask->width;

	return values * sizeof(float) + HEADER_BYTES +
	       (ask->picture.kind == SERVE_PICTURE_SIGNED || ask->picture.kind == SERVE_PICTURE_UNIT
		    ? values * dtype_size(ask->reply)
		    : 2 * values);
}

/* [(h/2)(w/2)][C][2][2] to [C][h][w]. */
static void unpack(const struct serve_ask *ask, const float *tokens, float *out)
{
	const struct serve_picture *p = &ask->picture;
	size_t channels = p->space.vae.latent_channels, h = p->latent_height, w = p->latent_width;

	for (size_t c = 0; c < channels; c++) {
		for (size_t y = 0; y < h; y++) {
			for (size_t x = 0; x < w; x++) {
				size_t token = y / PATCH * (w / PATCH) + x / PATCH;
				size_t at = (token * channels + c) * PATCH + y % PATCH;

				*out++ = tokens[at * PATCH + x % PATCH];
			}
		}
	}
}

/* One latent, from the dtype it came in. */
static int read_one(const struct serve_ask *ask, const uint8_t *body, float *out, struct error *err)
{
	const struct serve_picture *p = &ask->picture;
	size_t n = serve_picture_latent_floats(ask);
	cleanup_free float *tokens = NULL;

	if (!p->packed) {
		vae_wire_read(ask->dtype, body, n, out);
	} else {
		tokens = malloc(n * sizeof(*tokens));
		if (!tokens)
			return error_set(err, ERR_NOMEM, "no memory for a latent of %zu values", n);
		vae_wire_read(ask->dtype, body, n, tokens);
		unpack(ask, tokens, out);
	}
	for (size_t i = 0; i < n; i++) {
		if (!isfinite(out[i]))
			return error_data(err, "non_finite",
					  "the latent has values that are not finite");
	}
	return 0;
}

int serve_picture_values(const struct serve_ask *ask, const uint8_t *body, float *out,
			 struct error *err)
{
	const struct serve_picture *p = &ask->picture;
	size_t n = serve_picture_latent_floats(ask);

	for (size_t i = 0; i < ask->n; i++) {
		struct ndarray latent = {
		    .dtype = DTYPE_F32,
		    .ndim = 3,
		    .shape = {p->space.vae.latent_channels, p->latent_height, p->latent_width},
		    .bytes = n * sizeof(float),
		    .data = out + i * n,
		};

		if (read_one(ask, body + i * n * dtype_size(ask->dtype), latent.data, err) < 0)
			return -1;
		if (p->space.scaled)
			latent_space_unscale(&p->space, &latent);
	}
	return 0;
}

/* -- the picture --------------------------------------------------------------------------------- */

/* [height][width][3] to planes, in [-1, 1] or [0, 1]. */
static void planes(const struct serve_ask *ask, const float *picture, float *out)
{
	size_t pixels = ask->height * ask->width;
	bool unit = ask->picture.kind == SERVE_PICTURE_UNIT;

	for (size_t i = 0; i < 3 * pixels; i++) {
		float x = picture[i % pixels * 3 + i / pixels];

		out[i] = unit ? fminf(fmaxf(x * 0.5f + 0.5f, 0), 1) : x;
	}
}

static int put_tensors(const struct serve_ask *ask, const struct serve_latent *pictures,
		       struct http_answer *answer, struct error *err)
{
	const size_t nchw[4] = {ask->n, 3, ask->height, ask->width};
	const size_t nhwc[4] = {ask->n, ask->height, ask->width, 3};
	bool bytes = ask->picture.kind == SERVE_PICTURE_BYTES;
	size_t values = 3 * ask->height * ask->width, bad = 0;
	size_t size = values * (bytes ? 1 : sizeof(float));
	cleanup_free void *one = malloc(size);

	if (!one)
		return error_set(err, ERR_NOMEM, "no memory for a picture of %zu bytes", size);
	if (buffer_reserve(&answer->body,
			   ask->n * values * dtype_size(bytes ? DTYPE_U8 : ask->reply), err) < 0)
		return -1;
	for (size_t i = 0; i < ask->n; i++) {
		if (bytes) {
			pixel_range_stored(one, pictures[i].moments.data, values);
			buffer_append(&answer->body, one, values);
		} else {
			planes(ask, pictures[i].moments.data, one);
			bad += vae_wire_write(ask->reply, one, values, &answer->body);
		}
	}
	if (bad > 0)
		return error_data(err, "non_finite", "%zu values of the picture do not fit %s", bad,
				  dtype_name(ask->reply));
	serve_ask_shape(answer, 4, bytes ? nhwc : nchw, bytes ? DTYPE_U8 : ask->reply);
	answer->type = "tensor/binary";
	return 0;
}

static int put_image(const struct serve_ask *ask, const struct ndarray *picture,
		     struct http_answer *answer, struct error *err)
{
	size_t values = 3 * ask->height * ask->width;
	cleanup_free uint8_t *pixels = malloc(values);
	struct png_encoder *encoder;
	int r;

	if (!pixels)
		return error_set(err, ERR_NOMEM, "no memory for a picture of %zu bytes", values);
	pixel_range_stored(pixels, picture->data, values);
	if (ask->picture.kind == SERVE_PICTURE_JPEG) {
		answer->type = "image/jpeg";
		return jpeg_encode(pixels, ask->width, ask->height, &answer->body, err);
	}
	answer->type = "image/png";
	encoder = png_encoder_new();
	r = png_encode(encoder, pixels, ask->width, ask->height, &answer->body, err);
	png_encoder_free(encoder);
	return r;
}

int serve_picture_answer(const struct serve_ask *ask, const struct serve_latent *pictures,
			 struct http_answer *answer, struct error *err)
{
	int r = ask->picture.kind <= SERVE_PICTURE_PNG
		    ? put_image(ask, &pictures[0].moments, answer, err)
		    : put_tensors(ask, pictures, answer, err);

	if (r < 0) {
		buffer_reset(&answer->body);
		return -1;
	}
	answer->status = 200;
	return 0;
}

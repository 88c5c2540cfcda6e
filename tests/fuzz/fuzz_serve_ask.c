/*
 * A request to encode or to decode: the query up to the first newline, then the body. What is accepted has a size that fits its
 * bounds, becomes as many values as it says, and can be answered.
 */
#include "base/checked.h"
#include "daemon/serve_ask.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct serve_bounds bounds = {
    .downscale = 8,
    .max_pixels = 64 * 64,
    .max_images = 4,
    .max_body = 1 << 16,
    .decodes = true,
    .space = {.vae = {.latent_channels = 4, .scaling_factor = 0.18215, .patch_size = 1}}};

static void check_tensor(const struct serve_ask *ask, const struct serve_tensor *t)
{
	size_t n = ask->decode ? ask->n * serve_picture_latent_floats(ask)
			       : 3 * ask->n * ask->width * ask->height;

	if (!t->pixels == !t->values || !t->contents)
		abort();
	for (size_t i = 0; t->values && i < n; i++) {
		if (!ask->decode && !isfinite(t->values[i]))
			abort();
	}
}

static void read_body(const struct serve_ask *ask, const uint8_t *body, size_t size)
{
	struct serve_tensor tensor = SERVE_TENSOR_INIT;
	struct error err = ERROR_INIT;

	if (serve_ask_check_size(ask, size, &err) < 0 || !ask->tensor)
		return;
	if (ask->bytes > bounds.max_body || ask->n == 0 || ask->n > bounds.max_images ||
	    ask->width * ask->height > bounds.max_pixels)
		abort();
	if (serve_tensor_read(ask, body, &tensor, &err) < 0)
		return;
	check_tensor(ask, &tensor);
	serve_tensor_release(&tensor);
}

static void answer(struct serve_ask ask)
{
	const size_t latent_shape[] = {4, 1, 1}, picture[] = {ask.height, ask.width, 3};
	const size_t *shape = ask.decode ? picture : latent_shape;
	struct serve_latent latent = {.moments = NDARRAY_INIT};
	struct http_answer made = HTTP_ANSWER_INIT;
	struct error err = ERROR_INIT;

	ask.n = 1;
	if (ndarray_alloc(&latent.moments, DTYPE_F32, 3, shape, &err) < 0)
		abort();
	memset(latent.moments.data, 0, latent.moments.bytes);
	if (serve_ask_answer(&ask, &latent, &made, &err) < 0)
		serve_error_answer(&made, serve_error_status(&err), err.message);
	if (made.body.size == 0)
		abort();
	http_answer_release(&made);
	ndarray_release(&latent.moments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const accepts[] = {NULL, "tensor/binary", "image/png"};
	const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t n = end ? (size_t)(end - data) : size;
	cleanup_free char *query = xcalloc(n + 1, 1);
	struct error err = ERROR_INIT;
	struct serve_ask ask;

	memcpy(query, data, n);
	if (serve_ask_read(query, accepts[size % 3], &bounds, &ask, &err) < 0) {
		if (serve_error_status(&err) < 400 || serve_error_status(&err) > 422)
			abort();
		return 0;
	}
	read_body(&ask, data + n + (end != NULL), size - n - (end != NULL));
	answer(ask);
	return 0;
}

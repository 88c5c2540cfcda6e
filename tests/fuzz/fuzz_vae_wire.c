/*
 * Any text as a query ("Q...") or as the header `shape` ("S..."): what is accepted is written again as the same thing.
 * Floats in the query are checked against Python's rule by the round trip alone.
 */
#include "base/checked.h"
#include "net/vae_wire.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_decode(const struct vae_wire_decode *a, const struct vae_wire_decode *b)
{
	bool both = a->height > 0 && a->width > 0; /* one alone is not written */

	return a->asked == b->asked && a->output == b->output && a->format == b->format &&
	       a->partial_postprocess == b->partial_postprocess &&
	       a->has_do_scaling == b->has_do_scaling && a->do_scaling == b->do_scaling &&
	       (!both || (a->height == b->height && a->width == b->width));
}

static void check_query(const char *text)
{
	struct vae_wire_query first = VAE_WIRE_QUERY_INIT, second = VAE_WIRE_QUERY_INIT;
	cleanup_buffer struct buffer again = BUFFER_INIT;
	struct error err = ERROR_INIT;

	if (vae_wire_query_parse(text, &first, &err) < 0) {
		if (err.code != ERR_DATA)
			abort();
		return;
	}
	vae_wire_query_format(&first, &again);
	if (vae_wire_query_parse(again.size ? (const char *)again.data : "", &second, &err) < 0)
		abort();
	if (first.ndim != second.ndim || memcmp(first.shape, second.shape, sizeof(first.shape)) ||
	    memcmp(&first.scaling_factor, &second.scaling_factor, sizeof(double)) ||
	    memcmp(&first.shift_factor, &second.shift_factor, sizeof(double)) ||
	    !same_decode(&first.decode, &second.decode) || first.posterior != second.posterior ||
	    first.seed != second.seed ||
	    vae_wire_reply_dtype(&first, DTYPE_F16) != vae_wire_reply_dtype(&second, DTYPE_F16))
		abort();
}

static void check_shape(const char *text)
{
	size_t shape[NDARRAY_MAX_DIMS], again[NDARRAY_MAX_DIMS], n = 0, m = 0;
	cleanup_buffer struct buffer written = BUFFER_INIT;
	struct error err = ERROR_INIT;

	if (vae_wire_shape_parse(text, &n, shape, &err) < 0)
		return;
	vae_wire_shape_format(n, shape, &written);
	if (vae_wire_shape_parse((const char *)written.data, &m, again, &err) < 0 || n != m ||
	    memcmp(shape, again, n * sizeof(*shape)) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = NULL;

	if (size == 0)
		return 0;
	text = xmalloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] == 'S')
		check_shape(text);
	else
		check_query(text);
	return 0;
}

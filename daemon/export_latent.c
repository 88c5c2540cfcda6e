/*
 * The numbers of an export: docs/FORMAT.md, section 4, says what becomes of a stored latent.
 */
#include "daemon/export_source.h"

#include "base/half.h"

#include <math.h>
#include <string.h>

/* The first @n values of @a, which is F32 or F16. */
static void widen(const struct ndarray *a, float *out, size_t n)
{
	if (a->dtype == DTYPE_F16)
		half_to_floats(out, a->data, n);
	else
		memcpy(out, a->data, n * sizeof(*out));
}

/* [C][h][w] of stored; of moments its first half. */
static int as_floats(const struct export_space *space, const struct ndarray *stored,
		     struct ndarray *out, struct error *err)
{
	size_t shape[3] = {space->channels, stored->shape[1], stored->shape[2]};

	if (ndarray_alloc(out, DTYPE_F32, 3, shape, err) < 0)
		return -1;
	widen(stored, out->data, ndarray_count(out));
	return 0;
}

/* [C][h][w] to [4C][h/2][w/2]: row dy, column dx of a patch become channel 4c + 2dy + dx. */
static int make_patches(struct ndarray *latent, struct error *err)
{
	const size_t h = latent->shape[1] / 2, w = latent->shape[2] / 2;
	size_t shape[3] = {latent->shape[0] * 4, h, w};
	struct ndarray out = NDARRAY_INIT;
	const float *in = latent->data;
	float *to;

	if (latent->shape[1] % 2 || latent->shape[2] % 2)
		return error_data(err, "shape", "a latent of %zu x %zu has no patches of 2 x 2",
				  latent->shape[2], latent->shape[1]);
	if (ndarray_alloc(&out, DTYPE_F32, 3, shape, err) < 0)
		return -1;
	to = out.data;
	for (size_t k = 0; k < shape[0]; k++) {
		const float *from = in + ((k / 4 * h * 2 + (k / 2) % 2) * w * 2 + k % 2);

		for (size_t y = 0; y < h; y++) {
			for (size_t x = 0; x < w; x++)
				*to++ = from[y * 2 * w * 2 + x * 2];
		}
	}
	ndarray_release(latent);
	*latent = out;
	return 0;
}

static void normalise(const struct export_space *space, struct ndarray *latent)
{
	size_t pixels = latent->shape[1] * latent->shape[2];
	float *v = latent->data;

	for (size_t c = 0; c < latent->shape[0]; c++) {
		bool own = space->n_statistics > 0;
		float shift = (float)(own ? space->latents_mean[c] : space->shift_factor);
		float factor = (float)(own ? space->scaling_factor / space->latents_std[c]
					   : space->scaling_factor);

		for (size_t i = 0; i < pixels; i++, v++)
			*v = (*v - shift) * factor;
	}
}

static void scale_back(const struct export_space *space, struct ndarray *latent)
{
	size_t n = ndarray_count(latent);
	float *v = latent->data, factor = (float)space->scaling_factor;

	for (size_t i = 0; i < n; i++)
		v[i] = v[i] / factor + (float)space->shift_factor;
}

int export_latent(const struct export_space *space, const struct ndarray *stored, bool normalised,
		  struct ndarray *out, struct error *err)
{
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;

	if (space->scaled && space->n_statistics > 0)
		return error_set(err, ERR_CONFIG,
				 "latents of a model with statistics that were scaled by a factor");
	if (as_floats(space, stored, &latent, err) < 0)
		return -1;
	if (normalised && space->patch_size == 2 && make_patches(&latent, err) < 0)
		return -1;
	if (normalised && !space->scaled)
		normalise(space, &latent);
	if (!normalised && space->scaled)
		scale_back(space, &latent);
	for (size_t i = 0, n = ndarray_count(&latent); i < n; i++) {
		if (!isfinite(((const float *)latent.data)[i]))
			return error_data(err, "out_of_range", "values are too large for float32");
	}
	*out = latent;
	latent = (struct ndarray)NDARRAY_INIT;
	return 0;
}

int export_convert(const struct ndarray *latent, enum dtype dtype, struct ndarray *out,
		   struct error *err)
{
	cleanup_ndarray struct ndarray floats = NDARRAY_INIT, made = NDARRAY_INIT;
	size_t n = ndarray_count(latent), bad = 0;

	if (ndarray_alloc(&floats, DTYPE_F32, latent->ndim, latent->shape, err) < 0 ||
	    ndarray_alloc(&made, dtype, latent->ndim, latent->shape, err) < 0)
		return -1;
	widen(latent, floats.data, n);
	if (dtype == DTYPE_F32)
		memcpy(made.data, floats.data, floats.bytes);
	else if (dtype == DTYPE_F16)
		bad = half_from_floats(made.data, floats.data, n);
	else
		bad = bfloat16_from_floats(made.data, floats.data, n);
	if (bad > 0)
		return error_data(err, "out_of_range", "%zu value%s too large for %s", bad,
				  bad == 1 ? " is" : "s are", dtype_name(dtype));
	*out = made;
	made = (struct ndarray)NDARRAY_INIT;
	return 0;
}

#include "daemon/latent_space.h"

#include "base/checked.h"
#include "base/half.h"
#include "base/text.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

enum { FLUX2_PATCH = 2 };

/* -- from a record ------------------------------------------------------------------------------- */

/* A list of at most VAE_MAX_STATISTICS numbers; absent: none. */
static bool read_list(json_t *latent, const char *name, double *out, size_t *n)
{
	json_t *list = json_object_get(latent, name);

	*n = json_array_size(list);
	if (list && (!json_is_array(list) || *n == 0 || *n > VAE_MAX_STATISTICS))
		return false;
	for (size_t i = 0; i < *n; i++) {
		out[i] = json_number_value(json_array_get(list, i));
		if (!json_is_number(json_array_get(list, i)) || !isfinite(out[i]))
			return false;
	}
	return true;
}

static bool read_factors(json_t *latent, struct vae_config *c)
{
	json_t *scaling = json_object_get(latent, "scaling_factor");
	json_t *shift = json_object_get(latent, "shift_factor");
	json_t *patch = json_object_get(latent, "patch_size");
	size_t n_std = 0, channels;

	if (!json_is_number(scaling) || !(json_number_value(scaling) > 0) ||
	    (shift && !json_is_null(shift) && !json_is_number(shift)) ||
	    (patch && json_integer_value(patch) != FLUX2_PATCH))
		return false;
	c->scaling_factor = json_number_value(scaling);
	c->has_shift_factor = json_is_number(shift);
	c->shift_factor = json_number_value(shift);
	c->patch_size = patch ? FLUX2_PATCH : 1;
	channels = c->latent_channels * c->patch_size * c->patch_size;
	return read_list(latent, "latents_mean", c->latents_mean, &c->n_statistics) &&
	       read_list(latent, "latents_std", c->latents_std, &n_std) &&
	       n_std == c->n_statistics && (n_std == 0 || n_std == channels);
}

/* Absent: 0. */
static bool read_tile(json_t *latent, size_t *tile)
{
	json_t *size = json_object_get(latent, "tile_size");
	json_int_t n = json_integer_value(size);

	*tile = size ? (size_t)n : 0;
	return !size || (json_is_integer(size) && n > 0 && n <= 1 << 20);
}

int latent_space_read(const struct record *record, const struct record_facts *facts,
		      struct latent_space *out, struct error *err)
{
	const struct record_member *json = record_member(record, "json");
	json_t *root =
	    json ? json_loadb((const char *)json->data.data, json->data.size, 0, NULL) : NULL;
	const char *weights = json_string_value(json_object_get(root, "vae_sha256"));
	struct latent_space space = {.scaled = facts->scaled, .moments = facts->moments};
	bool ok;

	space.vae.latent_channels = facts->moments ? facts->channels / 2 : facts->channels;
	space.weights_known = weights != NULL;
	ok = (!weights || sha256_parse(weights, &space.weights)) &&
	     (!facts->moments || facts->channels % 2 == 0) &&
	     read_tile(json_object_get(root, "latent"), &space.tile) &&
	     read_factors(json_object_get(root, "latent"), &space.vae);
	json_decref(root);
	if (!ok)
		return error_data(err, "record", "%s: its .json does not say what its latent is",
				  record->key);
	*out = space;
	return 0;
}

void latent_space_of(const struct vae_config *config, struct latent_space *out)
{
	*out = (struct latent_space){.vae = *config};
}

/* -- values -------------------------------------------------------------------------------------- */

/* Shift and the factor behind it, of the value of @channel at row @y, column @x. */
static void factors_at(const struct vae_config *c, size_t channel, size_t y, size_t x,
		       double *shift, double *factor)
{
	size_t patch = c->patch_size;
	size_t i = (channel * patch + y % patch) * patch + x % patch;

	*shift = c->has_shift_factor ? c->shift_factor : 0;
	*factor = c->scaling_factor;
	if (c->n_statistics > 0) {
		*shift = c->latents_mean[i];
		*factor = c->scaling_factor / c->latents_std[i];
	}
}

/* (z - shift) * factor, or back. */
static void rescale(const struct vae_config *c, struct ndarray *latent, bool back)
{
	size_t height = latent->shape[1], width = latent->shape[2];
	float *z = latent->data;

	for (size_t i = 0; i < ndarray_count(latent); i++) {
		double shift, factor;

		factors_at(c, i / (height * width), i / width % height, i % width, &shift, &factor);
		z[i] =
		    (float)(back ? (double)z[i] / factor + shift : ((double)z[i] - shift) * factor);
	}
}

void latent_space_unscale(const struct latent_space *space, struct ndarray *latent)
{
	rescale(&space->vae, latent, true);
}

int latent_space_raw(const struct latent_space *space, const struct ndarray *stored,
		     struct ndarray *out, struct error *err)
{
	const size_t shape[3] = {space->vae.latent_channels, stored->shape[1], stored->shape[2]};
	struct ndarray raw = NDARRAY_INIT;

	if (ndarray_alloc(&raw, DTYPE_F32, 3, shape, err) < 0)
		return -1;
	if (stored->dtype == DTYPE_F16)
		half_to_floats(raw.data, stored->data, ndarray_count(&raw));
	else
		memcpy(raw.data, stored->data, raw.bytes);
	if (space->scaled)
		latent_space_unscale(space, &raw);
	*out = raw;
	return 0;
}

void latent_space_normalise(const struct latent_space *space, struct ndarray *raw)
{
	rescale(&space->vae, raw, false);
}

int latent_space_open(const struct record *record, size_t downscale, struct record_facts *facts,
		      struct latent_space *space, struct ndarray *raw, struct error *err)
{
	cleanup_ndarray struct ndarray stored = NDARRAY_INIT;

	if (record_facts_read(record, facts, err) < 0 ||
	    latent_space_read(record, facts, space, err) < 0)
		return -1;
	if (downscale > 0 && (facts->height != facts->target_height / downscale ||
			      facts->width != facts->target_width / downscale))
		return error_set(err, ERR_CONFIG,
				 "%s: its latent of %zux%zu for an image of %zux%zu is not that of "
				 "a VAE that halves sides to 1/%zu",
				 record->key, facts->width, facts->height, facts->target_width,
				 facts->target_height, downscale);
	if (record_latent_read(record, facts, &stored, err) < 0)
		return -1;
	return latent_space_raw(space, &stored, raw, err);
}

/* -- and another model --------------------------------------------------------------------------- */

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-6 * (fabs(a) + fabs(b));
}

char *latent_space_difference(const struct latent_space *stored, const struct vae_config *model)
{
	const struct vae_config *c = &stored->vae;
	double shift = c->has_shift_factor ? c->shift_factor : 0;
	double models = model->has_shift_factor ? model->shift_factor : 0;

	if (!near(c->scaling_factor, model->scaling_factor))
		return xasprintf("scaling_factor %g, the model has %g", c->scaling_factor,
				 model->scaling_factor);
	if (!near(shift, models))
		return xasprintf("shift_factor %g, the model has %g", shift, models);
	if (c->n_statistics != model->n_statistics || c->patch_size != model->patch_size)
		return xasprintf("%zu statistics of channels, the model has %zu", c->n_statistics,
				 model->n_statistics);
	for (size_t i = 0; i < c->n_statistics; i++) {
		if (!near(c->latents_mean[i], model->latents_mean[i]) ||
		    !near(c->latents_std[i], model->latents_std[i]))
			return xasprintf("statistics of channel %zu that are not the model's", i);
	}
	return NULL;
}

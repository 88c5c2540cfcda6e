#include "daemon/record_build.h"

#include "daemon/record_facts.h"
#include "daemon/record_group.h"
#include "daemon/record_mask.h"
#include "daemon/variants.h"

#include "base/byte_planes.h"
#include "base/checked.h"
#include "base/compress.h"
#include "base/half.h"
#include "base/text.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static json_t *json_size(size_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *json_pair(size_t a, size_t b)
{
	json_t *pair = json_array();

	json_array_append_new(pair, json_size(a));
	json_array_append_new(pair, json_size(b));
	return pair;
}

/* What a trainer computes from an unscaled latent, in float32 as it does. */
static void scale(float *values, size_t n, const struct vae_config *vae)
{
	float shift = vae->has_shift_factor ? (float)vae->shift_factor : 0;
	float factor = (float)vae->scaling_factor;

	for (size_t i = 0; i < n; i++)
		values[i] = (values[i] - shift) * factor;
}

static size_t to_container(const float *values, size_t n, struct ndarray *out)
{
	size_t bad = 0;

	if (out->dtype == DTYPE_F16)
		return half_from_floats(out->data, values, n);
	memcpy(out->data, values, out->bytes);
	for (size_t i = 0; i < n; i++)
		bad += !isfinite(values[i]);
	return bad;
}

/* What is stored, as floats again. */
static double measure(const float *exact, const struct ndarray *stored)
{
	size_t n = ndarray_count(stored), channels = stored->shape[0];
	cleanup_free float *floats = NULL;

	if (stored->dtype != DTYPE_F16)
		return rounding_snr_db(exact, stored->data, channels, n / channels);
	floats = xmalloc(n * sizeof(*floats));
	half_to_floats(floats, stored->data, n);
	return rounding_snr_db(exact, floats, channels, n / channels);
}

/* The recipe's scale, rounding and container dtype. *@snr_db is set where it rounds. */
static int latent_convert(const struct ndarray *latent, const struct recipe *recipe,
			  struct ndarray *out, double *snr_db, struct error *err)
{
	size_t n = ndarray_count(latent), bad = 0;
	cleanup_free float *exact = xmalloc(latent->bytes), *rounded = NULL;
	enum dtype dtype = recipe->dtype;

	if (ndarray_alloc(out, dtype, latent->ndim, latent->shape, err) < 0)
		return -1;
	memcpy(exact, latent->data, latent->bytes);
	if (recipe->scaled)
		scale(exact, n, &recipe->vae);
	if (recipe->rounding != ROUNDING_NONE) {
		rounded = xmalloc(latent->bytes);
		memcpy(rounded, exact, latent->bytes);
		rounding_apply(recipe->rounding, rounded, latent->shape[0], n / latent->shape[0]);
	}
	bad = to_container(rounded ? rounded : exact, n, out);
	if (bad > 0)
		return error_data(err, "out_of_range", "%zu of %zu values do not fit %s", bad, n,
				  dtype_name(dtype));
	if (rounded)
		*snr_db = measure(exact, out);
	return 0;
}

/* -- KEY.json ------------------------------------------------------------------------------------- */

/* What it was computed in: that of the recipe, unless that overflowed. */
static void set_precision(json_t *latent, const struct recipe *recipe, bool in_float32)
{
	const char *recipes = recipe_precision(recipe);

	json_object_set_new(latent, "precision",
			    json_string(in_float32 ? vae_precision_name(VAE_FLOAT32) : recipes));
	if (in_float32)
		json_object_set_new(latent, "overflowed", json_string(recipes));
}

/* In hundredths; nothing that can be told where no value changed. */
static void set_rounding(json_t *latent, const struct recipe *recipe, double snr_db)
{
	if (recipe->rounding == ROUNDING_NONE)
		return;
	json_object_set_new(latent, "round", json_string(rounding_name(recipe->rounding)));
	json_object_set_new(latent, "snr_db",
			    isfinite(snr_db) ? json_real(round(snr_db * 100) / 100) : json_null());
}

static json_t *latent_json(const struct recipe *recipe, const struct ndarray *stored,
			   const struct hash128 *hash, double snr_db, bool in_float32)
{
	char hex[HASH128_HEX_SIZE];
	json_t *latent = json_object(), *shape = json_array();

	hash128_hex(hash, hex);
	for (size_t i = 0; i < stored->ndim; i++)
		json_array_append_new(shape, json_size(stored->shape[i]));
	json_object_set_new(latent, "shape", shape);
	json_object_set_new(latent, "dtype", json_string(dtype_name(stored->dtype)));
	set_precision(latent, recipe, in_float32);
	json_object_set_new(latent, "posterior", json_string(posterior_name(recipe->posterior)));
	json_object_set_new(latent, "seed",
			    recipe->posterior == POSTERIOR_DRAW && recipe_is_repeatable(recipe)
				? json_integer((json_int_t)recipe->seed)
				: json_null());
	if (recipe->tile > 0)
		json_object_set_new(latent, "tile_size", json_size(recipe->tile));
	set_rounding(latent, recipe, snr_db);
	json_object_set_new(latent, "scaled", json_boolean(recipe->scaled));
	json_object_set_new(latent, "scaling_factor", json_real(recipe->vae.scaling_factor));
	json_object_set_new(latent, "shift_factor",
			    recipe->vae.has_shift_factor ? json_real(recipe->vae.shift_factor)
							 : json_null());
	recipe_put_statistics(latent, &recipe->vae);
	json_object_set_new(latent, "xxh3_128", json_string(hex));
	return latent;
}

static json_t *time_ids_json(size_t width, size_t height, const struct bucket_placement *p)
{
	const size_t values[] = {height,	   width,	   p->crop_top, p->crop_left,
				 p->target_height, p->target_width};
	json_t *ids = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		json_array_append_new(ids, json_size(values[i]));
	return ids;
}

static void set_geometry(json_t *root, const struct recipe *recipe,
			 const struct sample_facts *facts)
{
	struct bucket_placement at = facts->placement;
	const struct bucket_placement *p = &at;
	size_t width = facts->header.width, height = facts->header.height;
	json_t *ltrb = json_array();

	variant_place(&facts->placement, &facts->content, recipe->seed, facts->variant,
		      &at.crop_left, &at.crop_top);
	if (variant_is_mirrored(facts->variant))
		at.crop_left = at.resized_width - at.crop_left - at.target_width;
	for (size_t i = 0; i < 4; i++)
		json_array_append_new(ltrb, json_real(p->kohya_crop_ltrb[i]));
	json_object_set_new(root, "stored_size", json_pair(width, height));
	json_object_set_new(root, "orientation", json_size(facts->header.orientation));
	if (recipe->policy.apply_exif)
		image_oriented_size(&facts->header, &width, &height);
	json_object_set_new(root, "original_size", json_pair(width, height));
	json_object_set_new(root, "resized_size", json_pair(p->resized_width, p->resized_height));
	json_object_set_new(root, "crop_top_left", json_pair(p->crop_top, p->crop_left));
	json_object_set_new(root, "target_size", json_pair(p->target_width, p->target_height));
	json_object_set_new(root, "time_ids", time_ids_json(width, height, p));
	json_object_set_new(root, "kohya_crop_ltrb", ltrb);
}

json_t *record_meta_json(const char *meta)
{
	json_t *object = meta ? json_loads(meta, 0, NULL) : NULL;

	if (json_is_object(object))
		return object;
	json_decref(object);
	return json_object();
}

static size_t resolution_of(const struct recipe *recipe, const struct sample_facts *facts)
{
	size_t resolution = variant_resolution(facts->variant);

	return resolution > 0 ? resolution : recipe->buckets.resolution;
}

static char *build_json(const struct recipe *recipe, const struct sample_facts *facts,
			const struct ndarray *stored, const struct hash128 *latent_hash,
			double snr_db)
{
	cleanup_buffer struct buffer source = BUFFER_INIT;
	char content[HASH128_HEX_SIZE], weights[SHA256_HEX_SIZE], key[SAMPLE_KEY_SIZE];
	json_t *root = json_object();
	char *text;

	variant_key(facts->key, facts->variant, key);
	percent_encode(&source, facts->path, strlen(facts->path));
	hash128_hex(&facts->content, content);
	sha256_hex(&recipe->weights, weights);
	json_object_set_new(root, "v", json_integer(1));
	json_object_set_new(root, "key", json_string(key));
	json_object_set_new(root, "source", json_stringn((const char *)source.data, source.size));
	json_object_set_new(root, "content_xxh3_128", json_string(content));
	json_object_set_new(root, "recipe_id", json_string(recipe->id));
	json_object_set_new(root, "vae_sha256",
			    recipe->declared[0] ? json_null() : json_string(weights));
	set_geometry(root, recipe, facts);
	json_object_set_new(root, "variant", json_integer(facts->variant));
	json_object_set_new(root, "flip", json_boolean(variant_is_mirrored(facts->variant)));
	if (facts->variant != VARIANT_PLAIN)
		json_object_set_new(root, "image", json_string(facts->key));
	if (recipe->n_more > 0)
		json_object_set_new(root, "resolution", json_size(resolution_of(recipe, facts)));
	json_object_set_new(root, "latent",
			    latent_json(recipe, stored, latent_hash, snr_db, facts->in_float32));
	json_object_set_new(root, "engine", json_string(facts->engine));
	json_object_set_new(root, "caption",
			    facts->caption ? json_string(facts->caption) : json_null());
	json_object_set_new(root, "meta", record_meta_json(facts->meta));
	text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(root);
	if (!text)
		abort();
	return text;
}

int record_add_latent(const struct recipe *recipe, const struct ndarray *stored,
		      struct record *record, struct error *err)
{
	const char *suffix =
	    record_latent_suffix(recipe->posterior == POSTERIOR_MOMENTS, recipe->form.codec);
	int level =
	    recipe->rounding == ROUNDING_STEP ? COMPRESS_LEVEL_STEPS : COMPRESS_LEVEL_FLOATS;
	cleanup_buffer struct buffer npy = BUFFER_INIT, frame = BUFFER_INIT;

	if (recipe->form.codec == OUTPUT_CODEC_PLANES) {
		if (planes_compress(&frame, stored, err) < 0)
			return -1;
		return record_add_buffer(record, suffix, &frame, err);
	}
	npy_write(&npy, stored);
	if (recipe->form.codec == OUTPUT_CODEC_NONE)
		return record_add_buffer(record, suffix, &npy, err);
	if (compress_frame(&frame, npy.data, npy.size, level, err) < 0)
		return -1;
	return record_add_buffer(record, suffix, &frame, err);
}

int record_build(const struct recipe *recipe, const struct sample_facts *facts,
		 const struct ndarray *latent, uint64_t rank, struct record *out, struct error *err)
{
	cleanup_ndarray struct ndarray stored = NDARRAY_INIT;
	cleanup_record struct record record = RECORD_INIT;
	cleanup_free char *json = NULL;
	char group[RECORD_GROUP_SIZE], key[SAMPLE_KEY_SIZE];
	struct hash128 hash;
	double snr_db = NAN;

	if (strlen(facts->path) >= sizeof(((struct record_facts *)NULL)->path))
		return error_data(err, "path_too_long", "its path has %zu bytes",
				  strlen(facts->path));
	if (latent_convert(latent, recipe, &stored, &snr_db, err) < 0)
		return -1;
	hash = hash128_of(stored.data, stored.bytes);
	json = build_json(recipe, facts, &stored, &hash, snr_db);
	record_group(&facts->placement, group);
	variant_key(facts->key, facts->variant, key);
	if (record_init(&record, key, group, err) < 0 ||
	    record_add(&record, "json", json, strlen(json), err) < 0 ||
	    record_add_latent(recipe, &stored, &record, err) < 0)
		return -1;
	if (facts->captions) {
		const char *caption = facts->caption ? facts->caption : "";

		if (record_add(&record, "txt", caption, strlen(caption), err) < 0)
			return -1;
	}
	record.rank = rank;
	*out = record;
	record = (struct record)RECORD_INIT;
	return 0;
}

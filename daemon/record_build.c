#include "daemon/record_build.h"

#include "daemon/record_mask.h"
#include "daemon/variants.h"

#include "base/byte_planes.h"
#include "base/checked.h"
#include "base/compress.h"
#include "base/half.h"
#include "base/text.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Decompressed latents: 64 channels of a 4096 x 4096 latent map and less are fine. */
#define LATENT_BYTES_MAX ((size_t)4 << 30)
/* More than any header of an .npy 1.0 that npy_read takes: its length is 16 bits. */
#define NPY_HEADER_MAX ((size_t)66 << 10)

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

void record_group(const struct bucket_placement *p, char out[RECORD_GROUP_SIZE])
{
	snprintf(out, RECORD_GROUP_SIZE, "%zux%zu", p->target_width, p->target_height);
}

void record_group_of_shard(const char *name, char out[RECORD_GROUP_SIZE])
{
	const char *slash = strchr(name, '/'), *end = slash ? strchr(slash + 1, '/') : NULL;
	size_t n = end ? (size_t)(end - slash - 1) : 0;

	snprintf(out, RECORD_GROUP_SIZE, "%.*s", (int)n, n > 0 ? slash + 1 : "");
}

bool record_group_has(const char *group, size_t width, size_t height)
{
	char size[48];
	size_t n = (size_t)snprintf(size, sizeof(size), "%zux%zu", width, height);

	for (const char *at = group; at; at = strchr(at, '_') ? strchr(at, '_') + 1 : NULL) {
		if (strncmp(at, size, n) == 0 && (at[n] == '_' || at[n] == '\0'))
			return true;
	}
	return false;
}

const char *record_latent_suffix(bool moments, enum output_codec codec)
{
	static const char *const suffixes[OUTPUT_CODECS][2] = {
	    [OUTPUT_CODEC_ZSTD] = {"latent.npy.zst", "moments.npy.zst"},
	    [OUTPUT_CODEC_NONE] = {"latent.npy", "moments.npy"},
	    [OUTPUT_CODEC_PLANES] = {"latent.u8.npy.zst", "moments.u8.npy.zst"}};

	return suffixes[codec][moments];
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

/* -- and back ------------------------------------------------------------------------------------- */

static int bad(struct error *err, const struct record *record, const char *what)
{
	return error_data(err, "record", "%s: %s", record->key, what);
}

static bool read_shape(json_t *shape, struct record_facts *f)
{
	size_t sizes[3];

	if (json_array_size(shape) != 3)
		return false;
	for (size_t i = 0; i < 3; i++) {
		json_int_t n = json_integer_value(json_array_get(shape, i));

		if (n < 1 || n > 1 << 20)
			return false;
		sizes[i] = (size_t)n;
	}
	f->channels = sizes[0];
	f->height = sizes[1];
	f->width = sizes[2];
	return true;
}

static bool read_latent_part(json_t *latent, struct record_facts *f)
{
	const char *dtype = json_string_value(json_object_get(latent, "dtype"));
	const char *posterior = json_string_value(json_object_get(latent, "posterior"));
	const char *hash = json_string_value(json_object_get(latent, "xxh3_128"));
	json_t *scaled = json_object_get(latent, "scaled"),
	       *snr_db = json_object_get(latent, "snr_db");
	bool half = dtype && strcmp(dtype, "float16") == 0;

	if (!dtype || !posterior || !hash || (!half && strcmp(dtype, "float32") != 0) ||
	    posterior_parse(posterior) < 0 || !json_is_boolean(scaled))
		return false;
	f->dtype = half ? DTYPE_F16 : DTYPE_F32;
	f->moments = posterior_parse(posterior) == POSTERIOR_MOMENTS;
	f->scaled = json_is_true(scaled);
	f->snr_db = json_is_number(snr_db) ? json_number_value(snr_db) : NAN;
	if (f->moments && f->scaled)
		return false;
	return hash128_parse(hash, &f->latent) && read_shape(json_object_get(latent, "shape"), f);
}

/* As many whole characters of @text, which is UTF-8, as fit. */
static void copy_beginning(char *out, size_t size, const char *text)
{
	size_t n = strlen(text);

	if (n >= size) {
		n = size - 1;
		while (n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80)
			n--;
	}
	memcpy(out, text, n);
	out[n] = '\0';
}

static bool read_names(json_t *root, struct record_facts *f)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	const char *key = json_string_value(json_object_get(root, "key"));
	const char *source = json_string_value(json_object_get(root, "source"));
	const char *recipe = json_string_value(json_object_get(root, "recipe_id"));
	const char *content = json_string_value(json_object_get(root, "content_xxh3_128"));
	const char *caption = json_string_value(json_object_get(root, "caption"));
	struct hash128 recipe_id;

	if (!key || strlen(key) >= sizeof(f->key) || !source || !percent_decode(&path, source) ||
	    path.size == 0 || path.size >= sizeof(f->path) ||
	    strlen((const char *)path.data) != path.size)
		return false;
	if (!recipe || !hash128_parse(recipe, &recipe_id) || !content ||
	    !hash128_parse(content, &f->content))
		return false;
	snprintf(f->key, sizeof(f->key), "%s", key);
	snprintf(f->path, sizeof(f->path), "%s", (const char *)path.data);
	snprintf(f->recipe_id, sizeof(f->recipe_id), "%s", recipe);
	copy_beginning(f->caption, sizeof(f->caption), caption ? caption : "");
	return true;
}

/* Which image it is of: the plain one does not say. */
static bool read_image(json_t *root, struct record_facts *f)
{
	const char *image = json_string_value(json_object_get(root, "image"));
	char key[SAMPLE_KEY_SIZE];

	if (f->variant == VARIANT_PLAIN)
		image = f->key;
	if (!image || strlen(image) >= sizeof(f->image))
		return false;
	snprintf(f->image, sizeof(f->image), "%s", image);
	variant_key(image, f->variant, key);
	return f->variant == VARIANT_PLAIN || strcmp(key, f->key) == 0;
}

/* As large as the image is: that of a mask. */
static void read_original(json_t *root, struct record_facts *f)
{
	json_t *size = json_object_get(root, "original_size");
	json_int_t width = json_integer_value(json_array_get(size, 0));
	json_int_t height = json_integer_value(json_array_get(size, 1));

	f->original_width = width > 0 ? (size_t)width : 0;
	f->original_height = height > 0 ? (size_t)height : 0;
}

static bool read_mask(json_t *mask, struct record_facts *f)
{
	const char *hash = json_string_value(json_object_get(mask, "xxh3_128"));

	f->has_mask = mask != NULL;
	f->mask_given = json_is_true(json_object_get(mask, "given"));
	return !mask || (hash && hash128_parse(hash, &f->mask));
}

static bool read_fields(json_t *root, struct record_facts *f)
{
	json_t *target = json_object_get(root, "target_size");
	json_int_t variant = json_integer_value(json_object_get(root, "variant"));
	json_int_t width = json_integer_value(json_array_get(target, 0));
	json_int_t height = json_integer_value(json_array_get(target, 1));

	if (json_integer_value(json_object_get(root, "v")) != 1 ||
	    !json_is_integer(json_object_get(root, "variant")) || variant < 0 ||
	    !variant_valid((uint64_t)variant) || json_array_size(target) != 2 || width < 1 ||
	    height < 1)
		return false;
	read_original(root, f);
	f->variant = (uint32_t)variant;
	f->target_width = (size_t)width;
	f->target_height = (size_t)height;
	return read_mask(json_object_get(root, "mask"), f) && read_names(root, f) &&
	       read_image(root, f) && read_latent_part(json_object_get(root, "latent"), f);
}

/* Without a latent it is zstd, and whoever wants to read the latent is told. */
static bool find_codec(const struct record *record, struct record_facts *f)
{
	size_t n = 0;

	f->codec = OUTPUT_CODEC_ZSTD;
	for (size_t i = 0; i < OUTPUT_CODECS; i++) {
		enum output_codec codec = (enum output_codec)i;

		if (!record_member(record, record_latent_suffix(f->moments, codec)))
			continue;
		f->codec = codec;
		n++;
	}
	return n <= 1;
}

int record_facts_read(const struct record *record, struct record_facts *out, struct error *err)
{
	const struct record_member *json = record_member(record, "json");
	struct record_facts f = {.variant = 0};
	json_t *root;
	bool ok;

	if (!json)
		return bad(err, record, "has no .json");
	root = json_loadb((const char *)json->data.data, json->data.size, JSON_REJECT_DUPLICATES,
			  NULL);
	ok = json_is_object(root) && read_fields(root, &f);
	json_decref(root);
	if (!ok)
		return bad(err, record, "its .json is not a record of version 1");
	if (strcmp(f.key, record->key) != 0)
		return bad(err, record, "its .json belongs to another key");
	if (!find_codec(record, &f))
		return bad(err, record, "has two latents");
	*out = f;
	return 0;
}

static bool all_finite(const struct ndarray *a)
{
	size_t n = ndarray_count(a);

	for (size_t i = 0; i < n; i++) {
		float v = a->dtype == DTYPE_F16 ? half_to_float(((const uint16_t *)a->data)[i])
						: ((const float *)a->data)[i];
		if (!isfinite(v))
			return false;
	}
	return true;
}

/* The array, of at most @limit bytes of .npy. */
static int open_latent(const struct record *record, const struct record_facts *facts, size_t limit,
		       struct ndarray *out, struct error *err)
{
	const struct record_member *member =
	    record_member(record, record_latent_suffix(facts->moments, facts->codec));
	const size_t shape[3] = {facts->channels, facts->height, facts->width};
	cleanup_buffer struct buffer npy = BUFFER_INIT;

	if (!member)
		return error_data(err, "record", "has no latent");
	if (facts->codec == OUTPUT_CODEC_NONE)
		return npy_read(member->data.data, member->data.size, out, err);
	if (decompress_frame(&npy, member->data.data, member->data.size, limit, err) < 0)
		return -1;
	if (facts->codec == OUTPUT_CODEC_PLANES)
		return planes_read(npy.data, npy.size, facts->dtype, shape, out, err);
	return npy_read(npy.data, npy.size, out, err);
}

int record_latent_read(const struct record *record, const struct record_facts *facts,
		       struct ndarray *out, struct error *err)
{
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	size_t shape[3] = {facts->channels, facts->height, facts->width}, bytes = 0;
	struct hash128 hash;

	if (!ndarray_bytes(facts->dtype, 3, shape, &bytes) || bytes > LATENT_BYTES_MAX)
		return bad(err, record, "the latent's shape is too large");
	if (open_latent(record, facts, bytes + NPY_HEADER_MAX, &latent, err) < 0)
		return error_wrap(err, "%s", record->key);
	if (latent.dtype != facts->dtype || latent.ndim != 3 ||
	    latent.shape[0] != facts->channels || latent.shape[1] != facts->height ||
	    latent.shape[2] != facts->width)
		return bad(err, record, "the latent's shape is not what its .json says");
	hash = hash128_of(latent.data, latent.bytes);
	if (!hash128_equal(&hash, &facts->latent))
		return bad(err, record, "the latent's hash is not what its .json says");
	if (!all_finite(&latent))
		return bad(err, record, "the latent has values that are not finite");
	if (facts->has_mask && record_mask_read(record, facts, NULL, err) < 0)
		return -1;
	if (out) {
		*out = latent;
		latent = (struct ndarray)NDARRAY_INIT;
	}
	return 0;
}

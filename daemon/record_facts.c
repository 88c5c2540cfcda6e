#include "daemon/record_facts.h"

#include "daemon/record_mask.h"
#include "daemon/variants.h"

#include "base/byte_planes.h"
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

const char *record_latent_suffix(bool moments, enum output_codec codec)
{
	static const char *const suffixes[OUTPUT_CODECS][2] = {
	    [OUTPUT_CODEC_ZSTD] = {"latent.npy.zst", "moments.npy.zst"},
	    [OUTPUT_CODEC_NONE] = {"latent.npy", "moments.npy"},
	    [OUTPUT_CODEC_PLANES] = {"latent.u8.npy.zst", "moments.u8.npy.zst"}};

	return suffixes[codec][moments];
}
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

/*
 * One plain file a sample, by its key, for whatever reads arrays: nothing is lost, the list holds the whole records, which tell
 * of the latents as they are here.
 */
#include "daemon/export_format.h"

#include "storage/npz.h"
#include "vae/safetensors.h"

#include "base/checked.h"

#include <jansson.h>

const char *export_array_name(const struct export_job *job)
{
	return job->space->moments && !job->normalised ? "moments" : "latent";
}

void export_record_describe(const struct export_job *job, const struct ndarray *made,
			    struct json_t *record)
{
	json_t *about = json_object_get(record, "latent"), *shape = json_array();
	struct hash128 hash = hash128_of(made->data, made->bytes);
	char hex[HASH128_HEX_SIZE];

	json_object_del(record, "mask"); /* no record goes with one */
	for (size_t i = 0; i < made->ndim; i++)
		json_array_append_new(shape, json_integer((json_int_t)made->shape[i]));
	hash128_hex(&hash, hex);
	json_object_set_new(about, "shape", shape);
	json_object_set_new(about, "dtype", json_string(dtype_name(made->dtype)));
	json_object_set_new(about, "xxh3_128", json_string(hex));
	if (job->normalised) {
		json_object_set_new(about, "scaled", json_true());
		if (job->space->moments)
			json_object_set_new(about, "posterior", json_string("mean"));
	}
}

static char *npz_path(const struct export_job *job, const struct export_sample *s)
{
	(void)job;
	return xasprintf("%s.npz", s->key);
}

static int put_pair(struct npz_writer *w, const char *name, size_t a, size_t b, struct error *err)
{
	cleanup_ndarray struct ndarray pair = NDARRAY_INIT;
	size_t shape[] = {2};

	if (ndarray_alloc(&pair, DTYPE_I64, 1, shape, err) < 0)
		return -1;
	((int64_t *)pair.data)[0] = (int64_t)a;
	((int64_t *)pair.data)[1] = (int64_t)b;
	npz_put(w, name, &pair);
	return 0;
}

static int npz_encode(const struct export_job *job, const struct export_sample *s,
		      const struct ndarray *latent, const struct ndarray *mirrored,
		      struct buffer *out, struct error *err)
{
	cleanup_npz_writer struct npz_writer w = NPZ_WRITER_INIT;

	(void)mirrored;
	npz_put(&w, export_array_name(job), latent);
	if (put_pair(&w, "original_size", s->original_width, s->original_height, err) < 0 ||
	    put_pair(&w, "crop_top_left", s->crop_top, s->crop_left, err) < 0 ||
	    put_pair(&w, "target_size", s->target_width, s->target_height, err) < 0)
		return -1;
	return npz_end(&w, out, err);
}

static char *safetensors_path(const struct export_job *job, const struct export_sample *s)
{
	(void)job;
	return xasprintf("%s.safetensors", s->key);
}

char *export_record_text(const struct export_sample *s)
{
	char *text = json_dumps(s->record, JSON_COMPACT | JSON_REAL_PRECISION(15));

	if (!text)
		memory_is_out();
	return text;
}

static int safetensors_encode_sample(const struct export_job *job, const struct export_sample *s,
				     const struct ndarray *latent, const struct ndarray *mirrored,
				     struct buffer *out, struct error *err)
{
	struct safetensors_entry entry = {export_array_name(job), latent};
	cleanup_free char *text = export_record_text(s);
	json_t *metadata = json_pack("{s:s, s:s}", "format", "pt", "record", text);
	int r = safetensors_encode(&entry, 1, metadata, out, err);

	(void)mirrored;
	json_decref(metadata);
	return r;
}

static void list_entry(const struct export_job *job, const struct export_sample *s,
		       struct buffer *out)
{
	cleanup_free char *text = export_record_text(s);

	(void)job;
	buffer_append_string(out, text);
}

const struct export_format export_npz = {
    .name = "npz",
    .help = "KEY.npz for numpy, and records.jsonl",
    .dtypes = "stored float32 float16",
    .list = "records.jsonl",
    .head = "",
    .between = "\n",
    .tail = "\n",
    .path = npz_path,
    .encode = npz_encode,
    .list_entry = list_entry,
};

const struct export_format export_safetensors = {
    .name = "safetensors",
    .help = "KEY.safetensors with the record in its metadata, and records.jsonl",
    .dtypes = "stored float32 float16 bfloat16",
    .list = "records.jsonl",
    .head = "",
    .between = "\n",
    .tail = "\n",
    .path = safetensors_path,
    .encode = safetensors_encode_sample,
    .list_entry = list_entry,
};

/*
 * sd-scripts: an .npz beside each image, named after its size, with what library/strategy_base.py of sd-scripts
 * (48d368f, 2026-02) reads. SD and SDXL have bare keys, which later versions read too; the others have the latent's size in
 * them. The list is metadata for `metadata_file`, with which it trains without the images.
 */
#include "daemon/export_format.h"

#include "storage/npz.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

static const struct export_arch archs[] = {
    {"sd", 4, 0.18215, 0, 1, false, false},	   {"sdxl", 4, 0.13025, 0, 1, false, false},
    {"sd3", 16, 1.5305, 0.0609, 1, false, false},  {"flux", 16, 0.3611, 0.1159, 1, true, false},
    {"lumina", 16, 0.3611, 0.1159, 1, true, true},
};

static char *path(const struct export_job *job, const struct export_sample *s)
{
	cleanup_free char *stem = export_stem(s->path);

	return xasprintf("%s_%04zux%04zu_%s.npz", stem, s->original_width, s->original_height,
			 job->arch->name);
}

static int put_numbers(struct npz_writer *w, const char *name, const char *tail, enum dtype dtype,
		       size_t n, const void *values, struct error *err)
{
	cleanup_free char *key = xasprintf("%s%s", name, tail);
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;

	if (ndarray_alloc(&a, dtype, 1, &n, err) < 0)
		return -1;
	memcpy(a.data, values, a.bytes);
	npz_put(w, key, &a);
	return 0;
}

/* As sd-scripts' alpha_mask: float32 [height][width], 0 to 1; it mirrors it itself. */
static int put_mask(struct npz_writer *w, const char *tail, const struct ndarray *mask,
		    struct error *err)
{
	cleanup_free char *key = xasprintf("alpha_mask%s", tail);
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;

	if (ndarray_alloc(&a, DTYPE_F32, mask->ndim, mask->shape, err) < 0)
		return -1;
	for (size_t i = 0; i < mask->bytes; i++)
		((float *)a.data)[i] = (float)((const uint8_t *)mask->data)[i] / 255.0f;
	npz_put(w, key, &a);
	return 0;
}

static int encode(const struct export_job *job, const struct export_sample *s,
		  const struct ndarray *latent, const struct ndarray *mirrored, struct buffer *out,
		  struct error *err)
{
	cleanup_npz_writer struct npz_writer w = NPZ_WRITER_INIT;
	cleanup_free char *key = NULL;
	int64_t size[] = {(int64_t)s->original_width, (int64_t)s->original_height};
	char tail[48] = "";

	if (job->arch->channels != 4)
		snprintf(tail, sizeof(tail), "_%zux%zu", latent->shape[1], latent->shape[2]);
	key = xasprintf("latents%s", tail);
	npz_put(&w, key, latent);
	if (mirrored) {
		cleanup_free char *flipped = xasprintf("latents_flipped%s", tail);

		npz_put(&w, flipped, mirrored);
	}
	if (s->mask && put_mask(&w, tail, s->mask, err) < 0)
		return -1;
	if (put_numbers(&w, "original_size", tail, DTYPE_I64, 2, size, err) < 0 ||
	    put_numbers(&w, "crop_ltrb", tail, DTYPE_F64, 4, s->kohya_crop_ltrb, err) < 0)
		return -1;
	return npz_end(&w, out, err);
}

static void list_entry(const struct export_job *job, const struct export_sample *s,
		       struct buffer *out)
{
	(void)job;
	export_put_text(out, s->path);
	buffer_append_string(out, ": {\"caption\": ");
	export_put_text(out, s->caption);
	buffer_appendf(out, ", \"image_size\": [%zu, %zu]}", s->original_width, s->original_height);
}

const struct export_format export_kohya = {
    .name = "kohya",
    .help = "sd-scripts: FILE_WxH_ARCH.npz, and latentd.json for metadata_file",
    .archs = archs,
    .n_archs = ARRAY_SIZE(archs),
    .dtypes = "float32",
    .list = "latentd.json",
    .head = "{\n",
    .between = ",\n",
    .tail = "\n}\n",
    .bucket_rule = "kohya",
    .upright = true,
    .masks = true,
    .variants = EXPORT_VARIANTS_MIRRORED,
    .lost = "the log-variance of moments; hashes, recipe and meta of records",
    .path = path,
    .encode = encode,
    .list_entry = list_entry,
};

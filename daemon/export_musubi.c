/*
 * musubi-tuner (30c658c, 2026-06): one folder without subfolders, names after the image's last part and its size; the tensor's
 * name tells its shape and dtype. FLUX.2 is kept as it is trained on, Z-Image as its VAE gives it. The list is an
 * image_jsonl_file, from which cache_text_encoder_outputs makes the captions' part.
 */
#include "daemon/export_format.h"

#include "vae/safetensors.h"

#include "base/checked.h"

#include <jansson.h>
#include <string.h>

static const struct export_arch archs[] = {
    {"zi", 16, 0.3611, 0.1159, 1, false, false},
    {"f2d", 32, 1, 0, 2, true, true},
    {"f2k4b", 32, 1, 0, 2, true, true},
    {"f2k9b", 32, 1, 0, 2, true, true},
};

static const char *full_name(const struct export_arch *arch)
{
	static const char *const names[] = {"z_image", "flux_2_dev", "flux_2_klein_4b",
					    "flux_2_klein_9b"};

	return names[arch - archs];
}

static char *path(const struct export_job *job, const struct export_sample *s)
{
	cleanup_free char *stem = export_stem(export_name(s->path));

	return xasprintf("%s_%04zux%04zu_%s.safetensors", stem, s->original_width,
			 s->original_height, job->arch->name);
}

static int encode(const struct export_job *job, const struct export_sample *s,
		  const struct ndarray *latent, const struct ndarray *mirrored, struct buffer *out,
		  struct error *err)
{
	cleanup_free char *name =
	    xasprintf("latents_%s%zux%zu_%s", job->arch->patch_size == 1 ? "1x" : "",
		      latent->shape[1], latent->shape[2], dtype_name(latent->dtype));
	cleanup_free char *width = xasprintf("%zu", s->original_width);
	cleanup_free char *height = xasprintf("%zu", s->original_height);
	struct safetensors_entry entry = {name, latent};
	json_t *metadata = json_pack("{s:s, s:s, s:s, s:s}", "architecture", full_name(job->arch),
				     "width", width, "height", height, "format_version", "1.0.1");
	int r = safetensors_encode(&entry, 1, metadata, out, err);

	(void)mirrored;
	json_decref(metadata);
	return r;
}

static void list_entry(const struct export_job *job, const struct export_sample *s,
		       struct buffer *out)
{
	(void)job;
	buffer_append_string(out, "{\"image_path\": ");
	export_put_text(out, s->path);
	buffer_append_string(out, ", \"caption\": ");
	export_put_text(out, s->caption);
	buffer_append_string(out, "}");
}

const struct export_format export_musubi = {
    .name = "musubi",
    .help = "musubi-tuner's cache_directory, and latentd.jsonl for image_jsonl_file",
    .archs = archs,
    .n_archs = ARRAY_SIZE(archs),
    .dtypes = "stored float32 float16 bfloat16",
    .list = "latentd.jsonl",
    .head = "",
    .between = "\n",
    .tail = "\n",
    .bucket_rule = "musubi",
    .variants = EXPORT_VARIANTS_NONE,
    .upright = true,
    .lost =
	"folders of images; crops; the log-variance of moments; hashes, recipe and meta of records",
    .path = path,
    .encode = encode,
    .list_entry = list_entry,
};

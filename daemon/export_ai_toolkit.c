/*
 * ai-toolkit (27a03a9, 2026-08): a folder _latent_cache beside the images; a name is the MD5 of what decides the latent, as
 * Python's json.dumps(..., sort_keys=True) writes it (toolkit/dataloader_mixins.py: get_latent_info_dict, get_latent_path). So
 * the text has to be Python's, byte for byte.
 */
#include "daemon/export_format.h"

#include "vae/safetensors.h"

#include "base/checked.h"
#include "base/hash.h"
#include "base/text.h"

#include <jansson.h>
#include <string.h>

static const struct export_arch archs[] = {
    {"sd1", 4, 0.18215, 0, 1, true, false},
    {"sdxl", 4, 0.13025, 0, 1, true, false},
    {"sd3", 16, 1.5305, 0.0609, 1, true, false},
    {"flux1", 16, 0.3611, 0.1159, 1, true, false},
};

static void put_base64url(struct buffer *out, const uint8_t *bytes, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789-_";

	for (size_t bit = 0; bit < n * 8; bit += 6) {
		unsigned two = (unsigned)bytes[bit / 8] << 8;

		two |= bit / 8 + 1 < n ? bytes[bit / 8 + 1] : 0;
		buffer_put_u8(out, (uint8_t)digits[two >> (10 - bit % 8) & 63]);
	}
}

static char *path(const struct export_job *job, const struct export_sample *s)
{
	cleanup_buffer struct buffer text = BUFFER_INIT, name = BUFFER_INIT;
	const char *file = export_name(s->path);
	cleanup_free char *stem = export_stem(file);
	struct md5 md5;

	buffer_appendf(
	    &text,
	    "{\"crop_height\": %zu, \"crop_width\": %zu, \"crop_x\": %zu, \"crop_y\": %zu, "
	    "\"filename\": ",
	    s->target_height, s->target_width, s->crop_left, s->crop_top);
	export_put_text(&text, file);
	buffer_appendf(&text,
		       ", \"latent_space_version\": \"%s\", \"latent_version\": 1, "
		       "\"scale_to_height\": %zu, \"scale_to_width\": %zu}",
		       job->arch->name, s->resized_height, s->resized_width);
	md5 = md5_of(text.data, text.size);
	buffer_append(&name, s->path, (size_t)(file - s->path));
	buffer_appendf(&name, "_latent_cache/%s_", stem);
	put_base64url(&name, md5.bytes, sizeof(md5.bytes));
	buffer_append_string(&name, ".safetensors");
	return xstrdup((const char *)name.data);
}

static void set_number(json_t *object, const char *name, size_t n)
{
	cleanup_free char *text = xasprintf("%zu", n);

	json_object_set_new(object, name, json_string(text));
}

static int encode(const struct export_job *job, const struct export_sample *s,
		  const struct ndarray *latent, const struct ndarray *mirrored, struct buffer *out,
		  struct error *err)
{
	cleanup_buffer struct buffer name = BUFFER_INIT;
	struct safetensors_entry entry = {"latent", latent};
	json_t *metadata = json_object();
	int r;

	(void)mirrored;
	utf8_append_clean(&name, export_name(s->path), strlen(export_name(s->path)));
	json_object_set_new(metadata, "filename", json_stringn((char *)name.data, name.size));
	set_number(metadata, "scale_to_width", s->resized_width);
	set_number(metadata, "scale_to_height", s->resized_height);
	set_number(metadata, "crop_x", s->crop_left);
	set_number(metadata, "crop_y", s->crop_top);
	set_number(metadata, "crop_width", s->target_width);
	set_number(metadata, "crop_height", s->target_height);
	json_object_set_new(metadata, "latent_space_version", json_string(job->arch->name));
	json_object_set_new(metadata, "latent_version", json_string("1"));
	json_object_set_new(metadata, "format", json_string("pt"));
	r = safetensors_encode(&entry, 1, metadata, out, err);
	json_decref(metadata);
	return r;
}

const struct export_format export_ai_toolkit = {
    .name = "ai-toolkit",
    .help = "ai-toolkit: _latent_cache/ in each folder of images",
    .archs = archs,
    .n_archs = ARRAY_SIZE(archs),
    .dtypes = "stored float32 float16 bfloat16",
    .bucket_rule = "ai_toolkit",
    .variants = EXPORT_VARIANTS_NONE,
    .lost = "captions, which it reads beside the images; the log-variance of moments; hashes, "
	    "recipe and "
	    "meta of records",
    .path = path,
    .encode = encode,
};

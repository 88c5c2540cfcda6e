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

/* The code point of the UTF-8 sequence of @n bytes at @s. */
static uint32_t code_point(const uint8_t *s, size_t n)
{
	uint32_t c = n == 1 ? s[0] : s[0] & (0xffU >> (n + 1));

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (s[i] & 0x3fU);
	return c;
}

static void put_escaped(struct buffer *out, uint32_t c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *special = c < 0x80 && c > 0 ? strchr(from, (int)c) : NULL;

	if (special)
		buffer_appendf(out, "\\%c", to[special - from]);
	else if (c >= 0x20 && c < 0x7f)
		buffer_put_u8(out, (uint8_t)c);
	else if (c < 0x10000)
		buffer_appendf(out, "\\u%04x", c);
	else
		buffer_appendf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
			       0xdc00 + ((c - 0x10000) & 0x3ff));
}

/* json.dumps of what os.listdir gives for these bytes: what is not UTF-8 is a lone surrogate there. */
static void put_python(struct buffer *out, const char *text)
{
	const uint8_t *s = (const uint8_t *)text;
	size_t left = strlen(text);

	buffer_put_u8(out, '"');
	while (left > 0) {
		size_t n = utf8_sequence(s, left);

		put_escaped(out, n > 0 ? code_point(s, n) : 0xdc00U + *s);
		n = n > 0 ? n : 1;
		s += n;
		left -= n;
	}
	buffer_put_u8(out, '"');
}

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
	put_python(&text, file);
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
		  const struct ndarray *latent, struct buffer *out, struct error *err)
{
	cleanup_buffer struct buffer name = BUFFER_INIT;
	struct safetensors_entry entry = {"latent", latent};
	json_t *metadata = json_object();
	int r;

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
    .lost = "captions, which it reads beside the images; the log-variance of moments; hashes, "
	    "recipe and "
	    "meta of records",
    .path = path,
    .encode = encode,
};

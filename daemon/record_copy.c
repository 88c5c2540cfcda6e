#include "daemon/record_copy.h"

#include "daemon/record_build.h"
#include "daemon/record_facts.h"
#include "daemon/record_group.h"
#include "daemon/variants.h"

#include "base/checked.h"
#include "base/compress.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Opened: far more than any latent has. */
#define ARRAY_BYTES_MAX ((size_t)4 << 30)

/* KEY.json of @record; NULL if it cannot be read. */
static json_t *load_json(const struct record *record)
{
	const struct record_member *json = record_member(record, "json");

	return json ? json_loadb((const char *)json->data.data, json->data.size, 0, NULL) : NULL;
}

/* What its latent was rounded to, which decides how well it is compressed. */
static enum rounding record_rounding(const struct record *record)
{
	json_t *root = load_json(record);
	const char *name =
	    json_string_value(json_object_get(json_object_get(root, "latent"), "round"));
	int rounding = name ? rounding_parse(name) : ROUNDING_NONE;

	json_decref(root);
	return rounding < 0 ? ROUNDING_NONE : (enum rounding)rounding;
}

static void set_caption(json_t *root, const char *caption)
{
	json_object_set_new(root, "caption", caption ? json_string(caption) : json_null());
}

/* In the order and the notation of record_build(). To be freed; @root is released. */
static char *dump_json(json_t *root)
{
	char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));

	json_decref(root);
	if (!text)
		abort();
	return text;
}

/* KEY.json of @stored with other names. To be freed. */
static char *renamed_json(const struct record *stored, const struct record_names *names,
			  const char *key)
{
	json_t *root = load_json(stored);
	cleanup_buffer struct buffer source = BUFFER_INIT;

	percent_encode(&source, names->path, strlen(names->path));
	json_object_set_new(root, "key", json_string(key));
	if (json_object_get(root, "image"))
		json_object_set_new(root, "image", json_string(names->key));
	json_object_set_new(root, "source", json_stringn((const char *)source.data, source.size));
	set_caption(root, names->caption);
	json_object_set_new(root, "meta", record_meta_json(names->meta));
	json_object_del(root, "mask"); /* it has its own */
	return dump_json(root);
}

static int check(const struct record *stored, const struct recipe *recipe,
		 const struct hash128 *content, struct record_facts *facts, struct ndarray *latent,
		 struct error *err)
{
	if (record_facts_read(stored, facts, err) < 0 ||
	    record_latent_read(stored, facts, latent, err) < 0)
		return -1;
	if (strcmp(facts->recipe_id, recipe->id) != 0 || !hash128_equal(&facts->content, content))
		return error_data(err, "record", "%s: is not of the content that was looked for",
				  stored->key);
	return 0;
}

/* Its bytes as they are, unless this dataset has another codec. */
static int add_latent(const struct record *stored, const struct record_facts *facts,
		      const struct recipe *recipe, const struct ndarray *latent,
		      struct record *record, struct error *err)
{
	const char *suffix = record_latent_suffix(facts->moments, facts->codec);
	const struct record_member *member = record_member(stored, suffix);

	if (facts->codec != recipe->form.codec)
		return record_add_latent(recipe, latent, record, err);
	return record_add(record, suffix, member->data.data, member->data.size, err);
}

int record_copy(const struct record *stored, const struct recipe *recipe,
		const struct hash128 *content, const struct record_names *names, struct record *out,
		struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;
	cleanup_free char *json = NULL;
	struct record_facts facts;
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	const char *caption = names->caption ? names->caption : "";
	char group[RECORD_GROUP_SIZE], key[SAMPLE_KEY_SIZE];

	if (strlen(names->path) >= sizeof(facts.path))
		return error_data(err, "path_too_long", "its path has %zu bytes",
				  strlen(names->path));
	if (check(stored, recipe, content, &facts, &latent, err) < 0)
		return -1;
	variant_key(names->key, facts.variant, key);
	json = renamed_json(stored, names, key);
	record_group(&(struct bucket_placement){.target_width = facts.target_width,
						.target_height = facts.target_height},
		     group);
	if (record_init(&record, key, group, err) < 0 ||
	    record_add(&record, "json", json, strlen(json), err) < 0 ||
	    add_latent(stored, &facts, recipe, &latent, &record, err) < 0)
		return -1;
	if (names->captions && record_add(&record, "txt", caption, strlen(caption), err) < 0)
		return -1;
	record.rank = names->rank;
	*out = record;
	record = (struct record)RECORD_INIT;
	return 0;
}

/* In the notation of records, which keeps 15 digits of a number. */
static bool is_meta(const json_t *has, const char *text)
{
	json_t *meta = record_meta_json(text);
	const size_t flags = JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15);
	cleanup_free char *a = json_dumps(meta, flags), *b = json_dumps(has, flags);

	json_decref(meta);
	return a && b && strcmp(a, b) == 0;
}

bool record_has_texts(const struct record *record, const struct record_texts *texts)
{
	json_t *root = load_json(record), *has = json_object_get(root, "caption");
	bool same = texts->caption
			? json_is_string(has) && strcmp(json_string_value(has), texts->caption) == 0
			: json_is_null(has);

	same = same && (!texts->meta || is_meta(json_object_get(root, "meta"), texts->meta));
	json_decref(root);
	return same;
}

int record_retext(struct record *record, const struct record_texts *texts, struct error *err)
{
	cleanup_record struct record changed = RECORD_INIT;
	cleanup_free char *json = NULL;
	json_t *root = load_json(record);
	const char *text = texts->caption ? texts->caption : "";

	if (!json_is_object(root)) {
		json_decref(root);
		return error_data(err, "record", "%s: has no .json that can be read", record->key);
	}
	set_caption(root, texts->caption);
	if (texts->meta)
		json_object_set_new(root, "meta", record_meta_json(texts->meta));
	json = dump_json(root);
	if (record_init(&changed, record->key, record->group, err) < 0)
		return -1;
	changed.rank = record->rank;
	for (size_t i = 0; i < record->n_members; i++) {
		const struct record_member *m = &record->members[i];
		bool is_json = strcmp(m->suffix, "json") == 0;

		if (strcmp(m->suffix, "txt") == 0)
			continue;
		if (record_add(&changed, m->suffix, is_json ? (const void *)json : m->data.data,
			       is_json ? strlen(json) : m->data.size, err) < 0)
			return -1;
	}
	if (record_add(&changed, "txt", text, strlen(text), err) < 0)
		return -1;
	record_release(record);
	*record = changed;
	changed = (struct record)RECORD_INIT;
	return 0;
}

/* How a member that is an array is stored, and under which name; false: it is none. */
struct array_name {
	char name[RECORD_SUFFIX_SIZE];
	enum output_codec codec;
};

static bool array_name(const char *suffix, struct array_name *out)
{
	static const struct {
		const char *end;
		enum output_codec codec;
	} ends[] = {{".u8.npy.zst", OUTPUT_CODEC_PLANES},
		    {".npy.zst", OUTPUT_CODEC_ZSTD},
		    {".npy", OUTPUT_CODEC_NONE}};
	size_t n = strlen(suffix);

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		size_t m = strlen(ends[i].end);

		if (n <= m || strcmp(suffix + n - m, ends[i].end) != 0)
			continue;
		snprintf(out->name, sizeof(out->name), "%.*s", (int)(n - m), suffix);
		out->codec = ends[i].codec;
		return true;
	}
	return false;
}

static bool is_latent(const struct array_name *a)
{
	return strcmp(a->name, "latent") == 0 || strcmp(a->name, "moments") == 0;
}

/* Only latents come as planes. */
static enum output_codec codec_for(const struct array_name *a, enum output_codec codec)
{
	return codec == OUTPUT_CODEC_PLANES && !is_latent(a) ? OUTPUT_CODEC_ZSTD : codec;
}

enum output_codec record_codec(const struct record *record)
{
	struct array_name a;

	for (size_t i = 0; i < record->n_members; i++) {
		if (array_name(record->members[i].suffix, &a) && is_latent(&a))
			return a.codec;
	}
	return OUTPUT_CODEC_ZSTD;
}

/* An array that is no latent: its file, opened or compressed. */
static int add_recoded(const struct record_member *m, const struct array_name *a,
		       enum output_codec codec, struct record *record, struct error *err)
{
	cleanup_buffer struct buffer data = BUFFER_INIT;
	char suffix[RECORD_SUFFIX_SIZE];
	int n = snprintf(suffix, sizeof(suffix), "%s.npy%s", a->name,
			 codec == OUTPUT_CODEC_NONE ? "" : ".zst");
	int r;

	if (n < 0 || (size_t)n >= sizeof(suffix))
		return error_data(err, "name_too_long", "%s has no room for .zst", m->suffix);
	if (codec == OUTPUT_CODEC_NONE)
		r = decompress_frame(&data, m->data.data, m->data.size, ARRAY_BYTES_MAX, err);
	else
		r = compress_frame(&data, m->data.data, m->data.size, COMPRESS_LEVEL_FLOATS, err);
	return r < 0 ? -1 : record_add_buffer(record, suffix, &data, err);
}

static int add_in_codec(struct record *record, struct record_member *m,
			const struct recipe *latents, struct record *out, struct error *err)
{
	enum output_codec codec = latents->form.codec;
	struct array_name a;
	struct record_facts facts;
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;

	if (!array_name(m->suffix, &a) || a.codec == codec_for(&a, codec))
		return record_add(out, m->suffix, m->data.data, m->data.size, err);
	if (!is_latent(&a))
		return add_recoded(m, &a, codec_for(&a, codec), out, err);
	if (record_facts_read(record, &facts, err) < 0 ||
	    record_latent_read(record, &facts, &latent, err) < 0)
		return -1;
	return record_add_latent(latents, &latent, out, err);
}

int record_recode(struct record *record, enum output_codec codec, struct error *err)
{
	cleanup_record struct record changed = RECORD_INIT;
	struct recipe latents = {.form = {.codec = codec}};
	bool any = false;

	for (size_t i = 0; i < record->n_members; i++) {
		struct array_name a;

		any = any || (array_name(record->members[i].suffix, &a) &&
			      a.codec != codec_for(&a, codec));
		if (strncmp(record->members[i].suffix, "moments.", 8) == 0)
			latents.posterior = POSTERIOR_MOMENTS;
	}
	if (!any)
		return 0;
	latents.rounding = record_rounding(record);
	if (record_init(&changed, record->key, record->group, err) < 0)
		return -1;
	changed.rank = record->rank;
	for (size_t i = 0; i < record->n_members; i++) {
		if (add_in_codec(record, &record->members[i], &latents, &changed, err) < 0)
			return error_wrap(err, "%s", record->key);
	}
	record_release(record);
	*record = changed;
	changed = (struct record)RECORD_INIT;
	return 0;
}

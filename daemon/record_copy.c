#include "daemon/record_copy.h"

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
static char *renamed_json(const struct record *stored, const struct record_names *names)
{
	json_t *root = load_json(stored);
	cleanup_buffer struct buffer source = BUFFER_INIT;

	percent_encode(&source, names->path, strlen(names->path));
	json_object_set_new(root, "key", json_string(names->key));
	json_object_set_new(root, "source", json_stringn((const char *)source.data, source.size));
	set_caption(root, names->caption);
	json_object_set_new(root, "meta", record_meta_json(names->meta));
	return dump_json(root);
}

static int check(const struct record *stored, const struct recipe *recipe,
		 const struct hash128 *content, struct record_facts *facts, struct ndarray *latent,
		 struct error *err)
{
	if (record_facts_read(stored, facts, err) < 0 ||
	    record_latent_read(stored, facts, latent, err) < 0)
		return -1;
	if (strcmp(facts->recipe_id, recipe->id) != 0 || !hash128_equal(&facts->content, content) ||
	    facts->variant != 0)
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
	char group[RECORD_GROUP_SIZE];

	if (strlen(names->path) >= sizeof(facts.path))
		return error_data(err, "path_too_long", "its path has %zu bytes",
				  strlen(names->path));
	if (check(stored, recipe, content, &facts, &latent, err) < 0)
		return -1;
	json = renamed_json(stored, names);
	record_group(&(struct bucket_placement){.target_width = facts.target_width,
						.target_height = facts.target_height},
		     group);
	if (record_init(&record, names->key, group, err) < 0 ||
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

bool record_has_caption(const struct record *record, const char *caption)
{
	json_t *root = load_json(record), *has = json_object_get(root, "caption");
	bool same = caption ? json_is_string(has) && strcmp(json_string_value(has), caption) == 0
			    : json_is_null(has);

	json_decref(root);
	return same;
}

int record_recaption(struct record *record, const char *caption, struct error *err)
{
	cleanup_record struct record changed = RECORD_INIT;
	cleanup_free char *json = NULL;
	json_t *root = load_json(record);
	const char *text = caption ? caption : "";

	if (!json_is_object(root)) {
		json_decref(root);
		return error_data(err, "record", "%s: has no .json that can be read", record->key);
	}
	set_caption(root, caption);
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

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && strcmp(text + n - m, end) == 0;
}

/* Of an array that is in the other codec. */
static bool is_to_change(const struct record_member *m, enum output_codec codec)
{
	return ends_with(m->suffix, codec == OUTPUT_CODEC_NONE ? ".npy.zst" : ".npy");
}

static int add_recoded(const struct record_member *m, enum output_codec codec,
		       struct record *record, struct error *err)
{
	cleanup_buffer struct buffer data = BUFFER_INIT;
	char suffix[RECORD_SUFFIX_SIZE];
	size_t n = strlen(m->suffix);

	if (codec == OUTPUT_CODEC_NONE) {
		snprintf(suffix, sizeof(suffix), "%.*s", (int)(n - strlen(".zst")), m->suffix);
		if (decompress_frame(&data, m->data.data, m->data.size, ARRAY_BYTES_MAX, err) < 0)
			return -1;
	} else {
		if (n + strlen(".zst") >= sizeof(suffix))
			return error_data(err, "name_too_long", "%s has no room for .zst",
					  m->suffix);
		snprintf(suffix, sizeof(suffix), "%.*s.zst", (int)n, m->suffix);
		if (compress_frame(&data, m->data.data, m->data.size, COMPRESS_LEVEL_FLOATS, err) <
		    0)
			return -1;
	}
	return record_add_buffer(record, suffix, &data, err);
}

int record_recode(struct record *record, enum output_codec codec, struct error *err)
{
	cleanup_record struct record changed = RECORD_INIT;
	bool any = false;

	for (size_t i = 0; i < record->n_members; i++)
		any = any || is_to_change(&record->members[i], codec);
	if (!any)
		return 0;
	if (record_init(&changed, record->key, record->group, err) < 0)
		return -1;
	changed.rank = record->rank;
	for (size_t i = 0; i < record->n_members; i++) {
		struct record_member *m = &record->members[i];
		int r = is_to_change(m, codec)
			    ? add_recoded(m, codec, &changed, err)
			    : record_add_buffer(&changed, m->suffix, &m->data, err);

		if (r < 0)
			return error_wrap(err, "%s", record->key);
	}
	record_release(record);
	*record = changed;
	changed = (struct record)RECORD_INIT;
	return 0;
}

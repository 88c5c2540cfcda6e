/*
 * A shard is read record by record; captions and removed samples are looked up in the lists that lie beside the shards
 * (docs/FORMAT.md, section 5), which are as short as what nobody has tidied up yet.
 */
#include "daemon/export_source.h"

#include "daemon/caption_list.h"
#include "daemon/dataset_splits.h"
#include "daemon/dataset_store.h"
#include "daemon/record_mask.h"
#include "daemon/variants.h"

#include "storage/seal.h"
#include "storage/store.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

enum { LIST_MAX = 1 << 30 };

struct export_source {
	struct store *store;
	char *folder;
	char **shards;
	size_t n, capacity;
	json_t *captions, *removed; /* by key; by "PATH TAB KEY" */
	struct export_space space;
	bool space_known;
	/* of the call of export_source_each */
	export_sample_fn fn;
	void *arg;
	const char *shard;
	bool refused; /* the error is not the shard's */
	bool pairs;
	size_t resolution;  /* 0: whichever */
	struct record held; /* a plain one, until it is known whether its mirrored one follows */
	char held_image[RECORD_KEY_SIZE];
	uint32_t held_variant;
};

/* -- opening -------------------------------------------------------------------------------------- */

static int on_object(void *arg, const char *name, uint64_t bytes)
{
	struct export_source *s = arg;

	(void)bytes;
	if (shard_format_of_file(name)) {
		ARRAY_GROW(s->shards, s->n, s->capacity);
		s->shards[s->n++] = xstrdup(name);
	}
	return 0;
}

static int read_captions(struct export_source *s, struct error *err)
{
	cleanup_free char *path = caption_list_path(s->folder);

	return caption_list_read(path, s->captions, err);
}

static int read_removed(struct export_source *s, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/.latentd/removed.txt", s->folder);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char *rest, *line;

	if (!file_exists(path))
		return 0;
	if (file_read_all(path, LIST_MAX, &text, err) < 0)
		return -1;
	rest = (char *)text.data;
	while ((line = strsep(&rest, "\n")) != NULL) {
		if (*line &&
		    (!strchr(line, '\t') || json_object_set_new(s->removed, line, json_true()) < 0))
			return error_data(err, "list",
					  "%s is damaged: latentctl reindex or the next "
					  "encode writes it again",
					  path);
	}
	return 0;
}

int export_source_open(const char *folder, struct export_source **out, struct error *err)
{
	struct export_source *s = xcalloc(1, sizeof(*s));
	int r;

	s->folder = xstrdup(folder);
	s->captions = json_object();
	s->removed = json_object();
	r = dataset_store_open(folder, true, &s->store, err);
	if (r == 0)
		r = splits_list(s->store, on_object, s, err);
	if (r == 0)
		r = read_captions(s, err);
	if (r == 0)
		r = read_removed(s, err);
	if (r == 0 && s->n == 0)
		r = error_set(err, ERR_CONFIG, "%s has no shards", folder);
	if (r < 0) {
		export_source_close(s);
		return -1;
	}
	*out = s;
	return 0;
}

void export_source_close(struct export_source *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++)
		free(s->shards[i]);
	free(s->shards);
	free(s->folder);
	record_release(&s->held);
	json_decref(s->captions);
	json_decref(s->removed);
	store_close(s->store);
	free(s);
}

const char *export_source_name(const struct export_source *s)
{
	const char *slash = strrchr(s->folder, '/');

	return slash ? slash + 1 : s->folder;
}

const struct export_space *export_source_space(const struct export_source *s)
{
	return &s->space;
}

/* -- what a record says --------------------------------------------------------------------------- */

static bool read_statistics(const json_t *list, size_t *n, double *out)
{
	*n = json_array_size(list);
	if (*n > VAE_MAX_STATISTICS)
		return false;
	for (size_t i = 0; i < *n; i++) {
		out[i] = json_number_value(json_array_get(list, i));
		if (!json_is_number(json_array_get(list, i)) || !isfinite((float)out[i]))
			return false;
	}
	return true;
}

/* Divided by, as a float. */
static bool is_factor(double value)
{
	return isfinite((float)value) && (float)value != 0;
}

static bool read_space(const json_t *latent, const struct record_facts *facts,
		       struct export_space *space)
{
	const json_t *factor = json_object_get(latent, "scaling_factor");
	const json_t *patch = json_object_get(latent, "patch_size");
	const char *posterior = json_string_value(json_object_get(latent, "posterior"));
	size_t n_std = 0;
	bool positive = true;

	*space = (struct export_space){
	    .channels = facts->moments ? facts->channels / 2 : facts->channels,
	    .dtype = facts->dtype,
	    .moments = facts->moments,
	    .draw = strcmp(posterior, "draw") == 0,
	    .scaled = facts->scaled,
	    .scaling_factor = json_number_value(factor),
	    .shift_factor = json_number_value(json_object_get(latent, "shift_factor")),
	    .patch_size = patch ? (size_t)json_integer_value(patch) : 1,
	};
	memcpy(space->recipe_id, facts->recipe_id, sizeof(space->recipe_id));
	if (!read_statistics(json_object_get(latent, "latents_mean"), &space->n_statistics,
			     space->latents_mean) ||
	    !read_statistics(json_object_get(latent, "latents_std"), &n_std, space->latents_std))
		return false;
	for (size_t i = 0; i < n_std; i++)
		positive = positive && (float)space->latents_std[i] > 0;
	return positive && is_factor(space->scaling_factor) &&
	       isfinite((float)space->shift_factor) &&
	       (space->patch_size == 1 || space->patch_size == 2) && n_std == space->n_statistics &&
	       (n_std == 0 || n_std == space->channels * space->patch_size * space->patch_size) &&
	       (!facts->moments || facts->channels % 2 == 0);
}

static bool read_two(const json_t *root, const char *name, size_t *a, size_t *b)
{
	const json_t *pair = json_object_get(root, name);
	const json_t *first = json_array_get(pair, 0), *second = json_array_get(pair, 1);

	if (json_array_size(pair) != 2 || !json_is_integer(first) || !json_is_integer(second) ||
	    json_integer_value(first) < 0 || json_integer_value(second) < 0)
		return false;
	*a = (size_t)json_integer_value(first);
	*b = (size_t)json_integer_value(second);
	return true;
}

static bool read_geometry(const json_t *root, struct export_sample *out)
{
	const json_t *ltrb = json_object_get(root, "kohya_crop_ltrb");

	if (json_array_size(ltrb) != 4)
		return false;
	for (size_t i = 0; i < 4; i++) {
		if (!json_is_number(json_array_get(ltrb, i)))
			return false;
		out->kohya_crop_ltrb[i] = json_number_value(json_array_get(ltrb, i));
	}
	out->orientation = (unsigned)json_integer_value(json_object_get(root, "orientation"));
	return read_two(root, "original_size", &out->original_width, &out->original_height) &&
	       read_two(root, "resized_size", &out->resized_width, &out->resized_height) &&
	       read_two(root, "target_size", &out->target_width, &out->target_height) &&
	       read_two(root, "crop_top_left", &out->crop_top, &out->crop_left);
}

/* -- reading -------------------------------------------------------------------------------------- */

static int bad_record(struct error *err, const char *key)
{
	return error_data(err, "record", "%s: its .json is not a record of version 1", key);
}

/* The recipe decides all of it; a record that says otherwise is not to be believed. */
static bool same_space(const struct export_space *a, const struct export_space *b)
{
	return strcmp(a->recipe_id, b->recipe_id) == 0 && a->channels == b->channels &&
	       a->dtype == b->dtype && a->moments == b->moments && a->draw == b->draw &&
	       a->scaled == b->scaled && a->scaling_factor == b->scaling_factor &&
	       a->shift_factor == b->shift_factor && a->patch_size == b->patch_size &&
	       a->n_statistics == b->n_statistics;
}

static int check_space(struct export_source *s, const struct export_space *space, const char *key,
		       struct error *err)
{
	if (!s->space_known) {
		s->space = *space;
		s->space_known = true;
	}
	if (same_space(&s->space, space))
		return 0;
	s->refused = true;
	return error_set(err, ERR_CONFIG,
			 "%s: sample %s is of recipe %s, those before it of %s: they are not of "
			 "one latent space",
			 s->folder, key, space->recipe_id, s->space.recipe_id);
}

static void set_caption(const struct export_source *s, const char *key, json_t *root)
{
	json_t *newer = json_object_get(s->captions, key);

	if (newer)
		json_object_set(root, "caption", newer);
}

/* Its latent, once it is known to be of the dataset's space. */
static int open_latent(struct export_source *s, const struct record *record,
		       const struct record_facts *facts, const json_t *root, struct ndarray *out,
		       struct error *err)
{
	struct export_space space;

	if (!read_space(json_object_get(root, "latent"), facts, &space))
		return bad_record(err, record->key);
	if (check_space(s, &space, record->key, err) < 0)
		return -1;
	return record_latent_read(record, facts, out, err);
}

static json_t *record_json(const struct record *record)
{
	const struct record_member *json = record_member(record, "json");

	return json_loadb((const char *)json->data.data, json->data.size, 0, NULL);
}

static int open_mirrored(struct export_source *s, const struct record *record, struct ndarray *out,
			 struct error *err)
{
	struct record_facts facts;
	json_t *root;
	int r;

	if (record_facts_read(record, &facts, err) < 0)
		return -1;
	root = record_json(record);
	r = root ? open_latent(s, record, &facts, root, out, err) : bad_record(err, record->key);
	json_decref(root);
	return r;
}

/* As if there were no other resolution than the one that is wanted. */
static uint32_t variant_of(const struct export_source *s, const struct record_facts *facts)
{
	return s->resolution > 0 ? facts->variant % VARIANT_RESOLUTION : facts->variant;
}

/* @mirrored: of its mirrored one; NULL: it comes without. */
static int give(struct export_source *s, const struct record *record, const struct record *mirrored,
		const struct record_facts *facts, json_t *root, struct error *err)
{
	cleanup_ndarray struct ndarray stored = NDARRAY_INIT, other = NDARRAY_INIT,
				       mask = NDARRAY_INIT;
	struct export_sample sample = {.key = record->key, .path = facts->path, .record = root};
	int r;

	if (!read_geometry(root, &sample) || !path_stays_below(facts->path) ||
	    !path_stays_below(record->key))
		return bad_record(err, record->key);
	if (open_latent(s, record, facts, root, &stored, err) < 0 ||
	    (mirrored && open_mirrored(s, mirrored, &other, err) < 0) ||
	    (facts->has_mask && record_mask_read(record, facts, &mask, err) < 0))
		return -1;
	sample.caption = json_string_value(json_object_get(root, "caption"));
	sample.stored = &stored;
	sample.variant = variant_of(s, facts);
	sample.mirrored = mirrored ? &other : NULL;
	sample.mask = facts->has_mask ? &mask : NULL;
	sample.attached =
	    record->n_members > 2u + (record_member(record, "txt") != NULL) + facts->has_mask;
	r = s->fn(s->arg, &sample, err);
	s->refused = r != 0;
	return r;
}

static int give_record(struct export_source *s, const struct record *record,
		       const struct record *mirrored, struct error *err)
{
	struct record_facts facts;
	json_t *root;
	int r;

	if (record_facts_read(record, &facts, err) < 0)
		return -1;
	root = record_json(record);
	set_caption(s, record->key, root);
	r = root ? give(s, record, mirrored, &facts, root, err) : bad_record(err, record->key);
	json_decref(root);
	return r;
}

/* The record that is held, with @mirrored (NULL: it has none). */
static int give_held(struct export_source *s, const struct record *mirrored, struct error *err)
{
	int r = s->held.n_members > 0 ? give_record(s, &s->held, mirrored, err) : 0;

	record_release(&s->held);
	return r;
}

static int hold(struct export_source *s, const struct record *record,
		const struct record_facts *facts, struct error *err)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	memcpy(s->held_image, facts->image, sizeof(s->held_image));
	s->held_variant = facts->variant;
	record_encode(record, &bytes);
	return record_decode(bytes.data, bytes.size, &s->held, err);
}

static int pair_record(struct export_source *s, const struct record *record, struct error *err)
{
	struct record_facts facts;
	uint32_t variant;
	int r;

	if (record_facts_read(record, &facts, err) < 0)
		return -1;
	variant = variant_of(s, &facts);
	if (variant == VARIANT_FLIP && s->held.n_members > 0 &&
	    s->held_variant + VARIANT_FLIP == facts.variant &&
	    strcmp(s->held_image, facts.image) == 0)
		return give_held(s, record, err);
	r = give_held(s, NULL, err);
	if (r != 0 || variant == VARIANT_FLIP)
		return r;
	return variant == VARIANT_PLAIN ? hold(s, record, &facts, err)
					: give_record(s, record, NULL, err);
}

static bool is_wanted(const struct export_source *s, const struct record *record)
{
	json_t *root = s->resolution > 0 ? record_json(record) : NULL;
	json_int_t resolution = json_integer_value(json_object_get(root, "resolution"));

	json_decref(root);
	return s->resolution == 0 || (size_t)resolution == s->resolution;
}

static int on_record(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	struct export_source *s = arg;
	cleanup_free char *line = xasprintf("%s\t%s", s->shard, record->key);

	(void)span;
	if (json_object_get(s->removed, line) || !is_wanted(s, record))
		return 0;
	return s->pairs ? pair_record(s, record, err) : give_record(s, record, NULL, err);
}

void export_source_resolution(struct export_source *s, size_t resolution)
{
	s->resolution = resolution;
}

int export_source_refuse_empty(const struct export_source *s, struct error *err)
{
	if (s->resolution == 0)
		return error_set(err, ERR_CONFIG, "there is no sample in it");
	return error_set(err, ERR_CONFIG,
			 "there is no sample of several resolutions in it with %zu", s->resolution);
}

void export_source_pair(struct export_source *s)
{
	s->pairs = true;
}

int export_source_each(struct export_source *s, export_sample_fn fn, void *arg, struct error *err)
{
	s->fn = fn;
	s->arg = arg;
	for (size_t i = 0; i < s->n; i++) {
		int r;

		s->shard = s->shards[i];
		s->refused = false;
		record_release(&s->held);
		r = shard_read_stored(s->store, s->shard, on_record, s, err);
		if (r == 0)
			r = give_held(s, NULL, err);
		if (r < 0 && !s->refused)
			return error_wrap(err, "%s/%s", s->folder, s->shard);
		if (r != 0)
			return r;
	}
	return 0;
}

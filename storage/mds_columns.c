#include "storage/mds_sample.h"

#include "base/checked.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char *const fields[] = {"original_size", "crop_top_left", "target_size"};
/* What a specification can name: columns that every dataset may have. */
static const char *const names[] = {"key",     "meta",		"caption",	 "latent",
				    "moments", "original_size", "crop_top_left", "target_size"};
/* Columns that a shard may have besides, under these names. */
static const char *const others[] = {"members", "mask"};

/* -- specification ------------------------------------------------------------------------ */

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '.';
}

static size_t name_length(const char *p)
{
	size_t n = 0;

	while (name_char(p[n]))
		n++;
	return n;
}

/* NAME[=NEW][:bytes]: one part of a specification. */
struct part {
	const char *name, *renamed;
	size_t name_n, renamed_n;
	bool bytes;
};

/* Moves *p behind the part and the comma after it. */
static bool parse_part(const char **p, struct part *part)
{
	*part = (struct part){.name = *p, .name_n = name_length(*p)};
	*p += part->name_n;
	part->renamed = part->name;
	part->renamed_n = part->name_n;
	if (**p == '=') {
		part->renamed = ++*p;
		part->renamed_n = name_length(*p);
		*p += part->renamed_n;
	}
	if (strncmp(*p, ":bytes", 6) == 0) {
		part->bytes = true;
		*p += 6;
	}
	if (part->name_n == 0 || part->renamed_n == 0 || part->renamed_n >= MDS_NAME_SIZE)
		return false;
	if (**p == ',')
		return *++*p != '\0';
	return **p == '\0';
}

static bool is_known(const struct part *part)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strlen(names[i]) == part->name_n &&
		    strncmp(part->name, names[i], part->name_n) == 0)
			return true;
	}
	return false;
}

static bool asks_for_bytes(const char *specification, const char *name)
{
	const char *p = specification ? specification : "";
	struct part part;

	while (*p && parse_part(&p, &part)) {
		if (part.name_n == strlen(name) && strncmp(part.name, name, part.name_n) == 0)
			return part.bytes;
	}
	return false;
}

static int set_name(struct mds_column *c, const char *specification, const char *name,
		    struct error *err)
{
	const char *p = specification ? specification : "";
	struct part part;

	if (strlen(name) >= sizeof(c->name))
		return error_data(err, "bad_name", "%s is too long for a column", name);
	snprintf(c->name, sizeof(c->name), "%s", name);
	while (*p && parse_part(&p, &part)) {
		if (part.name_n == strlen(name) && strncmp(part.name, name, part.name_n) == 0)
			snprintf(c->name, sizeof(c->name), "%.*s", (int)part.renamed_n,
				 part.renamed);
	}
	return 0;
}

static int refuse_twice(const char *name, struct error *err)
{
	return error_set(err, ERR_CONFIG, "two columns would be called %s", name);
}

/* A sample has one of latent and moments, which may have the same name. */
static int check_names(const char *specification, struct error *err)
{
	struct mds_column columns[ARRAY_SIZE(names)];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (set_name(&columns[i], specification, names[i], err) < 0)
			return -1;
		for (size_t j = 0; j < i; j++) {
			bool either =
			    strcmp(names[j], "latent") == 0 && strcmp(names[i], "moments") == 0;

			if (!either && strcmp(columns[i].name, columns[j].name) == 0)
				return refuse_twice(columns[i].name, err);
		}
		for (size_t j = 0; j < ARRAY_SIZE(others); j++) {
			if (strcmp(columns[i].name, others[j]) == 0)
				return refuse_twice(others[j], err);
		}
	}
	return 0;
}

int mds_specification_check(const char *specification, struct error *err)
{
	const char *p = specification ? specification : "";
	struct part part;

	if (strlen(p) >= MDS_SPECIFICATION_SIZE)
		return error_set(err, ERR_CONFIG, "names of columns have at most %d bytes",
				 MDS_SPECIFICATION_SIZE - 1);
	while (*p) {
		if (!parse_part(&p, &part))
			return error_set(
			    err, ERR_CONFIG,
			    "'%s' does not name columns: expected NAME=NEW, NAME:bytes or "
			    "NAME=NEW:bytes, with commas between",
			    specification);
		if (!is_known(&part))
			return error_set(
			    err, ERR_CONFIG,
			    "there is no column '%.*s' to change: key, meta, caption, "
			    "latent, moments, original_size, crop_top_left and target_size "
			    "are known",
			    (int)part.name_n, part.name);
	}
	return check_names(specification, err);
}

/* -- choosing ----------------------------------------------------------------------------- */

struct choice {
	struct mds_columns *columns;
	const char *specification;
	const struct record *records;
	size_t n;
	char suffixes[MDS_MAX_MEMBERS][RECORD_SUFFIX_SIZE]; /* in the order of their coming */
	size_t n_suffixes;
};

static size_t find_suffix(const struct choice *c, const char *suffix)
{
	size_t i = 0;

	while (i < c->n_suffixes && strcmp(c->suffixes[i], suffix) != 0)
		i++;
	return i;
}

static int note_suffixes(struct choice *c, struct error *err)
{
	for (size_t i = 0; i < c->n; i++) {
		for (size_t j = 0; j < c->records[i].n_members; j++) {
			const char *suffix = c->records[i].members[j].suffix;

			if (find_suffix(c, suffix) < c->n_suffixes)
				continue;
			if (c->n_suffixes == MDS_MAX_MEMBERS)
				return error_data(err, "too_large",
						  "more than %d kinds of members in one shard",
						  MDS_MAX_MEMBERS);
			snprintf(c->suffixes[c->n_suffixes++], RECORD_SUFFIX_SIZE, "%s", suffix);
		}
	}
	return 0;
}

/* All of them, in this order. */
static bool same_members(const struct choice *c)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->records[i].n_members != c->n_suffixes)
			return false;
		for (size_t j = 0; j < c->n_suffixes; j++) {
			if (strcmp(c->records[i].members[j].suffix, c->suffixes[j]) != 0)
				return false;
		}
	}
	return true;
}

/* An array whose file is exactly what npy_write() makes of it, so that only values need to be kept. */
static bool read_array(const struct record *record, const char *suffix, struct ndarray *out)
{
	const struct record_member *m = record_member(record, suffix);
	struct error ignored = ERROR_INIT;
	cleanup_buffer struct buffer again = BUFFER_INIT;
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;

	if (!m || npy_read(m->data.data, m->data.size, &a, &ignored) < 0 || a.bytes == 0 ||
	    a.ndim == 0)
		return false;
	npy_write(&again, &a);
	if (again.size != m->data.size || memcmp(again.data, m->data.data, again.size) != 0)
		return false;
	*out = a;
	a = (struct ndarray)NDARRAY_INIT;
	return true;
}

/* Whether that member is an array in all records, of one dtype and, if it is to be bytes, of one shape. */
static bool is_array(const struct choice *choice, struct mds_column *c)
{
	bool one_shape = c->encoding == MDS_BYTES;

	for (size_t i = 0; i < choice->n; i++) {
		cleanup_ndarray struct ndarray a = NDARRAY_INIT;

		if (!read_array(&choice->records[i], c->of, &a))
			return false;
		if (i == 0) {
			c->dtype = a.dtype;
			c->ndim = a.ndim;
			memcpy(c->shape, a.shape, sizeof(c->shape));
		}
		if (a.dtype != c->dtype ||
		    (one_shape &&
		     (a.ndim != c->ndim || memcmp(a.shape, c->shape, a.ndim * sizeof(*a.shape)))))
			return false;
	}
	return true;
}

static struct mds_column *new_column(struct choice *choice, enum mds_role role,
				     enum mds_encoding encoding, const char *name,
				     struct error *err)
{
	struct mds_column *c = &choice->columns->items[choice->columns->n++];

	*c = (struct mds_column){.role = role, .encoding = encoding};
	if (asks_for_bytes(choice->specification, name))
		c->encoding = MDS_BYTES;
	return set_name(c, choice->specification, name, err) < 0 ? NULL : c;
}

static int add_member(struct choice *choice, size_t rank, struct error *err)
{
	const char *suffix = choice->suffixes[rank];
	size_t n = strlen(suffix);
	bool npy = n > 4 && strcmp(suffix + n - 4, ".npy") == 0;
	char stem[RECORD_SUFFIX_SIZE];
	struct mds_column *c;

	snprintf(stem, sizeof(stem), "%.*s", npy ? (int)(n - 4) : (int)n, suffix);
	if (strcmp(suffix, "json") == 0)
		c = new_column(choice, MDS_MEMBER, MDS_JSON, "meta", err);
	else if (strcmp(suffix, "txt") == 0)
		c = new_column(choice, MDS_MEMBER, MDS_STR, "caption", err);
	else
		c = new_column(choice, MDS_MEMBER, npy ? MDS_NDARRAY : MDS_BYTES, stem, err);
	if (!c)
		return -1;
	c->rank = rank;
	snprintf(c->of, sizeof(c->of), "%s", suffix);
	if (!npy)
		return 0;
	c->array = is_array(choice, c);
	if (c->array)
		return 0;
	c->encoding = MDS_BYTES;
	return set_name(c, choice->specification, suffix, err);
}

static int add_fields(struct choice *choice, struct error *err)
{
	bool has[ARRAY_SIZE(fields)];

	for (size_t f = 0; f < ARRAY_SIZE(fields); f++)
		has[f] = true;
	for (size_t i = 0; i < choice->n; i++) {
		json_t *json = mds_record_json(&choice->records[i]);
		uint32_t pair[2];

		for (size_t f = 0; f < ARRAY_SIZE(fields); f++)
			has[f] = has[f] && mds_pair_read(json, fields[f], pair);
		json_decref(json);
	}
	for (size_t f = 0; f < ARRAY_SIZE(fields); f++) {
		struct mds_column *c;

		if (!has[f])
			continue;
		c = new_column(choice, MDS_FIELD, MDS_PAIR, fields[f], err);
		if (!c)
			return -1;
		snprintf(c->of, sizeof(c->of), "%s", fields[f]);
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct mds_column *)a)->name, ((const struct mds_column *)b)->name);
}

int mds_columns_choose(struct mds_columns *columns, const char *specification,
		       const struct record *records, size_t n, struct error *err)
{
	struct choice c = {
	    .columns = columns, .specification = specification, .records = records, .n = n};

	*columns = (struct mds_columns){.n = 0};
	snprintf(columns->specification, sizeof(columns->specification), "%s",
		 specification ? specification : "");
	if (note_suffixes(&c, err) < 0 || !new_column(&c, MDS_KEY, MDS_STR, "key", err))
		return -1;
	columns->n_members = c.n_suffixes;
	for (size_t i = 0; i < c.n_suffixes; i++) {
		if (add_member(&c, i, err) < 0)
			return -1;
	}
	if (add_fields(&c, err) < 0 ||
	    (!same_members(&c) && !new_column(&c, MDS_MEMBERS, MDS_STR, "members", err)))
		return -1;
	qsort(columns->items, columns->n, sizeof(columns->items[0]), by_name);
	for (size_t i = 1; i < columns->n; i++) {
		if (by_name(&columns->items[i - 1], &columns->items[i]) == 0)
			return error_data(err, "bad_name", "two columns would be called %s",
					  columns->items[i].name);
	}
	return 0;
}

/* The JSON config of a shard: written and read in one file, so that both stay alike. */
#include "storage/mds_columns.h"

#include "base/checked.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static json_t *encoding_json(const struct mds_column *c)
{
	switch (c->encoding) {
	case MDS_STR:
		return json_string("str");
	case MDS_JSON:
		return json_string("json");
	case MDS_PAIR:
		return json_string("ndarray:int32:2");
	case MDS_NDARRAY:
		return json_sprintf("ndarray:%s", dtype_name(c->dtype));
	case MDS_BYTES:
		break;
	}
	return json_string("bytes");
}

/* ["latent.npy", "latent"], and for values that are stored as bytes: dtype and shape. */
static json_t *member_json(const struct mds_column *c)
{
	json_t *member = json_array(), *shape;

	json_array_append_new(member, json_string(c->of));
	json_array_append_new(member, json_string(c->name));
	if (c->encoding != MDS_BYTES || !c->array)
		return member;
	shape = json_array();
	for (size_t i = 0; i < c->ndim; i++)
		json_array_append_new(shape, json_integer((json_int_t)c->shape[i]));
	json_array_append_new(member, json_string(dtype_name(c->dtype)));
	json_array_append_new(member, shape);
	return member;
}

/* What reading back needs. */
static json_t *own_json(const struct mds_columns *columns)
{
	json_t *own = json_object(), *members = json_array();

	json_object_set_new(own, "v", json_integer(1));
	for (size_t rank = 0; rank < columns->n_members; rank++) {
		for (size_t i = 0; i < columns->n; i++) {
			const struct mds_column *c = &columns->items[i];

			if (c->role == MDS_MEMBER && c->rank == rank)
				json_array_append_new(members, member_json(c));
		}
	}
	for (size_t i = 0; i < columns->n; i++) {
		const struct mds_column *c = &columns->items[i];

		if (c->role == MDS_KEY)
			json_object_set_new(own, "key", json_string(c->name));
		if (c->role == MDS_MEMBERS)
			json_object_set_new(own, "which", json_string(c->name));
	}
	json_object_set_new(own, "members", members);
	if (columns->specification[0])
		json_object_set_new(own, "columns", json_string(columns->specification));
	return own;
}

int mds_columns_config(const struct mds_columns *columns, struct buffer *out, struct error *err)
{
	json_t *root = json_object(), *names = json_array(), *encodings = json_array(),
	       *sizes = json_array();
	char *text;

	for (size_t i = 0; i < columns->n; i++) {
		const struct mds_column *c = &columns->items[i];

		json_array_append_new(names, json_string(c->name));
		json_array_append_new(encodings, encoding_json(c));
		json_array_append_new(sizes,
				      c->encoding == MDS_PAIR ? json_integer(8) : json_null());
	}
	json_object_set_new(root, "version", json_integer(2));
	json_object_set_new(root, "format", json_string("mds"));
	json_object_set_new(root, "compression", json_string("zstd"));
	json_object_set_new(root, "hashes", json_pack("[ss]", "sha256", "xxh64"));
	json_object_set_new(root, "size_limit", json_null());
	json_object_set_new(root, "column_names", names);
	json_object_set_new(root, "column_encodings", encodings);
	json_object_set_new(root, "column_sizes", sizes);
	json_object_set_new(root, "latentd", own_json(columns));
	text = json_array_size(names) == columns->n ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (!text)
		return error_data(err, "bad_name", "the name of a column is not UTF-8");
	buffer_append_string(out, text);
	free(text);
	return 0;
}

/* -- and back ----------------------------------------------------------------------------- */

static bool parse_dtype(const char *name, enum dtype *dtype)
{
	static const enum dtype all[] = {DTYPE_F32, DTYPE_F16, DTYPE_U8, DTYPE_I64, DTYPE_F64};

	for (size_t i = 0; name && i < ARRAY_SIZE(all); i++) {
		if (strcmp(dtype_name(all[i]), name) == 0) {
			*dtype = all[i];
			return true;
		}
	}
	return false;
}

static bool parse_encoding(const char *text, struct mds_column *c)
{
	static const char *const names[] = {
	    [MDS_STR] = "str", [MDS_JSON] = "json", [MDS_BYTES] = "bytes"};

	for (size_t i = 0; text && i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			c->encoding = (enum mds_encoding)i;
			return true;
		}
	}
	if (!text || strncmp(text, "ndarray:", 8) != 0)
		return false;
	c->encoding = strcmp(text, "ndarray:int32:2") == 0 ? MDS_PAIR : MDS_NDARRAY;
	c->array = c->encoding == MDS_NDARRAY;
	return c->encoding == MDS_PAIR || parse_dtype(text + 8, &c->dtype);
}

static bool copy_name(char *out, size_t size, const char *name)
{
	if (!name || !name[0] || strlen(name) >= size)
		return false;
	memcpy(out, name, strlen(name) + 1);
	return true;
}

static bool parse_columns(json_t *root, struct mds_columns *columns)
{
	json_t *names = json_object_get(root, "column_names");
	json_t *encodings = json_object_get(root, "column_encodings");

	columns->n = json_array_size(names);
	if (columns->n > MDS_MAX_COLUMNS || json_array_size(encodings) != columns->n)
		return false;
	for (size_t i = 0; i < columns->n; i++) {
		struct mds_column *c = &columns->items[i];

		c->role = MDS_FIELD;
		if (!copy_name(c->name, sizeof(c->name),
			       json_string_value(json_array_get(names, i))) ||
		    !parse_encoding(json_string_value(json_array_get(encodings, i)), c))
			return false;
	}
	return true;
}

/* Gives the column of that name, which has none yet, a role. */
static struct mds_column *appoint(struct mds_columns *columns, json_t *name, enum mds_role role)
{
	for (size_t i = 0; json_is_string(name) && i < columns->n; i++) {
		struct mds_column *c = &columns->items[i];

		if (c->role == MDS_FIELD && c->encoding != MDS_PAIR &&
		    strcmp(c->name, json_string_value(name)) == 0) {
			c->role = role;
			return c;
		}
	}
	return NULL;
}

static bool parse_shape(json_t *shape, struct mds_column *c)
{
	c->ndim = json_array_size(shape);
	for (size_t i = 0; i < c->ndim && i < NDARRAY_MAX_DIMS; i++) {
		json_int_t n = json_integer_value(json_array_get(shape, i));

		if (n < 1 || n > UINT32_MAX)
			return false;
		c->shape[i] = (size_t)n;
	}
	return c->ndim >= 1 && c->ndim <= NDARRAY_MAX_DIMS;
}

static bool parse_member(struct mds_columns *columns, json_t *member)
{
	struct mds_column *c = appoint(columns, json_array_get(member, 1), MDS_MEMBER);

	if (!c || !copy_name(c->of, sizeof(c->of), json_string_value(json_array_get(member, 0))) ||
	    strchr(c->of, '/'))
		return false;
	c->rank = columns->n_members++;
	if (json_array_size(member) == 2)
		return true;
	c->array = true;
	return c->encoding == MDS_BYTES &&
	       parse_dtype(json_string_value(json_array_get(member, 2)), &c->dtype) &&
	       parse_shape(json_array_get(member, 3), c);
}

static bool parse_own(json_t *own, struct mds_columns *columns)
{
	json_t *members = json_object_get(own, "members"), *which = json_object_get(own, "which"),
	       *key = json_object_get(own, "key");
	json_t *chosen = json_object_get(own, "columns");
	size_t n = json_array_size(members);

	if (chosen && !copy_name(columns->specification, sizeof(columns->specification),
				 json_string_value(chosen)))
		return false;
	if (json_integer_value(json_object_get(own, "v")) != 1 || n > MDS_MAX_MEMBERS ||
	    !appoint(columns, key, MDS_KEY) || (which && !appoint(columns, which, MDS_MEMBERS)))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!parse_member(columns, json_array_get(members, i)))
			return false;
	}
	return true;
}

int mds_columns_parse(struct mds_columns *columns, const uint8_t *config, size_t size,
		      struct error *err)
{
	json_t *root = json_loadb((const char *)config, size, JSON_REJECT_DUPLICATES, NULL);
	struct mds_columns parsed = {.n = 0};
	bool ok =
	    parse_columns(root, &parsed) && parse_own(json_object_get(root, "latentd"), &parsed);

	json_decref(root);
	if (!ok)
		return error_data(err, "shard", "an MDS shard that was not made by latentd");
	*columns = parsed;
	return 0;
}

#include "storage/mds_sample.h"

#include "base/checked.h"

#include <jansson.h>
#include <string.h>

bool mds_pair_read(struct json_t *json, const char *field, uint32_t pair[2])
{
	json_t *array = json_object_get(json, field);

	for (size_t i = 0; i < 2; i++) {
		json_t *item = json_array_get(array, i);
		json_int_t v = json_integer_value(item);

		if (!json_is_integer(item) || v < INT32_MIN || v > INT32_MAX)
			return false;
		pair[i] = (uint32_t)(int32_t)v;
	}
	return json_array_size(array) == 2;
}

struct json_t *mds_record_json(const struct record *record)
{
	const struct record_member *json = record_member(record, "json");

	return json ? json_loadb((const char *)json->data.data, json->data.size, 0, NULL) : NULL;
}

/* -- writing a sample --------------------------------------------------------------------- */

/* ndim and width of a dimension in one byte, then the dimensions (streaming: format/mds/encodings.py, NDArray). */
static void put_shape(struct buffer *out, const struct ndarray *a)
{
	size_t largest = 0;
	uint8_t width;

	for (size_t i = 0; i < a->ndim; i++)
		largest = a->shape[i] > largest ? a->shape[i] : largest;
	width = largest <= UINT8_MAX	? 0
		: largest <= UINT16_MAX ? 1
		: largest <= UINT32_MAX ? 2
					: 3;
	buffer_put_u8(out, (uint8_t)(a->ndim << 2 | width));
	for (size_t i = 0; i < a->ndim; i++) {
		for (size_t byte = 0; byte < (size_t)1 << width; byte++)
			buffer_put_u8(out, (uint8_t)((uint64_t)a->shape[i] >> (8 * byte)));
	}
}

static int put_member(const struct mds_column *c, const struct record *record, struct buffer *out,
		      struct error *err)
{
	const struct record_member *m = record_member(record, c->of);
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;

	if (m && c->array && npy_read(m->data.data, m->data.size, &a, err) < 0)
		return -1;
	if (m && c->encoding == MDS_NDARRAY)
		put_shape(out, &a);
	if (m && c->array)
		buffer_append(out, a.data, a.bytes);
	else if (m)
		buffer_append(out, m->data.data, m->data.size);
	return 0;
}

static int put_value(const struct mds_column *c, const struct record *record, json_t *json,
		     struct buffer *out, struct error *err)
{
	uint32_t pair[2] = {0, 0};

	switch (c->role) {
	case MDS_KEY:
		buffer_append_string(out, record->key);
		return 0;
	case MDS_MEMBERS:
		for (size_t i = 0; i < record->n_members; i++)
			buffer_appendf(out, "%s%s", i > 0 ? "/" : "", record->members[i].suffix);
		return 0;
	case MDS_FIELD:
		mds_pair_read(json, c->of, pair);
		buffer_put_u32(out, pair[0]);
		buffer_put_u32(out, pair[1]);
		return 0;
	case MDS_MEMBER:
		break;
	}
	return put_member(c, record, out, err);
}

int mds_sample_put(const struct mds_columns *columns, const struct record *record,
		   struct buffer *out, struct error *err)
{
	cleanup_buffer struct buffer values = BUFFER_INIT;
	json_t *json = mds_record_json(record);
	int r = 0;

	if (buffer_reserve(&values, record_bytes(record) + 1024, err) < 0)
		r = -1;
	for (size_t i = 0; r == 0 && i < columns->n; i++) {
		const struct mds_column *c = &columns->items[i];
		size_t before = values.size;

		r = put_value(c, record, json, &values, err);
		if (r == 0 && values.size - before > UINT32_MAX)
			r = error_data(err, "too_large", "%s: a value of 4 GiB", c->name);
		if (r == 0 && c->encoding != MDS_PAIR)
			buffer_put_u32(out, (uint32_t)(values.size - before));
	}
	json_decref(json);
	if (r < 0 || buffer_reserve(out, values.size, err) < 0)
		return -1;
	buffer_append(out, values.data, values.size);
	return 0;
}

/* -- reading one -------------------------------------------------------------------------- */

static int bad_sample(struct error *err, const char *what)
{
	return error_data(err, "shard", "a damaged MDS sample: %s", what);
}

/* The array's shape in front of its values: 0 bytes taken where it is none. */
static size_t read_shape(const uint8_t *bytes, size_t size, struct ndarray *a)
{
	size_t width, at = 1;

	if (size == 0)
		return 0;
	a->ndim = bytes[0] >> 2;
	width = (size_t)1 << (bytes[0] & 3);
	if (a->ndim == 0 || a->ndim > NDARRAY_MAX_DIMS || size - 1 < a->ndim * width)
		return 0;
	for (size_t i = 0; i < a->ndim; i++) {
		uint64_t n = 0;

		for (size_t byte = 0; byte < width; byte++)
			n |= (uint64_t)bytes[at++] << (8 * byte);
		a->shape[i] = (size_t)n;
	}
	return at;
}

static int add_array(const struct mds_column *c, const uint8_t *bytes, size_t size,
		     struct record *record, struct error *err)
{
	cleanup_buffer struct buffer npy = BUFFER_INIT;
	struct ndarray a = {.dtype = c->dtype, .ndim = c->ndim};
	size_t head = 0, want = 0;

	memcpy(a.shape, c->shape, sizeof(a.shape));
	if (c->encoding == MDS_NDARRAY) {
		head = read_shape(bytes, size, &a);
		if (head == 0)
			return bad_sample(err, "an array without its shape");
	}
	if (!ndarray_bytes(a.dtype, a.ndim, a.shape, &want) || want != size - head)
		return bad_sample(err, "an array whose shape is another");
	a.bytes = want;
	a.data = (void *)(uintptr_t)(bytes + head);
	if (buffer_reserve(&npy, want + 256, err) < 0)
		return -1;
	npy_write(&npy, &a);
	return record_add_buffer(record, c->of, &npy, err);
}

struct value {
	const uint8_t *bytes;
	size_t size;
};

static int add_member(const struct mds_columns *columns, const struct value *values,
		      const char *suffix, size_t n, struct record *record, struct error *err)
{
	for (size_t i = 0; i < columns->n; i++) {
		const struct mds_column *c = &columns->items[i];

		if (c->role != MDS_MEMBER || strlen(c->of) != n || memcmp(c->of, suffix, n) != 0)
			continue;
		if (record->n_members == RECORD_MAX_MEMBERS || record_member(record, c->of))
			break;
		return c->array ? add_array(c, values[i].bytes, values[i].size, record, err)
				: record_add(record, c->of, values[i].bytes, values[i].size, err);
	}
	return bad_sample(err, "a member twice, too many or of no column");
}

/* Those that are listed, with '/' between. */
static int add_listed(const struct mds_columns *columns, const struct value *values,
		      const struct value *list, struct record *record, struct error *err)
{
	const char *p = (const char *)list->bytes, *end = p + list->size;

	while (p < end) {
		const char *slash = memchr(p, '/', (size_t)(end - p));
		size_t n = (size_t)((slash ? slash : end) - p);

		if (add_member(columns, values, p, n, record, err) < 0)
			return -1;
		p += slash ? n + 1 : n;
	}
	return 0;
}

static int add_members(const struct mds_columns *columns, const struct value *values,
		       const struct value *which, struct record *record, struct error *err)
{
	if (which && add_listed(columns, values, which, record, err) < 0)
		return -1;
	for (size_t rank = 0; !which && rank < columns->n_members; rank++) {
		for (size_t i = 0; i < columns->n; i++) {
			const struct mds_column *c = &columns->items[i];

			if (c->role == MDS_MEMBER && c->rank == rank &&
			    add_member(columns, values, c->of, strlen(c->of), record, err) < 0)
				return -1;
		}
	}
	return record->n_members > 0 ? 0 : bad_sample(err, "no members");
}

static int split(const struct mds_columns *columns, const uint8_t *bytes, size_t size,
		 struct value *values, struct error *err)
{
	size_t n_lengths = 0, at, length_at = 0;

	for (size_t i = 0; i < columns->n; i++)
		n_lengths += columns->items[i].encoding != MDS_PAIR;
	at = 4 * n_lengths;
	if (size < at)
		return bad_sample(err, "it ends in its lengths");
	for (size_t i = 0; i < columns->n; i++) {
		size_t n = 8;

		if (columns->items[i].encoding != MDS_PAIR) {
			n = get_u32le(bytes + length_at);
			length_at += 4;
		}
		if (n > size - at)
			return bad_sample(err, "a value ends behind it");
		values[i] = (struct value){bytes + at, n};
		at += n;
	}
	return at == size ? 0 : bad_sample(err, "bytes behind its values");
}

int mds_sample_read(const struct mds_columns *columns, const uint8_t *bytes, size_t size,
		    struct record *out, struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;
	struct value values[MDS_MAX_COLUMNS];
	const struct value *which = NULL, *key_value = NULL;
	char key[RECORD_KEY_SIZE] = "";

	if (split(columns, bytes, size, values, err) < 0)
		return -1;
	for (size_t i = 0; i < columns->n; i++) {
		if (columns->items[i].role == MDS_KEY)
			key_value = &values[i];
		if (columns->items[i].role == MDS_MEMBERS)
			which = &values[i];
	}
	if (!key_value || key_value->size == 0 || key_value->size >= sizeof(key) ||
	    memchr(key_value->bytes, '\0', key_value->size))
		return bad_sample(err, "its key");
	memcpy(key, key_value->bytes, key_value->size);
	if (record_init(&record, key, "", err) < 0 ||
	    add_members(columns, values, which, &record, err) < 0)
		return -1;
	*out = record;
	record = (struct record)RECORD_INIT;
	return 0;
}

/*
 * The encoding, version 1. All numbers are little-endian; names are bytes without NUL.
 *
 *	u8   version, 1
 *	u64  dataset, job, fence, rank        (dataset and job as two's complement)
 *	u8   length of key,    key            1 to 88 bytes
 *	u8   length of group,  group          0 to 63 bytes
 *	u8   number of members                0 to 8, and for each
 *	     u8   length of suffix, suffix    1 to 31 bytes, no '/', each once in a record
 *	     u8   hash[16]                    XXH3-128 of data, canonical (big-endian) order
 *	     u64  size, data
 *
 * and nothing behind it.
 */
#include "storage/record.h"

#include "base/text.h"

#include <string.h>

#define RECORD_VERSION 1

int record_init(struct record *r, const char *key, const char *group, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	size_t key_length = strlen(key), group_length = strlen(group);

	if (key_length == 0 || key_length >= RECORD_KEY_SIZE)
		return error_set(err, ERR_BUG, "record key %s has %zu bytes",
				 text_quote(key, quoted), key_length);
	if (group_length >= RECORD_GROUP_SIZE)
		return error_set(err, ERR_BUG, "record group %s has %zu bytes",
				 text_quote(group, quoted), group_length);
	*r = (struct record)RECORD_INIT;
	memcpy(r->key, key, key_length + 1);
	memcpy(r->group, group, group_length + 1);
	return 0;
}

static bool suffix_valid(const char *suffix)
{
	size_t length = strlen(suffix);

	return length > 0 && length < RECORD_SUFFIX_SIZE && !strchr(suffix, '/');
}

int record_add_buffer(struct record *r, const char *suffix, struct buffer *data, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct record_member *member = &r->members[r->n_members];

	if (r->n_members == RECORD_MAX_MEMBERS)
		return error_set(err, ERR_BUG, "record %s has no room for a member more",
				 text_quote(r->key, quoted));
	if (!suffix_valid(suffix) || record_member(r, suffix))
		return error_set(err, ERR_BUG, "record member %s: no suffix, or there already",
				 text_quote(suffix, quoted));
	*member = (struct record_member){.data = *data, .hash = hash128_of(data->data, data->size)};
	memcpy(member->suffix, suffix, strlen(suffix) + 1);
	*data = (struct buffer)BUFFER_INIT;
	r->n_members++;
	return 0;
}

int record_put_buffer(struct record *r, const char *suffix, struct buffer *data, struct error *err)
{
	for (size_t i = 0; i < r->n_members; i++) {
		struct record_member *member = &r->members[i];

		if (strcmp(member->suffix, suffix) != 0)
			continue;
		buffer_release(&member->data);
		member->data = *data;
		member->hash = hash128_of(data->data, data->size);
		*data = (struct buffer)BUFFER_INIT;
		return 0;
	}
	return record_add_buffer(r, suffix, data, err);
}

int record_add(struct record *r, const char *suffix, const void *data, size_t size,
	       struct error *err)
{
	cleanup_buffer struct buffer copy = BUFFER_INIT;

	if (buffer_reserve(&copy, size, err) < 0)
		return -1;
	buffer_append(&copy, data, size);
	return record_add_buffer(r, suffix, &copy, err);
}

void record_release(struct record *r)
{
	for (size_t i = 0; i < r->n_members; i++)
		buffer_release(&r->members[i].data);
	*r = (struct record)RECORD_INIT;
}

size_t record_bytes(const struct record *r)
{
	size_t bytes = 0;

	for (size_t i = 0; i < r->n_members; i++)
		bytes += r->members[i].data.size;
	return bytes;
}

const struct record_member *record_member(const struct record *r, const char *suffix)
{
	for (size_t i = 0; i < r->n_members; i++) {
		if (strcmp(r->members[i].suffix, suffix) == 0)
			return &r->members[i];
	}
	return NULL;
}

static void put_name(struct buffer *out, const char *name)
{
	size_t length = strlen(name);

	buffer_put_u8(out, (uint8_t)length);
	buffer_append(out, name, length);
}

void record_encode(const struct record *r, struct buffer *out)
{
	buffer_put_u8(out, RECORD_VERSION);
	buffer_put_u64(out, (uint64_t)r->dataset);
	buffer_put_u64(out, (uint64_t)r->job);
	buffer_put_u64(out, r->fence);
	buffer_put_u64(out, r->rank);
	put_name(out, r->key);
	put_name(out, r->group);
	buffer_put_u8(out, (uint8_t)r->n_members);
	for (size_t i = 0; i < r->n_members; i++) {
		const struct record_member *member = &r->members[i];

		put_name(out, member->suffix);
		buffer_append(out, member->hash.bytes, sizeof(member->hash.bytes));
		buffer_put_u64(out, member->data.size);
		buffer_append(out, member->data.data, member->data.size);
	}
}

/* What is left to decode. Every take_ returns false where the bytes end early. */
struct cursor {
	const uint8_t *at;
	size_t left;
};

static bool take_bytes(struct cursor *c, size_t size, const uint8_t **out)
{
	if (size > c->left)
		return false;
	*out = c->at;
	c->at += size;
	c->left -= size;
	return true;
}

static bool take_u8(struct cursor *c, uint8_t *out)
{
	const uint8_t *at;

	if (!take_bytes(c, 1, &at))
		return false;
	*out = at[0];
	return true;
}

static bool take_u64(struct cursor *c, uint64_t *out)
{
	const uint8_t *at;

	if (!take_bytes(c, 8, &at))
		return false;
	*out = get_u64le(at);
	return true;
}

/* A name of less than @size bytes without NUL. */
static bool take_name(struct cursor *c, char *out, size_t size)
{
	const uint8_t *at;
	uint8_t length;

	if (!take_u8(c, &length) || length >= size || !take_bytes(c, length, &at) ||
	    memchr(at, '\0', length))
		return false;
	memcpy(out, at, length);
	out[length] = '\0';
	return true;
}

static bool take_header(struct cursor *c, struct record *r, uint8_t *n_members)
{
	uint64_t dataset, job;
	uint8_t version;

	if (!take_u8(c, &version) || version != RECORD_VERSION || !take_u64(c, &dataset) ||
	    !take_u64(c, &job) || !take_u64(c, &r->fence) || !take_u64(c, &r->rank))
		return false;
	r->dataset = (int64_t)dataset;
	r->job = (int64_t)job;
	return take_name(c, r->key, sizeof(r->key)) && r->key[0] != '\0' &&
	       take_name(c, r->group, sizeof(r->group)) && take_u8(c, n_members) &&
	       *n_members <= RECORD_MAX_MEMBERS;
}

static int decode_member(struct cursor *c, struct record *r, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE], suffix[RECORD_SUFFIX_SIZE];
	const uint8_t *hash, *data;
	uint64_t size;

	if (!take_name(c, suffix, sizeof(suffix)) || !suffix_valid(suffix) ||
	    record_member(r, suffix) || !take_bytes(c, sizeof(struct hash128), &hash) ||
	    !take_u64(c, &size) || size > c->left || !take_bytes(c, (size_t)size, &data))
		return error_data(err, "record", "record %s: member %zu is malformed",
				  text_quote(r->key, quoted), r->n_members);
	if (record_add(r, suffix, data, (size_t)size, err) < 0)
		return -1;
	if (memcmp(r->members[r->n_members - 1].hash.bytes, hash, sizeof(struct hash128)) != 0)
		return error_data(err, "record", "record %s: member %s does not have its hash",
				  text_quote(r->key, quoted), suffix);
	return 0;
}

int record_decode(const uint8_t *bytes, size_t size, struct record *out, struct error *err)
{
	cleanup_record struct record r = RECORD_INIT;
	struct cursor c = {bytes, size};
	uint8_t n_members;

	if (!take_header(&c, &r, &n_members))
		return error_data(err, "record", "not a record of version %d", RECORD_VERSION);
	for (uint8_t i = 0; i < n_members; i++) {
		if (decode_member(&c, &r, err) < 0)
			return -1;
	}
	if (c.left > 0)
		return error_data(err, "record", "%zu bytes behind the record", c.left);
	*out = r;
	r = (struct record)RECORD_INIT;
	return 0;
}

#include "daemon/variants.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void variant_key(const char *image, uint32_t variant, char out[SAMPLE_KEY_SIZE])
{
	if (variant == VARIANT_PLAIN)
		snprintf(out, SAMPLE_KEY_SIZE, "%s", image);
	else
		sample_key_variant(image, "-f", out);
}

struct hash128 variant_noise(const struct hash128 *content, uint32_t variant)
{
	uint8_t bytes[sizeof(content->bytes) + 1];

	if (variant == VARIANT_PLAIN)
		return *content;
	memcpy(bytes, content->bytes, sizeof(content->bytes));
	bytes[sizeof(content->bytes)] = (uint8_t)variant;
	return hash128_of(bytes, sizeof(bytes));
}

/* Of its member: no member of a sample has such a suffix. */
static void member_name(uint32_t variant, char out[RECORD_SUFFIX_SIZE])
{
	snprintf(out, RECORD_SUFFIX_SIZE, "+%u", variant);
}

/* Whether its last member is a variant: they stand behind the plain one's own. */
static bool is_bundled(const struct record *r)
{
	return r->n_members > 0 && r->members[r->n_members - 1].suffix[0] == '+';
}

int variant_put(struct record *plain, uint32_t variant, const struct record *record,
		struct error *err)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	char name[RECORD_SUFFIX_SIZE];

	assert(variant != VARIANT_PLAIN);
	member_name(variant, name);
	record_encode(record, &bytes);
	return record_add_buffer(plain, name, &bytes, err);
}

int variant_take(struct record *bundle, uint32_t variant, struct record *out, struct error *err)
{
	const struct record_member *member;
	char name[RECORD_SUFFIX_SIZE];

	if (variant == VARIANT_PLAIN) {
		while (is_bundled(bundle))
			buffer_release(&bundle->members[--bundle->n_members].data);
		*out = *bundle;
		*bundle = (struct record)RECORD_INIT;
		return 0;
	}
	member_name(variant, name);
	member = record_member(bundle, name);
	if (!member)
		return error_data(err, "record", "%s has no variant %u", bundle->key, variant);
	return record_decode(member->data.data, member->data.size, out, err);
}

#include "daemon/variants.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Of the member with the further records: u32 variant, u64 size and the encoded record of each. No sample has such a member. */
#define BUNDLE_MEMBER "+"

void variant_key(const char *image, uint32_t variant, char out[SAMPLE_KEY_SIZE])
{
	char resolution[16] = "", crop[16] = "", tail[40];

	if (variant == VARIANT_PLAIN) {
		snprintf(out, SAMPLE_KEY_SIZE, "%s", image);
		return;
	}
	if (variant_resolution(variant) > 0)
		snprintf(resolution, sizeof(resolution), "-r%u", variant_resolution(variant));
	if (variant_crop(variant) > 0)
		snprintf(crop, sizeof(crop), "-c%u", variant_crop(variant));
	snprintf(tail, sizeof(tail), "%s%s%s", resolution, crop,
		 variant_is_mirrored(variant) ? "-f" : "");
	sample_key_variant(image, tail, out);
}

/* The content's hash and a byte. */
static size_t numbered(const struct hash128 *content, uint8_t number,
		       uint8_t out[sizeof(content->bytes) + 1])
{
	memcpy(out, content->bytes, sizeof(content->bytes));
	out[sizeof(content->bytes)] = number;
	return sizeof(content->bytes) + 1;
}

struct hash128 variant_noise(const struct hash128 *content, uint32_t variant)
{
	uint8_t bytes[sizeof(content->bytes) + 4];
	size_t n;

	if (variant == VARIANT_PLAIN)
		return *content;
	n = numbered(content, (uint8_t)variant, bytes);
	while (variant_resolution(variant) > 0 && n < sizeof(bytes)) {
		bytes[n] = (uint8_t)(variant >> 8 * (n - sizeof(content->bytes)));
		n++;
	}
	return hash128_of(bytes, n);
}

/* One of the places from which @target of @whole are visible, near @own. */
static size_t place_axis(size_t own, size_t target, size_t whole, uint32_t random)
{
	size_t first = own > target / 2 ? own - target / 2 : 0;
	size_t last = own + target / 2 < whole - target ? own + target / 2 : whole - target;

	return first + (size_t)((uint64_t)random * (last - first + 1) >> 32);
}

void variant_place(const struct bucket_placement *p, const struct hash128 *content, uint64_t seed,
		   uint32_t variant, size_t *left, size_t *top)
{
	uint8_t bytes[sizeof(content->bytes) + 1];
	uint64_t random;

	*left = p->crop_left;
	*top = p->crop_top;
	if (variant_crop(variant) == 0)
		return;
	random = hash64_of(bytes, numbered(content, (uint8_t)variant_crop(variant), bytes), seed);
	*left = place_axis(*left, p->target_width, p->resized_width, (uint32_t)(random >> 32));
	*top = place_axis(*top, p->target_height, p->resized_height, (uint32_t)random);
}

int variant_put(struct record *plain, uint32_t variant, const struct record *record,
		struct error *err)
{
	const struct record_member *there = record_member(plain, BUNDLE_MEMBER);
	cleanup_buffer struct buffer bytes = BUFFER_INIT, all = BUFFER_INIT;

	assert(variant != VARIANT_PLAIN);
	record_encode(record, &bytes);
	if (there)
		buffer_append(&all, there->data.data, there->data.size);
	buffer_put_u32(&all, variant);
	buffer_put_u64(&all, bytes.size);
	buffer_append(&all, bytes.data, bytes.size);
	return record_put_buffer(plain, BUNDLE_MEMBER, &all, err);
}

static int take_plain(struct record *bundle, struct record *out)
{
	struct record_member *last =
	    bundle->n_members > 0 ? &bundle->members[bundle->n_members - 1] : NULL;

	if (last && strcmp(last->suffix, BUNDLE_MEMBER) == 0) {
		buffer_release(&last->data);
		bundle->n_members--;
	}
	*out = *bundle;
	*bundle = (struct record)RECORD_INIT;
	return 0;
}

int variant_take(struct record *bundle, uint32_t variant, struct record *out, struct error *err)
{
	const struct record_member *member = record_member(bundle, BUNDLE_MEMBER);
	const uint8_t *at = member ? member->data.data : NULL;
	size_t left = member ? member->data.size : 0;

	if (variant == VARIANT_PLAIN)
		return take_plain(bundle, out);
	while (left >= 12) {
		uint64_t size = get_u64le(at + 4);

		if (size > left - 12)
			break;
		if (get_u32le(at) == variant)
			return record_decode(at + 12, (size_t)size, out, err);
		at += 12 + size;
		left -= 12 + (size_t)size;
	}
	return error_data(err, "record", "%s has no variant %u", bundle->key, variant);
}

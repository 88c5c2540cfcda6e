/*
 * Damage that decoders meet: flipped bits, ends cut off, pieces of other files, repeated or removed pieces, and,
 * because blind flips mostly hit compressed pixels, the bytes of structure: lengths and types behind JPEG
 * markers, PNG chunks (with a checksum made right again, or libpng would look no further) and RIFF chunks.
 */
#include "mutate_bytes.h"

#include "base/hash.h"

#include <string.h>

uint64_t mutation_random(struct mutation *m)
{
	uint64_t words[2] = {m->number, m->drawn++};

	return hash64_of(words, sizeof(words), m->seed);
}

static size_t below(struct mutation *m, size_t limit)
{
	return limit > 0 ? mutation_random(m) % limit : 0;
}

/* A place in the file, half of the time in its first kilobyte, where headers are. */
static size_t place(struct mutation *m, const struct buffer *file)
{
	return below(m, below(m, 2) && file->size > 1024 ? 1024 : file->size);
}

/* Numbers that decoders compute with and stumble over. */
static uint8_t odd_byte(struct mutation *m)
{
	static const uint8_t odd[] = {0, 1, 2, 0x7f, 0x80, 0xfe, 0xff};

	return odd[below(m, sizeof(odd))];
}

static void flip_bits(struct mutation *m, struct buffer *file)
{
	for (size_t n = 1 + below(m, 8); n > 0 && file->size > 0; n--)
		file->data[place(m, file)] ^= (uint8_t)(1u << below(m, 8));
}

static void set_odd_bytes(struct mutation *m, struct buffer *file)
{
	size_t at = place(m, file);

	for (size_t n = 1 + below(m, 4); n > 0 && at < file->size; n--)
		file->data[at++] = odd_byte(m);
}

static void cut_end(struct mutation *m, struct buffer *file)
{
	file->size = below(m, file->size + 1);
}

/* Takes @count bytes out at @at. */
static void take_out(struct buffer *file, size_t at, size_t count)
{
	memmove(file->data + at, file->data + at + count, file->size - at - count);
	file->size -= count;
}

static void put_in(struct buffer *file, size_t at, const uint8_t *bytes, size_t count)
{
	buffer_append_zeros(file, count);
	memmove(file->data + at + count, file->data + at, file->size - count - at);
	memcpy(file->data + at, bytes, count);
}

static void remove_piece(struct mutation *m, struct buffer *file)
{
	size_t at = place(m, file), count = below(m, 256);

	if (count > file->size - at)
		count = file->size - at;
	take_out(file, at, count);
}

static void splice(struct mutation *m, struct buffer *file, const uint8_t *other, size_t size)
{
	size_t from = below(m, size), count = below(m, 2048);

	if (count > size - from)
		count = size - from;
	put_in(file, place(m, file), other + from, count);
}

/* A piece of the file itself, once more. */
static void repeat_piece(struct mutation *m, struct buffer *file)
{
	uint8_t piece[512];
	size_t from = place(m, file), count = below(m, sizeof(piece));

	if (count > file->size - from)
		count = file->size - from;
	memcpy(piece, file->data + from, count);
	put_in(file, place(m, file), piece, count);
}

/* -- structure -------------------------------------------------------------------------------------- */

/* The @which-th place of a JPEG marker other than those inside pixels; file->size: there is none. */
static size_t jpeg_marker(const struct buffer *file, size_t which)
{
	size_t found = file->size, n = 0;

	for (size_t at = 0; at + 4 < file->size && n <= which; at++) {
		uint8_t type = file->data[at + 1];

		if (file->data[at] != 0xff || type == 0 || type == 0xff ||
		    (type >= 0xd0 && type <= 0xd8))
			continue;
		found = at;
		n++;
	}
	return found;
}

/* Type, length, or one of the first fields of a marker segment. */
static void edit_jpeg(struct mutation *m, struct buffer *file)
{
	size_t at = jpeg_marker(file, below(m, 24)) + 1 + below(m, 20);

	for (size_t n = 1 + below(m, 2); n > 0 && at < file->size; n--)
		file->data[at++] = below(m, 3) ? odd_byte(m) : (uint8_t)mutation_random(m);
}

/* PNG, annex D, bit by bit. */
static uint32_t png_crc(const uint8_t *bytes, size_t size)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
	}
	return ~crc;
}

static void png_set_crc(struct buffer *file, size_t at, size_t length)
{
	uint32_t crc = png_crc(file->data + at + 4, length + 4);

	for (size_t i = 0; i < 4; i++)
		file->data[at + 8 + length + i] = (uint8_t)(crc >> (24 - 8 * i));
}

/* Walks to a chunk, damages its contents or its type, and gives it the checksum it should have. */
static void edit_png(struct mutation *m, struct buffer *file)
{
	size_t at = 8, skip = below(m, 8);

	while (file->size > at && file->size - at >= 12) {
		size_t length = get_u32be(file->data + at);

		if (length > file->size - at - 12)
			return;
		if (skip-- == 0) {
			size_t edit = at + 4 + below(m, length + 4);

			if (length > 16 && below(m, 2))
				edit = at + 4 + below(m, 20);
			file->data[edit] = below(m, 3) ? odd_byte(m) : (uint8_t)mutation_random(m);
			png_set_crc(file, at, length);
			return;
		}
		at += 12 + length;
	}
}

/* RIFF (WebP): type, length or the first fields of a chunk. */
static void edit_riff(struct mutation *m, struct buffer *file)
{
	size_t at = 12, skip = below(m, 6);

	while (skip-- > 0 && file->size > at && file->size - at >= 8)
		at += 8 + ((size_t)get_u32le(file->data + at + 4) + 1) / 2 * 2;
	at += below(m, 24);
	for (size_t n = 1 + below(m, 2); n > 0 && at < file->size; n--)
		file->data[at++] = below(m, 3) ? odd_byte(m) : (uint8_t)mutation_random(m);
}

static void edit_structure(struct mutation *m, struct buffer *file)
{
	if (file->size > 12 && memcmp(file->data, "\x89PNG", 4) == 0)
		edit_png(m, file);
	else if (file->size > 12 && memcmp(file->data, "RIFF", 4) == 0)
		edit_riff(m, file);
	else if (file->size > 12 && memcmp(file->data, "\xff\xd8", 2) == 0)
		edit_jpeg(m, file);
	else
		set_odd_bytes(m, file);
}

void mutate_bytes(struct mutation *m, struct buffer *file, const uint8_t *other, size_t other_size)
{
	for (size_t n = 1 + below(m, 4); n > 0; n--) {
		switch (below(m, 12)) {
		case 0:
		case 1:
			flip_bits(m, file);
			break;
		case 2:
			set_odd_bytes(m, file);
			break;
		case 3:
			cut_end(m, file);
			break;
		case 4:
			remove_piece(m, file);
			break;
		case 5:
			splice(m, file, other, other_size);
			break;
		case 6:
			repeat_piece(m, file);
			break;
		default:
			edit_structure(m, file);
		}
	}
}

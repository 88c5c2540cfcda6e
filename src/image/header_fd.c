/*
 * The first block is given to image_read_header(); when that finds it `truncated` there is four times as much
 * the next time, until the file ends. A PNG's eXIf chunk may come behind the pixels: the chunks are walked by
 * their lengths, and the one that counts is read by itself. A WebP file says in its first chunk that it has
 * EXIF, which is always behind the pixels; it is read whole.
 */
#include "image/header_fd.h"

#include "base/checked.h"
#include "base/files.h"

#include <errno.h>
#include <string.h>

enum {
	FIRST_BLOCK = 64 * 1024,
	PNG_IHDR_END = 33, /* signature, IHDR */
	PNG_CHUNK_HEAD = 8,
	PNG_CHUNK_OVERHEAD = 12, /* head, checksum */
	WEBP_FLAGS_AT = 20,	 /* RIFF, size, WEBP, VP8X, size, flags */
	WEBP_HAS_EXIF = 8,
};

/* Reads until @b has @want bytes or the file ends; *end says which. */
static int read_up_to(int fd, size_t want, struct buffer *b, bool *end, struct error *err)
{
	if (want > b->size && buffer_reserve(b, want - b->size, err) < 0)
		return -1;
	*end = false;
	while (b->size < want && !*end) {
		ssize_t n = pread(fd, b->data + b->size, want - b->size, (off_t)b->size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, "read");
		*end = n == 0;
		b->size += (size_t)n;
		b->data[b->size] = '\0';
	}
	return 0;
}

static int too_large(size_t size, const struct image_limits *limits, struct error *err)
{
	return error_data(err, "too_large", "%zu bytes are over the limit of %zu", size,
			  limits->max_file_bytes);
}

/* The size of a file that was read from already, so that it is one with a size. */
static int checked_size(int fd, const struct image_limits *limits, size_t *size, struct error *err)
{
	off_t end = lseek(fd, 0, SEEK_END);

	if (end < 0)
		return error_sys(err, "find the end");
	if ((size_t)end > limits->max_file_bytes)
		return too_large((size_t)end, limits, err);
	*size = (size_t)end;
	return 0;
}

int image_read_file_fd(int fd, const struct image_limits *limits, struct buffer *out,
		       struct error *err)
{
	size_t size;
	bool end;

	buffer_reset(out);
	if (read_up_to(fd, FIRST_BLOCK, out, &end, err) < 0)
		return -1;
	if (!end) {
		if (checked_size(fd, limits, &size, err) < 0)
			return -1;
		/* One more than there is, to see the end; again, while somebody is still writing. */
		while (!end) {
			if (read_up_to(fd, (size > out->size ? size : out->size) + 1, out, &end,
				       err) < 0)
				return -1;
			if (out->size > limits->max_file_bytes)
				break;
		}
	}
	if (out->size > limits->max_file_bytes)
		return too_large(out->size, limits, err);
	return 0;
}

/* Exactly @size bytes; false where there are fewer. */
static bool read_at(int fd, void *out, size_t size, size_t offset)
{
	struct error none = ERROR_INIT;

	return fd_pread_all(fd, out, size, (off_t)offset, &none) == 0;
}

/* Leaves in @b the signature, IHDR and the first eXIf chunk that lies wholly inside the file, if any. */
static int png_gather(int fd, size_t file_size, struct buffer *b, struct error *err)
{
	size_t at = PNG_IHDR_END;

	while (file_size - at >= PNG_CHUNK_OVERHEAD) {
		uint8_t head[PNG_CHUNK_HEAD];
		size_t length;

		if (at + PNG_CHUNK_HEAD <= b->size)
			memcpy(head, b->data + at, PNG_CHUNK_HEAD);
		else if (!read_at(fd, head, PNG_CHUNK_HEAD, at))
			break;
		length = get_u32be(head);
		if (length > file_size - at - PNG_CHUNK_OVERHEAD ||
		    memcmp(head + 4, "IEND", 4) == 0)
			break;
		if (memcmp(head + 4, "eXIf", 4) == 0) {
			b->size = PNG_IHDR_END;
			if (buffer_reserve(b, length + PNG_CHUNK_OVERHEAD, err) < 0)
				return -1;
			if (read_at(fd, b->data + b->size, length + PNG_CHUNK_OVERHEAD, at))
				b->size += length + PNG_CHUNK_OVERHEAD;
			return 0;
		}
		at += PNG_CHUNK_OVERHEAD + length;
	}
	b->size = PNG_IHDR_END;
	return 0;
}

/* The header was found in the first part of a longer file; is there more of it behind the pixels? */
static int look_behind_pixels(int fd, size_t file_size, const struct image_limits *limits,
			      struct buffer *b, struct image_header *header, struct error *err)
{
	if (header->format == IMAGE_PNG) {
		if (png_gather(fd, file_size, b, err) < 0)
			return -1;
		return image_read_header(b->data, b->size, limits, header, err);
	}
	if (header->format == IMAGE_WEBP && memcmp(b->data + 12, "VP8X", 4) == 0 &&
	    b->data[WEBP_FLAGS_AT] & WEBP_HAS_EXIF) {
		if (image_read_file_fd(fd, limits, b, err) < 0)
			return -1;
		return image_read_header(b->data, b->size, limits, header, err);
	}
	return 0;
}

int image_read_header_fd(int fd, const struct image_limits *limits, struct buffer *scratch,
			 struct image_header *header, struct error *err)
{
	size_t want = FIRST_BLOCK, file_size = 0;
	bool end;

	buffer_reset(scratch);
	for (;;) {
		struct error found = ERROR_INIT;
		int r;

		if (read_up_to(fd, want, scratch, &end, err) < 0 ||
		    (!end && checked_size(fd, limits, &file_size, err) < 0))
			return -1;
		r = image_read_header(scratch->data, scratch->size, limits, header, &found);
		if (r == 0 && !end)
			return look_behind_pixels(fd, file_size, limits, scratch, header, err);
		if (r == 0)
			return 0;
		if (end || strcmp(found.reason, "truncated") != 0) {
			*err = found;
			return -1;
		}
		want *= 4;
	}
}

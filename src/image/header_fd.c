/*
 * The first block is given to image_read_header(); when that finds it `truncated` there is four times as much
 * the next time, until the file ends. EXIF may come behind the pixels of a PNG, and always does in a WebP,
 * which says in its first chunk that it will: the chunks are walked by their lengths, and the one that
 * counts is read by itself.
 */
#include "image/header_fd.h"

#include "base/checked.h"
#include "base/files.h"
#include "image/exif.h"

#include <errno.h>
#include <string.h>

enum {
	FIRST_BLOCK = 64 * 1024,
	PNG_IHDR_END = 33, /* signature, IHDR */
	CHUNK_HEAD = 8,	   /* of PNG and of WebP */
	CHUNK_BLOCK = 4096,
	PNG_CHUNK_OVERHEAD = 12, /* head, checksum */
	WEBP_CHUNKS_AT = 12,	 /* RIFF, size, WEBP */
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
	size_t size = 0;
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

/* -- EXIF behind the pixels ------------------------------------------------------------------------ */

/* The heads of a file's chunks, one after the other. A block at a time: a hostile file has millions of them. */
struct chunk_heads {
	int fd;
	const struct buffer *start; /* the file's first bytes */
	size_t file_size;
	size_t at, size; /* of the block, in the file */
	uint8_t block[CHUNK_BLOCK];
};

/* The CHUNK_HEAD bytes at @at; NULL where the file has become shorter. */
static const uint8_t *chunk_head(struct chunk_heads *c, size_t at)
{
	size_t want = c->file_size - at < CHUNK_BLOCK ? c->file_size - at : CHUNK_BLOCK;
	struct error none = ERROR_INIT;

	if (at + CHUNK_HEAD <= c->start->size)
		return c->start->data + at;
	if (c->size == 0 || at < c->at || at + CHUNK_HEAD > c->at + c->size) {
		c->size = 0;
		if (fd_pread_all(c->fd, c->block, want, (off_t)at, &none) < 0)
			return NULL;
		c->at = at;
		c->size = want;
	}
	return c->block + (at - c->at);
}

/* A piece of the file; size 0: there is none. */
struct file_span {
	size_t at, size;
};

/* The first eXIf chunk that lies wholly inside the file, if any. */
static struct file_span png_find_exif(struct chunk_heads *c)
{
	size_t at = PNG_IHDR_END;

	while (c->file_size - at >= PNG_CHUNK_OVERHEAD) {
		const uint8_t *head = chunk_head(c, at);
		size_t length = head ? get_u32be(head) : 0;

		if (!head || length > c->file_size - at - PNG_CHUNK_OVERHEAD ||
		    memcmp(head + 4, "IEND", 4) == 0)
			break;
		if (memcmp(head + 4, "eXIf", 4) == 0)
			return (struct file_span){at + CHUNK_HEAD, length};
		at += PNG_CHUNK_OVERHEAD + length;
	}
	return (struct file_span){0, 0};
}

/* The same of a WebP. One that lacks what it announces is cut; in a whole one it is none. */
static int webp_find_exif(struct chunk_heads *c, struct file_span *out, struct error *err)
{
	size_t end = get_u32le(c->start->data + 4) + (size_t)CHUNK_HEAD, at = WEBP_CHUNKS_AT;
	bool cut = end > c->file_size;

	*out = (struct file_span){0, 0};
	end = cut ? c->file_size : end;
	while (end - at >= CHUNK_HEAD) {
		const uint8_t *head = chunk_head(c, at);
		size_t length = head ? get_u32le(head + 4) : 0, left = end - at - CHUNK_HEAD;

		if (!head || length > left) {
			if (head && !cut)
				return error_data(err, "corrupt",
						  "WebP: the chunk at byte %zu is too long", at);
			cut = true;
			break;
		}
		if (memcmp(head, "EXIF", 4) == 0) {
			*out = (struct file_span){at + CHUNK_HEAD, length};
			return 0;
		}
		at += CHUNK_HEAD + length + (length < left ? length % 2 : 0);
	}
	return cut ? error_data(err, "truncated", "WebP ends before its EXIF chunk") : 0;
}

/* @b, which is done with, is for the block. */
static int take_orientation(int fd, struct file_span exif, struct buffer *b,
			    struct image_header *header, struct error *err)
{
	struct error none = ERROR_INIT;

	header->orientation = 1;
	if (exif.size == 0 || exif.size > EXIF_BLOCK_MAX)
		return 0;
	buffer_reset(b);
	if (buffer_reserve(b, exif.size, err) < 0)
		return -1;
	if (fd_pread_all(fd, b->data, exif.size, (off_t)exif.at, &none) == 0)
		header->orientation = exif_orientation(b->data, exif.size);
	return 0;
}

/* The header was found in the first part of a longer file; is there more of it behind the pixels? */
static int look_behind_pixels(int fd, size_t file_size, bool webp_exif, struct buffer *b,
			      struct image_header *header, struct error *err)
{
	/* one that has become shorter since it was read ends where it was read to */
	struct chunk_heads c = {
	    .fd = fd, .start = b, .file_size = file_size < b->size ? b->size : file_size};
	struct file_span exif;

	if (header->format == IMAGE_PNG)
		exif = png_find_exif(&c);
	else if (!webp_exif)
		return 0;
	else if (webp_find_exif(&c, &exif, err) < 0)
		return -1;
	return take_orientation(fd, exif, b, header, err);
}

/*
 * Whether @b is the beginning of a WebP that announces EXIF. If so, it does not do so any more: the header
 * would want everything up to there.
 */
static bool webp_drop_exif(struct buffer *b)
{
	bool drop = b->size > WEBP_FLAGS_AT && memcmp(b->data, "RIFF", 4) == 0 &&
		    memcmp(b->data + 8, "WEBPVP8X", 8) == 0 &&
		    (b->data[WEBP_FLAGS_AT] & WEBP_HAS_EXIF);

	if (drop)
		b->data[WEBP_FLAGS_AT] &= (uint8_t)~WEBP_HAS_EXIF;
	return drop;
}

int image_read_header_fd(int fd, const struct image_limits *limits, struct buffer *scratch,
			 struct image_header *header, struct error *err)
{
	size_t want = FIRST_BLOCK, file_size = 0;
	bool end, webp_exif = false;

	buffer_reset(scratch);
	for (;;) {
		struct error found = ERROR_INIT;
		int r;

		if (read_up_to(fd, want, scratch, &end, err) < 0 ||
		    (!end && checked_size(fd, limits, &file_size, err) < 0))
			return -1;
		if (!end && want == FIRST_BLOCK)
			webp_exif = webp_drop_exif(scratch);
		r = image_read_header(scratch->data, scratch->size, limits, header, &found);
		if (r == 0 && (!end || webp_exif))
			return look_behind_pixels(fd, file_size, webp_exif, scratch, header, err);
		if (r == 0)
			return 0;
		if (end || strcmp(found.reason, "truncated") != 0) {
			*err = found;
			return -1;
		}
		want *= 4;
	}
}

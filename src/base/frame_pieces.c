/*
 * libzstd's worker compresses what one flush gives it as a job of its own: with no overlap it uses neither what stands
 * before the job, nor its tables, nor its repeat offsets. Such a run of blocks is a frame as soon as a header stands
 * before it and an empty last block behind it (RFC 8878, 3.1.1).
 */
#include "base/frame_pieces.h"

#include "base/checked.h"
#include "base/hash.h"

#include <stdbool.h>
#include <string.h>

#define ZSTD_STATIC_LINKING_ONLY /* a context with memory of our own */
#include <zstd.h>

#define BLOCK_MAX    ((size_t)128 << 10) /* of content, RFC 8878 3.1.1.2.4 */
#define BLOCK_HEADER 3
/* In a frame's header, RFC 8878 3.1.1.1.1. */
#define CHECKSUM_FLAG 0x04
#define SIZE_OF_8     0xc0
#define READ_AHEAD    ((size_t)32 << 10)
/* Of what a piece is opened with; a frame that wants more is not one of ours. */
#define WINDOW_LOG 23

static const uint8_t lone_header[] = {0x28, 0xb5, 0x2f, 0xfd, 0, (WINDOW_LOG - 10) << 3};

/* -- writing ------------------------------------------------------------------------------ */

/*
 * libzstd is not told the size, because it leaves its worker out where that is small; it writes a header without one,
 * which is replaced.
 */
struct piece_writer {
	ZSTD_CCtx *context;
	uint64_t content, given;
};

/* libzstd's worker ends by SIGSEGV where some of its memory is refused. */
static void *take_memory(void *ignored, size_t size)
{
	(void)ignored;
	return xmalloc(size);
}

static void give_memory(void *ignored, void *memory)
{
	(void)ignored;
	free(memory);
}

static const ZSTD_customMem own_memory = {take_memory, give_memory, NULL};

struct piece_writer *piece_writer_new(uint64_t content, int level)
{
	static const struct {
		ZSTD_cParameter name;
		int value;
	} set[] = {{ZSTD_c_checksumFlag, 1},
		   {ZSTD_c_nbWorkers, 1},
		   {ZSTD_c_overlapLog, 1},
		   {ZSTD_c_windowLog, 20}};
	struct piece_writer *w = xcalloc(1, sizeof(*w));

	w->content = content;
	w->context = ZSTD_createCCtx_advanced(own_memory);
	if (!w->context)
		memory_is_out();
	ZSTD_CCtx_setParameter(w->context, ZSTD_c_compressionLevel, level);
	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		ZSTD_CCtx_setParameter(w->context, set[i].name, set[i].value);
	return w;
}

static int drive(struct piece_writer *w, ZSTD_inBuffer *in, ZSTD_EndDirective how,
		 struct buffer *out, struct error *err)
{
	size_t left = 0;

	do {
		ZSTD_outBuffer room = {.size = ZSTD_CStreamOutSize()};

		if (buffer_reserve(out, room.size, err) < 0)
			return -1;
		room.dst = out->data + out->size;
		left = ZSTD_compressStream2(w->context, &room, in, how);
		if (ZSTD_isError(left))
			return error_set(err, ERR_BUG, "zstd: %s", ZSTD_getErrorName(left));
		out->size += room.pos;
		out->data[out->size] = '\0';
	} while (left > 0);
	return 0;
}

/* libzstd's header at @at becomes one with the content size, of 8 bytes. */
static int put_size(const struct piece_writer *w, size_t at, struct buffer *out, struct error *err)
{
	cleanup_buffer struct buffer rest = BUFFER_INIT;
	uint8_t window;

	if (out->size - at < sizeof(lone_header) || out->data[at + 4] != CHECKSUM_FLAG)
		return error_set(err, ERR_BUG, "libzstd wrote another header than was asked for");
	window = out->data[at + 5];
	buffer_append(&rest, out->data + at + sizeof(lone_header),
		      out->size - at - sizeof(lone_header));
	out->size = at + 4;
	buffer_put_u8(out, SIZE_OF_8 | CHECKSUM_FLAG);
	buffer_put_u8(out, window);
	buffer_put_u64(out, w->content);
	buffer_append(out, rest.data, rest.size);
	return 0;
}

int piece_writer_put(struct piece_writer *w, const void *data, size_t size, struct buffer *out,
		     struct error *err)
{
	ZSTD_inBuffer in = {.src = data, .size = size};
	bool first = w->given == 0;
	size_t at = out->size;

	w->given += size;
	if (drive(w, &in, ZSTD_e_flush, out, err) < 0)
		return -1;
	return first ? put_size(w, at, out, err) : 0;
}

int piece_writer_end(struct piece_writer *w, struct buffer *out, struct error *err)
{
	ZSTD_inBuffer in = {.size = 0};

	if (w->given != w->content)
		return error_set(err, ERR_BUG, "pieces of %llu bytes instead of %llu",
				 (unsigned long long)w->given, (unsigned long long)w->content);
	return drive(w, &in, ZSTD_e_end, out, err);
}

void piece_writer_free(struct piece_writer *w)
{
	if (!w)
		return;
	ZSTD_freeCCtx(w->context);
	free(w);
}

/* -- reading ------------------------------------------------------------------------------ */

struct piece_reader {
	piece_read_fn read;
	void *arg;
	uint64_t size;	   /* of all that may be read */
	uint64_t position; /* of what was taken */
	uint64_t content, given;
	uint8_t ahead[READ_AHEAD]; /* read and not yet taken: [at, filled) */
	size_t at, filled;
	ZSTD_DCtx *context;
	struct xxh64_stream *hash;
};

static int damaged(const struct piece_reader *r, const char *what, struct error *err)
{
	return error_data(err, "zstd", "zstd frame at byte %llu: %s",
			  (unsigned long long)r->position, what);
}

/* Between 1 and @n bytes, as many as lie side by side. */
static int take(struct piece_reader *r, size_t n, const uint8_t **data, size_t *got,
		struct error *err)
{
	size_t have;

	if (r->at == r->filled) {
		uint64_t left = r->size - r->position;

		r->filled = left < READ_AHEAD ? (size_t)left : READ_AHEAD;
		r->at = 0;
		if (r->filled == 0)
			return damaged(r, "ends too early", err);
		if (r->read(r->arg, r->ahead, r->filled, r->position, err) < 0) {
			r->filled = 0;
			return -1;
		}
	}
	have = r->filled - r->at;
	*data = r->ahead + r->at;
	*got = n < have ? n : have;
	r->at += *got;
	r->position += *got;
	return 0;
}

static int take_all(struct piece_reader *r, uint8_t *out, size_t n, struct error *err)
{
	while (n > 0) {
		const uint8_t *data = NULL;
		size_t got = 0;

		if (take(r, n, &data, &got, err) < 0)
			return -1;
		memcpy(out, data, got);
		out += got;
		n -= got;
	}
	return 0;
}

/* RFC 8878 3.1.1.1; what our writer makes has content size and checksum, and no dictionary. */
static int read_header(struct piece_reader *r, struct error *err)
{
	static const size_t sizes[] = {1, 2, 4, 8};
	uint8_t start[5], size[8] = {0}, window;
	bool single;
	size_t n;

	if (take_all(r, start, sizeof(start), err) < 0)
		return -1;
	n = sizes[start[4] >> 6];
	single = start[4] & 0x20;
	if (get_u32le(start) != ZSTD_MAGICNUMBER)
		return damaged(r, "not a zstd frame", err);
	if ((start[4] & 0x1f) != CHECKSUM_FLAG || (n == 1 && !single))
		return damaged(r, "without content size and checksum, or with a dictionary", err);
	if (!single && take_all(r, &window, 1, err) < 0)
		return -1;
	if (!single && window > lone_header[5])
		return damaged(r, "its window is too large", err);
	if (take_all(r, size, n, err) < 0)
		return -1;
	r->content = get_u64le(size) + (n == 2 ? 256 : 0);
	return 0;
}

int piece_reader_open(piece_read_fn read, void *arg, uint64_t size, struct piece_reader **out,
		      struct error *err)
{
	struct piece_reader *r = xcalloc(1, sizeof(*r));

	r->read = read;
	r->arg = arg;
	r->size = size;
	r->hash = xxh64_stream_new();
	r->context = ZSTD_createDCtx();
	if (!r->context)
		memory_is_out();
	if (read_header(r, err) < 0) {
		piece_reader_free(r);
		return -1;
	}
	*out = r;
	return 0;
}

uint64_t piece_reader_content(const struct piece_reader *r)
{
	return r->content;
}

uint64_t piece_reader_position(const struct piece_reader *r)
{
	return r->position;
}

/* @out has room for a block. */
static int decode(struct piece_reader *r, const uint8_t *data, size_t size, struct buffer *out,
		  struct error *err)
{
	ZSTD_inBuffer in = {.src = data, .size = size};

	while (in.pos < in.size) {
		ZSTD_outBuffer room = {.dst = out->data + out->size,
				       .size = out->capacity - 1 - out->size};
		size_t in_before = in.pos, result = ZSTD_decompressStream(r->context, &room, &in);

		if (ZSTD_isError(result))
			return damaged(r, ZSTD_getErrorName(result), err);
		if (in.pos == in_before && room.pos == 0)
			return damaged(r, "a block is larger than any", err);
		out->size += room.pos;
	}
	out->data[out->size] = '\0';
	return 0;
}

static int next_block(struct piece_reader *r, struct buffer *out, struct error *err)
{
	uint8_t header[BLOCK_HEADER];
	uint32_t bits;
	size_t left;

	if (take_all(r, header, sizeof(header), err) < 0)
		return -1;
	bits = header[0] | (uint32_t)header[1] << 8 | (uint32_t)header[2] << 16;
	left = (bits >> 1 & 3) == 1 ? 1 : bits >> 3; /* a run is one byte */
	if (bits & 1)
		return damaged(r, "ends inside its content", err);
	if (bits >> 3 > BLOCK_MAX)
		return damaged(r, "a block is larger than any", err);
	if (buffer_reserve(out, BLOCK_MAX, err) < 0 ||
	    decode(r, header, sizeof(header), out, err) < 0)
		return -1;
	while (left > 0) {
		const uint8_t *data = NULL;
		size_t got = 0;

		if (take(r, left, &data, &got, err) < 0 || decode(r, data, got, out, err) < 0)
			return -1;
		left -= got;
	}
	return 0;
}

/* As if it were the first of a frame of its own. */
static int begin_piece(struct piece_reader *r, struct buffer *out, struct error *err)
{
	ZSTD_DCtx_reset(r->context, ZSTD_reset_session_only);
	return buffer_reserve(out, BLOCK_MAX, err) < 0
		   ? -1
		   : decode(r, lone_header, sizeof(lone_header), out, err);
}

int piece_reader_next(struct piece_reader *r, uint64_t n, struct buffer *out, struct error *err)
{
	size_t before = out->size;

	if (n > r->content - r->given)
		return damaged(r, "more content than it says", err);
	if (begin_piece(r, out, err) < 0)
		return -1;
	while (out->size - before < n) {
		if (next_block(r, out, err) < 0)
			return -1;
	}
	if (out->size - before != n)
		return damaged(r, "a piece does not end where it should", err);
	xxh64_stream_update(r->hash, out->data + before, (size_t)n);
	r->given += n;
	return 0;
}

int piece_reader_end(struct piece_reader *r, struct error *err)
{
	static const uint8_t last[BLOCK_HEADER] = {1, 0, 0};
	uint8_t end[BLOCK_HEADER + 4];

	if (r->given != r->content)
		return damaged(r, "less content than it says", err);
	if (take_all(r, end, sizeof(end), err) < 0)
		return -1;
	if (memcmp(end, last, sizeof(last)) != 0)
		return damaged(r, "more content than it says", err);
	if (get_u32le(end + BLOCK_HEADER) != (uint32_t)xxh64_stream_value(r->hash))
		return damaged(r, "content and checksum do not agree", err);
	return r->position == r->size ? 0 : damaged(r, "bytes behind its end", err);
}

void piece_reader_free(struct piece_reader *r)
{
	if (!r)
		return;
	ZSTD_freeDCtx(r->context);
	xxh64_stream_free(r->hash);
	free(r);
}

/* -- one piece ---------------------------------------------------------------------------- */

struct piece_memory {
	const uint8_t *bytes;
};

static int read_memory(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	const struct piece_memory *m = arg;

	(void)err;
	memcpy(data, m->bytes + offset, size);
	return 0;
}

int piece_open(const uint8_t *bytes, size_t size, uint64_t limit, struct buffer *out,
	       struct error *err)
{
	struct piece_memory memory = {bytes};
	size_t before = out->size;
	struct piece_reader r = {.read = read_memory, .arg = &memory, .size = size};
	int result;

	r.context = ZSTD_createDCtx();
	if (!r.context)
		memory_is_out();
	result = begin_piece(&r, out, err);
	while (result == 0 && r.position < r.size) {
		result = next_block(&r, out, err);
		if (result == 0 && out->size - before > limit)
			result = damaged(&r, "more content than it says", err);
	}
	ZSTD_freeDCtx(r.context);
	return result;
}

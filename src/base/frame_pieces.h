/*
 * One zstd frame, written in pieces each of which can also be opened alone. To any other program it is an ordinary
 * frame with content size and content checksum.
 *
 *	struct piece_writer *w = piece_writer_new(total, COMPRESS_LEVEL_FLOATS);
 *	piece_writer_put(w, data, size, &out, err) ...            appends the piece to @out
 *	piece_writer_end(w, &out, err);                           appends the frame's end
 *	piece_writer_free(w);
 *
 *	piece_reader_open(read_at, arg, size, &r, err);
 *	piece_reader_next(r, n, &content, err) ...                the next n bytes, which must be a whole piece
 *	piece_reader_end(r, err);
 *	piece_reader_free(r);
 *
 *	piece_open(bytes, size, &content, err);                   one piece but the first, by itself
 *
 * Every piece is opened without what stands before it, and the end compares the content with the frame's checksum:
 * what was read so is also what a decoder of whole frames gives.
 */
#ifndef LATENTD_BASE_FRAME_PIECES_H
#define LATENTD_BASE_FRAME_PIECES_H

#include "base/buffer.h"

struct piece_writer;

/* @content: bytes of all pieces together. Runs a thread of libzstd's own. */
struct piece_writer *piece_writer_new(uint64_t content, int level);
/* @size is not 0. */
int piece_writer_put(struct piece_writer *w, const void *data, size_t size, struct buffer *out,
		     struct error *err);
/* ERR_BUG: the pieces are not the content that was promised. */
int piece_writer_end(struct piece_writer *w, struct buffer *out, struct error *err);
/* NULL is fine. */
void piece_writer_free(struct piece_writer *w);

/* Exactly @size bytes at @offset. */
typedef int (*piece_read_fn)(void *arg, void *data, size_t size, uint64_t offset,
			     struct error *err);
struct piece_reader;

/*
 * A frame of at most @size bytes. Untrusted bytes are fine; ERR_DATA `zstd` here and below: damaged, or not written in
 * pieces. Other errors are @read's.
 */
int piece_reader_open(piece_read_fn read, void *arg, uint64_t size, struct piece_reader **out,
		      struct error *err);
/* Of the whole frame, when opened. */
uint64_t piece_reader_content(const struct piece_reader *r);
/* Where the next piece begins. */
uint64_t piece_reader_position(const struct piece_reader *r);
/* Appends to @out. */
int piece_reader_next(struct piece_reader *r, uint64_t n, struct buffer *out, struct error *err);
/* The frame ends here, its content was that of its checksum, and nothing stands behind it. */
int piece_reader_end(struct piece_reader *r, struct error *err);
/* NULL is fine. */
void piece_reader_free(struct piece_reader *r);

/* Appends the content of exactly one piece to @out. ERR_DATA `zstd`: also where it is larger than @limit bytes. */
int piece_open(const uint8_t *bytes, size_t size, uint64_t limit, struct buffer *out,
	       struct error *err);

static inline void piece_writer_free_p(struct piece_writer **w)
{
	piece_writer_free(*w);
}

static inline void piece_reader_free_p(struct piece_reader **r)
{
	piece_reader_free(*r);
}

#define cleanup_piece_writer cleanup_with(piece_writer_free_p)
#define cleanup_piece_reader cleanup_with(piece_reader_free_p)

#endif

#include "tests/testing.h"

#include "base/checked.h"
#include "base/compress.h"
#include "base/frame_pieces.h"

#include <string.h>

#define PIECES 6

/* Alike, so that a compressor would like to lean on the one before; one of more than any job and block. */
static const size_t sizes[PIECES] = {8, 70000, 1, 5000000, 70000, 300};

struct made {
	struct buffer content, frame;
	size_t ends[PIECES + 1]; /* in the frame */
};

static void make(struct made *m)
{
	struct error err = ERROR_INIT;
	cleanup_piece_writer struct piece_writer *w = NULL;
	uint64_t total = 0, x = 1;
	size_t at = 0;

	memset(m, 0, sizeof(*m));
	for (size_t i = 0; i < PIECES; i++)
		total += sizes[i];
	for (size_t i = 0; i < total; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		buffer_put_u8(&m->content,
			      i % 70000 < 300 ? (uint8_t)(i % 70000) : (uint8_t)(x >> 60));
	}
	w = piece_writer_new(total, COMPRESS_LEVEL_FLOATS);
	for (size_t i = 0; i < PIECES; i++) {
		assert_ok(piece_writer_put(w, m->content.data + at, sizes[i], &m->frame, &err),
			  &err);
		at += sizes[i];
		m->ends[i + 1] = m->frame.size;
	}
	assert_ok(piece_writer_end(w, &m->frame, &err), &err);
}

static void made_release(struct made *m)
{
	buffer_release(&m->content);
	buffer_release(&m->frame);
}

#define cleanup_made cleanup_with(made_release)

static int read_at(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	const struct buffer *frame = arg;

	(void)err;
	assert_true(size <= frame->size && offset <= frame->size - size);
	memcpy(data, frame->data + offset, size);
	return 0;
}

static int read_all(struct buffer *frame, struct made *wanted, struct error *err)
{
	cleanup_piece_reader struct piece_reader *r = NULL;
	cleanup_buffer struct buffer out = BUFFER_INIT;

	if (piece_reader_open(read_at, frame, frame->size, &r, err) < 0)
		return -1;
	for (size_t i = 0; i < PIECES; i++) {
		if (piece_reader_next(r, sizes[i], &out, err) < 0)
			return -1;
		if (wanted)
			assert_int_equal(piece_reader_position(r), wanted->ends[i + 1]);
	}
	if (piece_reader_end(r, err) < 0)
		return -1;
	if (wanted) {
		assert_int_equal(piece_reader_content(r), wanted->content.size);
		assert_int_equal(out.size, wanted->content.size);
		assert_memory_equal(out.data, wanted->content.data, out.size);
	}
	return 0;
}

static void any_decoder_takes_it_for_one_frame(void **state)
{
	cleanup_made struct made m;
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	make(&m);
	assert_ok(decompress_frame(&out, m.frame.data, m.frame.size, m.content.size, &err), &err);
	assert_int_equal(out.size, m.content.size);
	assert_memory_equal(out.data, m.content.data, out.size);
}

static void the_same_pieces_give_the_same_frame(void **state)
{
	cleanup_made struct made a, b;

	(void)state;
	make(&a);
	make(&b);
	assert_int_equal(a.frame.size, b.frame.size);
	assert_memory_equal(a.frame.data, b.frame.data, a.frame.size);
}

static void pieces_come_back_in_order(void **state)
{
	cleanup_made struct made m;
	struct error err = ERROR_INIT;

	(void)state;
	make(&m);
	assert_ok(read_all(&m.frame, &m, &err), &err);
}

static void each_piece_opens_without_the_others(void **state)
{
	cleanup_made struct made m;
	size_t at = sizes[0];

	(void)state;
	make(&m);
	for (size_t i = 1; i < PIECES; i++) {
		cleanup_buffer struct buffer out = BUFFER_INIT;
		struct error err = ERROR_INIT;

		assert_ok(piece_open(m.frame.data + m.ends[i], m.ends[i + 1] - m.ends[i], sizes[i],
				     &out, &err),
			  &err);
		assert_int_equal(out.size, sizes[i]);
		assert_memory_equal(out.data, m.content.data + at, sizes[i]);
		at += sizes[i];
	}
}

static void a_piece_that_opens_to_more_than_it_may_is_refused(void **state)
{
	/* A block that is one byte, 128 KiB times: RFC 8878 3.1.1.2.2. */
	static const uint8_t run[] = {(1 << 1) | (131072 << 3 & 0xff), 131072 >> 5 & 0xff,
				      131072 >> 13, 'x'};
	cleanup_buffer struct buffer piece = BUFFER_INIT, out = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < 100; i++)
		buffer_append(&piece, run, sizeof(run));
	assert_error(piece_open(piece.data, piece.size, 1000000, &out, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "zstd");
	assert_in_range(out.size, 1000000, 1000000 + 131072);
	error_clear(&err);
	buffer_reset(&out);
	assert_ok(piece_open(piece.data, piece.size, 13107200, &out, &err), &err);
	assert_int_equal(out.size, 13107200);
}

static void a_frame_cut_off_or_changed_is_refused(void **state)
{
	cleanup_made struct made m;
	size_t whole;

	(void)state;
	make(&m);
	whole = m.frame.size;
	for (size_t step = 0; step < 40; step++) {
		struct error err = ERROR_INIT;

		m.frame.size = step < 20 ? step : whole - 1 - (step - 20) * 7;
		assert_error(read_all(&m.frame, NULL, &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "zstd");
	}
	m.frame.size = whole;
	for (size_t i = 1; i < 30; i++) {
		size_t at = whole / 30 * i;
		struct error err = ERROR_INIT;

		m.frame.data[at] ^= 0x10;
		assert_error(read_all(&m.frame, NULL, &err), &err, ERR_DATA);
		m.frame.data[at] ^= 0x10;
	}
	buffer_put_u8(&m.frame, 0);
	{
		struct error err = ERROR_INIT;

		assert_error(read_all(&m.frame, NULL, &err), &err, ERR_DATA);
	}
}

/* Of another writer: nothing ends where it should. */
static void a_frame_without_pieces_is_refused(void **state)
{
	cleanup_made struct made m;
	cleanup_buffer struct buffer frame = BUFFER_INIT;
	struct error err = ERROR_INIT;

	(void)state;
	make(&m);
	assert_ok(compress_frame(&frame, m.content.data, m.content.size, 1, &err), &err);
	assert_error(read_all(&frame, NULL, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "zstd");
}

static void content_that_was_not_promised_is_a_bug(void **state)
{
	cleanup_piece_writer struct piece_writer *w = piece_writer_new(10, 1);
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;
	int r = piece_writer_put(w, "1234", 4, &out, &err);

	(void)state;
	if (r == 0)
		r = piece_writer_end(w, &out, &err);
	assert_error(r, &err, ERR_BUG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_decoder_takes_it_for_one_frame),
	    cmocka_unit_test(the_same_pieces_give_the_same_frame),
	    cmocka_unit_test(pieces_come_back_in_order),
	    cmocka_unit_test(each_piece_opens_without_the_others),
	    cmocka_unit_test(a_piece_that_opens_to_more_than_it_may_is_refused),
	    cmocka_unit_test(a_frame_cut_off_or_changed_is_refused),
	    cmocka_unit_test(a_frame_without_pieces_is_refused),
	    cmocka_unit_test(content_that_was_not_promised_is_a_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

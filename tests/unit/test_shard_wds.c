#include "storage/shard_wds.h"

#include "tests/storage_samples.h"
#include "tests/testing.h"

#include "storage/ustar.h"

#include <stdio.h>
#include <string.h>

struct reading {
	const uint8_t *bytes;
	size_t seen;
	bool golden;
};

static int read_at(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	(void)err;
	memcpy(data, ((struct reading *)arg)->bytes + offset, size);
	return 0;
}

static int count_record(void *arg, const struct record *record, const struct shard_span *span,
			struct error *err)
{
	struct reading *r = arg;
	cleanup_record struct record want = RECORD_INIT;

	(void)err;
	(void)span;
	if (r->golden) {
		sample_golden(r->seen, &want);
		assert_true(sample_equal(record, &want, false));
	}
	r->seen++;
	return 0;
}

static int read_bytes(const struct buffer *b, struct reading *r, struct error *err)
{
	r->bytes = b->data;
	return shard_wds_ops.read(read_at, r, b->size, count_record, r, err);
}

static void write_golden(struct buffer *out)
{
	struct error err = ERROR_INIT;
	struct sink_buffer sink;
	struct shard_writer *w;

	sink_buffer_init(&sink, out);
	w = shard_wds_ops.writer_new(&sink.base, NULL);
	for (size_t i = 0; i < GOLDEN_RECORDS; i++) {
		cleanup_record struct record record = RECORD_INIT;
		struct shard_span span;

		sample_golden(i, &record);
		assert_ok(shard_wds_ops.add(w, &record, &span, &err), &err);
		assert_int_equal(span.offset + span.bytes, out->size);
	}
	assert_ok(shard_wds_ops.finish(w, &err), &err);
	shard_wds_ops.writer_free(w);
}

static void the_bytes_are_those_of_gnu_tar(void **state)
{
	cleanup_free char *path = testing_golden("storage_wds.tar");
	cleanup_buffer struct buffer want = testing_read(path), bytes = BUFFER_INIT;

	(void)state;
	write_golden(&bytes);
	assert_int_equal(bytes.size, want.size);
	assert_memory_equal(bytes.data, want.data, want.size);
}

static void a_tar_of_another_writer_is_read(void **state)
{
	static const char *const names[] = {"storage_wds.tar", "storage_python.tar"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		cleanup_free char *path = testing_golden(names[i]);
		cleanup_buffer struct buffer bytes = testing_read(path);
		struct reading r = {.golden = true};
		struct error err = ERROR_INIT;

		assert_ok(read_bytes(&bytes, &r, &err), &err);
		assert_int_equal(r.seen, GOLDEN_RECORDS);
	}
}

static int add_one(const char *key, const char *suffix, struct buffer *out, struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;
	struct error setup = ERROR_INIT;
	struct sink_buffer sink;
	struct shard_writer *w;
	struct shard_span span;
	int r;

	sink_buffer_init(&sink, out);
	w = shard_wds_ops.writer_new(&sink.base, NULL);
	assert_ok(record_init(&record, key, "", &setup), &setup);
	if (suffix)
		assert_ok(record_add(&record, suffix, "x", 1, &setup), &setup);
	r = shard_wds_ops.add(w, &record, &span, err);
	shard_wds_ops.writer_free(w);
	return r;
}

static void a_name_of_101_bytes_is_too_long_and_nothing_is_written(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct error err = ERROR_INIT;
	char key[RECORD_KEY_SIZE];

	(void)state;
	memset(key, 'k', sizeof(key));
	key[86] = '\0';
	assert_error(add_one(key, "latent.npy.zst", &out, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "name_too_long");
	assert_int_equal(out.size, 0);
	error_clear(&err);
	key[85] = '\0';
	assert_ok(add_one(key, "latent.npy.zst", &out, &err), &err);
	assert_int_equal(out.size, 1024);
}

static void keys_that_would_not_come_out_again_are_refused(void **state)
{
	static const char *const keys[] = {"a.b",    ".a",   "dir/a.b", "dir/.a", "/a",
					   "dir//a", "dir/", "../a",	"./a",	  ".hidden/a"};
	cleanup_buffer struct buffer out = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct error err = ERROR_INIT;

		assert_error(add_one(keys[i], "txt", &out, &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "bad_name");
	}
	assert_int_equal(out.size, 0);
}

static void a_folder_of_a_key_may_have_a_dot(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	struct reading r = {.seen = 0};
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(add_one("v1.2/a", "txt", &out, &err), &err);
	buffer_append_zeros(&out, 1024);
	assert_ok(read_bytes(&out, &r, &err), &err);
	assert_int_equal(r.seen, 1);
}

static void one_key_twice_in_a_row_and_no_members_are_refused(void **state)
{
	cleanup_buffer struct buffer out = BUFFER_INIT;
	cleanup_record struct record record = RECORD_INIT;
	struct error err = ERROR_INIT;
	struct sink_buffer sink;
	struct shard_writer *w;
	struct shard_span span;

	(void)state;
	assert_error(add_one("a", NULL, &out, &err), &err, ERR_BUG);
	error_clear(&err);
	sample_small(0, &record);
	sink_buffer_init(&sink, &out);
	w = shard_wds_ops.writer_new(&sink.base, NULL);
	assert_ok(shard_wds_ops.add(w, &record, &span, &err), &err);
	assert_error(shard_wds_ops.add(w, &record, &span, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "bad_name");
	shard_wds_ops.writer_free(w);
}

/* -- foreign and damaged tars ------------------------------------------------------------- */

static void put_entry(struct buffer *out, const char *name, char type, const char *data)
{
	uint8_t header[USTAR_BLOCK];
	size_t size = strlen(data);
	unsigned sum = 0;
	char text[8];

	ustar_header(header, name, size);
	header[156] = (uint8_t)type;
	if (type == '1' || type == '2')
		memcpy(header + 157, "target", 6);
	memset(header + 148, ' ', 8);
	for (size_t i = 0; i < sizeof(header); i++)
		sum += header[i];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(header + 148, text, 7);
	buffer_append(out, header, sizeof(header));
	buffer_append(out, data, size);
	buffer_append_zeros(out, ustar_padding(size));
}

static void assert_foreign(const struct buffer *b)
{
	struct reading r = {.seen = 0};
	struct error err = ERROR_INIT;

	assert_error(read_bytes(b, &r, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "shard");
}

static void everything_but_plain_files_is_refused(void **state)
{
	static const struct {
		const char *name;
		char type;
		const char *data;
	} cases[] = {
	    {"folder/", '5', ""},
	    {"a.link", '1', ""},
	    {"a.link", '1', "x"},
	    {"a.link", '2', ""},
	    {"a.fifo", '6', ""},
	    {"a.x", 'x', "14 path=b.txt\n"},
	    {"a.g", 'g', "14 path=b.txt\n"},
	    {"././@LongLink", 'L', "b.txt"},
	    {"nodot", '0', "x"},
	    {".hidden", '0', "x"},
	    {"dir/.hidden", '0', "x"},
	    {"dot.", '0', "x"},
	    {"__manifest__", '0', "x"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cleanup_buffer struct buffer first = BUFFER_INIT, second = BUFFER_INIT;

		put_entry(&first, cases[i].name, cases[i].type, cases[i].data);
		put_entry(&first, "a.txt", '0', "x");
		buffer_append_zeros(&first, 1024);
		assert_foreign(&first);
		put_entry(&second, "a.txt", '0', "x");
		put_entry(&second, cases[i].name, cases[i].type, cases[i].data);
		buffer_append_zeros(&second, 1024);
		assert_foreign(&second);
	}
}

/* Its span would be wrong, so no record behind it may be given out. */
static void a_record_with_an_extended_header_is_not_given_out(void **state)
{
	cleanup_buffer struct buffer b = BUFFER_INIT;
	struct reading r = {.seen = 0};
	struct error err = ERROR_INIT;

	(void)state;
	put_entry(&b, "a.x", 'x', "14 path=b.txt\n");
	put_entry(&b, "a.txt", '0', "x");
	put_entry(&b, "c.txt", '0', "x");
	put_entry(&b, "d.txt", '0', "x");
	buffer_append_zeros(&b, 1024);
	assert_error(read_bytes(&b, &r, &err), &err, ERR_DATA);
	assert_int_equal(r.seen, 0);
}

static void too_many_members_of_a_record_are_refused(void **state)
{
	cleanup_buffer struct buffer nine = BUFFER_INIT, twice = BUFFER_INIT;

	(void)state;
	for (char name[] = "a.1"; name[2] <= '9'; name[2]++)
		put_entry(&nine, name, '0', "x");
	buffer_append_zeros(&nine, 1024);
	assert_foreign(&nine);
	put_entry(&twice, "a.txt", '0', "x");
	put_entry(&twice, "a.txt", '0', "y");
	buffer_append_zeros(&twice, 1024);
	assert_foreign(&twice);
}

static void names_longer_than_a_record_has_room_for_are_refused(void **state)
{
	cleanup_buffer struct buffer key = BUFFER_INIT, suffix = BUFFER_INIT;
	char name[101];

	(void)state;
	memset(name, 'k', sizeof(name));
	memcpy(name + RECORD_KEY_SIZE, ".txt", 5);
	put_entry(&key, name, '0', "x");
	buffer_append_zeros(&key, 1024);
	assert_foreign(&key);
	memset(name, 's', sizeof(name));
	name[1] = '.';
	name[2 + RECORD_SUFFIX_SIZE] = '\0';
	put_entry(&suffix, name, '0', "x");
	buffer_append_zeros(&suffix, 1024);
	assert_foreign(&suffix);
}

static void bytes_behind_the_end_are_refused(void **state)
{
	cleanup_buffer struct buffer b = BUFFER_INIT;

	(void)state;
	write_golden(&b);
	buffer_append_zeros(&b, 5000);
	b.data[b.size - 1] = 1;
	assert_foreign(&b);
}

static void a_flipped_bit_in_a_header_is_refused_or_harmless(void **state)
{
	cleanup_buffer struct buffer b = BUFFER_INIT;

	(void)state;
	write_golden(&b);
	for (size_t i = 0; i < 512; i++) {
		struct reading r = {.seen = 0};
		struct error err = ERROR_INIT;
		int result;

		b.data[i] ^= 4;
		result = read_bytes(&b, &r, &err);
		/*
		 * Bytes 155 and 156 are what ends the checksum, and its field does not sum itself.
		 */
		if (i < 148 || i > 155)
			assert_error(result, &err, ERR_DATA);
		b.data[i] ^= 4;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_bytes_are_those_of_gnu_tar),
	    cmocka_unit_test(a_tar_of_another_writer_is_read),
	    cmocka_unit_test(a_name_of_101_bytes_is_too_long_and_nothing_is_written),
	    cmocka_unit_test(keys_that_would_not_come_out_again_are_refused),
	    cmocka_unit_test(a_folder_of_a_key_may_have_a_dot),
	    cmocka_unit_test(one_key_twice_in_a_row_and_no_members_are_refused),
	    cmocka_unit_test(everything_but_plain_files_is_refused),
	    cmocka_unit_test(a_record_with_an_extended_header_is_not_given_out),
	    cmocka_unit_test(too_many_members_of_a_record_are_refused),
	    cmocka_unit_test(names_longer_than_a_record_has_room_for_are_refused),
	    cmocka_unit_test(bytes_behind_the_end_are_refused),
	    cmocka_unit_test(a_flipped_bit_in_a_header_is_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

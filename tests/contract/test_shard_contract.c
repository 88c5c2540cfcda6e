/*
 * What every shard format must do, run on each of them.
 */
#include "storage/shard.h"
#include "tests/storage_samples.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

#define MANY 40

/* A new format joins here. */
static const char *const formats[] = {"wds", "mds"};

struct reading {
	const struct buffer *bytes;
	void (*sample)(size_t index, struct record *out);
	const struct shard_span *spans;
	size_t seen, stop_at;
};

static int read_at(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	const struct reading *r = arg;

	(void)err;
	assert_true(size <= r->bytes->size && offset <= r->bytes->size - size);
	memcpy(data, r->bytes->data + offset, size);
	return 0;
}

static int fail_to_read(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	(void)arg;
	(void)data;
	(void)size;
	(void)offset;
	return error_set(err, ERR_TRANSIENT, "the disk is away");
}

static int check_record(void *arg, const struct record *record, const struct shard_span *span,
			struct error *err)
{
	struct reading *r = arg;
	cleanup_record struct record want = RECORD_INIT;

	(void)err;
	if (r->seen == r->stop_at)
		return 5;
	r->sample(r->seen, &want);
	assert_true(sample_equal(record, &want, false));
	assert_int_equal(record->job, 0);
	assert_int_equal(span->offset, r->spans[r->seen].offset);
	assert_int_equal(span->bytes, r->spans[r->seen].bytes);
	r->seen++;
	return 0;
}

static void write_shard(const struct shard_ops *format, void (*sample)(size_t, struct record *),
			size_t n, struct buffer *out, struct shard_span *spans)
{
	struct error err = ERROR_INIT;
	struct sink_buffer sink;
	struct shard_writer *w;

	sink_buffer_init(&sink, out);
	w = format->writer_new(&sink.base, NULL);
	for (size_t i = 0; i < n; i++) {
		cleanup_record struct record record = RECORD_INIT;

		sample(i, &record);
		assert_ok(format->add(w, &record, &spans[i], &err), &err);
	}
	assert_ok(format->finish(w, &err), &err);
	format->writer_free(w);
}

static void round_trip(const struct shard_ops *format, void (*sample)(size_t, struct record *),
		       size_t n)
{
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer bytes = BUFFER_INIT, again = BUFFER_INIT;
	struct shard_span spans[MANY];
	struct reading reading = {
	    .bytes = &bytes, .sample = sample, .spans = spans, .stop_at = SIZE_MAX};

	write_shard(format, sample, n, &bytes, spans);
	assert_ok(format->read(read_at, &reading, bytes.size, check_record, &reading, &err), &err);
	assert_int_equal(reading.seen, n);
	write_shard(format, sample, n, &again, spans);
	assert_int_equal(again.size, bytes.size);
	assert_memory_equal(again.data, bytes.data, bytes.size);
}

static void records_come_back_in_order_and_bytes_are_the_same_each_time(void **state)
{
	round_trip(*state, sample_golden, GOLDEN_RECORDS);
	round_trip(*state, sample_small, MANY);
}

static void a_record_is_read_alone_at_its_place(void **state)
{
	const struct shard_ops *format = *state;
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct shard_span spans[MANY];
	struct reading reading = {.bytes = &bytes};

	write_shard(format, sample_small, MANY, &bytes, spans);
	for (size_t i = 0; i < MANY; i++) {
		cleanup_record struct record want = RECORD_INIT, got = RECORD_INIT;

		sample_small(i, &want);
		assert_ok(format->read_record(read_at, &reading, &spans[i], &got, &err), &err);
		assert_true(sample_equal(&got, &want, false));
	}
}

static void a_place_that_is_not_exactly_one_record_is_refused(void **state)
{
	const struct shard_ops *format = *state;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct shard_span spans[MANY];
	struct reading reading = {.bytes = &bytes};
	struct shard_span wrong[5];

	write_shard(format, sample_small, MANY, &bytes, spans);
	wrong[0] = (struct shard_span){spans[3].offset, spans[3].bytes + spans[4].bytes};
	wrong[1] = (struct shard_span){spans[3].offset, spans[3].bytes - 1};
	wrong[2] = (struct shard_span){spans[3].offset + 1, spans[3].bytes - 1};
	wrong[3] = (struct shard_span){spans[3].offset, 0};
	wrong[4] = (struct shard_span){UINT64_MAX - 10, 512};
	for (size_t i = 0; i < 5; i++) {
		cleanup_record struct record got = RECORD_INIT;
		struct error err = ERROR_INIT;

		assert_error(format->read_record(read_at, &reading, &wrong[i], &got, &err), &err,
			     ERR_DATA);
		assert_int_equal(got.n_members, 0);
	}
}

static void the_reader_ends_with_what_its_caller_returns(void **state)
{
	const struct shard_ops *format = *state;
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct shard_span spans[MANY];
	struct reading reading = {
	    .bytes = &bytes, .sample = sample_small, .spans = spans, .stop_at = 3};

	write_shard(format, sample_small, MANY, &bytes, spans);
	assert_int_equal(format->read(read_at, &reading, bytes.size, check_record, &reading, &err),
			 5);
	assert_int_equal(reading.seen, 3);
}

static void an_error_of_the_source_comes_out_as_it_is(void **state)
{
	const struct shard_ops *format = *state;
	struct error err = ERROR_INIT;
	struct reading reading = {.seen = 0};

	assert_error(format->read(fail_to_read, NULL, 1 << 20, check_record, &reading, &err), &err,
		     ERR_TRANSIENT);
}

static void a_shard_cut_off_anywhere_is_damaged(void **state)
{
	const struct shard_ops *format = *state;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct shard_span spans[GOLDEN_RECORDS];
	size_t whole;

	write_shard(format, sample_golden, GOLDEN_RECORDS, &bytes, spans);
	whole = bytes.size;
	for (bytes.size = 0; bytes.size < whole; bytes.size++) {
		struct error err = ERROR_INIT;
		struct reading reading = {
		    .bytes = &bytes, .sample = sample_golden, .spans = spans, .stop_at = SIZE_MAX};

		assert_error(
		    format->read(read_at, &reading, bytes.size, check_record, &reading, &err), &err,
		    ERR_DATA);
		assert_string_equal(err.reason, "shard");
	}
}

static int fail_to_write(struct sink *sink, const void *data, size_t size, struct error *err)
{
	(void)sink;
	(void)data;
	(void)size;
	return error_set(err, ERR_IO, "disk full");
}

static void an_error_of_the_sink_comes_out(void **state)
{
	const struct shard_ops *format = *state;
	struct error err = ERROR_INIT;
	struct sink sink = {.write = fail_to_write};
	struct shard_writer *w = format->writer_new(&sink, NULL);
	struct shard_span span;
	cleanup_record struct record record = RECORD_INIT;
	int r;

	sample_small(0, &record);
	r = format->add(w, &record, &span, &err);
	if (r == 0)
		r = format->finish(w, &err);
	assert_error(r, &err, ERR_IO);
	format->writer_free(w);
}

static void a_format_is_found_by_name_and_by_extension(void **state)
{
	const struct shard_ops *format = *state;
	char path[64];

	snprintf(path, sizeof(path), "train/512x512/000000%s", format->extension);
	assert_ptr_equal(shard_format_of_file(path), format);
	assert_ptr_equal(shard_format(format->name), format);
	assert_null(shard_format("no such format"));
	assert_null(shard_format_of_file("README.md"));
	assert_null(shard_format_of_file(format->extension));
}

int main(void)
{
	int failed = 0;

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		void *format = (void *)(uintptr_t)shard_format(formats[i]);
		const struct CMUnitTest tests[] = {
		    cmocka_unit_test_prestate(
			records_come_back_in_order_and_bytes_are_the_same_each_time, format),
		    cmocka_unit_test_prestate(a_record_is_read_alone_at_its_place, format),
		    cmocka_unit_test_prestate(a_place_that_is_not_exactly_one_record_is_refused,
					      format),
		    cmocka_unit_test_prestate(the_reader_ends_with_what_its_caller_returns, format),
		    cmocka_unit_test_prestate(an_error_of_the_source_comes_out_as_it_is, format),
		    cmocka_unit_test_prestate(a_shard_cut_off_anywhere_is_damaged, format),
		    cmocka_unit_test_prestate(an_error_of_the_sink_comes_out, format),
		    cmocka_unit_test_prestate(a_format_is_found_by_name_and_by_extension, format),
		};

		failed += cmocka_run_group_tests_name(formats[i], tests, NULL, NULL);
	}
	return failed;
}

/* What is MDS's own; the contract of shards is in tests/contract, the real reader in tests/interop. */
#include "tests/storage_samples.h"
#include "tests/testing.h"

#include "base/checked.h"
#include "base/compress.h"
#include "base/files.h"
#include "storage/mds_columns.h"
#include "storage/shard_mds.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define SAMPLES 3

static void add(struct record *r, const char *suffix, const void *data, size_t size)
{
	struct error err = ERROR_INIT;

	assert_ok(record_add(r, suffix, data, size, &err), &err);
}

/* As the daemon makes them, [2, 3, 4 + wider]. */
static void sample_latent(size_t index, size_t wider, struct record *out)
{
	struct error err = ERROR_INIT;
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;
	cleanup_buffer struct buffer npy = BUFFER_INIT;
	const size_t shape[] = {2, 3, 4 + wider};
	char text[256];

	snprintf(text, sizeof(text), "a/k%zu", index);
	assert_ok(record_init(out, text, "32x24", &err), &err);
	assert_ok(ndarray_alloc(&a, DTYPE_F16, 3, shape, &err), &err);
	for (size_t i = 0; i < ndarray_count(&a); i++)
		((uint16_t *)a.data)[i] = (uint16_t)(0x3c00 + 100 * index + i);
	npy_write(&npy, &a);
	snprintf(text, sizeof(text),
		 "{\"key\":\"a/k%zu\",\"original_size\":[4000,%zu],\"crop_top_left\":[0,7],"
		 "\"target_size\":[32,24]}",
		 index, 3000 + index);
	add(out, "json", text, strlen(text));
	add(out, "latent.npy", npy.data, npy.size);
	snprintf(text, sizeof(text), "caption %zu", index);
	add(out, "txt", text, strlen(text));
}

static int write_with(const char *columns, struct buffer *out, size_t wider,
		      struct shard_span spans[SAMPLES], struct error *err)
{
	struct sink_buffer sink;
	struct shard_writer *w;
	int r = 0;

	sink_buffer_init(&sink, out);
	w = shard_mds_ops.writer_new(&sink.base, columns);
	for (size_t i = 0; r == 0 && i < SAMPLES; i++) {
		cleanup_record struct record record = RECORD_INIT;

		sample_latent(i, i == 2 ? wider : 0, &record);
		r = shard_mds_ops.add(w, &record, &spans[i], err);
	}
	if (r == 0)
		r = shard_mds_ops.finish(w, err);
	shard_mds_ops.writer_free(w);
	return r;
}

static int read_at(void *arg, void *data, size_t size, uint64_t offset, struct error *err)
{
	const struct buffer *file = arg;

	(void)err;
	assert_true(size <= file->size && offset <= file->size - size);
	memcpy(data, file->data + offset, size);
	return 0;
}

static json_t *entry_of(struct buffer *file)
{
	struct error err = ERROR_INIT;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct sha256 sha = sha256_of(file->data, file->size);
	json_t *entry;

	assert_ok(shard_mds_index_entry(read_at, file, file->size, &sha, "g/000000.mds.zstd", &text,
					&err),
		  &err);
	entry = json_loadb((const char *)text.data, text.size, 0, NULL);
	assert_true(json_is_object(entry));
	return entry;
}

static void assert_dumps(json_t *value, const char *want)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

	assert_string_equal(text, want);
	free(text);
}

/* Opened by another decoder, by the rules of streaming's reader: the sample's slice, lengths, values. */
static void a_sample_lies_where_streaming_looks_for_it(void **state)
{
	/* caption, key, latent, meta: lengths; the two arrays of two numbers have none */
	static const uint8_t size_pair[] = {0xa0, 0x0f, 0, 0, 0xb9, 0x0b, 0, 0};
	cleanup_buffer struct buffer file = BUFFER_INIT, raw = BUFFER_INIT;
	struct shard_span spans[SAMPLES];
	struct error err = ERROR_INIT;
	const uint8_t *sample, *end;
	size_t at = 0;

	(void)state;
	assert_ok(write_with(NULL, &file, 0, spans, &err), &err);
	assert_ok(decompress_frame(&raw, file.data, file.size, 1 << 20, &err), &err);
	assert_int_equal(get_u32le(raw.data), SAMPLES);
	assert_int_equal(get_u32le(raw.data + 4 + 4 * SAMPLES), raw.size);
	sample = raw.data + get_u32le(raw.data + 4 + 4);
	end = raw.data + get_u32le(raw.data + 4 + 8);
	assert_int_equal(get_u32le(sample), strlen("caption 1"));
	assert_int_equal(get_u32le(sample + 4), strlen("a/k1"));
	assert_int_equal(get_u32le(sample + 8), 1 + 3 + 2 * 24);
	at = 16;
	assert_memory_equal(sample + at, "caption 1", 9);
	at += 9 + 8; /* crop_top_left */
	assert_memory_equal(sample + at, "a/k1", 4);
	at += 4;
	assert_memory_equal(sample + at, "\x0c\x02\x03\x04",
			    4); /* 3 << 2, and the shape in bytes */
	assert_int_equal(get_u16le(sample + at + 4), 0x3c00 + 100);
	at += 4 + 48 + get_u32le(sample + 12);
	assert_memory_equal(sample + at, size_pair, sizeof(size_pair));
	assert_ptr_equal(sample + at + 16, end);
}

static void the_entry_has_exactly_the_names_that_streaming_takes(void **state)
{
	static const char *const names[] = {
	    "column_encodings", "column_names", "column_sizes", "compression", "format",  "hashes",
	    "raw_data",		"samples",	"size_limit",	"version",     "zip_data"};
	cleanup_buffer struct buffer file = BUFFER_INIT, raw = BUFFER_INIT;
	struct shard_span spans[SAMPLES];
	struct error err = ERROR_INIT;
	char hex[SHA256_HEX_SIZE];
	struct sha256 sha;
	json_t *entry, *data;

	(void)state;
	assert_ok(write_with("", &file, 0, spans, &err), &err);
	assert_ok(decompress_frame(&raw, file.data, file.size, 1 << 20, &err), &err);
	entry = entry_of(&file);
	assert_int_equal(json_object_size(entry), ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_non_null(json_object_get(entry, names[i]));
	assert_dumps(json_object_get(entry, "column_names"),
		     "[\"caption\",\"crop_top_left\",\"key\",\"latent\",\"meta\",\"original_size\","
		     "\"target_size\"]");
	assert_dumps(json_object_get(entry, "column_encodings"),
		     "[\"str\",\"ndarray:int32:2\",\"str\",\"ndarray:float16\",\"json\","
		     "\"ndarray:int32:2\",\"ndarray:int32:2\"]");
	assert_dumps(json_object_get(entry, "column_sizes"), "[null,8,null,null,null,8,8]");
	data = json_object_get(entry, "raw_data");
	assert_dumps(json_object_get(data, "basename"), "\"g/000000.mds\"");
	assert_int_equal(json_integer_value(json_object_get(data, "bytes")), raw.size);
	sha = sha256_of(raw.data, raw.size);
	sha256_hex(&sha, hex);
	assert_string_equal(
	    json_string_value(json_object_get(json_object_get(data, "hashes"), "sha256")), hex);
	data = json_object_get(entry, "zip_data");
	assert_dumps(json_object_get(data, "basename"), "\"g/000000.mds.zstd\"");
	assert_int_equal(json_integer_value(json_object_get(data, "bytes")), file.size);
	json_decref(entry);
}

static int check_record(void *arg, const struct record *record, const struct shard_span *span,
			struct error *err)
{
	cleanup_record struct record want = RECORD_INIT;
	size_t *seen = arg;

	(void)err;
	(void)span;
	sample_latent(*seen, 0, &want);
	assert_true(sample_equal(record, &want, false));
	(*seen)++;
	return 0;
}

static void renamed_columns_and_values_as_bytes_come_back_as_the_same_records(void **state)
{
	cleanup_buffer struct buffer file = BUFFER_INIT;
	struct shard_span spans[SAMPLES];
	struct error err = ERROR_INIT;
	size_t seen = 0;
	json_t *entry;

	(void)state;
	assert_ok(
	    write_with("latent=latents_32:bytes,meta:bytes,caption=a.text,crop_top_left:bytes",
		       &file, 0, spans, &err),
	    &err);
	entry = entry_of(&file);
	assert_dumps(json_object_get(entry, "column_names"),
		     "[\"a.text\",\"crop_top_left\",\"key\",\"latents_32\",\"meta\","
		     "\"original_size\",\"target_size\"]");
	assert_dumps(json_object_get(entry, "column_encodings"),
		     "[\"str\",\"bytes\",\"str\",\"bytes\",\"bytes\",\"ndarray:int32:2\","
		     "\"ndarray:int32:2\"]");
	json_decref(entry);
	assert_ok(shard_mds_ops.read(read_at, &file, file.size, check_record, &seen, &err), &err);
	assert_int_equal(seen, SAMPLES);
}

/* tests/golden/storage_mds.mds.zstd: what the first version wrote, with libzstd 1.5.4. */
static void a_shard_of_the_first_version_is_read(void **state)
{
	cleanup_free char *path = testing_golden("storage_mds.mds.zstd");
	cleanup_buffer struct buffer file = BUFFER_INIT;
	struct error err = ERROR_INIT;
	size_t seen = 0;

	(void)state;
	assert_ok(file_read_all(path, 1 << 20, &file, &err), &err);
	assert_ok(shard_mds_ops.read(read_at, &file, file.size, check_record, &seen, &err), &err);
	assert_int_equal(seen, SAMPLES);
}

/* Without its shape, which is not one: then it is the whole .npy. */
static void bytes_of_several_shapes_keep_their_shapes(void **state)
{
	cleanup_buffer struct buffer file = BUFFER_INIT;
	cleanup_record struct record want = RECORD_INIT, got = RECORD_INIT;
	struct shard_span spans[SAMPLES];
	struct error err = ERROR_INIT;
	json_t *entry;

	(void)state;
	assert_ok(write_with("latent:bytes", &file, 1, spans, &err), &err);
	entry = entry_of(&file);
	assert_dumps(json_array_get(json_object_get(entry, "column_names"), 3), "\"latent.npy\"");
	json_decref(entry);
	sample_latent(2, 1, &want);
	assert_ok(shard_mds_ops.read_record(read_at, &file, &spans[2], &got, &err), &err);
	assert_true(sample_equal(&got, &want, false));
}

static void two_columns_of_one_name_are_refused(void **state)
{
	cleanup_buffer struct buffer file = BUFFER_INIT;
	struct shard_span spans[SAMPLES];
	struct error err = ERROR_INIT;

	(void)state;
	assert_error(write_with("caption=key", &file, 0, spans, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "bad_name");
}

static void a_specification_is_checked(void **state)
{
	static const char *const good[] = {"",
					   "latent=x",
					   "latent:bytes,caption=y:bytes",
					   "meta=a.b-c_9",
					   "latent=z,moments=z",
					   "key=meta,meta=key"};
	static const char *const bad[] = {",",
					  "latent=",
					  "latent=x,",
					  "=x",
					  "latent x",
					  "latent:text",
					  "latent=a b",
					  "none=x",
					  "latent=:bytes",
					  "latent=x:bytes:bytes",
					  "caption=key",
					  "caption=mask",
					  "latent=members:bytes",
					  "key=x,meta=x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct error err = ERROR_INIT;

		assert_ok(mds_specification_check(good[i], &err), &err);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = ERROR_INIT;

		assert_error(mds_specification_check(bad[i], &err), &err, ERR_CONFIG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_sample_lies_where_streaming_looks_for_it),
	    cmocka_unit_test(the_entry_has_exactly_the_names_that_streaming_takes),
	    cmocka_unit_test(renamed_columns_and_values_as_bytes_come_back_as_the_same_records),
	    cmocka_unit_test(a_shard_of_the_first_version_is_read),
	    cmocka_unit_test(bytes_of_several_shapes_keep_their_shapes),
	    cmocka_unit_test(two_columns_of_one_name_are_refused),
	    cmocka_unit_test(a_specification_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

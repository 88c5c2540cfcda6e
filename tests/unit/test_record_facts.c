#include "tests/unit/golden_record.h"

#include "daemon/record_facts.h"

#include "base/checked.h"
#include "base/compress.h"
#include "tests/testing.h"

#include <string.h>

static void facts_and_latent_of_a_record_come_back(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	struct record_facts f;
	struct error err = ERROR_INIT;
	struct hash128 content = hash128_of("file bytes", 10);

	(void)state;
	golden_record(&record);
	assert_ok(record_facts_read(&record, &f, &err), &err);
	assert_string_equal(f.key, "cats/tom");
	assert_string_equal(f.path, "cats/tom%\xc3\xa9\xff.jpg");
	assert_string_equal(f.recipe_id, RECIPE_ID);
	assert_string_equal(f.caption, "a \"cat\"\n\xe7\x8c\xab");
	assert_true(hash128_equal(&f.content, &content));
	assert_int_equal(f.variant, 0);
	assert_int_equal(f.channels, 4);
	assert_int_equal(f.height, 2);
	assert_int_equal(f.width, 3);
	assert_int_equal(f.dtype, DTYPE_F16);
	assert_int_equal(f.target_width, 24);
	assert_int_equal(f.target_height, 16);
	assert_false(f.moments);
	assert_ok(record_latent_read(&record, &f, &latent, &err), &err);
	assert_int_equal(latent.shape[0], 4);
	assert_int_equal(((uint16_t *)latent.data)[8], 0); /* 8 / 8 - 1 */
}

/* The golden text with the first @from replaced by @to, to be freed. */
static char *changed_json(const char *from, const char *to)
{
	const char *at = strstr(golden_json, from);

	if (!at)
		fail_msg("the golden text has no %s", from);
	return xasprintf("%.*s%s%s", (int)(at - golden_json), golden_json, to, at + strlen(from));
}

static int read_changed(const char *from, const char *to, struct record_facts *f, struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;
	cleanup_free char *json = changed_json(from, to);

	golden_record(&record);
	golden_replace(&record, "json", json, strlen(json));
	return record_facts_read(&record, f, err);
}

static void a_field_that_is_not_of_version_1_is_refused(void **state)
{
	static const char *const changes[][2] = {
	    {"{\"v\":1,", "{"},
	    {"\"v\":1,", "\"v\":2,"},
	    {"\"v\":1,", "\"v\":\"1\","},
	    {"\"v\":1,", "\"v\":1,\"v\":1,"},
	    {"\"key\":\"cats/tom\"", "\"key\":\"cats/tim\""},
	    {"\"key\":\"cats/tom\"", "\"key\":null"},
	    {"\"key\":\"cats/tom\"", "\"key\":\"cats/tom\",\"key\":\"cats/tom\""},
	    {CONTENT, "9E2E20DF0837C5092C4D0B5DC2535C09"},
	    {CONTENT, "9e2e"},
	    {RECIPE_ID, RECIPE_ID "0"},
	    {RECIPE_ID, "db93a8f6f747d1b13a441993d74acd2"},
	    {RECIPE_ID, "zb93a8f6f747d1b13a441993d74acd2f"},
	    {"\"variant\":0", "\"variant\":-1"},
	    {"\"variant\":0", "\"variant\":1"}, /* of which image? */
	    {"\"variant\":0", "\"variant\":1,\"image\":\"cats/tom\""},
	    {"\"variant\":0", "\"variant\":18,\"image\":\"cats/tom\""},
	    {"\"variant\":0", "\"variant\":4294967296"},
	    {"\"target_size\":[24,16]", "\"target_size\":[24]"},
	    {"\"target_size\":[24,16]", "\"target_size\":[24,16,1]"},
	    {"\"target_size\":[24,16]", "\"target_size\":[0,16]"},
	    {"\"target_size\":[24,16]", "\"target_size\":[24,-16]"},
	    {"\"target_size\":[24,16]", "\"target_size\":\"24x16\""},
	    {"[4,2,3]", "[4,2]"},
	    {"[4,2,3]", "[4,2,3,1]"},
	    {"[4,2,3]", "[4,0,3]"},
	    {"[4,2,3]", "[4,2,-3]"},
	    {"[4,2,3]", "[4,2,3.0]"},
	    {"[4,2,3]", "[4,2,9223372036854775807]"},
	    {"\"dtype\":\"float16\"", "\"dtype\":\"int64\""},
	    {"\"dtype\":\"float16\"", "\"dtype\":1"},
	    {"\"posterior\":\"mean\"", "\"posterior\":\"median\""},
	    {LATENT_HASH, ""},
	    {"\"latent\":{", "\"latents\":{"},
	    {"\"meta\":{}}", "\"meta\":{}"},
	    {"\"meta\":{}}", "\"meta\":{}}x"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct record_facts f = {.variant = 99};
		struct error err = ERROR_INIT;

		if (read_changed(changes[i][0], changes[i][1], &f, &err) == 0)
			fail_msg("taken: %s instead of %s", changes[i][1], changes[i][0]);
		assert_int_equal(err.code, ERR_DATA);
		assert_string_equal(err.reason, "record");
		assert_int_equal(f.variant, 99); /* untouched */
	}
}

static void a_field_that_nobody_knows_is_passed_over(void **state)
{
	struct record_facts f;
	struct error err = ERROR_INIT;

	(void)state;
	assert_ok(read_changed("\"v\":1,", "\"v\":1,\"future\":[{}],", &f, &err), &err);
}

static void a_source_with_a_broken_escape_is_refused(void **state)
{
	static const char *const sources[] = {"cats/%",	      "cats/%4",	"cats/%zz.jpg",
					      "cats/%G0.jpg", "cats/a%00b.jpg", ""};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		struct record_facts f;
		struct error err = ERROR_INIT;

		assert_error(read_changed("cats/tom%25\xc3\xa9%FF.jpg", sources[i], &f, &err), &err,
			     ERR_DATA);
		assert_string_equal(err.reason, "record");
	}
}

static void a_source_longer_than_any_path_is_refused(void **state)
{
	char path[4097];
	struct record_facts f;
	struct error err = ERROR_INIT, over = ERROR_INIT;

	(void)state;
	memset(path, 'a', sizeof(path));
	path[4096] = '\0';
	assert_error(read_changed("cats/tom%25\xc3\xa9%FF.jpg", path, &f, &over), &over, ERR_DATA);
	path[4095] = '\0';
	assert_ok(read_changed("cats/tom%25\xc3\xa9%FF.jpg", path, &f, &err), &err);
	assert_int_equal(strlen(f.path), 4095);
}

static void a_long_caption_is_cut_between_characters(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts f;
	struct error err = ERROR_INIT;
	struct recipe recipe = golden_recipe(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_buffer struct buffer caption = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < 100; i++)
		buffer_append_string(&caption, "\xe7\x8c\xab");
	facts.caption = (const char *)caption.data;
	golden_build(&recipe, &facts, &latent, &record);
	assert_ok(record_facts_read(&record, &f, &err), &err);
	assert_int_equal(strlen(f.caption), 78);
	assert_memory_equal(f.caption, caption.data, 78);
}

static void bytes_that_are_no_record_are_refused(void **state)
{
	static const char *const texts[] = {"",		 "null",  "[]",	     "{}",
					    "{\"v\":1}", "\"v\"", "\xff\xfe"};
	cleanup_record struct record bare = RECORD_INIT;
	struct record_facts f;
	struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cleanup_record struct record record = RECORD_INIT;
		struct error why = ERROR_INIT;

		golden_record(&record);
		golden_replace(&record, "json", texts[i], strlen(texts[i]));
		assert_error(record_facts_read(&record, &f, &why), &why, ERR_DATA);
	}
	assert_ok(record_init(&bare, "cats/tom", "24x16", &err), &err);
	assert_error(record_facts_read(&bare, &f, &err), &err, ERR_DATA);
}

/* -- a latent that is not what KEY.json says ---------------------------------------------------------- */

/* The golden record with the latent @values in its place. */
static int read_latent_of(const struct ndarray *values, struct error *err)
{
	cleanup_record struct record record = RECORD_INIT;
	cleanup_buffer struct buffer npy = BUFFER_INIT, frame = BUFFER_INIT;
	struct record_facts f;

	golden_record(&record);
	assert_ok(record_facts_read(&record, &f, err), err);
	npy_write(&npy, values);
	assert_ok(compress_frame(&frame, npy.data, npy.size, 1, err), err);
	golden_replace(&record, "latent.npy.zst", frame.data, frame.size);
	return record_latent_read(&record, &f, NULL, err);
}

static void assert_latent_refused(enum dtype dtype, size_t ndim, const size_t *shape)
{
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;
	struct error err = ERROR_INIT;

	assert_ok(ndarray_alloc(&a, dtype, ndim, shape, &err), &err);
	memset(a.data, 0, a.bytes);
	assert_error(read_latent_of(&a, &err), &err, ERR_DATA);
}

static void a_latent_of_another_shape_type_or_value_is_refused(void **state)
{
	const size_t right[] = {4, 2, 3}, turned[] = {4, 3, 2}, more[] = {4, 2, 4};
	const size_t flat[] = {24}, deep[] = {1, 4, 2, 3}, large[] = {4, 200, 300};

	(void)state;
	assert_latent_refused(DTYPE_F16, 3, right); /* zeros: only the hash is wrong */
	assert_latent_refused(DTYPE_F16, 3, turned);
	assert_latent_refused(DTYPE_F16, 3, more);
	assert_latent_refused(DTYPE_F16, 1, flat);
	assert_latent_refused(DTYPE_F16, 4, deep);
	assert_latent_refused(DTYPE_F16, 3, large);
	assert_latent_refused(DTYPE_F32, 3, right);
	assert_latent_refused(DTYPE_U8, 3, right);
}

static void any_flipped_bit_of_the_latent_is_noticed(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	struct buffer *frame;
	struct record_facts f;
	struct error err = ERROR_INIT;

	(void)state;
	golden_record(&record);
	assert_ok(record_facts_read(&record, &f, &err), &err);
	frame = (struct buffer *)&record_member(&record, "latent.npy.zst")->data;
	for (size_t bit = 0; bit < frame->size * 8; bit++) {
		struct error why = ERROR_INIT;
		cleanup_ndarray struct ndarray out = NDARRAY_INIT;

		frame->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		/* A bit that zstd does not look at changes nothing; the values are right then. */
		if (record_latent_read(&record, &f, &out, &why) == 0) {
			struct hash128 hash = hash128_of(out.data, out.bytes);

			assert_true(hash128_equal(&hash, &f.latent));
		} else {
			assert_int_equal(why.code, ERR_DATA);
		}
		frame->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_ok(record_latent_read(&record, &f, NULL, &err), &err);
}

static void a_latent_that_is_not_finite_is_refused_even_with_its_hash(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	cleanup_ndarray struct ndarray a = NDARRAY_INIT;
	cleanup_buffer struct buffer npy = BUFFER_INIT, frame = BUFFER_INIT;
	const size_t shape[] = {4, 2, 3};
	struct record_facts f;
	struct error err = ERROR_INIT;

	(void)state;
	golden_record(&record);
	assert_ok(record_facts_read(&record, &f, &err), &err);
	assert_ok(ndarray_alloc(&a, DTYPE_F16, 3, shape, &err), &err);
	memset(a.data, 0, a.bytes);
	((uint16_t *)a.data)[5] = 0x7c00; /* infinity */
	npy_write(&npy, &a);
	assert_ok(compress_frame(&frame, npy.data, npy.size, 1, &err), &err);
	golden_replace(&record, "latent.npy.zst", frame.data, frame.size);
	f.latent = hash128_of(a.data, a.bytes);
	assert_error(record_latent_read(&record, &f, NULL, &err), &err, ERR_DATA);
	assert_string_equal(err.reason, "record");
	assert_non_null(strstr(err.message, "not finite"));
}

static void a_record_without_its_latent_is_refused(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts f;
	struct error err = ERROR_INIT;

	(void)state;
	golden_record(&record);
	assert_ok(record_facts_read(&record, &f, &err), &err);
	f.moments = true; /* the record has none */
	assert_error(record_latent_read(&record, &f, NULL, &err), &err, ERR_DATA);
}

static void a_damaged_plain_latent_is_noticed(void **state)
{
	struct recipe recipe = golden_recipe(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	recipe.form.codec = OUTPUT_CODEC_NONE;
	golden_build(&recipe, &facts, &latent, &record);
	assert_ok(record_facts_read(&record, &read, &err), &err);
	for (size_t i = 0; i < record.members[1].data.size; i++) {
		record.members[1].data.data[i] ^= 0x10;
		error_clear(&err);
		/* Of the header's padding nothing depends; all else must be noticed. */
		if (record_latent_read(&record, &read, NULL, &err) == 0)
			assert_true(i < 128);
		record.members[1].data.data[i] ^= 0x10;
	}
}

static void a_record_with_two_latents_is_refused(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	golden_record(&record);
	assert_ok(record_add(&record, "latent.npy", "x", 1, &err), &err);
	assert_error(record_facts_read(&record, &read, &err), &err, ERR_DATA);
	assert_non_null(strstr(err.message, "two latents"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_damaged_plain_latent_is_noticed),
	    cmocka_unit_test(a_record_with_two_latents_is_refused),
	    cmocka_unit_test(facts_and_latent_of_a_record_come_back),
	    cmocka_unit_test(a_field_that_is_not_of_version_1_is_refused),
	    cmocka_unit_test(a_field_that_nobody_knows_is_passed_over),
	    cmocka_unit_test(a_source_with_a_broken_escape_is_refused),
	    cmocka_unit_test(a_source_longer_than_any_path_is_refused),
	    cmocka_unit_test(a_long_caption_is_cut_between_characters),
	    cmocka_unit_test(bytes_that_are_no_record_are_refused),
	    cmocka_unit_test(a_latent_of_another_shape_type_or_value_is_refused),
	    cmocka_unit_test(any_flipped_bit_of_the_latent_is_noticed),
	    cmocka_unit_test(a_latent_that_is_not_finite_is_refused_even_with_its_hash),
	    cmocka_unit_test(a_record_without_its_latent_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

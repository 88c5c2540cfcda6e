/*
 * The golden KEY.json is Python's, from the same values: json.dumps(record, separators=(",", ":"),
 * ensure_ascii=False), with hashes by the package xxhash and numpy's float16; it is valid under
 * docs/record.schema.json (package jsonschema).
 */
#include "daemon/record_build.h"
#include "daemon/record_copy.h"
#include "daemon/record_facts.h"
#include "daemon/record_group.h"
#include "daemon/variants.h"

#include "base/checked.h"
#include "base/compress.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

#define CONTENT	    "9e2e20df0837c5092c4d0b5dc2535c09" /* xxh3_128(b"file bytes") */
#define RECIPE_ID   "db93a8f6f747d1b13a441993d74acd2f"
#define LATENT_HASH "b0259a901b6ff92c514d2be1eab897e4"

static const char golden_json[] =
    "{\"v\":1,\"key\":\"cats/tom\",\"source\":\"cats/tom%25\xc3\xa9%FF.jpg\","
    "\"content_xxh3_128\":\"" CONTENT "\",\"recipe_id\":\"" RECIPE_ID "\",\"vae_sha256\":"
    "\"9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c\","
    "\"stored_size\":[480,640],\"orientation\":6,\"original_size\":[640,480],"
    "\"resized_size\":[24,18],\"crop_top_left\":[1,0],\"target_size\":[24,16],"
    "\"time_ids\":[480,640,1,0,16,24],\"kohya_crop_ltrb\":[1.5,0.0,22.5,16.0],"
    "\"variant\":0,\"flip\":false,\"latent\":{\"shape\":[4,2,3],\"dtype\":\"float16\","
    "\"precision\":\"float32\",\"posterior\":\"mean\",\"seed\":null,\"scaled\":false,"
    "\"scaling_factor\":0.13025,\"shift_factor\":null,\"xxh3_128\":\"" LATENT_HASH "\"},"
    "\"engine\":\"cpu/test\",\"caption\":\"a \\\"cat\\\"\\n\xe7\x8c\xab\",\"meta\":{}}";

static struct recipe recipe_of(enum posterior posterior, enum dtype dtype)
{
	struct recipe r = {
	    .vae = {.latent_channels = 4, .scaling_factor = 0.13025},
	    .weights = sha256_of("weights", 7),
	    .policy = IMAGE_POLICY_DEFAULT,
	    .posterior = posterior,
	    .seed = 42,
	    .dtype = dtype,
	    .id = RECIPE_ID,
	};

	return r;
}

static struct sample_facts golden_facts(void)
{
	return (struct sample_facts){
	    .key = "cats/tom",
	    .path = "cats/tom%\xc3\xa9\xff.jpg",
	    .content = hash128_of("file bytes", 10),
	    .header = {IMAGE_JPEG, 480, 640, 6, 1},
	    .placement = {24, 16, 24, 18, 0, 1, {1.5, 0, 22.5, 16}},
	    .caption = "a \"cat\"\n\xe7\x8c\xab",
	    .captions = true,
	    .engine = "cpu/test",
	};
}

/* [channels][2][3], value i / 8 - 1: exact in float16. */
static struct ndarray golden_latent(size_t channels)
{
	struct ndarray a = NDARRAY_INIT;
	struct error err = ERROR_INIT;
	size_t shape[3] = {channels, 2, 3};
	float *values;

	assert_ok(ndarray_alloc(&a, DTYPE_F32, 3, shape, &err), &err);
	values = a.data;
	for (size_t i = 0; i < channels * 6; i++)
		values[i] = (float)i / 8 - 1;
	return a;
}

static void build(const struct recipe *recipe, const struct sample_facts *facts,
		  const struct ndarray *latent, struct record *out)
{
	struct error err = ERROR_INIT;

	assert_ok(record_build(recipe, facts, latent, 77, out, &err), &err);
}

static void build_golden(struct record *out)
{
	struct recipe recipe = recipe_of(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);

	build(&recipe, &facts, &latent, out);
}

/* @record's member @suffix with other bytes. */
static void replace(struct record *record, const char *suffix, const void *data, size_t size)
{
	struct buffer *b = (struct buffer *)&record_member(record, suffix)->data;

	buffer_reset(b);
	buffer_append(b, data, size);
}

/* -- what is written ------------------------------------------------------------------------------ */

static void key_json_is_the_golden_text(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	const struct record_member *json;

	(void)state;
	build_golden(&record);
	json = record_member(&record, "json");
	assert_non_null(json);
	assert_int_equal(json->data.size, strlen(golden_json));
	assert_string_equal((const char *)json->data.data, golden_json);
}

static void a_record_has_its_members_in_order_and_its_place(void **state)
{
	cleanup_record struct record record = RECORD_INIT;

	(void)state;
	build_golden(&record);
	assert_string_equal(record.key, "cats/tom");
	assert_string_equal(record.group, "24x16");
	assert_int_equal(record.rank, 77);
	assert_int_equal(record.n_members, 3);
	assert_string_equal(record.members[0].suffix, "json");
	assert_string_equal(record.members[1].suffix, "latent.npy.zst");
	assert_string_equal(record.members[2].suffix, "txt");
	assert_string_equal((const char *)record.members[2].data.data, "a \"cat\"\n\xe7\x8c\xab");
}

static void the_latent_opens_to_the_values_that_went_in(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	cleanup_buffer struct buffer npy = BUFFER_INIT;
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	const struct record_member *member;
	struct error err = ERROR_INIT;
	char hex[HASH128_HEX_SIZE];
	struct hash128 hash;

	(void)state;
	build_golden(&record);
	member = record_member(&record, "latent.npy.zst");
	assert_ok(decompress_frame(&npy, member->data.data, member->data.size, 4096, &err), &err);
	assert_ok(npy_read(npy.data, npy.size, &latent, &err), &err);
	assert_int_equal(latent.dtype, DTYPE_F16);
	hash = hash128_of(latent.data, latent.bytes);
	hash128_hex(&hash, hex);
	assert_string_equal(hex, LATENT_HASH);
}

/* True if KEY.json has the text @part. */
static bool json_has(const struct record *record, const char *part)
{
	return strstr((const char *)record_member(record, "json")->data.data, part) != NULL;
}

static void a_draw_that_nobody_can_repeat_has_neither_seed_nor_weights(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	struct recipe recipe = recipe_of(POSTERIOR_DRAW, DTYPE_F32);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	const char *json;

	(void)state;
	memcpy(recipe.declared, "sdxl", 5);
	facts.engine = "remote/foreign";
	build(&recipe, &facts, &latent, &record);
	json = (const char *)record_member(&record, "json")->data.data;
	assert_non_null(strstr(json, "\"vae_sha256\":null,"));
	assert_non_null(strstr(json, "\"precision\":\"unknown\",\"posterior\":\"draw\","
				     "\"seed\":null,"));
	assert_non_null(strstr(json, "\"engine\":\"remote/foreign\""));
}

static void a_draw_records_its_seed_and_a_shift_is_a_number(void **state)
{
	struct recipe recipe = recipe_of(POSTERIOR_DRAW, DTYPE_F32);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record record = RECORD_INIT;

	(void)state;
	recipe.vae.has_shift_factor = true;
	recipe.vae.shift_factor = 0.1159;
	build(&recipe, &facts, &latent, &record);
	assert_true(json_has(&record, "\"dtype\":\"float32\""));
	assert_true(json_has(&record, "\"posterior\":\"draw\",\"seed\":42,"));
	assert_true(json_has(&record, "\"shift_factor\":0.1159"));
	assert_non_null(record_member(&record, "latent.npy.zst"));
}

static void tiles_and_precision_are_recorded(void **state)
{
	struct recipe recipe = recipe_of(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record whole = RECORD_INIT, tiled = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	build(&recipe, &facts, &latent, &whole);
	assert_false(json_has(&whole, "tile_size"));
	recipe.tile = 512;
	recipe.precision = VAE_BFLOAT16;
	build(&recipe, &facts, &latent, &tiled);
	assert_true(json_has(&tiled, "\"seed\":null,\"tile_size\":512,\"scaled\":false"));
	assert_true(json_has(&tiled, "\"precision\":\"bfloat16\""));
	assert_ok(record_facts_read(&tiled, &read, &err), &err);
}

static void an_image_that_overflowed_says_that_it_was_repeated_in_float32(void **state)
{
	struct recipe recipe = recipe_of(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record usual = RECORD_INIT, repeated = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	recipe.precision = VAE_FLOAT16;
	build(&recipe, &facts, &latent, &usual);
	assert_true(json_has(&usual, "\"precision\":\"float16\",\"posterior\""));
	facts.in_float32 = true;
	build(&recipe, &facts, &latent, &repeated);
	assert_true(json_has(&repeated, "\"precision\":\"float32\",\"overflowed\":\"float16\""));
	assert_ok(record_facts_read(&repeated, &read, &err), &err);
}

static void moments_have_a_name_of_their_own(void **state)
{
	struct recipe recipe = recipe_of(POSTERIOR_MOMENTS, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(8);
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	build(&recipe, &facts, &latent, &record);
	assert_null(record_member(&record, "latent.npy.zst"));
	assert_non_null(record_member(&record, "moments.npy.zst"));
	assert_ok(record_facts_read(&record, &read, &err), &err);
	assert_true(read.moments);
	assert_int_equal(read.channels, 8);
	assert_ok(record_latent_read(&record, &read, NULL, &err), &err);
}

/* Python's: struct.pack("<e", f32(f32(v - f32(0.1159)) * f32(0.3611))), f32 rounding to single. */
static void a_scaled_latent_is_what_a_trainer_computes(void **state)
{
	static const struct {
		size_t i;
		uint16_t half;
		uint32_t single;
	} expected[] = {{0, 0xb672, 0xbece4fa8},
			{1, 0xb5ba, 0xbeb73365},
			{12, 0x3070, 0x3e0e06fb},
			{23, 0x3915, 0x3f229d30}};
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);

	(void)state;
	for (int half = 0; half < 2; half++) {
		struct recipe recipe = recipe_of(POSTERIOR_MEAN, half ? DTYPE_F16 : DTYPE_F32);
		cleanup_record struct record record = RECORD_INIT;
		cleanup_ndarray struct ndarray stored = NDARRAY_INIT;
		struct record_facts read;
		struct error err = ERROR_INIT;

		recipe.scaled = true;
		recipe.vae.scaling_factor = 0.3611;
		recipe.vae.has_shift_factor = true;
		recipe.vae.shift_factor = 0.1159;
		build(&recipe, &facts, &latent, &record);
		assert_true(json_has(&record, "\"scaled\":true,\"scaling_factor\":0.3611"));
		assert_ok(record_facts_read(&record, &read, &err), &err);
		assert_true(read.scaled);
		assert_ok(record_latent_read(&record, &read, &stored, &err), &err);
		for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
			uint32_t bits = 0;

			memcpy(&bits, (uint8_t *)stored.data + expected[i].i * (half ? 2 : 4),
			       half ? 2 : 4);
			assert_int_equal(bits, half ? expected[i].half : expected[i].single);
		}
	}
}

static void moments_cannot_be_scaled(void **state)
{
	struct recipe recipe = recipe_of(POSTERIOR_MOMENTS, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(8);
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	recipe.scaled = true;
	build(&recipe, &facts, &latent, &record);
	assert_error(record_facts_read(&record, &read, &err), &err, ERR_DATA);
}

static void without_a_codec_the_latent_is_a_plain_array(void **state)
{
	struct sample_facts facts = golden_facts();

	(void)state;
	for (int moments = 0; moments < 2; moments++) {
		struct recipe recipe =
		    recipe_of(moments ? POSTERIOR_MOMENTS : POSTERIOR_MEAN, DTYPE_F16);
		cleanup_ndarray struct ndarray latent = golden_latent(moments ? 8 : 4);
		cleanup_ndarray struct ndarray plain = NDARRAY_INIT, read_back = NDARRAY_INIT;
		cleanup_record struct record record = RECORD_INIT;
		const struct record_member *member = &record.members[1];
		struct record_facts read;
		struct error err = ERROR_INIT;

		recipe.form.codec = OUTPUT_CODEC_NONE;
		build(&recipe, &facts, &latent, &record);
		assert_int_equal(record.n_members, 3);
		assert_string_equal(member->suffix, moments ? "moments.npy" : "latent.npy");
		assert_ok(npy_read(member->data.data, member->data.size, &plain, &err), &err);
		assert_ok(record_facts_read(&record, &read, &err), &err);
		assert_int_equal(read.codec, OUTPUT_CODEC_NONE);
		assert_ok(record_latent_read(&record, &read, &read_back, &err), &err);
		assert_int_equal(read_back.bytes, plain.bytes);
		assert_memory_equal(read_back.data, plain.data, plain.bytes);
	}
}

static void a_damaged_plain_latent_is_noticed(void **state)
{
	struct recipe recipe = recipe_of(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	recipe.form.codec = OUTPUT_CODEC_NONE;
	build(&recipe, &facts, &latent, &record);
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
	build_golden(&record);
	assert_ok(record_add(&record, "latent.npy", "x", 1, &err), &err);
	assert_error(record_facts_read(&record, &read, &err), &err, ERR_DATA);
	assert_non_null(strstr(err.message, "two latents"));
}

static void a_copy_has_the_codec_of_its_recipe(void **state)
{
	const struct record_names names = {"dogs/rex", "dogs/rex.jpg", NULL, true, 5, NULL};
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);

	(void)state;
	for (int from = 0; from < 2; from++) {
		for (int to = 0; to < 2; to++) {
			struct recipe recipe = recipe_of(POSTERIOR_MEAN, DTYPE_F16);
			cleanup_record struct record stored = RECORD_INIT, copy = RECORD_INIT,
						     fresh = RECORD_INIT;
			struct error err = ERROR_INIT;

			recipe.form.codec = (enum output_codec)from;
			build(&recipe, &facts, &latent, &stored);
			recipe.form.codec = (enum output_codec)to;
			build(&recipe, &facts, &latent, &fresh);
			assert_ok(
			    record_copy(&stored, &recipe, &facts.content, &names, &copy, &err),
			    &err);
			assert_string_equal(copy.members[1].suffix, fresh.members[1].suffix);
			assert_int_equal(copy.members[1].data.size, fresh.members[1].data.size);
			assert_memory_equal(copy.members[1].data.data, fresh.members[1].data.data,
					    copy.members[1].data.size);
		}
	}
}

static void without_exif_the_original_size_is_the_stored_one(void **state)
{
	struct recipe recipe = recipe_of(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record record = RECORD_INIT;

	(void)state;
	recipe.policy.apply_exif = false;
	build(&recipe, &facts, &latent, &record);
	assert_true(json_has(&record, "\"stored_size\":[480,640],\"orientation\":6,"
				      "\"original_size\":[480,640],"));
	assert_true(json_has(&record, "\"time_ids\":[640,480,1,0,16,24]"));
}

static void a_mirrored_record_has_its_own_key_and_crop_and_names_its_image(void **state)
{
	struct recipe recipe = recipe_of(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts f;
	struct error err = ERROR_INIT;

	(void)state;
	facts.variant = VARIANT_FLIP;
	facts.placement.crop_left = 3;
	facts.placement.resized_width = 29; /* 24 from 3 on: 2 are left */
	build(&recipe, &facts, &latent, &record);
	assert_string_equal(record.key, "cats/tom-f");
	assert_true(json_has(&record, "\"variant\":1,\"flip\":true,\"image\":\"cats/tom\","));
	assert_true(json_has(&record, "\"crop_top_left\":[1,2],"));
	assert_true(json_has(&record, "\"kohya_crop_ltrb\":[1.5,0.0,22.5,16.0]"));
	assert_ok(record_facts_read(&record, &f, &err), &err);
	assert_string_equal(f.key, "cats/tom-f");
	assert_string_equal(f.image, "cats/tom");
	assert_int_equal(f.variant, VARIANT_FLIP);
}

static void a_bundle_gives_back_each_variant_and_the_plain_one_as_it_was(void **state)
{
	cleanup_record struct record plain = RECORD_INIT, bundle = RECORD_INIT, other = RECORD_INIT,
				     got = RECORD_INIT, none = RECORD_INIT;
	cleanup_buffer struct buffer before = BUFFER_INIT, after = BUFFER_INIT;
	struct error err = ERROR_INIT, missing = ERROR_INIT;

	(void)state;
	build_golden(&plain);
	build_golden(&bundle);
	assert_ok(record_init(&other, "cats/tom-f", "24x16", &err), &err);
	assert_ok(record_add(&other, "json", "{}", 2, &err), &err);
	assert_error(variant_take(&bundle, VARIANT_FLIP, &none, &missing), &missing, ERR_DATA);
	assert_ok(variant_put(&bundle, VARIANT_FLIP, &other, &err), &err);
	assert_ok(variant_take(&bundle, VARIANT_FLIP, &got, &err), &err);
	assert_string_equal(got.key, "cats/tom-f");
	assert_memory_equal(record_member(&got, "json")->data.data, "{}", 2);
	record_release(&got);
	assert_ok(variant_take(&bundle, VARIANT_PLAIN, &got, &err), &err);
	record_encode(&plain, &before);
	record_encode(&got, &after);
	assert_int_equal(before.size, after.size);
	assert_memory_equal(before.data, after.data, before.size);
}

static void an_image_without_caption_has_an_empty_text_and_null(void **state)
{
	struct recipe recipe = recipe_of(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record with = RECORD_INIT, without = RECORD_INIT;

	(void)state;
	facts.caption = NULL;
	build(&recipe, &facts, &latent, &with);
	assert_int_equal(record_member(&with, "txt")->data.size, 0);
	assert_true(json_has(&with, "\"caption\":null"));
	facts.captions = false;
	build(&recipe, &facts, &latent, &without);
	assert_null(record_member(&without, "txt"));
}

/* Builds with one value set to @value: 0, or the reason of the refusal in @err. */
static int build_with_value(enum dtype dtype, float value, struct error *err)
{
	struct recipe recipe = recipe_of(POSTERIOR_MEAN, dtype);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record record = RECORD_INIT;

	((float *)latent.data)[23] = value;
	return record_build(&recipe, &facts, &latent, 0, &record, err);
}

static void a_value_that_float16_cannot_hold_is_refused(void **state)
{
	static const float bad[] = {65520, -65520, 1e30f, INFINITY, NAN};
	static const float good[] = {65504, 65519.99f, -65504, 1e-8f, -0.0f};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = ERROR_INIT;

		assert_error(build_with_value(DTYPE_F16, bad[i], &err), &err, ERR_DATA);
		assert_string_equal(err.reason, "out_of_range");
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct error err = ERROR_INIT;

		assert_ok(build_with_value(DTYPE_F16, good[i], &err), &err);
	}
}

static void float32_holds_everything_that_is_finite(void **state)
{
	struct error err = ERROR_INIT, nan = ERROR_INIT, inf = ERROR_INIT;

	(void)state;
	assert_ok(build_with_value(DTYPE_F32, 3e38f, &err), &err);
	assert_error(build_with_value(DTYPE_F32, NAN, &nan), &nan, ERR_DATA);
	assert_error(build_with_value(DTYPE_F32, -INFINITY, &inf), &inf, ERR_DATA);
	assert_string_equal(inf.reason, "out_of_range");
}

/* -- and read again --------------------------------------------------------------------------------- */

static void facts_and_latent_of_a_record_come_back(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	struct record_facts f;
	struct error err = ERROR_INIT;
	struct hash128 content = hash128_of("file bytes", 10);

	(void)state;
	build_golden(&record);
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

	build_golden(&record);
	replace(&record, "json", json, strlen(json));
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
	struct recipe recipe = recipe_of(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_buffer struct buffer caption = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < 100; i++)
		buffer_append_string(&caption, "\xe7\x8c\xab");
	facts.caption = (const char *)caption.data;
	build(&recipe, &facts, &latent, &record);
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

		build_golden(&record);
		replace(&record, "json", texts[i], strlen(texts[i]));
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

	build_golden(&record);
	assert_ok(record_facts_read(&record, &f, err), err);
	npy_write(&npy, values);
	assert_ok(compress_frame(&frame, npy.data, npy.size, 1, err), err);
	replace(&record, "latent.npy.zst", frame.data, frame.size);
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
	build_golden(&record);
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
	build_golden(&record);
	assert_ok(record_facts_read(&record, &f, &err), &err);
	assert_ok(ndarray_alloc(&a, DTYPE_F16, 3, shape, &err), &err);
	memset(a.data, 0, a.bytes);
	((uint16_t *)a.data)[5] = 0x7c00; /* infinity */
	npy_write(&npy, &a);
	assert_ok(compress_frame(&frame, npy.data, npy.size, 1, &err), &err);
	replace(&record, "latent.npy.zst", frame.data, frame.size);
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
	build_golden(&record);
	assert_ok(record_facts_read(&record, &f, &err), &err);
	f.moments = true; /* the record has none */
	assert_error(record_latent_read(&record, &f, NULL, &err), &err, ERR_DATA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(key_json_is_the_golden_text),
	    cmocka_unit_test(a_record_has_its_members_in_order_and_its_place),
	    cmocka_unit_test(the_latent_opens_to_the_values_that_went_in),
	    cmocka_unit_test(a_draw_that_nobody_can_repeat_has_neither_seed_nor_weights),
	    cmocka_unit_test(a_draw_records_its_seed_and_a_shift_is_a_number),
	    cmocka_unit_test(tiles_and_precision_are_recorded),
	    cmocka_unit_test(an_image_that_overflowed_says_that_it_was_repeated_in_float32),
	    cmocka_unit_test(moments_have_a_name_of_their_own),
	    cmocka_unit_test(a_scaled_latent_is_what_a_trainer_computes),
	    cmocka_unit_test(moments_cannot_be_scaled),
	    cmocka_unit_test(without_a_codec_the_latent_is_a_plain_array),
	    cmocka_unit_test(a_damaged_plain_latent_is_noticed),
	    cmocka_unit_test(a_record_with_two_latents_is_refused),
	    cmocka_unit_test(a_copy_has_the_codec_of_its_recipe),
	    cmocka_unit_test(without_exif_the_original_size_is_the_stored_one),
	    cmocka_unit_test(a_mirrored_record_has_its_own_key_and_crop_and_names_its_image),
	    cmocka_unit_test(a_bundle_gives_back_each_variant_and_the_plain_one_as_it_was),
	    cmocka_unit_test(an_image_without_caption_has_an_empty_text_and_null),
	    cmocka_unit_test(a_value_that_float16_cannot_hold_is_refused),
	    cmocka_unit_test(float32_holds_everything_that_is_finite),
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

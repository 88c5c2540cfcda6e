#include "tests/unit/golden_record.h"

#include "daemon/record_copy.h"
#include "daemon/record_facts.h"
#include "daemon/variants.h"

#include "base/checked.h"
#include "base/compress.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

/* -- what is written ------------------------------------------------------------------------------ */

static void key_json_is_the_golden_text(void **state)
{
	cleanup_record struct record record = RECORD_INIT;
	const struct record_member *json;

	(void)state;
	golden_record(&record);
	json = record_member(&record, "json");
	assert_non_null(json);
	assert_int_equal(json->data.size, strlen(golden_json));
	assert_string_equal((const char *)json->data.data, golden_json);
}

static void a_record_has_its_members_in_order_and_its_place(void **state)
{
	cleanup_record struct record record = RECORD_INIT;

	(void)state;
	golden_record(&record);
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
	golden_record(&record);
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
	struct recipe recipe = golden_recipe(POSTERIOR_DRAW, DTYPE_F32);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	const char *json;

	(void)state;
	memcpy(recipe.declared, "sdxl", 5);
	facts.engine = "remote/foreign";
	golden_build(&recipe, &facts, &latent, &record);
	json = (const char *)record_member(&record, "json")->data.data;
	assert_non_null(strstr(json, "\"vae_sha256\":null,"));
	assert_non_null(strstr(json, "\"precision\":\"unknown\",\"posterior\":\"draw\","
				     "\"seed\":null,"));
	assert_non_null(strstr(json, "\"engine\":\"remote/foreign\""));
}

static void a_draw_records_its_seed_and_a_shift_is_a_number(void **state)
{
	struct recipe recipe = golden_recipe(POSTERIOR_DRAW, DTYPE_F32);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record record = RECORD_INIT;

	(void)state;
	recipe.vae.has_shift_factor = true;
	recipe.vae.shift_factor = 0.1159;
	golden_build(&recipe, &facts, &latent, &record);
	assert_true(json_has(&record, "\"dtype\":\"float32\""));
	assert_true(json_has(&record, "\"posterior\":\"draw\",\"seed\":42,"));
	assert_true(json_has(&record, "\"shift_factor\":0.1159"));
	assert_non_null(record_member(&record, "latent.npy.zst"));
}

static void tiles_and_precision_are_recorded(void **state)
{
	struct recipe recipe = golden_recipe(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record whole = RECORD_INIT, tiled = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	golden_build(&recipe, &facts, &latent, &whole);
	assert_false(json_has(&whole, "tile_size"));
	recipe.tile = 512;
	recipe.precision = VAE_BFLOAT16;
	golden_build(&recipe, &facts, &latent, &tiled);
	assert_true(json_has(&tiled, "\"seed\":null,\"tile_size\":512,\"scaled\":false"));
	assert_true(json_has(&tiled, "\"precision\":\"bfloat16\""));
	assert_ok(record_facts_read(&tiled, &read, &err), &err);
}

static void an_image_that_overflowed_says_that_it_was_repeated_in_float32(void **state)
{
	struct recipe recipe = golden_recipe(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record usual = RECORD_INIT, repeated = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	recipe.precision = VAE_FLOAT16;
	golden_build(&recipe, &facts, &latent, &usual);
	assert_true(json_has(&usual, "\"precision\":\"float16\",\"posterior\""));
	facts.in_float32 = true;
	golden_build(&recipe, &facts, &latent, &repeated);
	assert_true(json_has(&repeated, "\"precision\":\"float32\",\"overflowed\":\"float16\""));
	assert_ok(record_facts_read(&repeated, &read, &err), &err);
}

static void moments_have_a_name_of_their_own(void **state)
{
	struct recipe recipe = golden_recipe(POSTERIOR_MOMENTS, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(8);
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	golden_build(&recipe, &facts, &latent, &record);
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
		struct recipe recipe = golden_recipe(POSTERIOR_MEAN, half ? DTYPE_F16 : DTYPE_F32);
		cleanup_record struct record record = RECORD_INIT;
		cleanup_ndarray struct ndarray stored = NDARRAY_INIT;
		struct record_facts read;
		struct error err = ERROR_INIT;

		recipe.scaled = true;
		recipe.vae.scaling_factor = 0.3611;
		recipe.vae.has_shift_factor = true;
		recipe.vae.shift_factor = 0.1159;
		golden_build(&recipe, &facts, &latent, &record);
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
	struct recipe recipe = golden_recipe(POSTERIOR_MOMENTS, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(8);
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts read;
	struct error err = ERROR_INIT;

	(void)state;
	recipe.scaled = true;
	golden_build(&recipe, &facts, &latent, &record);
	assert_error(record_facts_read(&record, &read, &err), &err, ERR_DATA);
}

static void without_a_codec_the_latent_is_a_plain_array(void **state)
{
	struct sample_facts facts = golden_facts();

	(void)state;
	for (int moments = 0; moments < 2; moments++) {
		struct recipe recipe =
		    golden_recipe(moments ? POSTERIOR_MOMENTS : POSTERIOR_MEAN, DTYPE_F16);
		cleanup_ndarray struct ndarray latent = golden_latent(moments ? 8 : 4);
		cleanup_ndarray struct ndarray plain = NDARRAY_INIT, read_back = NDARRAY_INIT;
		cleanup_record struct record record = RECORD_INIT;
		const struct record_member *member = &record.members[1];
		struct record_facts read;
		struct error err = ERROR_INIT;

		recipe.form.codec = OUTPUT_CODEC_NONE;
		golden_build(&recipe, &facts, &latent, &record);
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

static void a_copy_has_the_codec_of_its_recipe(void **state)
{
	const struct record_names names = {"dogs/rex", "dogs/rex.jpg", NULL, true, 5, NULL};
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);

	(void)state;
	for (int from = 0; from < 2; from++) {
		for (int to = 0; to < 2; to++) {
			struct recipe recipe = golden_recipe(POSTERIOR_MEAN, DTYPE_F16);
			cleanup_record struct record stored = RECORD_INIT, copy = RECORD_INIT,
						     fresh = RECORD_INIT;
			struct error err = ERROR_INIT;

			recipe.form.codec = (enum output_codec)from;
			golden_build(&recipe, &facts, &latent, &stored);
			recipe.form.codec = (enum output_codec)to;
			golden_build(&recipe, &facts, &latent, &fresh);
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
	struct recipe recipe = golden_recipe(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record record = RECORD_INIT;

	(void)state;
	recipe.policy.apply_exif = false;
	golden_build(&recipe, &facts, &latent, &record);
	assert_true(json_has(&record, "\"stored_size\":[480,640],\"orientation\":6,"
				      "\"original_size\":[480,640],"));
	assert_true(json_has(&record, "\"time_ids\":[640,480,1,0,16,24]"));
}

static void a_mirrored_record_has_its_own_key_and_crop_and_names_its_image(void **state)
{
	struct recipe recipe = golden_recipe(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts f;
	struct error err = ERROR_INIT;

	(void)state;
	facts.variant = VARIANT_FLIP;
	facts.placement.crop_left = 3;
	facts.placement.resized_width = 29; /* 24 from 3 on: 2 are left */
	golden_build(&recipe, &facts, &latent, &record);
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
	golden_record(&plain);
	golden_record(&bundle);
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
	struct recipe recipe = golden_recipe(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);
	cleanup_record struct record with = RECORD_INIT, without = RECORD_INIT;

	(void)state;
	facts.caption = NULL;
	golden_build(&recipe, &facts, &latent, &with);
	assert_int_equal(record_member(&with, "txt")->data.size, 0);
	assert_true(json_has(&with, "\"caption\":null"));
	facts.captions = false;
	golden_build(&recipe, &facts, &latent, &without);
	assert_null(record_member(&without, "txt"));
}

/* Builds with one value set to @value: 0, or the reason of the refusal in @err. */
static int build_with_value(enum dtype dtype, float value, struct error *err)
{
	struct recipe recipe = golden_recipe(POSTERIOR_MEAN, dtype);
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
	    cmocka_unit_test(a_copy_has_the_codec_of_its_recipe),
	    cmocka_unit_test(without_exif_the_original_size_is_the_stored_one),
	    cmocka_unit_test(a_mirrored_record_has_its_own_key_and_crop_and_names_its_image),
	    cmocka_unit_test(a_bundle_gives_back_each_variant_and_the_plain_one_as_it_was),
	    cmocka_unit_test(an_image_without_caption_has_an_empty_text_and_null),
	    cmocka_unit_test(a_value_that_float16_cannot_hold_is_refused),
	    cmocka_unit_test(float32_holds_everything_that_is_finite),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

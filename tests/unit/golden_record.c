#include "tests/unit/golden_record.h"

#include "tests/testing.h"

const char golden_json[] =
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

struct recipe golden_recipe(enum posterior posterior, enum dtype dtype)
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

struct sample_facts golden_facts(void)
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

struct ndarray golden_latent(size_t channels)
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

void golden_build(const struct recipe *recipe, const struct sample_facts *facts,
		  const struct ndarray *latent, struct record *out)
{
	struct error err = ERROR_INIT;

	assert_ok(record_build(recipe, facts, latent, 77, out, &err), &err);
}

void golden_record(struct record *out)
{
	struct recipe recipe = golden_recipe(POSTERIOR_MEAN, DTYPE_F16);
	struct sample_facts facts = golden_facts();
	cleanup_ndarray struct ndarray latent = golden_latent(4);

	golden_build(&recipe, &facts, &latent, out);
}

void golden_replace(struct record *record, const char *suffix, const void *data, size_t size)
{
	struct buffer *b = (struct buffer *)&record_member(record, suffix)->data;

	buffer_reset(b);
	buffer_append(b, data, size);
}

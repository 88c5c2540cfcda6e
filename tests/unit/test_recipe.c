/*
 * The golden texts and ids are Python's, from the same values:
 *	text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
 *	id = hashlib.sha256(text.encode()).hexdigest()[:32]
 * with weights_sha256 = hashlib.sha256(b"weights").hexdigest().
 */
#include "daemon/recipe.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

#define WEIGHTS "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"

static const char sdxl_text[] =
    "{\"buckets\":{\"max_bucket\":2048,\"min_bucket\":512,\"resolution\":1024,\"rule\":\"kohya\","
    "\"step\":64},\"latent\":{\"dtype\":\"float16\",\"posterior\":\"mean\",\"precision\":"
    "\"float32\",\"scaled\":false},\"pixels\":{\"alpha\":\"#ffffff\",\"color\":\"srgb\",\"crop\":"
    "\"center\",\"exif\":\"apply\",\"filter\":\"lanczos\"},\"v\":1,\"vae\":{\"block_out_channels\":"
    "[128,256,512,512],\"class\":\"AutoencoderKL\",\"latent_channels\":4,\"layers_per_block\":2,"
    "\"mid_block_add_attention\":true,\"norm_num_groups\":32,\"scaling_factor\":0.13025,"
    "\"shift_factor\":null,\"use_quant_conv\":true,\"weights_sha256\":\"" WEIGHTS
    "\"},\"variants\":[\"plain\"]}";
#define SDXL_ID "db93a8f6f747d1b13a441993d74acd2f"

static const char drawn_text[] =
    "{\"buckets\":{\"resolution\":512,\"rule\":\"square\"},\"latent\":{\"dtype\":\"float32\","
    "\"posterior\":\"draw\",\"precision\":\"float32\",\"scaled\":false,\"seed\":42},\"pixels\":{"
    "\"alpha\":\"#0080ff\",\"color\":\"ignore\",\"crop\":\"center\",\"exif\":\"ignore\","
    "\"filter\":\"box\"},\"v\":1,\"vae\":{\"block_out_channels\":[64,128],\"class\":\"fake\","
    "\"latent_channels\":16,\"layers_per_block\":1,\"mid_block_add_attention\":false,"
    "\"norm_num_groups\":16,\"scaling_factor\":0.3611,\"shift_factor\":0.1159,"
    "\"use_quant_conv\":false,\"weights_sha256\":\"" WEIGHTS "\"},\"variants\":[\"plain\"]}";
#define DRAWN_ID "b1b1c764cb88ae2f064296264b55bfeb"

static const char scaled_text[] =
    "{\"buckets\":{\"height\":512,\"rule\":\"square\",\"width\":768},\"latent\":{\"dtype"
    "\":\"float16\",\"posterior\":\"mean\",\"precision\":\"float32\",\"scaled\":false},\""
    "pixels\":{\"alpha\":\"drop\",\"color\":\"srgb\",\"crop\":\"center\",\"exif\":\"apply"
    "\",\"filter\":\"lanczos\",\"jpeg_scaling\":true},\"v\":1,\"vae\":{\"block_out_channe"
    "ls\":[128,256,512,512],\"class\":\"AutoencoderKL\",\"latent_channels\":4,\"layers_pe"
    "r_block\":2,\"mid_block_add_attention\":true,\"norm_num_groups\":32,\"scaling_factor"
    "\":0.13025,\"shift_factor\":null,\"use_quant_conv\":true,\"weights_sha256\":\"" WEIGHTS
    "\"},\"variants\":[\"plain\"]}";
#define SCALED_ID "b7daaafd3491f7aed0635c33fb1cb91d"

/* What SDXL's VAE and the defaults of latentctl give; not finished. */
static struct recipe sdxl(void)
{
	return (struct recipe){
	    .vae = {.blocks = 4,
		    .block_out_channels = {128, 256, 512, 512},
		    .layers_per_block = 2,
		    .norm_num_groups = 32,
		    .in_channels = 3,
		    .latent_channels = 4,
		    .use_quant_conv = true,
		    .mid_block_add_attention = true,
		    .force_upcast = true,
		    .scaling_factor = 0.13025,
		    .sample_size = 1024},
	    .weights = sha256_of("weights", 7),
	    .buckets = {.rule = BUCKET_KOHYA,
			.resolution = 1024,
			.min_bucket = 512,
			.max_bucket = 2048,
			.step = 64},
	    .filter = FILTER_LANCZOS,
	    .policy = IMAGE_POLICY_DEFAULT,
	    .posterior = POSTERIOR_MEAN,
	    .seed = 5,
	    .dtype = DTYPE_F16,
	};
}

static struct recipe drawn(void)
{
	return (struct recipe){
	    .fake = true,
	    .vae = {.blocks = 2,
		    .block_out_channels = {64, 128},
		    .layers_per_block = 1,
		    .norm_num_groups = 16,
		    .in_channels = 3,
		    .latent_channels = 16,
		    .scaling_factor = 0.3611,
		    .has_shift_factor = true,
		    .shift_factor = 0.1159},
	    .weights = sha256_of("weights", 7),
	    .buckets = {.rule = BUCKET_SQUARE, .resolution = 512},
	    .filter = FILTER_BOX,
	    .policy = {false, COLOR_IGNORE, ALPHA_OVER, {0, 128, 255}, false},
	    .posterior = POSTERIOR_DRAW,
	    .seed = 42,
	    .dtype = DTYPE_F32,
	};
}

static void the_canonical_text_and_id_are_pythons(void **state)
{
	struct recipe a = sdxl(), b = drawn();

	(void)state;
	recipe_finish(&a);
	recipe_finish(&b);
	assert_string_equal(a.json, sdxl_text);
	assert_string_equal(a.id, SDXL_ID);
	assert_string_equal(b.json, drawn_text);
	assert_string_equal(b.id, DRAWN_ID);
	recipe_release(&a);
	recipe_release(&b);
}

/* The same, with what only some recipes have. */
static void what_only_some_recipes_have_is_written_as_pythons_too(void **state)
{
	struct recipe r = sdxl();

	(void)state;
	r.buckets = (struct bucket_options){.rule = BUCKET_SQUARE, .width = 768, .height = 512};
	r.policy.alpha = ALPHA_DROP;
	r.policy.jpeg_scaling = true;
	recipe_finish(&r);
	assert_string_equal(r.json, scaled_text);
	assert_string_equal(r.id, SCALED_ID);
	recipe_release(&r);
}

/* With these filters it changes no pixel: two recipes for the same latents would be encoded twice. */
static void jpeg_scaling_is_no_part_of_a_recipe_that_it_does_not_change(void **state)
{
	static const enum resample_filter filters[] = {FILTER_NEAREST, FILTER_KOHYA};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		struct recipe a = sdxl(), b = sdxl();

		a.filter = b.filter = filters[i];
		b.policy.jpeg_scaling = true;
		recipe_finish(&a);
		recipe_finish(&b);
		assert_string_equal(a.json, b.json);
		recipe_release(&a);
		recipe_release(&b);
	}
}

static void finishing_twice_changes_nothing(void **state)
{
	struct recipe r = sdxl();

	(void)state;
	recipe_finish(&r);
	recipe_finish(&r);
	assert_string_equal(r.id, SDXL_ID);
	recipe_release(&r);
	recipe_release(&r);
}

/* -- what is part of the id ------------------------------------------------------------------------- */

/* Each changes one thing that decides a latent's value. */
static void change_fake(struct recipe *r)
{
	r->fake = true;
}
static void change_blocks(struct recipe *r)
{
	r->vae.blocks = 3;
}
static void change_channels(struct recipe *r)
{
	r->vae.block_out_channels[2] = 256;
}
static void change_layers(struct recipe *r)
{
	r->vae.layers_per_block = 3;
}
static void change_groups(struct recipe *r)
{
	r->vae.norm_num_groups = 16;
}
static void change_latent_channels(struct recipe *r)
{
	r->vae.latent_channels = 16;
}
static void change_quant_conv(struct recipe *r)
{
	r->vae.use_quant_conv = false;
}
static void change_attention(struct recipe *r)
{
	r->vae.mid_block_add_attention = false;
}
static void change_scaling(struct recipe *r)
{
	r->vae.scaling_factor = 0.18215;
}
static void change_shift(struct recipe *r)
{
	r->vae.has_shift_factor = true; /* of 0: written down, so another recipe */
}
static void change_weights(struct recipe *r)
{
	r->weights.bytes[31] ^= 1;
}
static void change_rule(struct recipe *r)
{
	r->buckets.rule = BUCKET_SQUARE;
}
static void change_resolution(struct recipe *r)
{
	r->buckets.resolution = 512;
}
static void change_min(struct recipe *r)
{
	r->buckets.min_bucket = 256;
}
static void change_max(struct recipe *r)
{
	r->buckets.max_bucket = 1536;
}
static void change_step(struct recipe *r)
{
	r->buckets.step = 32;
}
static void change_filter(struct recipe *r)
{
	r->filter = FILTER_BICUBIC;
}
static void change_exif(struct recipe *r)
{
	r->policy.apply_exif = false;
}
static void change_color(struct recipe *r)
{
	r->policy.color = COLOR_IGNORE;
}
static void change_background(struct recipe *r)
{
	r->policy.background[1] = 254;
}
static void change_alpha(struct recipe *r)
{
	r->policy.alpha = ALPHA_DROP;
}
static void change_jpeg_scaling(struct recipe *r)
{
	r->policy.jpeg_scaling = true;
}
static void change_width(struct recipe *r)
{
	r->buckets.width = 768;
}
static void change_height(struct recipe *r)
{
	r->buckets.height = 768;
}
static void change_posterior(struct recipe *r)
{
	r->posterior = POSTERIOR_MOMENTS;
}
static void change_dtype(struct recipe *r)
{
	r->dtype = DTYPE_F32;
}

static void change_scaled(struct recipe *r)
{
	r->scaled = true;
}

static void change_tiling(struct recipe *r)
{
	r->tile = 512;
}

static void change_precision(struct recipe *r)
{
	r->precision = VAE_BFLOAT16;
}

static void change_tile(struct recipe *r)
{
	r->tile = 256;
}

static void the_codec_is_no_part_of_a_recipe(void **state)
{
	struct recipe r = sdxl();

	(void)state;
	r.form.codec = OUTPUT_CODEC_NONE;
	recipe_finish(&r);
	assert_string_equal(r.id, SDXL_ID);
	recipe_release(&r);
}

static struct recipe declared(const char *name)
{
	struct recipe r = sdxl();

	snprintf(r.declared, sizeof(r.declared), "%s", name);
	r.posterior = POSTERIOR_DRAW;
	return r;
}

static void a_declared_vae_is_its_name_and_what_its_latents_are(void **state)
{
	struct recipe a = declared("sdxl"), b = declared("sdxl"), c = declared("mine"),
		      d = declared("sdxl");

	(void)state;
	b.weights.bytes[0]++; /* nobody knows them ... */
	b.vae.layers_per_block++;
	b.seed++; /* ... nor a seed */
	d.vae.scaling_factor *= 2;
	recipe_finish(&a);
	recipe_finish(&b);
	recipe_finish(&c);
	recipe_finish(&d);
	assert_string_equal(a.id, b.id);
	assert_string_not_equal(a.id, c.id);
	assert_string_not_equal(a.id, d.id);
	assert_non_null(strstr(a.json, "\"vae\":{\"class\":\"declared\",\"latent_channels\":4,"
				       "\"name\":\"sdxl\",\"scaling_factor\":0.13025,"
				       "\"shift_factor\":null}"));
	assert_null(strstr(a.json, "seed"));
	assert_null(strstr(a.json, "sha256"));
	assert_false(recipe_is_repeatable(&a));
	recipe_release(&a);
	recipe_release(&b);
	recipe_release(&c);
	recipe_release(&d);
}

static void every_part_of_a_recipe_makes_another_id(void **state)
{
	static void (*const changes[])(struct recipe *) = {
	    change_fake,       change_blocks,	  change_channels,
	    change_layers,     change_groups,	  change_latent_channels,
	    change_quant_conv, change_attention,  change_scaling,
	    change_shift,      change_weights,	  change_rule,
	    change_resolution, change_min,	  change_max,
	    change_step,       change_filter,	  change_exif,
	    change_color,      change_background, change_posterior,
	    change_dtype,      change_alpha,	  change_jpeg_scaling,
	    change_width,      change_height,	  change_scaled,
	    change_tiling,     change_tile,	  change_precision};
	char ids[ARRAY_SIZE(changes) + 1][RECIPE_ID_SIZE] = {SDXL_ID};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct recipe r = sdxl();

		changes[i](&r);
		recipe_finish(&r);
		for (size_t k = 0; k <= i; k++) {
			if (strcmp(ids[k], r.id) == 0)
				fail_msg("change %zu gives the id of %zu", i, k);
		}
		memcpy(ids[i + 1], r.id, RECIPE_ID_SIZE);
		recipe_release(&r);
	}
}

static void the_seed_counts_for_draws_only(void **state)
{
	struct recipe mean = sdxl(), draw = drawn();

	(void)state;
	mean.seed = 6;
	draw.seed = 43;
	recipe_finish(&mean);
	recipe_finish(&draw);
	assert_string_equal(mean.id, SDXL_ID);
	assert_string_not_equal(draw.id, DRAWN_ID);
	recipe_release(&mean);
	recipe_release(&draw);
}

static void what_decides_no_value_is_not_part_of_it(void **state)
{
	struct recipe r = sdxl();

	(void)state;
	r.vae.sample_size = 512;
	r.vae.force_upcast = false;
	r.vae.block_out_channels[VAE_MAX_BLOCKS - 1] = 99; /* behind the last block */
	r.buckets.min_side = 256;
	r.buckets.max_upscale = 2.0;
	r.buckets.max_crop_loss = 0.25;
	recipe_finish(&r);
	assert_string_equal(r.id, SDXL_ID);
	recipe_release(&r);
}

/* -- the difference ------------------------------------------------------------------------------- */

static void assert_difference(const char *stored, const char *asked, const char *want)
{
	cleanup_free char *got = recipe_difference(stored, asked);

	assert_string_equal(got, want);
}

static void the_difference_names_the_leaf_with_both_values(void **state)
{
	struct recipe a = sdxl(), b = sdxl();

	(void)state;
	b.buckets.resolution = 512;
	b.dtype = DTYPE_F32;
	recipe_finish(&a);
	recipe_finish(&b);
	assert_difference(a.json, b.json,
			  "buckets.resolution 1024, now 512; latent.dtype \"float16\", now "
			  "\"float32\"");
	assert_difference(a.json, a.json, "nothing");
	recipe_release(&a);
	recipe_release(&b);
}

static void a_leaf_on_one_side_only_is_none_on_the_other(void **state)
{
	(void)state;
	assert_difference("{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1}}", "a.c 2, now none");
	assert_difference("{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1,\"c\":2}}", "a.c none, now 2");
	assert_difference("{\"a\":[1,2]}", "{\"a\":[1,3]}", "a [1,2], now [1,3]");
	assert_difference("{\"a\":null}", "{\"a\":0.5}", "a null, now 0.5");
}

static void a_stored_text_that_is_no_json_is_a_difference_too(void **state)
{
	cleanup_free char *line = recipe_difference("not json", "{\"a\":1}");

	(void)state;
	assert_non_null(strstr(line, "none, now {\"a\":1}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_canonical_text_and_id_are_pythons),
	    cmocka_unit_test(what_only_some_recipes_have_is_written_as_pythons_too),
	    cmocka_unit_test(jpeg_scaling_is_no_part_of_a_recipe_that_it_does_not_change),
	    cmocka_unit_test(finishing_twice_changes_nothing),
	    cmocka_unit_test(the_codec_is_no_part_of_a_recipe),
	    cmocka_unit_test(a_declared_vae_is_its_name_and_what_its_latents_are),
	    cmocka_unit_test(every_part_of_a_recipe_makes_another_id),
	    cmocka_unit_test(the_seed_counts_for_draws_only),
	    cmocka_unit_test(what_decides_no_value_is_not_part_of_it),
	    cmocka_unit_test(the_difference_names_the_leaf_with_both_values),
	    cmocka_unit_test(a_leaf_on_one_side_only_is_none_on_the_other),
	    cmocka_unit_test(a_stored_text_that_is_no_json_is_a_difference_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

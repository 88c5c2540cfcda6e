#include "vae/vae_config.h"

#include "tests/testing.h"

#include <string.h>

#define CLASS "\"_class_name\": \"AutoencoderKL\""
#define FOUR_BLOCKS                                                                                \
	"\"block_out_channels\": [128, 256, 512, 512], \"down_block_types\": "                     \
	"[\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\", "                \
	"\"DownEncoderBlock2D\"]"

static int parse(const char *json, struct vae_config *c, struct error *err)
{
	return vae_config_parse(json, strlen(json), "config.json", c, err);
}

static void a_config_is_read(void **state)
{
	struct error err = ERROR_INIT;
	struct vae_config c;

	(void)state;
	assert_ok(
	    parse("{" CLASS ", " FOUR_BLOCKS
		  ", \"layers_per_block\": 2, \"norm_num_groups\": 16, \"latent_channels\": 16, "
		  "\"use_quant_conv\": false, \"use_post_quant_conv\": false, "
		  "\"mid_block_add_attention\": false, "
		  "\"force_upcast\": false, \"scaling_factor\": 0.3611, "
		  "\"shift_factor\": 0.1159, \"sample_size\": 1024, \"act_fn\": \"silu\"}",
		  &c, &err),
	    &err);
	assert_int_equal(c.blocks, 4);
	assert_int_equal(c.block_out_channels[1], 256);
	assert_int_equal(c.layers_per_block, 2);
	assert_int_equal(c.norm_num_groups, 16);
	assert_int_equal(c.latent_channels, 16);
	assert_false(c.use_quant_conv);
	assert_false(c.use_post_quant_conv);
	assert_int_equal(c.decoder_channels[3], 512);
	assert_false(c.mid_block_add_attention);
	assert_false(c.force_upcast);
	assert_true(c.scaling_factor == 0.3611);
	assert_true(c.has_shift_factor && c.shift_factor == 0.1159);
	assert_int_equal(c.sample_size, 1024);
	assert_int_equal(vae_config_downscale(&c), 8);
}

/* protocol-and-models.md 3.4: the class's defaults; sd-vae-ft-mse has no scaling_factor */
static void absent_keys_have_the_defaults_of_the_class(void **state)
{
	struct error err = ERROR_INIT;
	struct vae_config c;

	(void)state;
	assert_ok(
	    parse("{" CLASS ", \"shift_factor\": null, \"something_new\": [1, {}]}", &c, &err),
	    &err);
	assert_int_equal(c.blocks, 1);
	assert_int_equal(c.block_out_channels[0], 64);
	assert_int_equal(c.layers_per_block, 1);
	assert_int_equal(c.norm_num_groups, 32);
	assert_int_equal(c.latent_channels, 4);
	assert_true(c.use_quant_conv);
	assert_true(c.use_post_quant_conv);
	assert_int_equal(c.decoder_channels[0], 64);
	assert_true(c.mid_block_add_attention);
	assert_true(c.force_upcast);
	assert_true(c.scaling_factor == 0.18215);
	assert_false(c.has_shift_factor);
	assert_int_equal(c.sample_size, 32);
}

/* FLUX.2 has small decoders for the latents of the same encoder. */
static void flux2_may_have_a_decoder_of_other_channels(void **state)
{
	struct error err = ERROR_INIT;
	struct vae_config c;

	(void)state;
	assert_ok(parse("{\"_class_name\": \"AutoencoderKLFlux2\", "
			"\"decoder_block_out_channels\": [96, 192, 384, 384]}",
			&c, &err),
		  &err);
	assert_int_equal(c.block_out_channels[0], 128);
	assert_int_equal(c.decoder_channels[0], 96);
	assert_ptr_equal(vae_config_channels(&c, VAE_DECODER), c.decoder_channels);
	assert_error(parse("{\"_class_name\": \"AutoencoderKLFlux2\", "
			   "\"decoder_block_out_channels\": [96, 192]}",
			   &c, &err),
		     &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "expected null or a list of 4 channel counts"));
}

/* What is wrong, and what the one line must say about it. */
static void each_mistake_names_file_key_and_what_was_expected(void **state)
{
	static const struct {
		const char *json, *says;
	} cases[] = {
	    {"{", "config.json: line 1"},
	    {"[]", "expected a JSON object"},
	    {"{" CLASS ", " CLASS "}", "duplicate"},
	    {"{}", "_class_name is missing: expected \"AutoencoderKL\""},
	    {"{\"_class_name\": \"UNet2DModel\"}",
	     "_class_name is \"UNet2DModel\": expected \"AutoencoderKL\""},
	    {"{" CLASS ", \"act_fn\": \"relu\"}", "act_fn is \"relu\": expected \"silu\""},
	    {"{" CLASS ", \"block_out_channels\": []}", "block_out_channels is []"},
	    {"{" CLASS ", \"block_out_channels\": 64}", "block_out_channels is 64"},
	    {"{" CLASS ", \"block_out_channels\": [64, -64]}", "block_out_channels is [64,-64]"},
	    {"{" CLASS ", \"block_out_channels\": [64.5]}", "channel counts"},
	    {"{" CLASS ", \"block_out_channels\": [32,32,32,32,32,32,32,32,32]}", "1 to 8"},
	    {"{" CLASS ", \"block_out_channels\": [64, 64]}", "down_block_types is missing"},
	    {"{" CLASS ", \"block_out_channels\": [64], \"down_block_types\": [\"AttnDown\"]}",
	     "expected 1 times \"DownEncoderBlock2D\""},
	    {"{" CLASS ", \"norm_num_groups\": 24}", "norm_num_groups is 24: expected a divisor"},
	    {"{" CLASS ", \"norm_num_groups\": 0}", "norm_num_groups is 0"},
	    {"{" CLASS ", \"norm_num_groups\": null}", "norm_num_groups is null"},
	    {"{" CLASS ", \"layers_per_block\": \"2\"}", "layers_per_block is \"2\""},
	    {"{" CLASS ", \"latent_channels\": 99999999999}", "latent_channels is 99999999999"},
	    {"{" CLASS ", \"in_channels\": 4}", "in_channels is 4: expected 3"},
	    {"{" CLASS ", \"use_quant_conv\": 1}", "use_quant_conv is 1: expected true or false"},
	    {"{" CLASS ", \"scaling_factor\": 0}", "scaling_factor is 0"},
	    {"{" CLASS ", \"scaling_factor\": \"x\"}",
	     "scaling_factor is \"x\": expected a number"},
	    {"{" CLASS ", \"sample_size\": []}", "sample_size is []"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = ERROR_INIT;
		struct vae_config c = {.blocks = 77};

		assert_error(parse(cases[i].json, &c, &err), &err, ERR_CONFIG);
		if (!strstr(err.message, cases[i].says) || !strstr(err.message, "config.json"))
			fail_msg("case %zu says: %s", i, err.message);
		assert_int_equal(c.blocks, 77);
	}
}

#define TINY "{\"_class_name\": \"AutoencoderTiny\""

/* Of diffusers' AutoencoderTiny: as madebyollin/taesd has it, and the least of it. */
static void a_tiny_config_has_the_channels_of_its_latent_and_nothing_to_apply(void **state)
{
	static const char *const good[] = {
	    TINY "}",
	    TINY ", \"act_fn\": \"relu\", \"encoder_block_out_channels\": [64, 64, 64, 64], "
		 "\"num_encoder_blocks\": [1, 3, 3, 3], \"latent_channels\": 4, "
		 "\"scaling_factor\": 1.0, \"shift_factor\": 0.0, \"force_upcast\": false}"};
	static const char *const bad[] = {TINY ", \"act_fn\": \"silu\"}",
					  TINY ", \"scaling_factor\": 0.18215}",
					  TINY ", \"shift_factor\": 0.0609}",
					  TINY ", \"num_encoder_blocks\": [1, 3, 3]}",
					  TINY
					  ", \"encoder_block_out_channels\": [64, 64, 64, 32]}",
					  TINY ", \"encoder_block_out_channels\": 64}",
					  TINY ", \"latent_channels\": 0}",
					  TINY ", \"in_channels\": 4}"};
	struct error err = ERROR_INIT;
	struct vae_config c;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_ok(parse(good[i], &c, &err), &err);
		assert_true(vae_config_deterministic(&c));
		assert_int_equal(c.latent_channels, 4);
		assert_int_equal(vae_config_downscale(&c), 8);
		assert_true(c.scaling_factor == 1 && !c.has_shift_factor);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_error(parse(bad[i], &c, &err), &err, ERR_CONFIG);
		error_clear(&err);
	}
	/* a recipe of TAESANA */
	assert_ok(parse(TINY ", \"encoder_block_out_channels\": [32, 64, 64, 64, 64, 64], "
			     "\"latent_channels\": 32}",
			&c, &err),
		  &err);
	assert_int_equal(vae_config_downscale(&c), 32);
	assert_int_equal(c.latent_channels, 32);
}

static void a_file_that_is_no_config_is_an_error_of_config(void **state)
{
	struct error err = ERROR_INIT;
	struct vae_config c;
	char *dir = testing_tempdir(), *path = testing_path(dir, "config.json");

	(void)state;
	testing_write(path, "\x00\xff", 2);
	assert_error(vae_config_read(path, &c, &err), &err, ERR_CONFIG);
	assert_non_null(strstr(err.message, "config.json"));
	free(path);
	testing_tempdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_config_is_read),
	    cmocka_unit_test(absent_keys_have_the_defaults_of_the_class),
	    cmocka_unit_test(flux2_may_have_a_decoder_of_other_channels),
	    cmocka_unit_test(a_tiny_config_has_the_channels_of_its_latent_and_nothing_to_apply),
	    cmocka_unit_test(each_mistake_names_file_key_and_what_was_expected),
	    cmocka_unit_test(a_file_that_is_no_config_is_an_error_of_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

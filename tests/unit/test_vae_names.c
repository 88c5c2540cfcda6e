/*
 * Names in files. The table of pairs was made from files of the reference implementation by comparing values, not
 * names.
 */
#include "vae/vae_names.h"

#include "tests/golden/vae_testing.h"
#include "tests/testing.h"

#include <stdio.h>
#include <string.h>

enum { BLOCKS = 4 }; /* of the decoders in the table */

static void assert_name(enum vae_naming naming, const char *canonical, const char *want)
{
	char name[VAE_NAME_SIZE];
	bool differs = vae_name_in(naming, canonical, BLOCKS, name);

	assert_int_equal(differs, strcmp(canonical, want) != 0);
	if (differs)
		assert_string_equal(name, want);
}

static void check_row(const char *canonical, const char *ldm, const char *old)
{
	assert_name(VAE_NAMING_LDM, canonical, ldm);
	assert_name(VAE_NAMING_OLD_ATTENTION, canonical, old);
	assert_name(VAE_NAMING_DIFFUSERS, canonical, canonical);
}

static void every_tensor_has_the_names_of_the_reference_files(void **state)
{
	(void)state;
	vae_testing_each_name(check_row);
}

static void numbers_are_carried_over_whatever_they_are(void **state)
{
	(void)state;
	assert_name(VAE_NAMING_LDM, "encoder.down_blocks.12.resnets.345.conv_shortcut.bias",
		    "encoder.down.12.block.345.nin_shortcut.bias");
	assert_name(VAE_NAMING_LDM, "encoder.down_blocks.7.downsamplers.0.conv.weight",
		    "encoder.down.7.downsample.conv.weight");
	assert_name(VAE_NAMING_LDM_FLUX2, "quant_conv.weight", "encoder.quant_conv.weight");
	assert_name(VAE_NAMING_LDM_FLUX2, "post_quant_conv.bias", "decoder.post_quant_conv.bias");
}

static void names_that_only_look_alike_stay(void **state)
{
	static const char *const names[] = {
	    "",
	    "encoder.down_blocks.",
	    "encoder.down_blocks.x.resnets.0.conv1.weight",
	    "encoder.down_blocks.0.resnets..conv1.weight",
	    "xencoder.down_blocks.0.resnets.0.conv1.weight",
	    "encoder.down_blocks.0.downsamplers.1.conv.weight",
	    "decoder.conv_norm_outx.weight",
	    "decoder.up_blocks.4.resnets.0.conv1.weight", /* of four */
	    "decoder.up_blocks.01.resnets.0.conv1.weight",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (int naming = 0; naming < VAE_NAMINGS; naming++)
			assert_name((enum vae_naming)naming, names[i], names[i]);
}

/* A number may have any length in a name that somebody made up. */
static void a_name_that_does_not_fit_is_none(void **state)
{
	char canonical[2 * VAE_NAME_SIZE], name[VAE_NAME_SIZE];
	int length;

	(void)state;
	for (int width = 1; width < VAE_NAME_SIZE + 20; width++) {
		bool fits;

		snprintf(canonical, sizeof(canonical), "encoder.down_blocks.%0*d.resnets.0.x",
			 width, 0);
		length = snprintf(NULL, 0, "encoder.down.%0*d.block.0.x", width, 0);
		fits = vae_name_in(VAE_NAMING_LDM, canonical, BLOCKS, name);
		assert_int_equal(fits, length < VAE_NAME_SIZE);
		if (fits)
			assert_int_equal(strlen(name), length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_tensor_has_the_names_of_the_reference_files),
	    cmocka_unit_test(numbers_are_carried_over_whatever_they_are),
	    cmocka_unit_test(names_that_only_look_alike_stay),
	    cmocka_unit_test(a_name_that_does_not_fit_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Sizes against the published ones: parameters as the model cards have them, operations as PyTorch counts them.
 */
#include "vae/vae_cost.h"

#include "tests/golden/vae_testing.h"
#include "tests/testing.h"

#include <math.h>
#include <string.h>

static void parameters_are_those_of_the_published_encoders(void **state)
{
	static const size_t cogview4[] = {128, 512, 1024, 1024};
	struct vae_config sd = vae_testing_standard(4, true),
			  flux1 = vae_testing_standard(16, false);
	struct vae_config flux2 = vae_testing_standard(32, false), c = flux1;

	(void)state;
	assert_int_equal(vae_cost_parameters(&sd, VAE_ENCODER), 34163592 + 4 * 4 * 4 + 2 * 4);
	assert_int_equal(vae_cost_parameters(&flux1, VAE_ENCODER), 34274208);
	assert_int_equal(vae_cost_parameters(&flux2, VAE_ENCODER), 34421696);
	memcpy(c.block_out_channels, cogview4, sizeof(cogview4));
	c.layers_per_block = 3;
	c.mid_block_add_attention = false;
	assert_int_equal(vae_cost_parameters(&c, VAE_ENCODER), 172443808);
}

/* protocol-and-models.md 3.5 */
static void parameters_are_those_of_the_published_tiny_encoders(void **state)
{
	struct vae_config c;

	(void)state;
	vae_config_tiny(8, 4, &c);
	assert_int_equal(vae_cost_parameters(&c, VAE_ENCODER), 1222532);
	vae_config_tiny(32, 32, &c);
	assert_int_equal(vae_cost_parameters(&c, VAE_ENCODER), 1256288);
}

/* GMAC: 2 operations each */
static void operations_are_those_of_the_standard_encoder(void **state)
{
	static const struct {
		size_t side;
		double gmac;
	} sizes[] = {{256, 136.4}, {512, 558.3}, {1024, 2439.5}, {2048, 13056.4}};
	struct vae_config c = vae_testing_standard(4, true);

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		double got = vae_cost_flop(&c, VAE_ENCODER, sizes[i].side, sizes[i].side) / 2e9;

		if (fabs(got - sizes[i].gmac) > 0.06)
			fail_msg("%zu: %.2f GMAC, not %.1f", sizes[i].side, got, sizes[i].gmac);
	}
}

/* Those of SD's, as PyTorch counts them: 49.49 million parameters, 2.5 TFLOP for 512x512. */
static void a_decoder_costs_what_the_published_one_does(void **state)
{
	struct vae_config sd = vae_testing_standard(4, true);

	(void)state;
	assert_int_equal(vae_cost_parameters(&sd, VAE_DECODER), 49490199);
	if (fabs(vae_cost_flop(&sd, VAE_DECODER, 64, 64) / 2e9 - 1257.26) > 0.06)
		fail_msg("%.2f GMAC", vae_cost_flop(&sd, VAE_DECODER, 64, 64) / 2e9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parameters_are_those_of_the_published_encoders),
	    cmocka_unit_test(parameters_are_those_of_the_published_tiny_encoders),
	    cmocka_unit_test(operations_are_those_of_the_standard_encoder),
	    cmocka_unit_test(a_decoder_costs_what_the_published_one_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

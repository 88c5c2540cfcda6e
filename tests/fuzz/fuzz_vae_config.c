/* Any bytes: what is accepted must be a config that an encoder can be built from. */
#include "vae/vae_config.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct vae_config c;

	if (vae_config_parse((const char *)data, size, "fuzz", &c, &err) < 0) {
		if (err.code != ERR_CONFIG)
			abort();
		return 0;
	}
	if (c.blocks < 1 || c.blocks > VAE_MAX_BLOCKS || c.layers_per_block < 1 ||
	    c.latent_channels < 1 || c.in_channels != 3 || !(c.scaling_factor > 0))
		abort();
	for (size_t i = 0; i < c.blocks; i++) {
		if (c.block_out_channels[i] < 1 || c.block_out_channels[i] % c.norm_num_groups != 0)
			abort();
	}
	return 0;
}

/*
 * Any bytes: open, look at every tensor, read what can be read; and find an encoder in it under any of its names, with
 * a config that it could have.
 */
#include "vae/kl_weights.h"
#include "vae/pickle.h"
#include "vae/vae_shapes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_for_an_encoder(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct kl_weights *weights = kl_weights_open_memory(data, size, &err);
	struct vae_config c;
	double mean[4];

	if (!weights) {
		if (err.code != ERR_CONFIG)
			abort();
		return;
	}
	if (vae_shapes_config(weights, &c, &err) == 0) {
		if (c.blocks < 1 || c.blocks > VAE_MAX_BLOCKS || c.latent_channels < 1 ||
		    c.n_statistics > VAE_MAX_STATISTICS)
			abort();
		for (size_t i = 0; i < c.blocks; i++) {
			if (c.block_out_channels[i] < 1 ||
			    c.block_out_channels[i] % c.norm_num_groups != 0)
				abort();
		}
	} else if (err.code != ERR_CONFIG) {
		abort();
	}
	error_clear(&err);
	if (kl_weights_read_vector(weights, "edm_mean", 4, mean, &err) < 0 &&
	    err.code != ERR_CONFIG)
		abort();
	error_clear(&err);
	kl_weights_check_rest(weights, VAE_ENCODER, &err);
	kl_weights_close(weights);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct safetensors *file = safetensors_open_memory(data, size, &err);

	if (file && pickle_bytes(data, size))
		abort(); /* it would be refused for what it is not */
	if (!file)
		return 0;
	for (size_t i = 0; i < safetensors_count(file); i++) {
		const struct safetensor *t = safetensors_at(file, i);
		float *values;

		if (!safetensors_find(file, t->name) || t->offset + t->bytes > size)
			abort();
		/* readable ones are bounded by the input's size; the others' counts are not */
		values = t->dtype == ST_OTHER ? NULL : malloc(t->count * sizeof(float) + 1);
		error_clear(&err);
		if ((safetensors_read_f32(file, t, values, &err) == 0) != (values != NULL))
			abort();
		free(values);
	}
	safetensors_close(file);
	look_for_an_encoder(data, size);
	return 0;
}

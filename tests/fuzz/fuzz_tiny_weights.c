/*
 * Any bytes: an AutoencoderTiny's parts looked for in them, and tensors read by numbers that networks have.
 */
#include "vae/tiny_weights.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
	if (!ok)
		abort();
}

static void read_some(struct tiny_weights *w)
{
	static const char *const names[] = {"1.weight", "3.conv.0.weight", "8.conv.0.weight",
					    "18.conv.0.weight", "14.weight"};
	struct sha256 hash;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t shape[4] = {
		    tiny_weights_side(w, names[i], 0), tiny_weights_side(w, names[i], 1),
		    tiny_weights_side(w, names[i], 2), tiny_weights_side(w, names[i], 3)};
		struct error err = ERROR_INIT;
		float *values = NULL;

		check((shape[0] == 0) == (shape[1] == 0) || tiny_weights_has(w, names[i]));
		if (tiny_weights_read(w, names[i], 4, shape, &values, &err) < 0)
			check(err.code == ERR_CONFIG && !values);
		free(values);
	}
	tiny_weights_hash(w, &hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int part = VAE_ENCODER; part <= VAE_DECODER; part++) {
		struct error err = ERROR_INIT;
		struct tiny_weights *w =
		    tiny_weights_open_memory(data, size, (enum vae_part)part, &err);

		if (!w) {
			check(err.code == ERR_CONFIG);
			continue;
		}
		read_some(w);
		if (tiny_weights_check_rest(w, &err) < 0)
			check(err.code == ERR_CONFIG);
		tiny_weights_close(w);
	}
	return 0;
}

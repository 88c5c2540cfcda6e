/* Any bytes as the answer to GET /v1/model: foreign, refused, or a model whose numbers agree with each other. */
#include "encoder/endpoint_model.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct endpoint_model model = {.latentd = false};
	struct error err = ERROR_INIT;

	if (endpoint_model_parse((const char *)data, size, &model, &err) < 0) {
		if (err.code != ERR_DATA || strcmp(err.reason, "model") != 0)
			abort();
		return 0;
	}
	if (model.latentd && (model.vae.latent_channels == 0 || model.size_multiple == 0 ||
			      (!model.fake && model.vae.blocks == 0)))
		abort();
	return 0;
}

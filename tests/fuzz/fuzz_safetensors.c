/* Any bytes: open, look at every tensor, read what can be read. */
#include "vae/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct safetensors *file = safetensors_open_memory(data, size, &err);

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
	return 0;
}

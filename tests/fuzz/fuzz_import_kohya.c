/* A name up to the first NUL, then a file: what is taken has the shape and the
 * size that it says, and finite values. */
#include "daemon/import_kohya.h"

#include "storage/npz.h"

#include <assert.h>
#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct import_name *name, const struct import_file *file)
{
	const struct bucket_placement *p = &file->placement;
	const float *v = file->latent.data;

	assert(file->latent.shape[0] == name->arch->channels);
	for (size_t i = 0; i < ndarray_count(&file->latent); i++)
		assert(isfinite(v[i]));
	assert(p->crop_left + p->target_width <= p->resized_width);
	assert(p->crop_top + p->target_height <= p->resized_height);
	assert(p->target_width == file->latent.shape[2] * 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);
	cleanup_npz struct npz npz = {.n = 0};
	struct import_name name = {.path = NULL};
	struct import_file file = {.flipped = 0};
	struct error err = ERROR_INIT, wrong = ERROR_INIT;

	if (!end || !import_name_parse((const char *)data, &name))
		return 0;
	if (npz_read(end + 1, size - (size_t)(end + 1 - data), (size_t)64 << 20, &npz, &err) == 0 &&
	    import_arrays_read(&npz, &name, &file, &wrong) == 0) {
		check(&name, &file);
		import_file_release(&file);
	}
	import_name_release(&name);
	return 0;
}

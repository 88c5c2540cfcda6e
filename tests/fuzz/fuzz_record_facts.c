/*
 * KEY.json and the latent of a shard that anybody may have written: text up to the first NUL byte, the
 * frame behind it. Whatever is accepted keeps the promises of record_facts.h.
 */
#include "daemon/latent_space.h"

#include <stdlib.h>
#include <string.h>

#define LATENT_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void read_latent(const struct record *record, const struct record_facts *facts)
{
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	struct error err = ERROR_INIT;
	struct hash128 hash;

	if (record_latent_read(record, facts, &latent, &err) < 0) {
		check(err.code == ERR_DATA && !latent.data);
		return;
	}
	hash = hash128_of(latent.data, latent.bytes);
	check(latent.ndim == 3 && latent.shape[0] == facts->channels &&
	      latent.dtype == facts->dtype && hash128_equal(&hash, &facts->latent));
}

static void read_space(const struct record *record, const struct record_facts *facts)
{
	struct error err = ERROR_INIT;
	struct latent_space space;

	if (latent_space_read(record, facts, &space, &err) < 0) {
		check(err.code == ERR_DATA && strcmp(err.reason, "record") == 0);
		return;
	}
	check(space.vae.scaling_factor > 0 &&
	      (space.vae.patch_size == 1 || space.vae.patch_size == 2) &&
	      space.vae.n_statistics <= VAE_MAX_STATISTICS);
	check(space.vae.n_statistics == 0 || space.vae.n_statistics == space.vae.latent_channels *
									   space.vae.patch_size *
									   space.vae.patch_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
	size_t text = end ? (size_t)(end - data) : size;
	cleanup_record struct record record = RECORD_INIT;
	struct record_facts facts;
	struct error err = ERROR_INIT;

	check(record_init(&record, "cats/tom", "", &err) == 0 &&
	      record_add(&record, "json", data, text, &err) == 0);
	/* A frame, or the array itself. */
	if (end)
		check(record_add(&record,
				 size - text > 5 && memcmp(end + 1, "\x93NUM", 4) == 0
				     ? "latent.npy"
				     : "latent.npy.zst",
				 end + 1, size - text - 1, &err) == 0);
	if (record_facts_read(&record, &facts, &err) < 0) {
		check(err.code == ERR_DATA && strcmp(err.reason, "record") == 0);
		return 0;
	}
	check(strcmp(facts.key, "cats/tom") == 0 && facts.path[0] && facts.channels > 0 &&
	      facts.height > 0 && facts.width > 0 && facts.target_width > 0 &&
	      facts.target_height > 0 && strlen(facts.recipe_id) == RECIPE_ID_SIZE - 1);
	read_space(&record, &facts);
	/* Memory follows the shape that the text names; the machine of a fuzzer has less. */
	if (facts.channels * facts.height < LATENT_MAX / facts.width)
		read_latent(&record, &facts);
	return 0;
}

/*
 * bench_seal FOLDER [SAMPLES [BYTES]]: seals one shard of SAMPLES records with BYTES each (1000 of 256 KiB): written,
 * hashed, fsynced, read back, compared and published.
 */
#include "bench/bench.h"

#include "base/checked.h"
#include "storage/seal.h"

#include <string.h>

static int load(void *arg, size_t index, struct record *out, struct error *err)
{
	struct buffer *data = arg;
	char key[32];

	snprintf(key, sizeof(key), "sample%06zu", index);
	memcpy(data->data, &index, sizeof(index));
	if (record_init(out, key, "512x512", err) < 0)
		return -1;
	return record_add(out, "latent.npy.zst", data->data, data->size, err);
}

int main(int argc, char **argv)
{
	size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
	size_t bytes = argc > 3 ? strtoul(argv[3], NULL, 10) : 256 * 1024;
	struct buffer data = BUFFER_INIT;
	struct sealed_shard sealed;
	struct error err = ERROR_INIT;
	struct store *store = NULL;
	struct seal_target target = {.format = shard_format("wds"), .folder = "train/512x512"};
	double began, took;

	if (argc < 2) {
		fprintf(stderr, "usage: bench_seal FOLDER [SAMPLES [BYTES]]\n");
		return 2;
	}
	buffer_append_zeros(&data, bytes < 64 ? 64 : bytes);
	for (size_t i = 0; i < data.size; i++)
		data.data[i] = (uint8_t)(i * 2654435761u >> 13);
	bench_must(store_local_open(argv[1], false, &store, &err), &err);
	target.store = store;
	began = bench_seconds();
	bench_must(seal_shard(&target, load, &data, n, &sealed, &err), &err);
	took = bench_seconds() - began;
	printf("%s: %zu samples, %.1f MB in %.3f s, %.0f MB/s\n", sealed.name, n,
	       (double)sealed.bytes / 1e6, took, (double)sealed.bytes / 1e6 / took);
	sealed_shard_release(&sealed);
	store_close(store);
	buffer_release(&data);
	return 0;
}

#include "daemon/dataset_splits.h"

#include "base/checked.h"
#include "base/hash.h"

#include <string.h>

/* Not that of `encode --part`, so that a part has both. */
#define SPLIT_SEED 1

static const char *const splits[] = {"train", "val"};

int splits_list(struct store *store, store_object_fn fn, void *arg, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(splits); i++) {
		int r = store_list(store, splits[i], fn, arg, err);

		if (r != 0)
			return r;
	}
	return 0;
}

const char *split_of(const char *path)
{
	return strncmp(path, "val/", 4) == 0 ? splits[1] : splits[0];
}

/* The upper 53 bits as a fraction of 1. */
const char *split_of_key(const char *key, double share)
{
	uint64_t hash = hash64_of(key, strlen(key), SPLIT_SEED);

	return (double)(hash >> 11) * 0x1p-53 < share ? splits[1] : splits[0];
}

#include "storage/shard.h"

#include "base/checked.h"
#include "storage/shard_mds.h"
#include "storage/shard_wds.h"

#include <string.h>

static const struct shard_ops *const formats[] = {&shard_wds_ops, &shard_mds_ops};

const struct shard_ops *shard_format(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	}
	return NULL;
}

const struct shard_ops *shard_format_of_file(const char *path)
{
	size_t length = strlen(path);

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		size_t n = strlen(formats[i]->extension);

		if (length > n && strcmp(path + length - n, formats[i]->extension) == 0)
			return formats[i];
	}
	return NULL;
}

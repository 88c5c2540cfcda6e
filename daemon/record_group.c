#include "daemon/record_group.h"

#include <stdio.h>
#include <string.h>

void record_group(const struct bucket_placement *p, char out[RECORD_GROUP_SIZE])
{
	snprintf(out, RECORD_GROUP_SIZE, "%zux%zu", p->target_width, p->target_height);
}

void record_group_of_shard(const char *name, char out[RECORD_GROUP_SIZE])
{
	const char *slash = strchr(name, '/'), *end = slash ? strchr(slash + 1, '/') : NULL;
	size_t n = end ? (size_t)(end - slash - 1) : 0;

	snprintf(out, RECORD_GROUP_SIZE, "%.*s", (int)n, n > 0 ? slash + 1 : "");
}

bool record_group_has(const char *group, size_t width, size_t height)
{
	char size[48];
	size_t n = (size_t)snprintf(size, sizeof(size), "%zux%zu", width, height);

	for (const char *at = group; at; at = strchr(at, '_') ? strchr(at, '_') + 1 : NULL) {
		if (strncmp(at, size, n) == 0 && (at[n] == '_' || at[n] == '\0'))
			return true;
	}
	return false;
}

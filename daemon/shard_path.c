#include "daemon/shard_path.h"

#include "base/checked.h"

#include <string.h>

int shard_path_open(const char *path, struct shard_path *out, struct error *err)
{
	struct shard_path p = SHARD_PATH_INIT;
	cleanup_free char *folder = realpath(path, NULL);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!slash || !slash[1])
		return error_sys(err, "%s", path);
	p.format = shard_format_of_file(folder);
	if (!p.format)
		return error_set(err, ERR_CONFIG,
				 "%s is not a shard: its name should end in .tar or .mds.zstd",
				 path);
	p.name = xstrdup(slash + 1);
	slash[slash == folder] = '\0';
	if (store_local_open(folder, true, &p.store, err) < 0) {
		free(p.name);
		return -1;
	}
	*out = p;
	return 0;
}

void shard_path_close(struct shard_path *p)
{
	store_close(p->store);
	free(p->name);
	*p = (struct shard_path)SHARD_PATH_INIT;
}

#include "config/read_options.h"
#include "daemon/commands.h"
#include "daemon/record_build.h"
#include "daemon/shard_path.h"

#include "storage/seal.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"

#include <stdio.h>
#include <string.h>

enum { EXTRACT_FOUND = 1 };

struct extract {
	const char *key, *folder;
};

/* KEY.SUFFIX below the folder; a key's own folders are made. */
static int write_member(const struct extract *x, const char *suffix, const void *data, size_t size,
			struct error *err)
{
	cleanup_free char *path = xasprintf("%s/%s.%s", x->folder, x->key, suffix);
	char *slash = strrchr(path, '/');

	*slash = '\0';
	if (dir_make(path, err) < 0)
		return -1;
	*slash = '/';
	if (atomic_file_write(path, data, size, err) < 0)
		return -1;
	printf("%s\n", path);
	return 0;
}

/* The latent as a plain .npy, checked; everything else as it is. */
static int extract_record(const struct extract *x, const struct record *record, struct error *err)
{
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	cleanup_buffer struct buffer npy = BUFFER_INIT;
	struct record_facts facts;

	if (record_facts_read(record, &facts, err) < 0 ||
	    record_latent_read(record, &facts, &latent, err) < 0)
		return -1;
	npy_write(&npy, &latent);
	for (size_t i = 0; i < record->n_members; i++) {
		const struct record_member *m = &record->members[i];

		if (strstr(m->suffix, ".npy.zst"))
			continue;
		if (write_member(x, m->suffix, m->data.data, m->data.size, err) < 0)
			return -1;
	}
	return write_member(x, facts.moments ? "moments.npy" : "latent.npy", npy.data, npy.size,
			    err);
}

/* A key of a foreign shard must not lead out of the folder. */
static bool stays_inside(const char *key)
{
	return key[0] != '/' && !strstr(key, "..");
}

static int on_record(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	const struct extract *x = arg;

	(void)span;
	if (strcmp(record->key, x->key) != 0)
		return 0;
	return extract_record(x, record, err) < 0 ? -1 : EXTRACT_FOUND;
}

int cmd_extract(int argc, char **argv, struct error *err)
{
	static const char usage[] = "extract SHARD KEY [--to DIR]";
	cleanup_shard_path struct shard_path shard = SHARD_PATH_INIT;
	cleanup_free const char **words = xcalloc((size_t)argc, sizeof(*words));
	struct read_options options = {.out = NULL};
	struct extract extract;
	size_t n = 0;
	int code, r;

	if (read_options_parse(argc, argv, "to", usage, &options, words, &n, &code))
		return code;
	if (n != 2) {
		fprintf(stderr, "usage: latentctl %s\n", usage);
		return EXIT_USAGE;
	}
	extract = (struct extract){words[1], options.to};
	if (!stays_inside(extract.key))
		return error_set(err, ERR_CONFIG, "%s is not a key", extract.key);
	if (shard_path_open(words[0], &shard, err) < 0)
		return -1;
	r = shard_read_stored(shard.store, shard.name, on_record, &extract, err);
	if (r == 0)
		return error_set(err, ERR_CONFIG,
				 "%s holds no sample %s (latentctl inspect lists its keys)",
				 words[0], extract.key);
	return r == EXTRACT_FOUND ? EXIT_OK : -1;
}

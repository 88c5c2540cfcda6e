#include "daemon/commands.h"
#include "daemon/record_facts.h"
#include "daemon/shard_path.h"

#include "storage/seal.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { EXTRACT_FOUND = 1 };

struct extract {
	const char *key, *folder;
	bool writing; /* what fails from here on is not the shard's fault */
};

struct extracted_file {
	char *path;
	const void *data;
	size_t size;
};

static void add_file(const struct extract *x, const char *suffix, const struct buffer *data,
		     struct extracted_file *out)
{
	*out = (struct extracted_file){xasprintf("%s/%s.%s", x->folder, x->key, suffix), data->data,
				       data->size};
}

static int refuse_existing(const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	return error_set(err, ERR_CONFIG, "%s exists: nothing is overwritten",
			 text_quote(path, quoted));
}

/* Makes a key's own folders; a file that came into being meanwhile is left alone. */
static int write_file(const struct extracted_file *file, struct error *err)
{
	struct atomic_file temporary = ATOMIC_FILE_INIT;
	cleanup_free char *folder = xstrdup(file->path);
	int r;

	*strrchr(folder, '/') = '\0';
	if (dir_make(folder, err) < 0 || atomic_file_begin(&temporary, folder, err) < 0)
		return -1;
	r = fd_write_all(temporary.fd, file->data, file->size, err);
	if (r == 0)
		r = atomic_file_commit(&temporary, file->path, ATOMIC_NO_REPLACE, err);
	atomic_file_abort(&temporary);
	if (r == ATOMIC_EXISTS)
		return refuse_existing(file->path, err);
	if (r == 0)
		printf("%s\n", file->path);
	return r;
}

static int write_files(const struct extracted_file *files, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		if (file_exists(files[i].path))
			return refuse_existing(files[i].path, err);
	}
	for (size_t i = 0; i < n; i++) {
		if (write_file(&files[i], err) < 0)
			return -1;
	}
	return 0;
}

/* The latent as a plain .npy, checked; everything else as it is. */
static int extract_record(struct extract *x, const struct record *record, struct error *err)
{
	cleanup_ndarray struct ndarray latent = NDARRAY_INIT;
	cleanup_buffer struct buffer npy = BUFFER_INIT;
	cleanup_free struct extracted_file *files = NULL;
	struct record_facts facts;
	size_t n = 0;
	int r;

	if (record_facts_read(record, &facts, err) < 0 ||
	    record_latent_read(record, &facts, &latent, err) < 0)
		return -1;
	x->writing = true;
	npy_write(&npy, &latent);
	files = xcalloc(record->n_members + 1, sizeof(*files));
	for (size_t i = 0; i < record->n_members; i++) {
		const struct record_member *m = &record->members[i];

		if (!strstr(m->suffix, ".npy"))
			add_file(x, m->suffix, &m->data, &files[n++]);
	}
	add_file(x, facts.moments ? "moments.npy" : "latent.npy", &npy, &files[n++]);
	r = write_files(files, n, err);
	for (size_t i = 0; i < n; i++)
		free(files[i].path);
	return r;
}

/* A key of a foreign shard must not lead out of the folder. */
static bool stays_inside(const char *key)
{
	return key[0] != '/' && !strstr(key, "..");
}

static int on_record(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	struct extract *x = arg;

	(void)span;
	if (strcmp(record->key, x->key) != 0)
		return 0;
	return extract_record(x, record, err) < 0 ? -1 : EXTRACT_FOUND;
}

int cmd_extract(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {"to", 2, "extract SHARD KEY [--to DIR]"};
	cleanup_shard_path struct shard_path shard = SHARD_PATH_INIT;
	struct read_options options = {.out = NULL};
	struct extract extract;
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	extract = (struct extract){options.words[1], options.to, false};
	if (!stays_inside(extract.key))
		return error_set(err, ERR_CONFIG, "%s is not a key", extract.key);
	if (shard_path_open(options.words[0], &shard, err) < 0)
		return -1;
	r = shard_read_stored(shard.store, shard.name, on_record, &extract, err);
	if (r == 0)
		return error_set(err, ERR_CONFIG,
				 "%s holds no sample %s (latentctl inspect lists its keys)",
				 options.words[0], extract.key);
	if (r < 0)
		return extract.writing ? -1 : shard_failed("extract", options.words[0], err);
	return EXIT_OK;
}

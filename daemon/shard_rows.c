#include "daemon/shard_rows.h"

#include "daemon/record_facts.h"
#include "daemon/record_group.h"

#include "source/sample_key.h"
#include "storage/seal.h"

#include "base/checked.h"
#include "base/files.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Sources of one dataset whose tails are tried: far more than anybody gives. */
enum { ROOTS_MAX = 256 };

struct reading {
	const struct shard_rows_options *options;
	struct shard_rows *rows;
	char recipe_id[RECIPE_ID_SIZE];
	char group[RECORD_GROUP_SIZE];
	struct sample_row *samples;
	size_t n, capacity;
};

static const char *keep(struct shard_rows *rows, const char *text)
{
	ARRAY_GROW(rows->strings, rows->n_strings, rows->capacity);
	rows->strings[rows->n_strings] = xstrdup(text);
	return rows->strings[rows->n_strings++];
}

static uint32_t root_by_file(const struct shard_rows_options *o, const char *path)
{
	for (size_t i = 0; i < o->n_roots; i++) {
		cleanup_free char *full = xasprintf("%s/%s", o->roots[i].path, path);

		if (file_exists(full))
			return o->roots[i].number;
	}
	return 0;
}

static uint32_t root_of(const struct shard_rows_options *o, const struct record_facts *f)
{
	char key[SAMPLE_KEY_SIZE];

	sample_key(f->path, key);
	if (strcmp(f->image, key) == 0)
		return root_by_file(o, f->path);
	for (uint32_t root = 0; root < ROOTS_MAX; root++) {
		cleanup_free char *distinction = xasprintf("%u/%s", root, f->path);

		sample_key_distinct(f->path, distinction, key);
		if (strcmp(f->image, key) == 0)
			return root;
	}
	return root_by_file(o, f->path);
}

/* What a shard's records have in common, from the first one. */
static int check_common(struct reading *r, const struct record_facts *f, struct error *err)
{
	const char *wanted = r->options->recipe_id;

	if (r->n == 0)
		memcpy(r->recipe_id, f->recipe_id, sizeof(r->recipe_id));
	if (strcmp(f->recipe_id, wanted ? wanted : r->recipe_id) != 0)
		return error_data(err, "shard", "%s is of another recipe", f->key);
	if (!record_group_has(r->group, f->target_width, f->target_height))
		return error_data(err, "shard", "%s has another size than its folder", f->key);
	return 0;
}

static int on_record(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	struct reading *r = arg;
	struct record_facts f;

	if (record_facts_read(record, &f, err) < 0 ||
	    record_latent_read(record, &f, NULL, err) < 0 || check_common(r, &f, err) < 0)
		return -1;
	ARRAY_GROW(r->samples, r->n, r->capacity);
	r->samples[r->n++] = (struct sample_row){.key = keep(r->rows, f.image),
						 .path = keep(r->rows, f.path),
						 .root = root_of(r->options, &f),
						 .variant = f.variant,
						 .content = f.content,
						 .latent = f.latent,
						 .offset = span->offset,
						 .bytes = span->bytes};
	return 0;
}

static int64_t changed_at(const struct shard_rows_options *o, const char *name)
{
	cleanup_free char *path = xasprintf("%s/%s", o->folder, name);
	struct stat st;

	return stat(path, &st) == 0
		   ? (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000
		   : 0;
}

static int fill_row(struct reading *r, const char *name, struct error *err)
{
	struct shard_row *row = &r->rows->shard.row;

	if (r->n == 0)
		return error_data(err, "shard", "it holds no sample");
	if (shard_file_hashes(r->options->store, name, &row->bytes, &row->sha256, &row->xxh3, err) <
	    0)
		return -1;
	row->path = keep(r->rows, name);
	row->format = shard_format_of_file(name)->name;
	row->group = keep(r->rows, r->group);
	row->samples = r->n;
	row->sealed_at = changed_at(r->options, name);
	return 0;
}

int shard_rows_read(const struct shard_rows_options *options, const char *name,
		    char recipe_id[RECIPE_ID_SIZE], struct shard_rows *out, struct error *err)
{
	cleanup_shard_rows struct shard_rows rows = SHARD_ROWS_INIT;
	struct reading r = {.options = options, .rows = &rows};
	int result;

	record_group_of_shard(name, r.group);
	result = shard_read_stored(options->store, name, on_record, &r, err);
	rows.shard.samples = r.samples;
	if (result == 0)
		result = fill_row(&r, name, err);
	if (result < 0)
		return -1;
	memcpy(recipe_id, r.recipe_id, sizeof(r.recipe_id));
	*out = rows;
	rows = (struct shard_rows)SHARD_ROWS_INIT;
	return 0;
}

void shard_rows_release(struct shard_rows *rows)
{
	for (size_t i = 0; i < rows->n_strings; i++)
		free(rows->strings[i]);
	free(rows->strings);
	free((struct sample_row *)rows->shard.samples);
	*rows = (struct shard_rows)SHARD_ROWS_INIT;
}

#include "daemon/merge.h"

#include "daemon/dataset_splits.h"
#include "daemon/dataset_store.h"
#include "daemon/index.h"

#include "storage/seal.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COPY_BLOCK ((size_t)1 << 20)

struct merging {
	const struct output *output;
	struct queue *queue;
	struct merge_dataset *dataset;
	char *folder; /* OUT/NAME */
	struct store *store;
	int64_t id;
	/* names that are taken: visible, out of sight, in the catalog or retired from it */
	char **taken;
	size_t n_taken, taken_capacity;
	/* the output's shards */
	struct known {
		int64_t id;
		char *path;
	} * known;
	size_t n_known, known_capacity;
	/* for the comparison of keys: those of shards that are not known, sorted */
	struct keyed {
		const char *key;
		const struct merge_shard *shard;
	} * keys;
	size_t n_keys;
	const char *at;	    /* the output's shard being compared */
	struct error clash; /* of a key: a listing's own error is the queue's */
	struct error *err;
};

static void take_name(struct merging *m, const char *name)
{
	ARRAY_GROW(m->taken, m->n_taken, m->taken_capacity);
	m->taken[m->n_taken++] = xstrdup(name);
}

/* -- what the output has -------------------------------------------------------------------------- */

static int on_shard(void *arg, const struct shard_row *row)
{
	struct merging *m = arg;
	bool ours = false;

	take_name(m, row->path);
	for (size_t i = 0; i < m->dataset->n; i++) {
		struct merge_shard *shard = &m->dataset->shards[i];

		if (memcmp(&shard->rows.shard.row.sha256, &row->sha256, sizeof(row->sha256)) == 0)
			ours = shard->known = true;
	}
	if (ours)
		return 0;
	ARRAY_GROW(m->known, m->n_known, m->known_capacity);
	m->known[m->n_known++] = (struct known){row->id, xstrdup(row->path)};
	return 0;
}

static int on_retired(void *arg, const struct retired_row *row)
{
	take_name(arg, row->path);
	return 0;
}

static int on_hidden(void *arg, const char *name, uint64_t bytes)
{
	(void)bytes;
	take_name(arg, name);
	return 0;
}

static bool is_taken(const struct merging *m, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(m->taken[i], name) == 0)
			return true;
	}
	return false;
}

/* Of a merge that was killed: the file is there, its rows are not. */
static int recognise(struct merging *m, const char *name, uint64_t bytes, struct error *err)
{
	struct sha256 sha256;
	struct hash128 xxh3;

	for (size_t i = 0; i < m->dataset->n; i++) {
		struct merge_shard *shard = &m->dataset->shards[i];
		const struct shard_row *row = &shard->rows.shard.row;

		if (shard->known || shard->name || row->bytes != bytes)
			continue;
		if (shard_file_hashes(m->store, name, &bytes, &sha256, &xxh3, err) < 0)
			return -1;
		if (memcmp(&sha256, &row->sha256, sizeof(sha256)) != 0)
			continue;
		shard->name = xstrdup(name);
		return 0;
	}
	return 0;
}

struct visible {
	struct merging *m;
	size_t n_catalog; /* names of the catalog come first */
};

static int on_visible(void *arg, const char *name, uint64_t bytes)
{
	const struct visible *v = arg;

	if (!is_taken(v->m, v->n_catalog, name) && recognise(v->m, name, bytes, v->m->err) < 0)
		return -1;
	take_name(v->m, name);
	return 0;
}

static int look_around(struct merging *m, struct error *err)
{
	struct visible v = {m, 0};

	if (queue_shards(m->queue, m->id, on_shard, m, err) < 0)
		return -1;
	v.n_catalog = m->n_taken;
	if (queue_retired(m->queue, m->id, on_retired, m, err) < 0 ||
	    store_list_area(m->store, STORE_STAGED, on_hidden, m, err) < 0 ||
	    store_list_area(m->store, STORE_RETIRED, on_hidden, m, err) < 0)
		return -1;
	return splits_list(m->store, on_visible, &v, err);
}

/* -- keys ----------------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct keyed *)a)->key, ((const struct keyed *)b)->key);
}

static int on_sample(void *arg, const struct sample_row *row)
{
	struct merging *m = arg;
	const struct keyed wanted = {row->key, NULL}, *found;

	if (row->dead || m->n_keys == 0)
		return 0;
	found = bsearch(&wanted, m->keys, m->n_keys, sizeof(*m->keys), by_key);
	if (!found)
		return 0;
	error_set(&m->clash, ERR_CONFIG, "%s is both in %s/%s and in %s", row->key, m->folder,
		  m->at, found->shard->source);
	return 1;
}

/* Against the samples that the output has from elsewhere. */
static int check_keys(struct merging *m, struct error *err)
{
	size_t total = 0;

	for (size_t i = 0; i < m->dataset->n; i++)
		total += m->dataset->shards[i].rows.shard.row.samples;
	m->keys = xcalloc(total + 1, sizeof(*m->keys));
	for (size_t i = 0; i < m->dataset->n; i++) {
		const struct merge_shard *s = &m->dataset->shards[i];

		for (size_t k = 0; !s->known && k < s->rows.shard.row.samples; k++)
			m->keys[m->n_keys++] = (struct keyed){s->rows.shard.samples[k].key, s};
	}
	qsort(m->keys, m->n_keys, sizeof(*m->keys), by_key);
	for (size_t i = 0; i < m->n_known; i++) {
		m->at = m->known[i].path;
		if (queue_samples(m->queue, m->known[i].id, on_sample, m, err) < 0)
			return -1;
		if (m->clash.code != ERR_NONE) {
			*err = m->clash;
			return -1;
		}
	}
	return 0;
}

/* -- files ---------------------------------------------------------------------------------------- */

/* One more than any number in use in @folder. */
static unsigned next_number(const struct merging *m, const char *folder)
{
	size_t n = strlen(folder);
	unsigned next = 0;

	for (size_t i = 0; i < m->n_taken; i++) {
		const char *name = m->taken[i];
		unsigned long number;

		if (strncmp(name, folder, n) != 0 || name[n] != '/')
			continue;
		number = strtoul(name + n + 1, NULL, 10);
		if (number >= next)
			next = (unsigned)number + 1;
	}
	return next;
}

static int copy_blocks(int fd, struct sink *sink, const struct shard_row *row, struct error *err)
{
	cleanup_sha256_stream struct sha256_stream *hash = sha256_stream_new();
	cleanup_free uint8_t *block = xmalloc(COPY_BLOCK);
	struct sha256 sha256;

	for (uint64_t at = 0; at < row->bytes;) {
		size_t n = row->bytes - at < COPY_BLOCK ? (size_t)(row->bytes - at) : COPY_BLOCK;

		if (fd_pread_all(fd, block, n, (off_t)at, err) < 0 ||
		    sink_write(sink, block, n, err) < 0)
			return -1;
		sha256_stream_update(hash, block, n);
		at += n;
	}
	sha256 = sha256_stream_value(hash);
	if (memcmp(&sha256, &row->sha256, sizeof(sha256)) != 0)
		return error_data(err, "shard", "it changed while it was copied");
	return 0;
}

static int copy_shard(struct merging *m, const struct merge_shard *shard, const char *name,
		      struct error *err)
{
	cleanup_close int fd = file_open(shard->source, O_RDONLY, 0, err);
	struct store_writer *w = NULL;
	int r;

	if (fd < 0 || store_begin(m->store, &w, err) < 0)
		return -1;
	r = copy_blocks(fd, store_writer_sink(w), &shard->rows.shard.row, err);
	if (r == 0)
		r = store_publish(w, name, err);
	if (r == STORE_EXISTS)
		r = error_set(err, ERR_IO, "%s/%s appeared meanwhile", m->folder, name);
	store_discard(w);
	return r;
}

/* A link is the same file, which never changes; where there can be none, its bytes are copied. */
static int place_shard(struct merging *m, struct merge_shard *shard, struct error *err)
{
	const char *old = shard->rows.shard.row.path;
	cleanup_free char *folder = xasprintf("%.*s", (int)(strrchr(old, '/') - old), old);
	cleanup_free char *full = xasprintf("%s/%s", m->folder, folder);
	cleanup_free char *name = xasprintf("%s/%06u%s", folder, next_number(m, folder),
					    shard_format_of_file(old)->extension);
	cleanup_free char *path = xasprintf("%s/%s", m->folder, name);
	int r;

	if (dir_make(full, err) < 0)
		return -1;
	if (link(shard->source, path) == 0)
		r = dir_sync(full, err);
	else if (errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EOPNOTSUPP)
		r = copy_shard(m, shard, name, err);
	else
		r = error_sys(err, "link %s", path);
	if (r < 0)
		return error_wrap(err, "%s", shard->source);
	take_name(m, name);
	shard->name = TAKE(name);
	return 0;
}

/* -- catalog -------------------------------------------------------------------------------------- */

static int enter_part(struct merging *m, size_t part, struct merge_counts *counts,
		      struct error *err)
{
	cleanup_free struct new_shard *shards = xcalloc(m->dataset->n + 1, sizeof(*shards));
	cleanup_free int64_t *ids = xcalloc(m->dataset->n + 1, sizeof(*ids));
	struct queue_swap swap = {.shards = shards};
	int r;

	for (size_t i = 0; i < m->dataset->n; i++) {
		struct merge_shard *s = &m->dataset->shards[i];

		if (s->known || s->part != part)
			continue;
		if (!s->name && place_shard(m, s, err) < 0)
			return -1;
		shards[swap.n_shards] = s->rows.shard;
		shards[swap.n_shards].row.dataset = m->id;
		shards[swap.n_shards++].row.path = s->name;
		counts->shards++;
		counts->samples += s->rows.shard.row.samples;
	}
	if (swap.n_shards == 0)
		return 0;
	r = queue_swap(m->queue, &swap, clock_wall_ms(), ids, err);
	if (r == QUEUE_CONFLICT)
		return error_set(err, ERR_CONFIG,
				 "the catalog of %s has other samples for the images of this part",
				 m->folder);
	return r;
}

/* In the queue and on disk, as encode does it. */
static int open_dataset(struct merging *m, struct error *err)
{
	struct merge_dataset *d = m->dataset;
	char *json = d->recipe_json ? d->recipe_json : (char *)"{}";
	struct recipe recipe = {.json = json, .form = d->form};
	struct queue_dataset_spec spec = {d->name, m->folder, d->recipe_id, json};
	bool there = false;
	int r;

	memcpy(recipe.id, d->recipe_id, sizeof(recipe.id));
	if (output_check_dataset(m->output, d->name, &recipe, &there, err) < 0)
		return -1;
	r = queue_open_dataset(m->queue, &spec, &m->id, err);
	if (r == QUEUE_OTHER_RECIPE)
		return error_set(err, ERR_CONFIG,
				 "the queue in %s knows %s with another recipe than %s",
				 m->output->state, d->name, d->recipe_from);
	if (r < 0)
		return -1;
	if (!there && d->recipe_json && output_make_dataset(m->output, d->name, &recipe, err) < 0)
		return -1;
	if (dataset_store_need_folder(m->folder, "merge", err) < 0)
		return -1;
	return store_local_open(m->folder, false, &m->store, err);
}

static void release(struct merging *m)
{
	for (size_t i = 0; i < m->n_taken; i++)
		free(m->taken[i]);
	free(m->taken);
	for (size_t i = 0; i < m->n_known; i++)
		free(m->known[i].path);
	free(m->known);
	free(m->keys);
	free(m->folder);
	store_close(m->store);
}

int merge_into(const struct output *output, struct queue *queue, struct merge_dataset *dataset,
	       const struct merge_plan *plan, struct merge_counts *counts, struct error *err)
{
	struct merging m = {.output = output,
			    .queue = queue,
			    .dataset = dataset,
			    .folder = xasprintf("%s/%s", output->root, dataset->name),
			    .err = err};
	int r = open_dataset(&m, err);

	if (r == 0)
		r = look_around(&m, err);
	if (r == 0)
		r = check_keys(&m, err);
	for (size_t i = 0; i < plan->n_parts && r == 0; i++)
		r = enter_part(&m, i, counts, err);
	if (r == 0)
		r = index_write_all(queue, m.id, output->root, false, err);
	release(&m);
	return r;
}

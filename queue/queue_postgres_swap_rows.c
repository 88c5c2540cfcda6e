/*
 * Shards that take the place of others: rows in and out.
 */
#include "queue/queue_postgres_swap.h"

#include "base/checked.h"
#include "queue/queue_names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* -- jobs of samples ------------------------------------------------------------------------------ */

struct named { /* a job that is known, or one that is added */
	struct named *next;
	int64_t id;
	size_t added;
	char *key;
	const char *path;
	uint32_t root;
};

struct names {
	PGresult *found;
	struct named *items;
	size_t count, slots;
	struct named **by_key;
};

static void names_release(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->items[i].key);
	free(n->items);
	free(n->by_key);
	pg_free(&n->found);
	*n = (struct names){.found = NULL};
}

static struct named **key_slot(const struct names *n, const char *key)
{
	return &n->by_key[hash64_of(key, strlen(key), 0) & (n->slots - 1)];
}

static void add_name(struct names *n, struct named name)
{
	struct named **slot = key_slot(n, name.key);

	n->items[n->count] = name;
	n->items[n->count].next = *slot;
	*slot = &n->items[n->count++];
}

static struct named *find_name(const struct names *n, const char *key)
{
	struct named *name = *key_slot(n, key);

	while (name && strcmp(name->key, key) != 0)
		name = name->next;
	return name;
}

static bool path_is_known(const struct names *n, uint32_t root, const char *path)
{
	bool known = false;

	for (size_t i = 0; i < n->count && !known; i++)
		known = n->items[i].root == root && strcmp(n->items[i].path, path) == 0;
	return known;
}

static int look_up(struct swap *s, struct names *out, struct error *err)
{
	cleanup_ids struct ids prints = {NULL, 0, 0};

	for (size_t i = 0; i < s->place_count; i++) {
		const struct sample_row *sample = s->places[i].sample;
		size_t stem = name_stem_size(sample->path, strlen(sample->path));

		ids_add(&prints, name_print(s->dataset, sample->path, stem));
		ids_add(&prints, name_print(s->dataset, sample->key, strlen(sample->key)));
	}
	if (names_find(s->q, s->dataset, prints.items, prints.count, &out->found, err) < 0)
		return -1;
	out->items = xcalloc((size_t)pg_rows(out->found) + s->place_count + 1, sizeof(*out->items));
	for (out->slots = 16; out->slots < 2 * (size_t)pg_rows(out->found) + s->place_count;)
		out->slots *= 2;
	out->by_key = xcalloc(out->slots, sizeof(struct named *));
	for (int i = 0; i < pg_rows(out->found); i++)
		add_name(out, (struct named){.id = pg_value(out->found, i, 0),
					     .path = pg_string(out->found, i, 1),
					     .key = pg_key(out->found, i, 2, 1),
					     .root = (uint32_t)pg_value(out->found, i, 3)});
	return 0;
}

/* The job of one sample. */
static int place_sample(struct swap *s, struct names *names, struct place *place)
{
	const struct sample_row *sample = place->sample;
	const struct named *name = find_name(names, sample->key);

	if (name) {
		if (strcmp(name->path, sample->path) != 0 ||
		    (sample->job != 0 && sample->job != name->id))
			return QUEUE_CONFLICT;
		place->job = name->id;
		place->added = name->added;
		return 0;
	}
	if (sample->job != 0 || path_is_known(names, sample->root, sample->path))
		return QUEUE_CONFLICT;
	place->added = s->added_count;
	s->added[s->added_count++] = (struct new_job){
	    .sample = sample,
	    .job = {.dataset = s->dataset, .state = JOB_AVAILABLE, .caption = CAPTION_UNSEEN}};
	add_name(names, (struct named){.added = place->added,
				       .key = xstrdup(sample->key),
				       .path = sample->path,
				       .root = sample->root});
	return 0;
}

static int place_all(struct swap *s, struct names *names)
{
	int r = 0;

	s->added_count = 0;
	for (size_t i = 0; i < s->place_count && r == 0; i++)
		r = place_sample(s, names, &s->places[i]);
	return r;
}

static void list_places(struct swap *s)
{
	const struct queue_swap *what = s->what;
	size_t n = 0;

	for (size_t i = 0; i < what->n_shards; i++)
		n += what->shards[i].row.samples;
	s->places = xcalloc(n + 1, sizeof(*s->places));
	s->fresh = xcalloc(n + 1, sizeof(*s->fresh));
	s->added = xcalloc(n + 1, sizeof(*s->added));
	for (size_t i = 0; i < what->n_shards; i++) {
		for (size_t k = 0; k < what->shards[i].row.samples; k++)
			s->places[s->place_count++].sample = &what->shards[i].samples[k];
	}
}

/* Jobs with a live sample in a retired shard. */
static int list_retired(struct swap *s, struct error *err)
{
	static const char sql[] = "SELECT DISTINCT job FROM latentd.sample"
				  " WHERE shard = ANY($1::bigint[]) AND NOT dead";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	if (s->what->n_retired == 0)
		return 0;
	pg_ints(&args, s->what->retired, s->what->n_retired);
	if (pg_query(s->q, sql, &args, &result, err) < 0)
		return -1;
	ids_of(&s->ids, result);
	return 0;
}

int swap_read(struct swap *s, struct error *err)
{
	cleanup_with(names_release) struct names names = {.found = NULL};
	int r;

	list_places(s);
	if (look_up(s, &names, err) < 0)
		return -1;
	r = place_all(s, &names);
	/* Others may add the same names until the lock is held. */
	if (r == 0 && s->added_count > 0) {
		names_release(&names);
		if (names_lock(s->q, s->dataset, err) < 0 || look_up(s, &names, err) < 0)
			return -1;
		for (size_t i = 0; i < s->place_count; i++)
			s->places[i].job = 0;
		r = place_all(s, &names);
	}
	if (r != 0)
		return r;
	for (size_t i = 0; i < s->place_count; i++) {
		if (s->places[i].job != 0)
			ids_add(&s->ids, s->places[i].job);
	}
	if (list_retired(s, err) < 0 ||
	    jobs_lock(s->q, s->ids.items, s->ids.count, &s->jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < s->place_count; i++) {
		struct place *place = &s->places[i];

		place->row =
		    place->job != 0 ? jobs_find(&s->jobs, place->job) : &s->added[place->added].job;
	}
	return 0;
}

/* -- writing -------------------------------------------------------------------------------------- */

/* Numbers come in the order of the rows. */
static int insert_jobs(struct swap *s, struct error *err)
{
	static const char sql[] =
	    "INSERT INTO latentd.job (dataset, rank, root, size, mtime_ns, inode, path_print, path,"
	    " key_print, key, state, updated_at, changed)"
	    " SELECT $1::integer, 0, root, 0, 0, 0, path_print, path, key_print, key, state, at, "
	    "changed <> 0"
	    " FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bytea[],"
	    " $7::bigint[], $8::bigint[], $9::bigint[]) WITH ORDINALITY"
	    " AS v(root, path_print, path, key_print, key, state, at, changed, nr) ORDER BY nr"
	    " RETURNING id";
	cleanup_pg_args struct pg_args a = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

#define ADDED(what, put)                                                                           \
	pg_array(&a, what);                                                                        \
	for (size_t i = 0; i < s->added_count; i++) {                                              \
		const struct sample_row *from = s->added[i].sample;                                \
		const struct pg_job *job = &s->added[i].job;                                       \
		size_t path_size = strlen(from->path), key_size = strlen(from->key);               \
		size_t stem = name_stem_size(from->path, path_size);                               \
		bool named = !name_equal(from->path, stem, from->key, key_size);                   \
		(void)job, (void)named;                                                            \
		put;                                                                               \
	}                                                                                          \
	pg_array_end(&a)

	if (s->added_count == 0)
		return 0;
	pg_int(&a, s->dataset);
	ADDED(PG_BIGINT, pg_item_int(&a, from->root));
	ADDED(PG_BIGINT, pg_item_int(&a, name_print(s->dataset, from->path, stem)));
	ADDED(PG_BYTEA, pg_item_bytes(&a, from->path, path_size));
	ADDED(PG_BIGINT, named ? pg_item_int(&a, name_print(s->dataset, from->key, key_size))
			       : pg_item_null(&a));
	ADDED(PG_BYTEA, pg_item_bytes(&a, named ? from->key : NULL, key_size));
	ADDED(PG_BIGINT, pg_item_int(&a, job->state));
	ADDED(PG_BIGINT, pg_item_int(&a, job->updated_at));
	ADDED(PG_BIGINT, pg_item_int(&a, job->changed));
	if (pg_query(s->q, sql, &a, &result, err) < 0)
		return -1;
	for (size_t i = 0; i < s->place_count; i++) {
		if (s->places[i].job == 0)
			s->places[i].job = pg_value(result, (int)s->places[i].added, 0);
	}
	return 0;
}

/* QUEUE_CONFLICT: another node has published this path since check_paths() looked. */
static int insert_shard(struct swap *s, const struct shard_row *row, int64_t *id, struct error *err)
{
	static const char sql[] =
	    "INSERT INTO latentd.shard (dataset, path, format, grp, bytes, samples, sha256, xxh3,"
	    " sealed_at, visible_at) VALUES ($1::integer, $2::bytea, $3::bytea, $4::bytea,"
	    " $5::bigint, $6::bigint, $7::bytea, $8::uuid, $9::bigint, $10::bigint)"
	    " ON CONFLICT (dataset, path) DO NOTHING RETURNING id";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, row->dataset);
	pg_bytes(&args, row->path, strlen(row->path));
	pg_bytes(&args, row->format, strlen(row->format));
	pg_bytes(&args, row->group, strlen(row->group));
	pg_int(&args, (int64_t)row->bytes);
	pg_int(&args, (int64_t)row->samples);
	pg_bytes(&args, row->sha256.bytes, sizeof(row->sha256.bytes));
	pg_hash(&args, &row->xxh3);
	pg_int(&args, row->sealed_at);
	pg_int(&args, s->now);
	if (pg_query(s->q, sql, &args, &result, err) < 0)
		return -1;
	if (pg_rows(result) == 0)
		return QUEUE_CONFLICT;
	*id = pg_value(result, 0, 0);
	return 0;
}

static int copy_samples(struct swap *s, const struct place *places, size_t n, int64_t shard,
			struct error *err)
{
	cleanup_buffer struct buffer rows = BUFFER_INIT;

	pg_rows_begin(&rows);
	for (size_t i = 0; i < n; i++) {
		const struct sample_row *sample = places[i].sample;

		pg_row(&rows, 8);
		pg_column_int(&rows, 8, shard);
		pg_column_int(&rows, 8, (int64_t)sample->offset);
		pg_column_int(&rows, 8, (int64_t)sample->bytes);
		pg_column_int(&rows, 8, places[i].job);
		pg_column_int(&rows, 8, sample->variant);
		pg_column_int(&rows, 4, s->dataset);
		pg_column_bytes(&rows, sample->content.bytes, sizeof(sample->content.bytes));
		pg_column_bytes(&rows, sample->latent.bytes, sizeof(sample->latent.bytes));
	}
	pg_rows_end(&rows);
	return pg_copy(s->q,
		       "COPY latentd.sample (shard, \"offset\", bytes, job, variant, dataset,"
		       " content, latent) FROM STDIN (FORMAT binary)",
		       &rows, err);
}

static int retire(struct swap *s, struct error *err)
{
	static const char *const steps[] = {
	    "DELETE FROM latentd.sample WHERE shard = ANY($1::bigint[])",
	    "WITH gone AS (DELETE FROM latentd.shard WHERE id = ANY($1::bigint[])"
	    " RETURNING id, dataset, path) INSERT INTO latentd.retired (id, dataset, path, "
	    "retired_at)"
	    " SELECT id, dataset, path, $2::bigint FROM gone"
	    " ON CONFLICT (dataset, path) DO NOTHING RETURNING id"};
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	if (s->what->n_retired == 0)
		return 0;
	pg_ints(&args, s->what->retired, s->what->n_retired);
	if (pg_run(s->q, steps[0], &args, err) < 0)
		return -1;
	pg_int(&args, s->now);
	if (pg_query(s->q, steps[1], &args, &result, err) < 0)
		return -1;
	/* Another node was faster. */
	return (size_t)pg_rows(result) == s->what->n_retired ? 0 : QUEUE_CONFLICT;
}

/* Those that go, and those of which samples die. */
static int lock_shards(struct swap *s, struct error *err)
{
	cleanup_ids struct ids shards = {NULL, 0, 0};

	for (size_t i = 0; i < s->what->n_retired; i++)
		ids_add(&shards, s->what->retired[i]);
	for (size_t i = 0; i < s->killed_count; i++)
		ids_add(&shards, s->killed[i]->shard);
	return shards_lock(s->q, shards.items, shards.count, err);
}

int swap_write(struct swap *s, int64_t *shard_ids, struct error *err)
{
	const struct place *at = s->places;
	int r;

	if (insert_jobs(s, err) < 0 || lock_shards(s, err) < 0 ||
	    samples_kill(s->q, s->killed, s->killed_count, err) < 0)
		return -1;
	r = retire(s, err);
	if (r != 0)
		return r;
	for (size_t i = 0; i < s->what->n_shards; i++) {
		size_t n = s->what->shards[i].row.samples;

		r = insert_shard(s, &s->what->shards[i].row, &shard_ids[i], err);
		if (r == 0 && n > 0)
			r = copy_samples(s, at, n, shard_ids[i], err);
		if (r != 0)
			return r;
		at += n;
	}
	return jobs_write(s->q, &s->jobs, err);
}

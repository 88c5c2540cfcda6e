/*
 * Jobs in, under the lock of the dataset's names. A batch is looked up in one statement; what is known and unchanged
 * costs no more than that. What is new is copied in; what changed is locked and compared once more.
 */
#include "queue/queue_postgres.h"

#include "queue/open_scan.h"

#include "base/checked.h"
#include "base/text.h"
#include "queue/queue_names.h"

#include <string.h>

struct known {	    /* a job that one of the prints led to, or that this batch adds */
	int64_t id; /* 0: added by this batch */
	const char *path;
	char *key;
	uint32_t root;
	uint64_t size, inode, caption;
	int64_t mtime_ns;
	enum job_state state;
	size_t spec; /* of an added one */
	struct known *next_path, *next_key;
};

struct looked_up {
	PGresult *rows;
	struct known *known; /* one for each row */
};

struct batch {
	struct postgres_queue *q;
	int64_t dataset;
	const struct job_spec *specs;
	size_t n;
	struct looked_up by_name,
	    by_distinct; /* by paths and keys; by keys for when those are taken */
	struct known *added;
	size_t added_count;
	struct known **by_path, **by_key;
	size_t slots;	      /* of each: a power of two */
	struct ids known_ids; /* to be locked: jobs that are not as their specs */
	size_t *again;	      /* the specs of these, */
	int64_t *again_ids;   /* and their jobs */
	size_t again_count;
	int64_t *ids; /* of all specs, as far as they are known */
};

static void looked_up_release(struct looked_up *l)
{
	for (int i = 0; l->rows && i < pg_rows(l->rows); i++)
		free(l->known[i].key);
	free(l->known);
	pg_free(&l->rows);
}

static void batch_release(struct batch *b)
{
	looked_up_release(&b->by_name);
	looked_up_release(&b->by_distinct);
	for (size_t i = 0; i < b->added_count; i++)
		free(b->added[i].key);
	free(b->added);
	free(b->by_path);
	free(b->by_key);
	free(b->again);
	free(b->again_ids);
	free(b->ids);
	ids_release(&b->known_ids);
}

/* -- names of the batch --------------------------------------------------------------------------- */

static size_t slot_of(const struct batch *b, const char *name)
{
	return hash64_of(name, strlen(name), 0) & (b->slots - 1);
}

static void link_known(struct batch *b, struct known *k)
{
	struct known **path = &b->by_path[slot_of(b, k->path)];
	struct known **key = &b->by_key[slot_of(b, k->key)];

	k->next_path = *path;
	*path = k;
	k->next_key = *key;
	*key = k;
}

static struct known *find_path(const struct batch *b, uint32_t root, const char *path)
{
	struct known *k = b->by_path[slot_of(b, path)];

	while (k && (k->root != root || strcmp(k->path, path) != 0))
		k = k->next_path;
	return k;
}

static struct known *find_key(const struct batch *b, const char *key)
{
	struct known *k = b->by_key[slot_of(b, key)];

	while (k && strcmp(k->key, key) != 0)
		k = k->next_key;
	return k;
}

static int look_up(struct batch *b, const struct ids *prints, struct looked_up *out,
		   struct error *err)
{
	int rows;

	if (names_find(b->q, b->dataset, prints->items, prints->count, &out->rows, err) < 0)
		return -1;
	rows = pg_rows(out->rows);
	out->known = xcalloc((size_t)rows + 1, sizeof(*out->known));
	for (int i = 0; i < rows; i++) {
		PGresult *r = out->rows;

		out->known[i] = (struct known){
		    .id = pg_value(r, i, 0),
		    .path = pg_string(r, i, 1),
		    .key = pg_key(r, i, 2, 1),
		    .root = (uint32_t)pg_value(r, i, 3),
		    .state = (enum job_state)pg_value(r, i, 4),
		    .size = (uint64_t)pg_value(r, i, 5),
		    .mtime_ns = pg_value(r, i, 6),
		    .inode = (uint64_t)pg_value(r, i, 7),
		    .caption = pg_is_null(r, i, 8) ? CAPTION_UNSEEN : (uint64_t)pg_value(r, i, 8),
		};
		link_known(b, &out->known[i]);
	}
	return 0;
}

static int64_t print_of(const struct batch *b, const char *key)
{
	return name_print(b->dataset, key, strlen(key));
}

/* A file's job has its path, whose stem is nearly always the key, too. */
static int look_up_names(struct batch *b, struct error *err)
{
	cleanup_ids struct ids prints = {NULL, 0, 0};

	for (size_t i = 0; i < b->n; i++) {
		const struct job_spec *s = &b->specs[i];
		size_t stem = name_stem_size(s->path, strlen(s->path)), key = strlen(s->key);

		ids_add(&prints, name_print(b->dataset, s->path, stem));
		if (!name_equal(s->path, stem, s->key, key))
			ids_add(&prints, name_print(b->dataset, s->key, key));
	}
	return look_up(b, &prints, &b->by_name, err);
}

static int compare_prints(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

	return (a > b) - (a < b);
}

/* Whether @print, one of the sorted ones, is there twice. */
static bool is_double(const struct ids *prints, int64_t print)
{
	const int64_t *end = prints->items + prints->count;
	const int64_t *at =
	    bsearch(&print, prints->items, prints->count, sizeof(print), compare_prints);

	return (at > prints->items && at[-1] == print) || (at + 1 < end && at[1] == print);
}

/*
 * The other key of what is new is only asked for where the first one may be taken: by a job that was found, or by
 * anything that this batch may add.
 */
static int look_up_distinct(struct batch *b, struct error *err)
{
	cleanup_ids struct ids wanted = {NULL, 0, 0}, keys = {NULL, 0, 0};

	for (size_t i = 0; i < b->n; i++) {
		const struct job_spec *s = &b->specs[i];

		if (s->unsettled || find_path(b, s->root, s->path))
			continue;
		ids_add(&keys, print_of(b, s->key));
		ids_add(&keys, print_of(b, s->key_distinct));
	}
	if (keys.count == 0)
		return 0;
	qsort(keys.items, keys.count, sizeof(*keys.items), compare_prints);
	for (size_t i = 0; i < b->n; i++) {
		const struct job_spec *s = &b->specs[i];

		if (s->unsettled || find_path(b, s->root, s->path))
			continue;
		if (find_key(b, s->key) || is_double(&keys, print_of(b, s->key)))
			ids_add(&wanted, print_of(b, s->key_distinct));
	}
	return wanted.count == 0 ? 0 : look_up(b, &wanted, &b->by_distinct, err);
}

/* -- what is new ---------------------------------------------------------------------------------- */

static int add_new(struct batch *b, size_t spec, struct error *err)
{
	const struct job_spec *s = &b->specs[spec];
	const char *key = s->key;
	struct known *k;

	if (find_key(b, key)) {
		char quoted[2][TEXT_QUOTE_SIZE];

		key = s->key_distinct;
		if (find_key(b, key))
			return error_set(err, ERR_BUG, "keys %s and %s are both taken",
					 text_quote(s->key, quoted[0]), text_quote(key, quoted[1]));
	}
	k = &b->added[b->added_count++];
	*k = (struct known){.path = s->path,
			    .key = xstrdup(key),
			    .root = s->root,
			    .size = s->size,
			    .inode = s->inode,
			    .mtime_ns = s->mtime_ns,
			    .caption = s->caption,
			    .state = spec_must_wait(s) ? JOB_WAITING : JOB_AVAILABLE,
			    .spec = spec};
	link_known(b, k);
	return 0;
}

static void append_row(struct buffer *rows, int64_t dataset, const struct known *k, uint64_t rank)
{
	size_t path_size = strlen(k->path), key_size = strlen(k->key);
	size_t stem = name_stem_size(k->path, path_size);

	pg_row(rows, 12);
	pg_column_int(rows, 4, dataset);
	pg_column_int(rows, 8, (int64_t)rank);
	pg_column_int(rows, 8, k->root);
	pg_column_int(rows, 8, (int64_t)k->size);
	pg_column_int(rows, 8, k->mtime_ns);
	pg_column_int(rows, 8, (int64_t)k->inode);
	pg_column_int(rows, 2, k->state);
	pg_column_int(rows, 8, name_print(dataset, k->path, stem));
	pg_column_bytes(rows, k->path, path_size);
	if (name_equal(k->path, stem, k->key, key_size)) {
		pg_column_null(rows);
		pg_column_null(rows);
	} else {
		pg_column_int(rows, 8, name_print(dataset, k->key, key_size));
		pg_column_bytes(rows, k->key, key_size);
	}
	if (k->caption == CAPTION_UNSEEN)
		pg_column_null(rows);
	else
		pg_column_int(rows, 8, (int64_t)k->caption);
}

/* All that were added, in the order of the specs. */
static int copy_new(struct batch *b, struct error *err)
{
	cleanup_buffer struct buffer rows = BUFFER_INIT;
	bool available = false;

	if (b->added_count == 0)
		return 0;
	pg_rows_begin(&rows);
	for (size_t i = 0; i < b->added_count; i++) {
		const struct known *k = &b->added[i];

		append_row(&rows, b->dataset, k, b->specs[k->spec].rank);
		available = available || k->state == JOB_AVAILABLE;
	}
	pg_rows_end(&rows);
	if (pg_number(b->q, err) < 0)
		return -1;
	if (pg_copy(b->q,
		    "COPY latentd.job (dataset, rank, root, size, mtime_ns, inode, state,"
		    " path_print, path, key_print, key, caption) FROM STDIN (FORMAT binary)",
		    &rows, err) < 0)
		return -1;
	return available ? pg_tell(b->q, b->dataset, err) : 0;
}

/* -- what is known -------------------------------------------------------------------------------- */

/* Nothing of the job would change, whatever its state is by now. */
static bool is_settled(const struct known *k, const struct job_spec *spec)
{
	bool same =
	    k->size == spec->size && k->mtime_ns == spec->mtime_ns && k->inode == spec->inode;
	bool captioned = spec->caption != CAPTION_UNSEEN && spec->caption != k->caption;
	bool unseen = k->size == 0 && k->mtime_ns == 0 && k->inode == 0;

	return same && !captioned && !unseen && k->state != JOB_GONE &&
	       (k->state == JOB_WAITING) == spec_must_wait(spec);
}

/* One that this batch added, met again in it. */
static void enqueue_added(struct known *k, const struct job_spec *spec,
			  struct enqueue_counts *counts)
{
	struct pg_job job = {.size = k->size,
			     .mtime_ns = k->mtime_ns,
			     .inode = k->inode,
			     .caption = k->caption,
			     .state = k->state};

	job_take_spec(&job, spec, counts);
	k->size = job.size;
	k->mtime_ns = job.mtime_ns;
	k->inode = job.inode;
	k->caption = job.caption;
	k->state = job.state;
}

static void meet(struct batch *b, size_t spec, struct known *k, struct enqueue_counts *counts)
{
	const struct job_spec *s = &b->specs[spec];

	if (k->id == 0) {
		enqueue_added(k, s, counts);
		return;
	}
	b->again[b->again_count] = spec;
	b->again_ids[b->again_count++] = k->id;
}

/* Those of known jobs that are not settled, or that come twice: by their locked rows. */
static int enqueue_again(struct batch *b, struct enqueue_counts *counts, struct error *err)
{
	cleanup_pg_jobs struct pg_jobs jobs = {0};
	bool needed = false;

	for (size_t i = 0; i < b->again_count; i++) {
		const struct job_spec *s = &b->specs[b->again[i]];
		bool settled = is_settled(find_path(b, s->root, s->path), s);

		needed = needed || !settled;
		if (!settled)
			ids_add(&b->known_ids, b->again_ids[i]);
	}
	if (needed && (pg_number(b->q, err) < 0 ||
		       jobs_lock(b->q, b->known_ids.items, b->known_ids.count, &jobs, err) < 0))
		return -1;
	for (size_t i = 0; i < b->again_count; i++) {
		const struct job_spec *s = &b->specs[b->again[i]];
		struct pg_job *job = jobs_find(&jobs, b->again_ids[i]);

		if (job) {
			job_take_spec(job, s, counts);
		} else {
			counts->known++;
			counts->waiting += spec_must_wait(s);
		}
	}
	return jobs_write(b->q, &jobs, err);
}

/* -- enqueue -------------------------------------------------------------------------------------- */

static int sort_out(struct batch *b, struct enqueue_counts *counts, struct error *err)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct job_spec *s = &b->specs[i];
		struct known *k = find_path(b, s->root, s->path);

		b->ids[i] = k ? k->id : 0;
		if (s->unsettled) {
			counts->unsettled++;
		} else if (k) {
			meet(b, i, k, counts);
		} else {
			if (add_new(b, i, err) < 0)
				return -1;
			counts->added++;
			counts->waiting += spec_must_wait(s);
		}
	}
	return 0;
}

static void make_room(struct batch *b)
{
	for (b->slots = 16; b->slots < 4 * b->n; b->slots *= 2)
		;
	b->by_path = xcalloc(b->slots, sizeof(struct known *));
	b->by_key = xcalloc(b->slots, sizeof(struct known *));
	b->added = xcalloc(b->n + 1, sizeof(*b->added));
	b->again = xcalloc(b->n + 1, sizeof(*b->again));
	b->again_ids = xcalloc(b->n + 1, sizeof(*b->again_ids));
	b->ids = xcalloc(b->n + 1, sizeof(*b->ids));
}

static int enqueue_all(struct batch *b, struct enqueue_counts *counts, struct error *err)
{
	if (pg_dataset_check(b->q, b->dataset, err) < 0 || names_lock(b->q, b->dataset, err) < 0)
		return -1;
	make_room(b);
	if (look_up_names(b, err) < 0 || look_up_distinct(b, err) < 0)
		return -1;
	if (sort_out(b, counts, err) < 0 || copy_new(b, err) < 0)
		return -1;
	return enqueue_again(b, counts, err);
}

int queue_postgres_enqueue(struct queue *base, int64_t dataset, const struct job_spec *specs,
			   size_t n, struct enqueue_counts *counts, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	cleanup_with(batch_release) struct batch b = {
	    .q = q, .dataset = dataset, .specs = specs, .n = n};
	struct enqueue_counts counted = *counts;
	int r;

	if (pg_begin_look(q, err) < 0)
		return -1;
	r = pg_end(q, enqueue_all(&b, &counted, err), err);
	pg_fold(q);
	if (r != 0)
		return r;
	for (size_t i = 0; i < n; i++)
		open_scans_met(&q->scans, dataset, b.ids[i]);
	*counts = counted;
	return 0;
}

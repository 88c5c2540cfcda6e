/*
 * Jobs in. A batch is looked up in one statement; what is known and unchanged costs no more than that. What is
 * new is copied in, under the lock of the dataset's names; what changed is locked and compared once more.
 */
#include "queue/queue_postgres.h"

#include "queue/open_scan.h"

#include "base/checked.h"
#include "base/text.h"
#include "queue/queue_names.h"

#include <inttypes.h>
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

struct batch {
	struct postgres_queue *q;
	int64_t dataset;
	const struct job_spec *specs;
	size_t n;
	PGresult *found;
	struct known *known;
	size_t known_count;
	struct known **by_path, **by_key;
	size_t slots;	      /* of each: a power of two */
	struct ids known_ids; /* to be locked: jobs that are not as their specs */
	size_t *again;	      /* the specs of these, */
	int64_t *again_ids;   /* and their jobs */
	size_t again_count;
	int64_t *ids; /* of all specs, as far as they are known */
};

/* What was looked up. */
static void names_clear(struct batch *b)
{
	for (size_t i = 0; i < b->known_count; i++)
		free(b->known[i].key);
	free(b->known);
	free(b->by_path);
	free(b->by_key);
	b->known = NULL;
	b->by_path = b->by_key = NULL;
	b->known_count = 0;
	pg_free(&b->found);
}

static void batch_release(struct batch *b)
{
	names_clear(b);
	free(b->again);
	free(b->again_ids);
	free(b->ids);
	ids_release(&b->known_ids);
}

static bool must_wait(const struct job_spec *spec)
{
	return spec->wants_caption && spec->caption == 0;
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

static void index_found(struct batch *b)
{
	size_t rows = (size_t)pg_rows(b->found);

	b->known = xcalloc(rows + b->n + 1, sizeof(*b->known));
	for (b->slots = 16; b->slots < 2 * (rows + b->n); b->slots *= 2)
		;
	b->by_path = xcalloc(b->slots, sizeof(struct known *));
	b->by_key = xcalloc(b->slots, sizeof(struct known *));
	for (int i = 0; i < (int)rows; i++) {
		struct known *k = &b->known[b->known_count++];

		*k = (struct known){
		    .id = pg_value(b->found, i, 0),
		    .path = pg_string(b->found, i, 1),
		    .key = pg_key(b->found, i, 2, 1),
		    .root = (uint32_t)pg_value(b->found, i, 3),
		    .state = (enum job_state)pg_value(b->found, i, 4),
		    .size = (uint64_t)pg_value(b->found, i, 5),
		    .mtime_ns = pg_value(b->found, i, 6),
		    .inode = (uint64_t)pg_value(b->found, i, 7),
		    .caption = pg_is_null(b->found, i, 8) ? CAPTION_UNSEEN
							  : (uint64_t)pg_value(b->found, i, 8),
		};
		link_known(b, k);
	}
}

static int look_up(struct batch *b, struct error *err)
{
	cleanup_ids struct ids prints = {NULL, 0, 0};

	for (size_t i = 0; i < b->n; i++) {
		const struct job_spec *s = &b->specs[i];

		ids_add(&prints,
			name_print(b->dataset, s->path, name_stem_size(s->path, strlen(s->path))));
		ids_add(&prints, name_print(b->dataset, s->key, strlen(s->key)));
		ids_add(&prints, name_print(b->dataset, s->key_distinct, strlen(s->key_distinct)));
	}
	if (names_find(b->q, b->dataset, prints.items, prints.count, &b->found, err) < 0)
		return -1;
	index_found(b);
	return 0;
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
	k = &b->known[b->known_count++];
	*k = (struct known){.path = s->path,
			    .key = xstrdup(key),
			    .root = s->root,
			    .size = s->size,
			    .inode = s->inode,
			    .mtime_ns = s->mtime_ns,
			    .caption = s->caption,
			    .state = must_wait(s) ? JOB_WAITING : JOB_AVAILABLE,
			    .spec = spec};
	link_known(b, k);
	return 0;
}

static void append_bytes(struct buffer *rows, const char *s, size_t size)
{
	buffer_append_string(rows, "\\\\x");
	for (size_t i = 0; i < size; i++)
		buffer_appendf(rows, "%02x", (unsigned char)s[i]);
}

static void append_row(struct buffer *rows, int64_t dataset, const struct known *k, uint64_t rank)
{
	size_t path_size = strlen(k->path), key_size = strlen(k->key);
	size_t stem = name_stem_size(k->path, path_size);

	buffer_appendf(rows,
		       "%" PRId64 "\t%" PRIu64 "\t%u\t%" PRId64 "\t%" PRId64 "\t%" PRId64
		       "\t%d\t%" PRId64 "\t",
		       dataset, rank, k->root, (int64_t)k->size, k->mtime_ns, (int64_t)k->inode,
		       (int)k->state, name_print(dataset, k->path, stem));
	append_bytes(rows, k->path, path_size);
	if (name_equal(k->path, stem, k->key, key_size)) {
		buffer_append_string(rows, "\t\\N\t\\N");
	} else {
		buffer_appendf(rows, "\t%" PRId64 "\t", name_print(dataset, k->key, key_size));
		append_bytes(rows, k->key, key_size);
	}
	if (k->caption == CAPTION_UNSEEN)
		buffer_append_string(rows, "\t\\N\n");
	else
		buffer_appendf(rows, "\t%" PRIu64 "\n", k->caption);
}

/* All that were added, in the order of the specs. */
static int copy_new(struct batch *b, struct error *err)
{
	cleanup_buffer struct buffer rows = BUFFER_INIT;

	for (size_t i = 0; i < b->known_count; i++) {
		const struct known *k = &b->known[i];

		if (k->id == 0)
			append_row(&rows, b->dataset, k, b->specs[k->spec].rank);
	}
	if (rows.size == 0)
		return 0;
	return pg_copy(b->q,
		       "COPY latentd.job (dataset, rank, root, size, mtime_ns, inode, state,"
		       " path_print, path, key_print, key, caption) FROM STDIN",
		       &rows, err);
}

/* -- what is known -------------------------------------------------------------------------------- */

static bool is_same_file(const struct pg_job *job, const struct job_spec *spec)
{
	return job->size == spec->size && job->mtime_ns == spec->mtime_ns &&
	       job->inode == spec->inode;
}

static void requeue(struct pg_job *job, const struct job_spec *spec)
{
	job->size = spec->size;
	job->mtime_ns = spec->mtime_ns;
	job->inode = spec->inode;
	job->changed = job->changed || job->state == JOB_COMPLETED || job->state == JOB_ENCODED;
	job_set_state(job, JOB_AVAILABLE);
	job->attempts = job->crashes = job->updated_at = 0;
	job_says(job, NULL, NULL);
}

/* It may have failed for what lay beside its file and is another now: a mask that was half written, say. */
static bool may_succeed_now(const struct pg_job *job, const struct job_spec *spec)
{
	return job->state == JOB_GONE ||
	       (job->state == JOB_QUARANTINED && job->caption != CAPTION_UNSEEN &&
		spec->caption != CAPTION_UNSEEN && spec->caption != job->caption);
}

static void take_file(struct pg_job *job, const struct job_spec *spec,
		      struct enqueue_counts *counts)
{
	bool same = is_same_file(job, spec);
	bool done = job->state == JOB_ENCODED || job->state == JOB_COMPLETED;

	if (same && job->state == JOB_WAITING && !must_wait(spec)) {
		job_set_state(job, JOB_AVAILABLE);
		counts->requeued++;
	} else if (same && !may_succeed_now(job, spec)) {
		counts->known++;
	} else {
		counts->superseding += done;
		counts->requeued += !done;
		requeue(job, spec);
	}
}

/* After its file: the job is in the state that it has for that. */
static void take_caption(struct pg_job *job, const struct job_spec *spec, bool unseen,
			 struct enqueue_counts *counts)
{
	bool changed = job->caption != CAPTION_UNSEEN && spec->caption != job->caption;

	if ((job->state == JOB_AVAILABLE || job->state == JOB_RETRYABLE) && must_wait(spec))
		job_set_state(job, JOB_WAITING);
	counts->waiting += job->state == JOB_WAITING;
	if (spec->caption == CAPTION_UNSEEN)
		return;
	job->is_changed = job->is_changed || job->caption != spec->caption;
	job->caption = spec->caption;
	if (!(changed || unseen) || job->recaption || (job->keeper == 0 && !job_live(job)))
		return;
	job->recaption = job->is_changed = true;
	counts->recaptioned++;
}

static void enqueue_known(struct pg_job *job, const struct job_spec *spec,
			  struct enqueue_counts *counts)
{
	bool unseen = !job_was_seen(job);

	if (job->state == JOB_RUNNING) {
		bool unchanged = is_same_file(job, spec) && !must_wait(spec) &&
				 (spec->caption == CAPTION_UNSEEN || spec->caption == job->caption);

		*(unchanged ? &counts->known : &counts->busy) += 1;
		return;
	}
	take_file(job, spec, counts);
	take_caption(job, spec, unseen, counts);
}

/* Nothing of the job would change, whatever its state is by now. */
static bool is_settled(const struct known *k, const struct job_spec *spec)
{
	bool same =
	    k->size == spec->size && k->mtime_ns == spec->mtime_ns && k->inode == spec->inode;
	bool captioned = spec->caption != CAPTION_UNSEEN && spec->caption != k->caption;
	bool unseen = k->size == 0 && k->mtime_ns == 0 && k->inode == 0;

	return same && !captioned && !unseen && k->state != JOB_GONE &&
	       (k->state == JOB_WAITING) == must_wait(spec);
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

	enqueue_known(&job, spec, counts);
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
	if (needed && jobs_lock(b->q, b->known_ids.items, b->known_ids.count, &jobs, err) < 0)
		return -1;
	for (size_t i = 0; i < b->again_count; i++) {
		const struct job_spec *s = &b->specs[b->again[i]];
		struct pg_job *job = jobs_find(&jobs, b->again_ids[i]);

		if (job) {
			enqueue_known(job, s, counts);
		} else {
			counts->known++;
			counts->waiting += must_wait(s);
		}
	}
	return jobs_write(b->q, &jobs, err);
}

/* -- enqueue -------------------------------------------------------------------------------------- */

static int sort_out(struct batch *b, struct enqueue_counts *counts, struct error *err)
{
	b->again = xcalloc(b->n + 1, sizeof(*b->again));
	b->again_ids = xcalloc(b->n + 1, sizeof(*b->again_ids));
	b->ids = xcalloc(b->n + 1, sizeof(*b->ids));
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
			counts->waiting += must_wait(s);
		}
	}
	return 0;
}

static bool has_new(const struct batch *b)
{
	bool any = false;

	for (size_t i = 0; i < b->n && !any; i++)
		any = !b->specs[i].unsettled && !find_path(b, b->specs[i].root, b->specs[i].path);
	return any;
}

static int enqueue_all(struct batch *b, struct enqueue_counts *counts, struct error *err)
{
	if (pg_dataset_check(b->q, b->dataset, err) < 0 || look_up(b, err) < 0)
		return -1;
	/* Others may add the same names until the lock is held. */
	if (has_new(b)) {
		names_clear(b);
		if (names_lock(b->q, b->dataset, err) < 0 || look_up(b, err) < 0)
			return -1;
	}
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

	if (pg_begin(q, err) < 0)
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

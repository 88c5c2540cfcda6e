/*
 * Contents that several jobs have. Table content, what it has not yet, and the jobs that are skipped as duplicates
 * are walked over together in the order of their prints, a window of it at a time: a print that is there twice is
 * worth a look at the rows. Contents are hashes, so that windows of equal width hold about as many each.
 */
#include "queue/queue_sqlite_batch.h"

#include <sqlite3.h>
#include <string.h>

#define PRINT_SIZE  8
#define PREFIXES    4096 /* of 12 bits: the finest windows */
#define WINDOW_JOBS 2000 /* about so many in each, while there are prefixes */

/* A sample or a job that is skipped, by print. */
struct candidate {
	uint8_t print[PRINT_SIZE];
	int64_t sample, job; /* one of them is 0 */
};

struct candidates {
	struct candidate *items;
	size_t count, capacity;
};

/* Rows of one print, with their strings. */
struct group {
	struct duplicate_row *rows;
	size_t count, capacity;
};

struct walk {
	struct sqlite_queue *q;
	int64_t dataset;
	const struct hash128 *after;
	size_t left; /* groups that are still wanted */
	queue_duplicate_fn fn;
	void *arg;
	bool ended;		  /* by fn or the limit */
	struct candidates recent; /* by print */
	size_t recent_at;
	struct candidates found; /* of the window */
	struct group group;
};

static void group_clear(struct group *g)
{
	for (size_t i = 0; i < g->count; i++) {
		free((char *)g->rows[i].key);
		free((char *)g->rows[i].path);
	}
	g->count = 0;
}

static void walk_release(struct walk *w)
{
	group_clear(&w->group);
	free(w->group.rows);
	free(w->recent.items);
	free(w->found.items);
}

static void add_candidate(struct candidates *c, const void *print, int64_t sample, int64_t job)
{
	ARRAY_GROW(c->items, c->count, c->capacity);
	c->items[c->count] = (struct candidate){.sample = sample, .job = job};
	memcpy(c->items[c->count++].print, print, PRINT_SIZE);
}

static int by_print(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;
	int order = memcmp(a->print, b->print, PRINT_SIZE);

	return order != 0 ? order : (a->sample > b->sample) - (a->sample < b->sample);
}

/* -- rows ----------------------------------------------------------------------------------------- */

/* The row of a candidate, if it is of the dataset and still what it was. */
static int add_row(struct walk *w, const struct candidate *c, struct error *err)
{
	static const char sampled[] =
	    "SELECT sample.content, job.id, job.root, job.key, job.path, sample.shard"
	    " FROM sample CROSS JOIN job ON job.id = sample.job"
	    " WHERE sample.id = ?1 AND sample.dead = 0 AND job.dataset = ?2"
	    " AND NOT EXISTS (SELECT 1 FROM sample AS lower WHERE lower.rank = job.rank"
	    "  AND lower.job = job.id AND lower.dead = 0 AND lower.variant < sample.variant)";
	static const char skipped[] =
	    "SELECT content, job.id, job.root, job.key, job.path, 0"
	    " FROM dropped CROSS JOIN job ON job.id = dropped.job"
	    " WHERE dropped.job = ?1 AND job.dataset = ?2"
	    " AND NOT EXISTS (SELECT 1 FROM sample WHERE sample.rank = job.rank"
	    "  AND sample.job = job.id AND sample.dead = 0)";
	struct sqlite3_stmt *stmt = c->sample != 0
					? db_stmt(w->q, STMT_DUPLICATE_SAMPLE, sampled, err)
					: db_stmt(w->q, STMT_DUPLICATE_SKIPPED, skipped, err);
	struct group *g = &w->group;
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, c->sample != 0 ? c->sample : c->job);
	db_bind_int(stmt, 2, w->dataset);
	r = db_step(w->q, stmt, err);
	if (r <= 0)
		return r;
	ARRAY_GROW(g->rows, g->count, g->capacity);
	g->rows[g->count] = (struct duplicate_row){
	    .job = sqlite3_column_int64(stmt, 1),
	    .root = (uint32_t)sqlite3_column_int64(stmt, 2),
	    .key = job_column_key(stmt, 3, 4),
	    .path = db_column_copy(stmt, 4),
	    .shard = sqlite3_column_int64(stmt, 5),
	};
	batch_bytes(stmt, 0, g->rows[g->count].content.bytes, sizeof(struct hash128));
	g->count++;
	db_done(stmt);
	return 0;
}

static int by_content(const void *left, const void *right)
{
	const struct duplicate_row *a = left, *b = right;
	int order = memcmp(&a->content, &b->content, sizeof(a->content));

	return order != 0 ? order : (a->job > b->job) - (a->job < b->job);
}

/* Rows of one print may be of several contents. */
static void show_group(struct walk *w)
{
	const struct group *g = &w->group;

	qsort(g->rows, g->count, sizeof(*g->rows), by_content);
	for (size_t i = 0, end; i < g->count && !w->ended; i = end) {
		const struct hash128 *content = &g->rows[i].content;

		for (end = i + 1; end < g->count && hash128_equal(content, &g->rows[end].content);)
			end++;
		if (end - i < 2 || (w->after && memcmp(content, w->after, sizeof(*content)) <= 0))
			continue;
		if (w->left-- == 0)
			w->ended = true;
		for (; i < end && !w->ended; i++)
			w->ended = w->fn(w->arg, &g->rows[i]) != 0;
	}
}

static int look_at(struct walk *w, const struct candidate *items, size_t n, struct error *err)
{
	group_clear(&w->group);
	for (size_t i = 0; i < n; i++) {
		/* What was recent when the walk began may be in the table now. */
		if (i > 0 && items[i].sample != 0 && items[i].sample == items[i - 1].sample)
			continue;
		if (add_row(w, &items[i], err) < 0)
			return -1;
	}
	if (w->group.count > 1)
		show_group(w);
	return 0;
}

/* -- the walk ------------------------------------------------------------------------------------- */

/* All recent samples, by print. */
static int sort_recent(struct walk *w, struct error *err)
{
	const struct recent *items;
	size_t n;

	if (recent_contents_read(w->q, &items, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		add_candidate(&w->recent, &items[i].print, items[i].sample, 0);
	if (n > 0)
		qsort(w->recent.items, n, sizeof(*w->recent.items), by_print);
	return 0;
}

/* The least value of a window, and one above all that end in it; of the last window, above all that there are. */
struct range {
	uint8_t from[2], upto[sizeof(struct hash128) + 1];
	size_t upto_size;
};

/* The @n prefixes from @first on. */
static struct range range_of(unsigned first, unsigned n)
{
	struct range range = {.from = {(uint8_t)(first >> 4), (uint8_t)(first << 4)}};
	unsigned next = first + n;

	if (next < PREFIXES) {
		range.upto[0] = (uint8_t)(next >> 4);
		range.upto[1] = (uint8_t)(next << 4);
		range.upto_size = 2;
	} else {
		memset(range.upto, 0xff, sizeof(range.upto));
		range.upto_size = sizeof(range.upto);
	}
	return range;
}

static int add_table(struct walk *w, enum stmt_slot slot, const char *sql,
		     const struct range *range, struct error *err)
{
	struct sqlite3_stmt *stmt = db_stmt(w->q, slot, sql, err);
	int r;

	if (!stmt)
		return -1;
	db_bind_blob(stmt, 1, range->from, sizeof(range->from));
	db_bind_blob(stmt, 2, range->upto, range->upto_size);
	while ((r = db_step(w->q, stmt, err)) > 0) {
		size_t size;
		const char *print = db_column(stmt, 0, &size);

		if (size == PRINT_SIZE)
			add_candidate(&w->found, print, sqlite3_column_int64(stmt, 1),
				      sqlite3_column_int64(stmt, 2));
	}
	db_bind_blob(stmt, 1, NULL, 0);
	db_bind_blob(stmt, 2, NULL, 0);
	return r;
}

static int walk_window(struct walk *w, unsigned first, unsigned n, struct error *err)
{
	static const char visible[] =
	    "SELECT print, sample, 0 FROM content WHERE print >= ?1 AND print < ?2";
	static const char dropped[] = "SELECT substr(content, 1, 8), 0, job FROM dropped"
				      " WHERE content >= ?1 AND content < ?2";
	const struct range range = range_of(first, n);
	struct candidates *found = &w->found;

	found->count = 0;
	if (add_table(w, STMT_DUPLICATE_PRINTS, visible, &range, err) < 0 ||
	    add_table(w, STMT_DUPLICATE_DROPPED, dropped, &range, err) < 0)
		return -1;
	for (; w->recent_at < w->recent.count; w->recent_at++) {
		const struct candidate *c = &w->recent.items[w->recent_at];

		if (memcmp(c->print, range.upto, 2) >= 0 && first + n < PREFIXES)
			break;
		add_candidate(found, c->print, c->sample, 0);
	}
	if (found->count > 0)
		qsort(found->items, found->count, sizeof(*found->items), by_print);
	for (size_t i = 0, end; i < found->count && !w->ended; i = end) {
		for (end = i + 1;
		     end < found->count &&
		     memcmp(found->items[i].print, found->items[end].print, PRINT_SIZE) == 0;)
			end++;
		if (end - i > 1 && look_at(w, &found->items[i], end - i, err) < 0)
			return -1;
	}
	return 0;
}

int queue_sqlite_duplicates(struct queue *base, int64_t dataset, const struct hash128 *after,
			    size_t limit, queue_duplicate_fn fn, void *arg, struct error *err)
{
	cleanup_with(walk_release) struct walk w = {.q = sqlite_queue(base),
						    .dataset = dataset,
						    .after = after,
						    .left = limit > 0 ? limit : SIZE_MAX,
						    .fn = fn,
						    .arg = arg};
	unsigned first = after ? (unsigned)(after->bytes[0] << 4 | after->bytes[1] >> 4) : 0;
	unsigned n = PREFIXES;
	int64_t jobs = 0;

	if (db_value(w.q, "SELECT max(id) FROM job", &jobs, err) < 0 || sort_recent(&w, err) < 0)
		return -1;
	while (n > 1 && jobs / WINDOW_JOBS > PREFIXES / n)
		n /= 2;
	for (first -= first % n; first < PREFIXES && !w.ended; first += n) {
		if (walk_window(&w, first, n, err) < 0)
			return -1;
	}
	return 0;
}

/* -- jobs that are skipped ------------------------------------------------------------------------ */

int dropped_put(struct sqlite_queue *q, int64_t job, const struct hash128 *content,
		struct error *err)
{
	static const char sql[] = "INSERT OR REPLACE INTO dropped (job, content) VALUES (?1, ?2)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_DROPPED_PUT, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, job);
	db_bind_blob(stmt, 2, content->bytes, sizeof(content->bytes));
	return db_run(q, stmt, err);
}

int dropped_delete(struct sqlite_queue *q, int64_t job, struct error *err)
{
	struct sqlite3_stmt *stmt =
	    db_stmt(q, STMT_DROPPED_DELETE, "DELETE FROM dropped WHERE job = ?1", err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, job);
	return db_run(q, stmt, err);
}

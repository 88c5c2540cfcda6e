/*
 * Samples and encoded jobs by content.
 *
 * Table content has the samples up to TALLY_CONTENT. The ones above, at most content_backlog and a shard, are
 * looked up in memory: what was read of them once, in order of id, and a hash table over it. As in table
 * content, what is found there only narrows the search, and the sample's row decides; so samples that died
 * need not be taken out. Rows that are deleted must be, for their ids may come again: recent_contents_reset().
 */
#include "queue/queue_sqlite.h"

#include "base/checked.h"

#include <sqlite3.h>
#include <string.h>

struct recent_contents {
	int64_t after; /* TALLY_CONTENT when it was begun; -1: to be begun anew */
	int64_t upto;  /* the last sample that it has seen */
	struct recent *items;
	size_t count, capacity;
	uint32_t *slots; /* 1 + index in items, 0: free; probed one after the other */
	size_t n_slots;	 /* a power of two, at least twice the count */
};

static void recent_clear(struct recent_contents *r)
{
	free(r->items);
	free(r->slots);
	*r = (struct recent_contents){.after = -1};
}

void recent_contents_free(struct recent_contents *recent)
{
	if (recent)
		recent_clear(recent);
	free(recent);
}

/* -- table content -------------------------------------------------------------------------------- */

static int last_sample(struct sqlite_queue *q, int64_t *out, struct error *err)
{
	struct sqlite3_stmt *stmt =
	    db_stmt(q, STMT_CONTENT_LAST, "SELECT max(id) FROM sample", err);

	if (!stmt || db_step(q, stmt, err) < 0)
		return -1;
	*out = sqlite3_column_int64(stmt, 0);
	db_done(stmt);
	return 0;
}

int content_fill(struct sqlite_queue *q, struct error *err)
{
	static const char sql[] =
	    "INSERT OR IGNORE INTO content SELECT substr(content, 1, 8), id FROM sample"
	    " WHERE id > ?1 AND id <= ?2 AND +dead = 0 ORDER BY 1, 2";
	int64_t after, last;

	if (db_tally_read(q, 0, TALLY_CONTENT, &after, err) < 0 || last_sample(q, &last, err) < 0)
		return -1;
	if (last - after <= q->content_backlog)
		return 0;
	db_tally(q, 0, TALLY_CONTENT, last - after);
	while (after < last) {
		int64_t upto = last - after > CONTENT_BACKLOG ? after + CONTENT_BACKLOG : last;
		struct sqlite3_stmt *stmt = db_stmt(q, STMT_CONTENT_FILL, sql, err);

		if (!stmt)
			return -1;
		db_bind_int(stmt, 1, after);
		db_bind_int(stmt, 2, upto);
		if (db_run(q, stmt, err) < 0)
			return -1;
		after = upto;
	}
	return 0;
}

int content_forget(struct sqlite_queue *q, int64_t first, int64_t end, struct error *err)
{
	static const char sql[] = "DELETE FROM content WHERE (print, sample) IN"
				  " (SELECT substr(content, 1, 8), id FROM sample"
				  "  WHERE id >= ?1 AND id < ?2)";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_CONTENT_FORGET, sql, err);

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, first);
	db_bind_int(stmt, 2, end);
	return db_run(q, stmt, err);
}

/* -- the samples above it ------------------------------------------------------------------------- */

void recent_contents_reset(struct sqlite_queue *q)
{
	if (q->recent)
		q->recent->after = -1;
}

static uint64_t print_of(const void *content)
{
	uint64_t print;

	memcpy(&print, content, sizeof(print));
	return print;
}

static void recent_link(struct recent_contents *r, size_t index)
{
	size_t at = r->items[index].print & (r->n_slots - 1);

	while (r->slots[at] != 0)
		at = (at + 1) & (r->n_slots - 1);
	r->slots[at] = (uint32_t)index + 1;
}

static void recent_add(struct recent_contents *r, uint64_t print, int64_t sample)
{
	ARRAY_GROW(r->items, r->count, r->capacity);
	r->items[r->count++] = (struct recent){print, sample};
	if (2 * r->count <= r->n_slots) {
		recent_link(r, r->count - 1);
		return;
	}
	free(r->slots);
	r->n_slots = r->n_slots ? 2 * r->n_slots : 1024;
	r->slots = xcalloc(r->n_slots, sizeof(*r->slots));
	for (size_t i = 0; i < r->count; i++)
		recent_link(r, i);
}

/* Another process may write beside a reader, and delete: it starts anew each time. */
static int recent_update(struct sqlite_queue *q, struct error *err)
{
	static const char sql[] =
	    "SELECT id, content FROM sample WHERE id > ?1 AND +dead = 0 ORDER BY id";
	struct recent_contents *r;
	struct sqlite3_stmt *stmt;
	int64_t after;
	int more;

	if (!q->recent) {
		q->recent = xcalloc(1, sizeof(*q->recent));
		q->recent->after = -1;
	}
	r = q->recent;
	if (db_tally_read(q, 0, TALLY_CONTENT, &after, err) < 0)
		return -1;
	if (q->readonly || r->after != after) {
		recent_clear(r);
		r->after = r->upto = after;
	}
	stmt = db_stmt(q, STMT_CONTENT_TAIL, sql, err);
	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, r->upto);
	while ((more = db_step(q, stmt, err)) > 0) {
		size_t size;
		const char *content = db_column(stmt, 1, &size);

		r->upto = sqlite3_column_int64(stmt, 0);
		if (size == sizeof(struct hash128))
			recent_add(r, print_of(content), r->upto);
	}
	return more;
}

int recent_contents_read(struct sqlite_queue *q, const struct recent **out, size_t *n,
			 struct error *err)
{
	if (recent_update(q, err) < 0)
		return -1;
	*out = q->recent->items;
	*n = q->recent->count;
	return 0;
}

/* -- finding -------------------------------------------------------------------------------------- */

#define VISIBLE                                                                                    \
	"SELECT sample.job, shard.dataset, job.key, job.path, sample.shard, sample.variant,"       \
	" sample.offset, sample.bytes, shard.path FROM "
#define VISIBLE_OF                                                                                 \
	" CROSS JOIN shard ON shard.id = sample.shard"                                             \
	" CROSS JOIN dataset ON dataset.id = shard.dataset CROSS JOIN job ON job.id = sample.job"  \
	" WHERE sample.dead = 0 AND sample.content = ?2 AND " OF_RECIPE
/* Of the recipe of dataset ?1. */
#define OF_RECIPE "dataset.recipe_id = (SELECT recipe_id FROM dataset WHERE id = ?1)"

/* The first row of a statement that finds visible samples, unless *found is as good. */
static int take_visible(struct sqlite_queue *q, struct sqlite3_stmt *stmt, int64_t dataset,
			const struct hash128 *content, struct content_found *found,
			struct error *err)
{
	int64_t of;
	int r;

	db_bind_int(stmt, 1, dataset);
	db_bind_blob(stmt, 2, content->bytes, sizeof(content->bytes));
	r = db_step(q, stmt, err);
	if (r <= 0)
		return r;
	of = sqlite3_column_int64(stmt, 1);
	if (found->where != CONTENT_NONE && of != dataset) {
		db_done(stmt);
		return 0;
	}
	content_found_release(found);
	*found = (struct content_found){
	    .where = CONTENT_VISIBLE,
	    .job = sqlite3_column_int64(stmt, 0),
	    .dataset = of,
	    .key = job_column_key(stmt, 2, 3),
	    .shard = sqlite3_column_int64(stmt, 4),
	    .variant = (uint32_t)sqlite3_column_int64(stmt, 5),
	    .offset = (uint64_t)sqlite3_column_int64(stmt, 6),
	    .bytes = (uint64_t)sqlite3_column_int64(stmt, 7),
	    .shard_path = db_column_copy(stmt, 8),
	};
	db_done(stmt);
	return 0;
}

/* One that the caller's own dataset has is the best there is. */
static bool is_own(const struct content_found *found, int64_t dataset)
{
	return found->where != CONTENT_NONE && found->dataset == dataset;
}

static int find_recent(struct sqlite_queue *q, int64_t dataset, const struct hash128 *content,
		       struct content_found *found, struct error *err)
{
	static const char sql[] = VISIBLE "sample" VISIBLE_OF " AND sample.id = ?3";
	uint64_t print = print_of(content->bytes);
	const struct recent_contents *r;

	if (recent_update(q, err) < 0)
		return -1;
	r = q->recent;
	if (r->n_slots == 0)
		return 0;
	for (size_t at = print & (r->n_slots - 1); r->slots[at] && !is_own(found, dataset);
	     at = (at + 1) & (r->n_slots - 1)) {
		const struct recent *item = &r->items[r->slots[at] - 1];
		struct sqlite3_stmt *stmt;

		if (item->print != print)
			continue;
		stmt = db_stmt(q, STMT_CONTENT_RECENT, sql, err);
		if (!stmt)
			return -1;
		db_bind_int(stmt, 3, item->sample);
		if (take_visible(q, stmt, dataset, content, found, err) < 0)
			return -1;
	}
	return 0;
}

static int find_visible(struct sqlite_queue *q, int64_t dataset, const struct hash128 *content,
			struct content_found *found, struct error *err)
{
	static const char sql[] =
	    VISIBLE "content CROSS JOIN sample ON sample.id = content.sample" VISIBLE_OF
		    " AND content.print = substr(?2, 1, 8)"
		    " ORDER BY shard.dataset <> ?1, content.sample LIMIT 1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_CONTENT_VISIBLE, sql, err);

	if (!stmt || take_visible(q, stmt, dataset, content, found, err) < 0)
		return -1;
	return is_own(found, dataset) ? 0 : find_recent(q, dataset, content, found, err);
}

static int find_spooled(struct sqlite_queue *q, int64_t dataset, const struct hash128 *content,
			struct content_found *found, struct error *err)
{
	static const char sql[] =
	    "SELECT work.job, work.dataset, job.key, job.path"
	    " FROM work INDEXED BY work_content CROSS JOIN dataset ON dataset.id = work.dataset"
	    " CROSS JOIN job ON job.id = work.job"
	    " WHERE state = 3 AND content = ?2 AND " OF_RECIPE
	    " ORDER BY work.dataset <> ?1, work.job LIMIT 1";
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_CONTENT_SPOOLED, sql, err);
	int64_t of;
	int r;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, dataset);
	db_bind_blob(stmt, 2, content->bytes, sizeof(content->bytes));
	r = db_step(q, stmt, err);
	if (r <= 0)
		return r;
	of = sqlite3_column_int64(stmt, 1);
	if (found->where == CONTENT_NONE || of == dataset) {
		content_found_release(found);
		*found = (struct content_found){
		    .where = CONTENT_SPOOLED,
		    .job = sqlite3_column_int64(stmt, 0),
		    .dataset = of,
		    .key = job_column_key(stmt, 2, 3),
		};
	}
	db_done(stmt);
	return 0;
}

int queue_sqlite_find_content(struct queue *base, int64_t dataset, const struct hash128 *content,
			      struct content_found *found, struct error *err)
{
	struct sqlite_queue *q = sqlite_queue(base);

	if (dataset_check(q, dataset, err) < 0 || find_visible(q, dataset, content, found, err) < 0)
		return -1;
	return is_own(found, dataset) ? 0 : find_spooled(q, dataset, content, found, err);
}

int queue_sqlite_find_variants(struct queue *base, struct content_found *found, struct error *err)
{
	static const char sql[] = "SELECT variant, offset, bytes FROM sample INDEXED BY sample_live"
				  " WHERE dead = 0 AND rank = (SELECT rank FROM job WHERE id = ?1)"
				  " AND job = ?1 AND shard = ?2 ORDER BY offset";
	struct sqlite_queue *q = sqlite_queue(base);
	struct sqlite3_stmt *stmt = db_stmt(q, STMT_CONTENT_VARIANTS, sql, err);
	int more;

	if (!stmt)
		return -1;
	db_bind_int(stmt, 1, found->job);
	db_bind_int(stmt, 2, found->shard);
	while ((more = db_step(q, stmt, err)) > 0) {
		const struct variant_place place = {(uint32_t)sqlite3_column_int64(stmt, 0),
						    (uint64_t)sqlite3_column_int64(stmt, 1),
						    (uint64_t)sqlite3_column_int64(stmt, 2)};

		content_found_add(found, &place);
	}
	return more;
}

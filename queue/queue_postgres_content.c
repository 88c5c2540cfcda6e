/*
 * Samples and encoded jobs by content.
 */
#include "queue/queue_postgres.h"

#include "base/checked.h"

#include <string.h>

/*
 * $1 content, $2 dataset, $3 this node: another's spool cannot be read here. No row: there is no such dataset; NULL: nothing is
 * found. The dataset's own first, and of these what is in a shard. One statement, because every image asks.
 */
static const char find_content[] =
    "SELECT f.kind, f.dataset, f.job, f.shard, f.variant, f.\"offset\", f.bytes, f.path, f.key, "
    "f.shard_path"
    " FROM (SELECT recipe_id FROM latentd.dataset WHERE id = $2::bigint) AS mine"
    " LEFT JOIN LATERAL ("
    "  (SELECT 1 AS kind, s.dataset::bigint, s.job, s.shard, s.variant, s.\"offset\", s.bytes,"
    "   j.path, j.key, h.path AS shard_path"
    "   FROM latentd.sample AS s JOIN latentd.shard AS h ON h.id = s.shard"
    "   JOIN latentd.job AS j ON j.id = s.job JOIN latentd.dataset AS d ON d.id = s.dataset"
    "   WHERE s.content = $1::uuid AND NOT s.dead AND d.recipe_id = mine.recipe_id"
    "   ORDER BY s.dataset <> $2::bigint, s.shard, s.\"offset\" LIMIT 1)"
    "  UNION ALL"
    "  (SELECT 2, j.dataset, j.id, 0, 0, 0, 0, j.path, j.key, NULL"
    "   FROM latentd.job AS j JOIN latentd.dataset AS d ON d.id = j.dataset"
    "   JOIN latentd.node AS n ON n.id = j.keeper"
    "   WHERE j.content = $1::uuid AND j.state = 3 AND n.name = $3::bytea"
    "   AND d.recipe_id = mine.recipe_id ORDER BY j.dataset <> $2::bigint, j.id LIMIT 1)"
    " ) AS f ON true ORDER BY f.dataset <> $2::bigint, f.kind LIMIT 1";

int queue_postgres_find_content(struct queue *base, int64_t dataset, const struct hash128 *content,
				struct content_found *found, struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *r = NULL;
	bool visible;

	pg_hash(&args, content);
	pg_int(&args, dataset);
	pg_bytes(&args, q->node, strlen(q->node));
	if (pg_read(q, find_content, &args, &r, err) < 0)
		return -1;
	if (pg_rows(r) == 0)
		return pg_no_dataset(dataset, err);
	if (pg_is_null(r, 0, 0))
		return 0;
	visible = pg_value(r, 0, 0) == 1;
	*found = (struct content_found){
	    .where = visible ? CONTENT_VISIBLE : CONTENT_SPOOLED,
	    .dataset = pg_value(r, 0, 1),
	    .job = pg_value(r, 0, 2),
	    .shard = pg_value(r, 0, 3),
	    .variant = (uint32_t)pg_value(r, 0, 4),
	    .offset = (uint64_t)pg_value(r, 0, 5),
	    .bytes = (uint64_t)pg_value(r, 0, 6),
	    .key = pg_key(r, 0, 8, 7),
	    .shard_path = visible ? xstrdup(pg_string(r, 0, 9)) : NULL,
	};
	return 0;
}

int queue_postgres_find_variants(struct queue *base, struct content_found *found, struct error *err)
{
	static const char sql[] = "SELECT variant, \"offset\", bytes FROM latentd.sample"
				  " WHERE job = $1::bigint AND shard = $2::bigint AND NOT dead"
				  " ORDER BY \"offset\"";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_int(&args, found->job);
	pg_int(&args, found->shard);
	if (pg_read(postgres_queue(base), sql, &args, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		const struct variant_place place = {(uint32_t)pg_value(result, i, 0),
						    (uint64_t)pg_value(result, i, 1),
						    (uint64_t)pg_value(result, i, 2)};

		content_found_add(found, &place);
	}
	return 0;
}

/* -- duplicates ----------------------------------------------------------------------------------- */

/* $1 dataset, $2 only contents above it or NULL, $3 how many contents. */
static const char duplicates[] =
    "WITH firsts AS MATERIALIZED ("
    "  SELECT DISTINCT ON (s.job) s.job, s.content, s.shard FROM latentd.sample AS s"
    "  WHERE s.dataset = $1::bigint AND NOT s.dead ORDER BY s.job, s.variant),"
    " shown AS MATERIALIZED (SELECT * FROM firsts UNION ALL"
    "  SELECT j.id, j.dropped, 0 FROM latentd.job AS j WHERE j.dataset = $1::bigint"
    "  AND j.dropped IS NOT NULL"
    "  AND NOT EXISTS (SELECT 1 FROM firsts WHERE firsts.job = j.id)),"
    " several AS (SELECT content FROM shown WHERE $2::uuid IS NULL OR content > $2"
    "  GROUP BY content HAVING count(*) > 1 ORDER BY content LIMIT $3::bigint)"
    " SELECT h.content, h.job, j.root, j.path, j.key, h.shard FROM shown AS h"
    " JOIN several USING (content) JOIN latentd.job AS j ON j.id = h.job ORDER BY 1, 2";

/* Contents of which rows were shown, or -1: @fn ended it. */
static int show_duplicates(const PGresult *result, queue_duplicate_fn fn, void *arg,
			   struct hash128 *last)
{
	int contents = 0;

	for (int i = 0; i < pg_rows(result); i++) {
		cleanup_free char *key = pg_key(result, i, 4, 3);
		struct duplicate_row row = {.content = pg_hash_of(result, i, 0),
					    .job = pg_value(result, i, 1),
					    .root = (uint32_t)pg_value(result, i, 2),
					    .key = key,
					    .path = pg_string(result, i, 3),
					    .shard = pg_value(result, i, 5)};

		contents += i == 0 || !hash128_equal(last, &row.content);
		*last = row.content;
		if (fn(arg, &row) != 0)
			return -1;
	}
	return contents;
}

int queue_postgres_duplicates(struct queue *base, int64_t dataset, const struct hash128 *after,
			      size_t limit, queue_duplicate_fn fn, void *arg, struct error *err)
{
	size_t left = limit > 0 ? limit : SIZE_MAX;
	struct hash128 last = {{0}};
	bool any = after != NULL;
	int shown = PG_PAGE;

	if (after)
		last = *after;
	while (shown == PG_PAGE && left > 0) {
		cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
		cleanup_pg_result PGresult *result = NULL;
		size_t page = left < PG_PAGE ? left : PG_PAGE;

		pg_int(&args, dataset);
		if (any)
			pg_hash(&args, &last);
		else
			pg_null(&args);
		pg_int(&args, (int64_t)page);
		if (pg_read(postgres_queue(base), duplicates, &args, &result, err) < 0)
			return -1;
		shown = show_duplicates(result, fn, arg, &last);
		any = true;
		left -= shown > 0 ? (size_t)shown : 0;
	}
	return 0;
}

/*
 * What charts show: this node's rings of a few hundred rows, each written in place.
 */
#include "queue/queue_postgres.h"

#include <string.h>

#define COLUMN(member)                                                                             \
	do {                                                                                       \
		pg_array(&args, PG_BIGINT);                                                        \
		for (size_t i = 0; i < n; i++)                                                     \
			pg_item_int(&args, (int64_t)rows[i].member);                               \
		pg_array_end(&args);                                                               \
	} while (0)

static int keep(struct postgres_queue *q, const struct history_row *rows, size_t n,
		struct error *err)
{
	static const char sql[] =
	    "INSERT INTO latentd.history (node, series, place, at, ms, images, todo)"
	    " SELECT $1::bigint, v.* FROM unnest($2::bigint[], $3::bigint[], $4::bigint[],"
	    " $5::bigint[], $6::bigint[], $7::bigint[]) AS v"
	    " ON CONFLICT (node, series, place) DO UPDATE SET at = excluded.at,"
	    " ms = excluded.ms, images = excluded.images, todo = excluded.todo";
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	int64_t node = 0;

	if (node_number(q, &node, err) < 0)
		return -1;
	pg_int(&args, node);
	COLUMN(series);
	COLUMN(place);
	COLUMN(at);
	COLUMN(ms);
	COLUMN(images);
	COLUMN(todo);
	return pg_run(q, sql, &args, err);
}

int queue_postgres_keep_history(struct queue *base, const struct history_row *rows, size_t n,
				struct error *err)
{
	struct postgres_queue *q = postgres_queue(base);

	if (pg_begin(q, err) < 0)
		return -1;
	return pg_end(q, keep(q, rows, n, err), err);
}

int queue_postgres_history(struct queue *base, queue_history_fn fn, void *arg, struct error *err)
{
	static const char sql[] =
	    "SELECT h.series, h.place, h.at, h.ms, h.images, h.todo FROM latentd.history AS h"
	    " JOIN latentd.node AS n ON n.id = h.node WHERE n.name = $1::bytea ORDER BY 1, 2";
	struct postgres_queue *q = postgres_queue(base);
	cleanup_pg_args struct pg_args args = PG_ARGS_INIT;
	cleanup_pg_result PGresult *result = NULL;

	pg_bytes(&args, q->node, strlen(q->node));
	if (pg_read(q, sql, &args, &result, err) < 0)
		return -1;
	for (int i = 0; i < pg_rows(result); i++) {
		struct history_row row = {.series = (uint32_t)pg_value(result, i, 0),
					  .place = (uint32_t)pg_value(result, i, 1),
					  .at = pg_value(result, i, 2),
					  .ms = pg_value(result, i, 3),
					  .images = (uint64_t)pg_value(result, i, 4),
					  .todo = (uint64_t)pg_value(result, i, 5)};

		if (fn(arg, &row) != 0)
			break;
	}
	return 0;
}

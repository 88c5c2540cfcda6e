/* What lanes ask about nodes. */
#include "daemon/db_queue_parts.h"

#include "queue/queue_nodes.h"

struct root_args {
	struct operation op;
	int64_t dataset;
	const char *path;
	uint32_t *number;
};

static int run_root(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct root_args *a = (const struct root_args *)op;

	return queue_node_root(queue, a->dataset, a->path, a->number, err);
}

static int node_root(struct queue *q, int64_t dataset, const char *path, uint32_t *number,
		     struct error *err)
{
	struct root_args a = {{run_root, NULL, 0}, dataset, path, number};

	return db_queue_forward(q, &a.op, err);
}

struct cluster_args {
	struct operation op;
	char *id;
};

static int run_cluster(struct queue *queue, const struct operation *op, struct error *err)
{
	return queue_cluster(queue, ((const struct cluster_args *)op)->id, err);
}

static int node_cluster(struct queue *q, char id[QUEUE_CLUSTER_SIZE], struct error *err)
{
	struct cluster_args a = {{run_cluster, NULL, 0}, id};

	return db_queue_read(q, &a.op, err);
}

struct nodes_args {
	struct operation op;
	queue_node_fn fn;
	void *arg;
};

static int run_nodes(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct nodes_args *a = (const struct nodes_args *)op;

	return queue_nodes(queue, a->fn, a->arg, err);
}

static int node_list(struct queue *q, queue_node_fn fn, void *arg, struct error *err)
{
	struct nodes_args a = {{run_nodes, NULL, 0}, fn, arg};

	return db_queue_read(q, &a.op, err);
}

struct turn_args {
	struct operation op;
	int64_t dataset;
	int64_t *now;
};

static int run_take_turn(struct queue *queue, const struct operation *op, struct error *err)
{
	const struct turn_args *a = (const struct turn_args *)op;

	return queue_turn_take(queue, a->dataset, a->now, err);
}

static int take_turn(struct queue *q, int64_t dataset, int64_t *now, struct error *err)
{
	struct turn_args a = {{run_take_turn, NULL, 0}, dataset, now};

	return db_queue_forward(q, &a.op, err);
}

static int run_end_turn(struct queue *queue, const struct operation *op, struct error *err)
{
	(void)op;
	(void)err;
	queue_turn_end(queue);
	return 0;
}

static void end_turn(struct queue *q)
{
	struct operation op = {run_end_turn, NULL, 0};
	struct error ignored = ERROR_INIT;

	db_queue_forward(q, &op, &ignored);
}

const struct queue_nodes_ops db_queue_nodes = {.cluster = node_cluster,
					       .root = node_root,
					       .list = node_list,
					       .take_turn = take_turn,
					       .end_turn = end_turn};

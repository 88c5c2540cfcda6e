#include "queue/queue_nodes.h"

static const struct queue_nodes_ops *nodes_of(const struct queue *q, struct error *err)
{
	if (!q->ops->nodes)
		error_set(err, ERR_BUG, "a queue in %s is not shared by nodes", q->ops->name);
	return q->ops->nodes;
}

bool queue_has_nodes(const struct queue *q)
{
	return q->ops->nodes != NULL;
}

int queue_node_beat(struct queue *q, const struct node_beat *beat, struct node_pulse *pulse,
		    struct error *err)
{
	const struct queue_nodes_ops *ops = nodes_of(q, err);

	return ops ? ops->beat(q, beat, pulse, err) : -1;
}

int queue_cluster(struct queue *q, char id[QUEUE_CLUSTER_SIZE], struct error *err)
{
	const struct queue_nodes_ops *ops = nodes_of(q, err);

	return ops ? ops->cluster(q, id, err) : -1;
}

int queue_node_root(struct queue *q, int64_t dataset, const char *path, uint32_t *number,
		    struct error *err)
{
	const struct queue_nodes_ops *ops = nodes_of(q, err);

	return ops ? ops->root(q, dataset, path, number, err) : -1;
}

int queue_nodes(struct queue *q, queue_node_fn fn, void *arg, struct error *err)
{
	const struct queue_nodes_ops *ops = nodes_of(q, err);

	return ops ? ops->list(q, fn, arg, err) : -1;
}

int queue_node_order(struct queue *q, const char *node, bool drains, struct error *err)
{
	const struct queue_nodes_ops *ops = nodes_of(q, err);

	return ops ? ops->order(q, node, drains, err) : -1;
}

int queue_node_forget(struct queue *q, const char *node, size_t *requeued, struct error *err)
{
	const struct queue_nodes_ops *ops = nodes_of(q, err);

	return ops ? ops->forget(q, node, requeued, err) : -1;
}

int queue_nodes_forget(struct queue *q, int64_t silent_ms, queue_forgotten_fn fn, void *arg,
		       struct error *err)
{
	const struct queue_nodes_ops *ops = nodes_of(q, err);

	return ops ? ops->forget_silent(q, silent_ms, fn, arg, err) : -1;
}

int queue_turn_take(struct queue *q, int64_t dataset, int64_t *now, struct error *err)
{
	const struct queue_nodes_ops *ops = nodes_of(q, err);

	return ops ? ops->take_turn(q, dataset, now, err) : -1;
}

void queue_turn_end(struct queue *q)
{
	if (q->ops->nodes)
		q->ops->nodes->end_turn(q);
}

struct queue_listener *queue_listener_new(struct queue *q)
{
	return q->ops->nodes ? q->ops->nodes->listener(q) : NULL;
}

void queue_listener_free(struct queue_listener *l)
{
	if (l)
		l->ops->free(l);
}

int queue_listener_wait(struct queue_listener *l, int stop_fd, int64_t *dataset, struct error *err)
{
	return l->ops->wait(l, stop_fd, dataset, err);
}

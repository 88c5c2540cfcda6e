/*
 * The machines that share a queue: who is alive, who looks through which dataset's sources, and what becomes of the
 * work of one that never returns. Only a queue in PostgreSQL has any; with others these are ERR_BUG.
 *
 *	queue_cluster(q, id, err)                  which database it is
 *	queue_node_beat(q, &beat, &pulse, err)     at the start, then every third of beat.timeout_ms
 *	queue_node_root(q, dataset, path, &number, err)   a source's number, the same on every node
 *	queue_nodes(q, fn, arg, err)               for people
 *	queue_node_order(q, "gpu1", true, err)     it drains
 *	queue_node_forget(q, "gpu1", &requeued, err)   queue_nodes_forget(q, silent_ms, fn, arg, err)
 *
 * A node that gave no sign of life for its timeout has lost its duties and what it was encoding: queue_rescue() of
 * others takes that, and its fences are void; but silence counts only from when they could have heard it, because nobody could
 * while the database was away. What it has in its spool waits for it, or until it is forgotten. All by the
 * database's clock.
 */
#ifndef LATENTD_QUEUE_QUEUE_NODES_H
#define LATENTD_QUEUE_QUEUE_NODES_H

#include "queue/queue.h"

/* A dataset that this node works on. */
struct node_dataset {
	int64_t dataset;
	bool scanned; /* this node has looked through all of its sources, and does still */
	bool passes;  /* it has the duty until another node is there for it */
	/* answered: */
	bool mine;  /* this node looks through its sources and writes its indexes */
	bool known; /* whoever does has looked through all of them */
};

struct node_beat {
	const char
	    *instance; /* of the state folder: the same after a restart; a copy of it has it too */
	/* Of the state folder on this machine as it runs now: what has another place is another process. */
	const char *place;
	const char *host; /* where it is, for people */
	const char *version;
	int64_t timeout_ms;
	uint64_t encoded; /* since it began */
	double rate;	  /* images a second, over the last minute */
	struct node_dataset *datasets;
	size_t n_datasets;
	bool leaves; /* in order: it gives up its duties, and others need not wait */
};

struct node_pulse {
	bool drains; /* somebody asked it to: it has no duties */
	int64_t now; /* by the database's clock, ms since 1970 */
	/* Since its last sign of life a standby became the primary: it may lack what was committed last. */
	bool failed_over;
	/* Likewise a dump was restored in the place of the tables, or the database forgot that sign of life. */
	bool set_back;
	/*
	 * Where it has a duty: another number whenever the nodes that died, forgotten ones included, are others than at the last
	 * sign of life. 0: none ever did. `forgotten` is the part that those make who are forgotten, of whom it is certain.
	 */
	int64_t deaths, forgotten;
	/* with QUEUE_NODE_TAKEN, of who has the name: */
	char holder[96];     /* its host */
	bool is_copy;	     /* it has this instance: its state folder is this one, or a copy */
	int64_t beat_at;     /* its last sign of life, by the database's clock */
	int64_t silent_ms;   /* since then */
	int64_t patience_ms; /* after so much more silence it counts as dead */
};

/* Otherwise the rest is ERR_BUG. */
bool queue_has_nodes(const struct queue *q);

/* Another instance, or this one at another place, has the name and is alive; nothing was changed. */
#define QUEUE_NODE_TAKEN 1

int queue_node_beat(struct queue *q, const struct node_beat *beat, struct node_pulse *pulse,
		    struct error *err);

#define QUEUE_CLUSTER_SIZE 40

/* Of the database, which its standbys and copies have too: whose outputs are whose. */
int queue_cluster(struct queue *q, char id[QUEUE_CLUSTER_SIZE], struct error *err);
/* Number of the source at @path; it gets the next free one where it has none. */
int queue_node_root(struct queue *q, int64_t dataset, const char *path, uint32_t *number,
		    struct error *err);

struct node_row { /* strings live during the call */
	const char *name, *host, *version;
	bool alive, left, drains;
	int64_t silent_ms;  /* since its last sign of life */
	uint64_t encoded;   /* since it began */
	double rate;	    /* images a second */
	uint64_t running;   /* jobs that it is at */
	uint64_t spooled;   /* encoded ones that are in no shard yet */
	const char *duties; /* datasets whose sources it looks through: "photos, scans" */
};

typedef int (*queue_node_fn)(void *arg, const struct node_row *row);

/* By name; forgotten ones are not among them. The callback must not call the queue. */
int queue_nodes(struct queue *q, queue_node_fn fn, void *arg, struct error *err);
/* It begins nothing new and seals what it has, or goes on. ERR_CONFIG: there is no such node. */
int queue_node_order(struct queue *q, const char *node, bool drains, struct error *err);
/*
 * It does not return: what it was encoding and what is in its spool is to be encoded again, *requeued of them. Its
 * shards stay. ERR_CONFIG: there is no such node, or it is alive.
 */
int queue_node_forget(struct queue *q, const char *node, size_t *requeued, struct error *err);

typedef void (*queue_forgotten_fn)(void *arg, const char *node, size_t requeued);

/*
 * Likewise all that are not alive and gave no sign of life for @silent_ms, this one excepted. One that was asked to drain
 * and comes back drains still. They are told of in one transaction: where it fails, some may have been told of that are
 * not forgotten.
 */
int queue_nodes_forget(struct queue *q, int64_t silent_ms, queue_forgotten_fn fn, void *arg,
		       struct error *err);

/* Another process has it. */
#define QUEUE_TURN_TAKEN 1

/*
 * The turn to replace and remove shards of @dataset, which one process at a time has: until queue_turn_end(), queue_close(), or
 * until the server notices that its holder is gone. While this queue has it, queue_swap() retires nothing of the dataset once
 * it is lost (ERR_TRANSIENT), and no swap of a former holder comes after it was taken. A queue has one at a time. *now: by the
 * database's clock, ms since 1970.
 */
int queue_turn_take(struct queue *q, int64_t dataset, int64_t *now, struct error *err);
/* Without a turn nothing. */
void queue_turn_end(struct queue *q);

/*
 * Hears when other nodes make jobs available, on a connection of its own. One thread's, which need not be that of the
 * queue. Who listens must still ask now and then: what is said while there is no connection is lost.
 */
struct queue_listener {
	const struct queue_listener_ops *ops;
};

/* NULL: no nodes share the queue. */
struct queue_listener *queue_listener_new(struct queue *q);
/* NULL is fine. */
void queue_listener_free(struct queue_listener *l);

#define QUEUE_LISTEN_STOPPED 1 /* @stop_fd is readable */
#define QUEUE_LISTEN_POOLED                                                                        \
	2 /* a pooler stands in between, which carries nothing: nor will it later */

/*
 * Connects where it is not connected. 0: jobs of *dataset may be available, 0: of any, as after connecting.
 * ERR_TRANSIENT: the connection is lost; the next call tries anew.
 */
int queue_listener_wait(struct queue_listener *l, int stop_fd, int64_t *dataset, struct error *err);

struct queue_listener_ops {
	int (*wait)(struct queue_listener *l, int stop_fd, int64_t *dataset, struct error *err);
	void (*free)(struct queue_listener *l);
};

/* What a backend that nodes share has beside struct queue_ops. */
struct queue_nodes_ops {
	int (*cluster)(struct queue *q, char id[QUEUE_CLUSTER_SIZE], struct error *err);
	int (*beat)(struct queue *q, const struct node_beat *beat, struct node_pulse *pulse,
		    struct error *err);
	int (*root)(struct queue *q, int64_t dataset, const char *path, uint32_t *number,
		    struct error *err);
	int (*list)(struct queue *q, queue_node_fn fn, void *arg, struct error *err);
	int (*order)(struct queue *q, const char *node, bool drains, struct error *err);
	int (*forget)(struct queue *q, const char *node, size_t *requeued, struct error *err);
	int (*forget_silent)(struct queue *q, int64_t silent_ms, queue_forgotten_fn fn, void *arg,
			     struct error *err);
	struct queue_listener *(*listener)(struct queue *q);
	int (*take_turn)(struct queue *q, int64_t dataset, int64_t *now, struct error *err);
	void (*end_turn)(struct queue *q);
};

#endif

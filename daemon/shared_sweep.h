/*
 * What lies in a dataset that nodes share and is nobody's: shards in no catalog, whose node died before it could enter them;
 * uploads and half-written files of nodes that are not alive. And the other way round: shards of the catalog that are gone, whose node
 * will not notice. What a living node has begun is left alone.
 */
#ifndef LATENTD_DAEMON_SHARED_SWEEP_H
#define LATENTD_DAEMON_SHARED_SWEEP_H

#include "daemon/dataset_form.h"
#include "queue/queue.h"
#include "storage/store.h"

struct shared_sweep_options {
	struct queue *queue; /* that has the dataset's turn (queue_nodes.h); not for a dry run */
	struct store *store; /* of the dataset */
	const struct queue_dataset *dataset;
	const struct dataset_form *form;
	const char *folder; /* OUT/NAME */
	const char *
	    node; /* this node, which is alive however late its signs of life are; NULL: it is none */
	int64_t before; /* wall time, ms: what was begun later is left alone */
	bool dry_run;	/* only says what would be done */
	/* One line for a person about what was found and done. */
	void (*note)(void *arg, const char *line);
	void *arg;
};

int shared_sweep(const struct shared_sweep_options *o, struct error *err);

#endif

/*
 * Shards that are in sight and in no catalog: their writer died between publishing and the transaction. Each is verified
 * and adopted, or, where it is bad or its samples are in other shards by now, moved to the quarantine folder.
 */
#ifndef LATENTD_DAEMON_ORPHAN_H
#define LATENTD_DAEMON_ORPHAN_H

#include "daemon/dataset_form.h"
#include "queue/queue.h"
#include "storage/store.h"

struct orphan_options {
	struct queue *queue;
	struct store *store; /* of the dataset */
	const char *recipe_id;
	const struct dataset_form *form; /* of the dataset */
	int64_t dataset;
	/* of orphans_settle: this node, which is alive however late its signs of life are; NULL: it is none */
	const char *node;
	/* likewise: the caller has the turn (queue_nodes.h), so what no node has made is nobody's, too */
	bool turn;
	bool dry_run; /* likewise: only names them */
	/* NULL, or whether it is to end soon: ERR_TRANSIENT, and the next time does the rest */
	bool (*stop)(void *arg);
	/* One line for a person about what was found and done. */
	void (*note)(void *arg, const char *line);
	void *arg;
};

/* The one called @name, of this process or of one that is dead; adds its samples to *adopted. */
int orphan_adopt(const struct orphan_options *options, const char *name, size_t *adopted,
		 struct error *err);

/*
 * All of nodes that are not alive, never were in this queue, or are forgotten. Any of them may come back meanwhile: of two that
 * enter one shard the second finds it entered.
 */
int orphans_settle(const struct orphan_options *options, size_t *adopted, struct error *err);

#endif

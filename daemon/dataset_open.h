/*
 * A dataset, from its recipe to what a packer needs: entered in queue and output, its store and its spool open, and
 * what an earlier run left brought in order.
 *
 *	dataset_open(&options, &opened, err)
 *	packer_open(... opened.spool, opened.store ...), dataset_restore(&opened, packer)
 *	dataset_close(&opened)                       after the packer
 *
 * Blocks: on whichever thread may use options.queue.
 */
#ifndef LATENTD_DAEMON_DATASET_OPEN_H
#define LATENTD_DAEMON_DATASET_OPEN_H

#include "daemon/dataset_store.h"
#include "daemon/output.h"
#include "daemon/packer.h"
#include "daemon/recovery.h"
#include "queue/queue_nodes.h"

struct dataset_open_options {
	struct queue *queue;
	struct output *output; /* locked by this process */
	const char *name;
	const struct recipe *recipe;
	const char *owner; /* as which jobs are claimed */
	bool again;	   /* this process had it open before */
	const struct store_options
	    *store;	      /* where its shards are to go; NULL: as the output says */
	bool drop_duplicates; /* with the limits of recipe->buckets: who is skipped */
	/*
	 * Looks through the sources: after records that were finished count for the files as they were, and before
	 * catalog, store and spool are brought together. NULL: they are scanned later.
	 */
	int (*scan)(void *arg, int64_t dataset, struct error *err);
	/* NULL, or whether it is to end soon, unfinished: ERR_TRANSIENT */
	bool (*stop)(void *arg);
	/* While the dataset is open, of a store that is waited for (dataset_store.h). NULL: not */
	bool (*give_up)(void *arg);
	void (*on_wait)(void *arg);
	/* One line for a person about what was found and done. */
	void (*note)(void *arg, const char *line);
	void *arg;
};

struct opened_dataset {
	int64_t id;   /* in the queue */
	char *folder; /* OUT/NAME */
	char cluster
	    [QUEUE_CLUSTER_SIZE]; /* of the queue, where nodes share it; empty: they do not */
	char *spool_dir;
	struct store *store;
	struct spool *spool;
	struct json_t *given_captions; /* caption_list.h; NULL: none */
	struct recovery recovered;
	struct packer_sibling *siblings; /* datasets from which latents may be copied */
	size_t n_siblings, siblings_capacity;
	size_t looked_again; /* images that other limits had skipped */
};

/*
 * ERR_CONFIG: the output has another recipe under this name, or its disk is not there. *opened is all zero before, and
 * closed in any case.
 */
int dataset_open(const struct dataset_open_options *options, struct opened_dataset *opened,
		 struct error *err);
/* Hands the packer the records and shards that were there. */
void dataset_restore(const struct opened_dataset *opened, struct packer *packer);
void dataset_close(struct opened_dataset *opened);

/* Bytes of a segment of the spool, and of sealed records in it that unsealed ones may keep on disk. */
#define DATASET_SPOOL_SEGMENT ((size_t)64 << 20)
#define DATASET_SPOOL_WASTE   ((uint64_t)512 << 20)

/* Names this process to others: host:boot id:pid:start, so that no later process is taken for it. */
void dataset_owner(char owner[QUEUE_OWNER_SIZE]);

#endif

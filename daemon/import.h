/*
 * Caches of trainers become a dataset: records with their conditioning in sealed shards, entered into the catalog.
 *
 *	import_scan(&options, &plan, err)             reads every file; nothing is made
 *	plan.n, plan.bad ...                          to be told to a person
 *	import_run(&options, &plan, &output, queue, err)      plan.done, plan.known
 *	import_plan_release(&plan)
 *
 * A file that changes in between is left out and told as well. An import that was killed is begun again: samples that the dataset has, by their keys, are passed over, and a shard that was
 * sealed and not entered is entered.
 */
#ifndef LATENTD_DAEMON_IMPORT_H
#define LATENTD_DAEMON_IMPORT_H

#include "daemon/import_kohya.h"
#include "daemon/output.h"
#include "queue/queue.h"

struct json_t;

struct import_options {
	const char *folder;   /* absolute */
	const char *name;     /* of the dataset */
	const char *arch;     /* only these; NULL: there must be only one */
	const char *metadata; /* sd-scripts' metadata_file; NULL: none */
	enum dtype dtype;     /* that is stored: F16, F32 */
	size_t shard_samples, shard_bytes;
	void (*note)(const char *line);		      /* about a file that is left out */
	void (*settled)(void *arg, const char *line); /* about what an earlier rewrite left */
};

struct import_item {
	struct import_name name;
	char *image; /* its path, which is the record's source */
	char key[RECORD_KEY_SIZE];
	char group[RECORD_GROUP_SIZE];
	uint64_t rank;
	size_t bytes; /* of its latent in a shard, at most */
};

struct import_plan {
	struct import_item *items; /* by group and rank */
	size_t n, capacity;
	const struct export_arch *arch;
	struct json_t *captions; /* of the metadata, by stem: {"image", "caption"} */
	size_t bad;		 /* that were noted */
	size_t flipped, masks, others, foreign;
	size_t done, known, shards; /* after import_run */
};

/* The caption of an item, to be freed; NULL: none. Metadata first, then STEM.txt or STEM.caption, as sd-scripts reads them. */
int import_caption(const struct import_options *options, const struct import_plan *plan,
		   const struct import_name *name, char **out, struct error *err);
int import_scan(const struct import_options *options, struct import_plan *plan, struct error *err);
/* @output is the caller's, and claimed. ERR_CONFIG: the dataset is there with another recipe. */
int import_run(const struct import_options *options, struct import_plan *plan,
	       const struct output *output, struct queue *queue, struct error *err);
void import_item_release(struct import_item *item);
void import_plan_release(struct import_plan *plan);

#endif

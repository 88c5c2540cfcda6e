/*
 * Outputs of `encode --part` become one: their shards are linked (or copied, on another disk) into an output under
 * new numbers, and their rows come into its catalog in one transaction a part. The parts are read only and stay.
 *
 * Every shard of every part is read and verified first, and nothing is made where one is damaged, where recipes
 * differ, or where two shards have a sample of one key. A shard that the output has already (by its SHA-256) is passed
 * over, so a merge that was killed is begun again and ends the same way.
 *
 * Some 350 bytes of memory a sample.
 */
#ifndef LATENTD_DAEMON_MERGE_H
#define LATENTD_DAEMON_MERGE_H

#include "daemon/dataset_folders.h"
#include "daemon/output.h"
#include "daemon/shard_rows.h"

struct merge_shard {
	struct shard_rows rows;
	size_t part;
	char *source; /* its file in the part */
	char *name;   /* in the output, once it is there */
	bool known;   /* the output's catalog has it */
};

/* One dataset of the parts together. */
struct merge_dataset {
	char *name;
	char *recipe_json;
	char recipe_id[RECIPE_ID_SIZE];
	const char *recipe_from; /* the part that told */
	struct dataset_form form;
	const char *form_from; /* likewise */
	struct merge_shard *shards;
	size_t n, capacity;
};

struct merge_plan {
	const char *const *parts; /* their outputs, absolute */
	size_t n_parts;
	struct merge_dataset *datasets;
	size_t n, capacity;
	size_t damaged;
};

struct merge_counts {
	size_t shards, samples; /* new ones */
};

/* Reads the parts. plan->damaged shards are printed. ERR_CONFIG: what does not go together. */
int merge_plan_read(struct merge_plan *plan, struct error *err);
void merge_plan_release(struct merge_plan *plan);

/* Brings @dataset into @output, which the caller owns, and its queue. */
int merge_into(const struct output *output, struct queue *queue, struct merge_dataset *dataset,
	       const struct merge_plan *plan, struct merge_counts *counts, struct error *err);

#endif

/*
 * Private to queue_postgres_swap*.c: a swap is read, decided in memory and written, in one transaction.
 */
#ifndef LATENTD_QUEUE_QUEUE_POSTGRES_SWAP_H
#define LATENTD_QUEUE_QUEUE_POSTGRES_SWAP_H

#include "queue/queue_postgres.h"

struct place { /* a new sample and its job */
	const struct sample_row *sample;
	int64_t job;	    /* 0: is to be added, */
	size_t added;	    /* as this one */
	struct pg_job *row; /* locked, or one of those that are added */
};

struct new_job { /* of a sample that names none: an adoption */
	const struct sample_row *sample;
	struct pg_job job;
};

struct swap {
	struct postgres_queue *q;
	const struct queue_swap *what;
	int64_t dataset, now;
	struct place *places; /* of all new shards, one after the other */
	size_t place_count;
	struct ids ids;
	struct pg_jobs jobs;
	struct new_job *added;
	size_t added_count;
	struct pg_live *fresh;		/* live samples that the swap makes: one for each place */
	const struct pg_job *completed; /* by it, last */
	const struct pg_live **killed;	/* of shards that stay */
	size_t killed_count, killed_capacity;
};

bool swap_retires(const struct swap *s, int64_t shard);
/* Finds the jobs of all samples and locks them. QUEUE_CONFLICT. */
int swap_read(struct swap *s, struct error *err);
/* After all was decided. */
int swap_write(struct swap *s, int64_t *shard_ids, struct error *err);

#endif

/*
 * Private to the model test: both queues, what is known of them, and the steps on the catalog.
 */
#ifndef LATENTD_TESTS_CONTRACT_QUEUE_MODEL_H
#define LATENTD_TESTS_CONTRACT_QUEUE_MODEL_H

#include "tests/contract/contract_queue.h"

#define FILES 40
#define HELD  32
#define MODEL 0
#define PEER  1

struct held {
	int64_t id;
	uint64_t fences[2]; /* of MODEL, of PEER */
	uint32_t root;
	char path[32], key[32];
};

struct world {
	uint64_t random;
	struct queue *q[2];
	struct error err[2];
	char *path;
	int64_t now;
	uint64_t seed;
	struct held held[HELD]; /* claims of long ago, some of them stale */
	size_t held_count;
	size_t swapped;
};

/* Opens the queue that is compared, at w->path: anew, or again. */
void model_open(struct world *w);

/* Below @n. */
size_t pick(struct world *w, size_t n);
struct hash128 pick_content(struct world *w);
const char *pick_reason(struct world *w);
/* Of a job that was claimed, or NULL. */
const char *pick_key(struct world *w);
/* Fails unless both returned the same and failed in the same way; true if they did the work. */
bool same_result(struct world *w, const int *r);
/* A file of the few that there are; @distinct: its second key. */
void make_file(struct world *w, struct held *file, char distinct[64]);

void step_page(struct world *w);
void step_recaption(struct world *w);
void step_recaptioned(struct world *w);
void step_complete(struct world *w);
void step_swap(struct world *w);
void step_forget(struct world *w);
void step_drop_shard(struct world *w);
void step_drop_samples(struct world *w);

#endif

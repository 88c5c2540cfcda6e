/*
 * Many small files that appear whole or not at all, for the price of a few waits for the disk: each becomes durable
 * before it appears, as with atomic_file, but all of them together.
 *
 *	struct atomic_batch b = {.dir = "OUT/.latentd"};         temporaries are made there
 *	for (...)
 *		atomic_batch_write(&b, target, data, size, err)
 *	atomic_batch_commit(&b, err)                             what is written is there and durable
 *	atomic_batch_release(&b)                                 what is not committed is forgotten
 *
 * They appear in the order in which they were written, some of them perhaps earlier: no more than ATOMIC_BATCH_MAX wait.
 * After a failure those at the beginning may have appeared.
 */
#ifndef LATENTD_BASE_ATOMIC_BATCH_H
#define LATENTD_BASE_ATOMIC_BATCH_H

#include "base/atomic_file.h"

#define ATOMIC_BATCH_MAX 64

struct atomic_batch {
	const char *dir;
	size_t n;
	struct atomic_file files[ATOMIC_BATCH_MAX];
	char *targets[ATOMIC_BATCH_MAX];
};

/* @target's folder exists, on the file system of the batch's. */
int atomic_batch_write(struct atomic_batch *b, const char *target, const void *data, size_t size,
		       struct error *err);
int atomic_batch_commit(struct atomic_batch *b, struct error *err);
/* Safe after a commit, and twice. */
void atomic_batch_release(struct atomic_batch *b);

#endif

/*
 * The memory that pixels and decoders of all datasets share. Who finds that what he needs is not there takes the
 * turn: nobody else reserves before he could, so that a large image is not kept waiting by many small ones for ever.
 * Of the loop's thread.
 */
#ifndef LATENTD_DAEMON_MEMORY_BUDGET_H
#define LATENTD_DAEMON_MEMORY_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

struct memory_budget {
	size_t limit, used; /* bytes */
	const void *turn;   /* who waits; NULL: nobody */
};

/*
 * Whether @who may take @bytes now; what is larger than the limit only when nothing else is taken. No: the turn is
 * his, unless it is somebody else's already.
 */
bool memory_budget_allows(struct memory_budget *b, const void *who, size_t bytes);
/* Whether half of it stays free when @who takes @bytes now; takes no turn. */
bool memory_budget_spares(const struct memory_budget *b, const void *who, size_t bytes);
/* @who does not wait any more. */
void memory_budget_pass(struct memory_budget *b, const void *who);

#endif

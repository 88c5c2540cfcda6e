#include "daemon/memory_budget.h"

#include "base/checked.h"

bool memory_budget_allows(struct memory_budget *b, const void *who, size_t bytes)
{
	size_t total;

	if (b->turn && b->turn != who)
		return false;
	if (b->used > 0 && (!size_add(b->used, bytes, &total) || total > b->limit)) {
		b->turn = who;
		return false;
	}
	b->turn = NULL;
	return true;
}

bool memory_budget_spares(const struct memory_budget *b, const void *who, size_t bytes)
{
	size_t total;

	return (!b->turn || b->turn == who) && size_add(b->used, bytes, &total) &&
	       total <= b->limit / 2;
}

void memory_budget_pass(struct memory_budget *b, const void *who)
{
	if (b->turn == who)
		b->turn = NULL;
}

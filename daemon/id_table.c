/*
 * Open addressing with linear probing; a removal moves what follows back, so that there are no tombstones.
 */
#include "daemon/id_table.h"

#include "base/checked.h"

#include <assert.h>

enum { FIRST_CAPACITY = 64 };

/* Fibonacci hashing: job numbers are consecutive. */
static size_t home(const struct id_table *t, uint64_t id)
{
	return (size_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (t->capacity - 1);
}

/* Where @id is, or the free slot that ends its search. */
static size_t find(const struct id_table *t, uint64_t id)
{
	size_t i = home(t, id);

	while (t->slots[i].value && t->slots[i].id != id)
		i = (i + 1) & (t->capacity - 1);
	return i;
}

static void grow(struct id_table *t)
{
	struct id_table larger = {.capacity = t->capacity ? 2 * t->capacity : FIRST_CAPACITY};

	larger.slots = xcalloc(larger.capacity, sizeof(*larger.slots));
	larger.n = t->n;
	for (size_t i = 0; i < t->capacity; i++) {
		if (t->slots[i].value)
			larger.slots[find(&larger, t->slots[i].id)] = t->slots[i];
	}
	free(t->slots);
	*t = larger;
}

void id_table_add(struct id_table *t, uint64_t id, void *value)
{
	size_t i;

	assert(value);
	if (2 * (t->n + 1) > t->capacity)
		grow(t);
	i = find(t, id);
	assert(!t->slots[i].value);
	t->slots[i] = (struct id_slot){id, value};
	t->n++;
}

void *id_table_get(const struct id_table *t, uint64_t id)
{
	return t->capacity ? t->slots[find(t, id)].value : NULL;
}

void *id_table_remove(struct id_table *t, uint64_t id)
{
	size_t mask = t->capacity - 1, hole, i;
	void *value;

	if (t->capacity == 0)
		return NULL;
	hole = find(t, id);
	value = t->slots[hole].value;
	if (!value)
		return NULL;
	/* What may stand in the hole: whose home does not lie behind it, in the order of probing. */
	for (i = (hole + 1) & mask; t->slots[i].value; i = (i + 1) & mask) {
		if (((i - home(t, t->slots[i].id)) & mask) >= ((i - hole) & mask)) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	t->slots[hole].value = NULL;
	t->n--;
	return value;
}

void id_table_each(const struct id_table *t, void (*fn)(void *arg, void *value), void *arg)
{
	for (size_t i = 0; i < t->capacity; i++) {
		if (t->slots[i].value)
			fn(arg, t->slots[i].value);
	}
}

void id_table_release(struct id_table *t)
{
	free(t->slots);
	*t = (struct id_table)ID_TABLE_INIT;
}

/*
 * From a 64-bit number to a pointer, for things in flight. The pointers stay the caller's.
 */
#ifndef LATENTD_DAEMON_ID_TABLE_H
#define LATENTD_DAEMON_ID_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct id_table {
	struct id_slot {
		uint64_t id;
		void *value; /* NULL: free */
	} * slots;
	size_t n, capacity; /* capacity is 0 or a power of two */
};

#define ID_TABLE_INIT                                                                              \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

/* @value is not NULL; @id must not be there. */
void id_table_add(struct id_table *t, uint64_t id, void *value);
/* NULL: not there. */
void *id_table_get(const struct id_table *t, uint64_t id);
/* What was there, or NULL. */
void *id_table_remove(struct id_table *t, uint64_t id);
/* Calls @fn with every value; it must not touch the table. */
void id_table_each(const struct id_table *t, void (*fn)(void *arg, void *value), void *arg);
void id_table_release(struct id_table *t);

#endif

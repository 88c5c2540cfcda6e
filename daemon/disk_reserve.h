/*
 * What is left free of a disk: with less than that it counts as full, and a service begins nothing new there. It is room
 * for a shard that is being sealed, and for the database.
 */
#ifndef LATENTD_DAEMON_DISK_RESERVE_H
#define LATENTD_DAEMON_DISK_RESERVE_H

#include <stdint.h>

#define DISK_RESERVE_MOST ((uint64_t)512 << 20)

/* Bytes, of a disk of @total; one that is small altogether is used to its last tenth. */
static inline uint64_t disk_reserve(uint64_t total)
{
	return DISK_RESERVE_MOST < total / 10 ? DISK_RESERVE_MOST : total / 10;
}

#endif

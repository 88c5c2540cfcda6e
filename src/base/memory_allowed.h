/*
 * How much memory this process may have: the machine's, or less where its control group or one above it has a limit (cgroup v2's
 * memory.max, as containers and `MemoryMax=` of systemd set it).
 */
#ifndef LATENTD_BASE_MEMORY_ALLOWED_H
#define LATENTD_BASE_MEMORY_ALLOWED_H

#include <stddef.h>

/* Bytes. */
size_t memory_allowed(void);
/*
 * The least memory.max of the group that @self (/proc/self/cgroup) names below @root (/sys/fs/cgroup) and of those above it.
 * SIZE_MAX: no limit, or no cgroup v2.
 */
size_t memory_of_cgroup(const char *self, const char *root);

#endif

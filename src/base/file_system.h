/*
 * What lies on another machine: SQLite loses data there, and changes that others make raise no events.
 */
#ifndef LATENTD_BASE_FILE_SYSTEM_H
#define LATENTD_BASE_FILE_SYSTEM_H

#include <stdint.h>

/* The name of the network file system with this statfs f_type; NULL: a local one, as far as known. */
const char *network_file_system(uint32_t f_type);

#endif

/*
 * The numbers of a dataset's source folders: a job names its source by number, so that a tree may move.
 *
 *	STATE/NAME.sources.json    {"0": "/data/photos", "1": "/data/more"}
 *
 * A folder that is known keeps its number. One that is not takes over the number of a known folder that is
 * neither asked for nor there any more and has the same base name, or of the only one where one is known and one
 * is asked for; else it gets the next free number.
 */
#ifndef LATENTD_DAEMON_SOURCES_H
#define LATENTD_DAEMON_SOURCES_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Fills @numbers for the @n absolute paths and remembers them. A damaged file counts as an empty one. */
int sources_number(const char *state, const char *dataset, char *const *paths, size_t n,
		   uint32_t *numbers, struct error *err);

#endif

/*
 * An archive that comes through standard input and is a source once: it is written into a folder, because samples are
 * read again and in another order than they come, and removed at the end.
 *
 *	FOLDER/stdin.tar        whatever kind of archive it is; always the same name, so that the same command goes on
 */
#ifndef LATENTD_DAEMON_STDIN_ARCHIVE_H
#define LATENTD_DAEMON_STDIN_ARCHIVE_H

#include "base/error.h"

#include <stdbool.h>

/* The word that stands for it. */
#define STDIN_ARCHIVE "-"

/* Where it is written, to be freed. */
char *stdin_archive_path(const char *folder);
/*
 * Reads @fd to its end into @path. ERR_CONFIG: it is a terminal, or empty. ERR_TRANSIENT: @stop said so, which is asked
 * some times a second also while nothing comes. ERR_IO.
 */
int stdin_archive_write(int fd, const char *path, bool (*stop)(void *arg), void *arg,
			struct error *err);

#endif

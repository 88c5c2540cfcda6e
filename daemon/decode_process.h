/*
 * One worker process as the daemon holds it: its socket, and the memory it draws into. Nothing here knows of images
 * or archives; decode_pool and unpack_process do.
 */
#ifndef LATENTD_DAEMON_DECODE_PROCESS_H
#define LATENTD_DAEMON_DECODE_PROCESS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct decode_process {
	pid_t pid;  /* 0: none */
	int socket; /* non-blocking; -1: none */
	int slot_fd;
	const uint8_t *slot; /* NULL: none; the process may write to it at any time */
	size_t slot_bytes;
	size_t address_space; /* the limit that was set last; 0: none */
};

#define DECODE_PROCESS_NONE                                                                        \
	{                                                                                          \
		0, -1, -1, NULL, 0, 0                                                              \
	}

#define DECODE_PROCESS_END_SIZE 96

/* Worker @name in the folder of this executable, to be freed. */
char *decode_process_program(const char *name);
/*
 * It has nothing of ours but the socket: the standard streams are /dev/null (stderr is ours in builds with a
 * sanitizer), and of the environment it sees what decode_process.c names.
 *
 * @program: NULL for latentd-decode beside this executable. @slot_bytes: 0 for none. What was begun before an error is for
 * decode_process_end().
 */
int decode_process_start(struct decode_process *p, const char *program, size_t slot_bytes,
			 struct error *err);
/*
 * From now on it can have no more memory than @bytes together with what it has: never over the limit that it gave
 * itself. Does nothing in builds with a sanitizer, and to a process that is not ours to limit.
 */
void decode_process_limit(struct decode_process *p, size_t bytes);
/* Kills it if it is alive, and says how it ended. Back to DECODE_PROCESS_NONE; harmless on that. */
void decode_process_end(struct decode_process *p, char how[DECODE_PROCESS_END_SIZE]);

#endif

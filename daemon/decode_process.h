/*
 * One `latentd-decode` process as the daemon holds it: its socket, and the memory it draws into. Nothing here
 * knows of images; decode_pool does.
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
};

#define DECODE_PROCESS_NONE                                                                        \
	{                                                                                          \
		0, -1, -1, NULL, 0                                                                 \
	}

#define DECODE_PROCESS_END_SIZE 96

/*
 * @program: NULL for latentd-decode beside this executable. @slot_bytes: 0 for none. What was begun before an error is for
 * decode_process_end().
 */
int decode_process_start(struct decode_process *p, const char *program, size_t slot_bytes,
			 struct error *err);
/* Kills it if it is alive, and says how it ended. Back to DECODE_PROCESS_NONE; harmless on that. */
void decode_process_end(struct decode_process *p, char how[DECODE_PROCESS_END_SIZE]);

#endif

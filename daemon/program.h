/*
 * What a program does first, before any library starts a thread, and where it runs.
 */
#ifndef LATENTD_DAEMON_PROGRAM_H
#define LATENTD_DAEMON_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

/* Else a file of ours would get the number of a standard stream, and messages would be written into it. */
void program_open_streams(void);
/* Also that memory which is not there ends the program: the JSON library would take it for damaged text. */
void program_set_allocators(void);
/*
 * SIGINT and SIGTERM wait until a loop reads them, with @hup SIGHUP too: a thread that did not block them would take
 * them and die of them. SIGPIPE is ignored.
 */
void program_block_signals(bool hup);

#endif

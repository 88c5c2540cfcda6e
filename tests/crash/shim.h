/*
 * A library for LD_PRELOAD that stands between a program and the kernel. It counts the calls that touch files
 * below some folders, and lets one of them fail, do half of its work, or be the last thing the program does; or
 * it writes down all that those calls did, so that a power cut can be played afterwards; or it turns the clock.
 *
 *	SHIM_PROGRAM=NAME	only processes of this name are touched: children inherit the environment
 *	SHIM_ROOTS=DIR:DIR	absolute folders; calls elsewhere are not seen
 *	SHIM_REPORT=FILE	gets "fired KIND N PATH", and "count KIND N" for each kind at the end
 *	SHIM_FAULT=KIND:N:WHAT	the N-th call (from 1) of that kind; with a '+' behind N, all from there on
 *	SHIM_JOURNAL=FILE	gets what shim_journal.c writes
 *	SHIM_CLOCK=N:S,N:S	from the N-th question for the time of day on it is S seconds later (or earlier);
 *				with SHIM_FAULT too, questions are counted from the fault on
 *	SHIM_DISK=NUMBER	the f_type that statfs() gives for what is below the roots
 *
 * KIND: a name in shim_plan.c. WHAT: EIO, ENOSPC, ... or "short" (half of a read or write), "die" (the process
 * ends instead), "die-half" (after half of a write), "die-after", "hang" (it does not return), "stop" (the whole
 * process stops before the call, until SIGCONT).
 *
 * Calls that libc makes by itself are not seen: fts_read(), and the inside of opendir() and mkostemps(), which
 * count as one open.
 */
#ifndef LATENTD_TESTS_CRASH_SHIM_H
#define LATENTD_TESTS_CRASH_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum call {
	CALL_OPEN,
	CALL_READ,
	CALL_WRITE,
	CALL_SYNC,
	CALL_RENAME,
	CALL_LINK,
	CALL_UNLINK,
	CALL_TRUNCATE,
	CALL_MKDIR,
	CALL_MMAP,
	CALL_LOCK,
	CALL_STAT,
	CALL_MALLOC,
	CALL_ROOM,   /* statvfs() */
	CALL_CHANGE, /* any of the above that changes a disk */
	CALL_ANY,    /* any that touches one, but for CALL_ROOM */
	CALLS
};

enum action {
	ACTION_NONE,
	ACTION_FAIL, /* errno is set; do nothing */
	ACTION_HALF,
	ACTION_HALF_DIE,
	ACTION_DIE_AFTER,
	ACTION_HANG, /* never returned */
	ACTION_STOP, /* never returned: the call is made after SIGCONT */
};

/* -- shim_plan.c: which call fails, and how ------------------------------------------------------- */

/* Before main(), and in each child of a zygote: takes the settings of the environment. */
void shim_begin(void);

/* Counts the call and says what to do with it. Does not return where the process is to end before it. */
enum action shim_decide(enum call call, const char *path);
/* After a call: ends the process where the action says so. */
void shim_after(enum action action);
/* Whether a fault was asked for and has not happened yet. */
bool shim_fault_to_come(void);
/* Whether this process is one to be touched. */
bool shim_active(void);
/* > 0 while the shim itself allocates: that is not counted. Of each thread. */
extern __thread int shim_inside;

/* -- shim_files.c: which files are seen ------------------------------------------------------------ */

/* An open file or folder below the roots. */
struct shim_file {
	char *path;
	uint32_t handle; /* no two in a process have the same */
};

/* Sets the roots, as SHIM_ROOTS has them. */
void shim_files_begin(const char *roots);
/* NULL: not one of ours. */
struct shim_file *shim_file(int fd);
void shim_file_opened(int fd, const char *path);
void shim_file_closed(int fd);
/* The absolute path in @out (PATH_MAX bytes), or NULL where it is not below the roots. */
const char *shim_path(int dirfd, const char *path, char *out);

/* -- shim_journal.c: what the calls did -------------------------------------------------------------- */

enum journal_op {
	JOURNAL_OPEN = 1, /* handle, number = flags, name */
	JOURNAL_WRITE,	  /* handle, number = offset, data */
	JOURNAL_TRUNCATE, /* handle, number = size */
	JOURNAL_SYNC,	  /* handle: of a file or a folder */
	JOURNAL_RENAME,	  /* name, data = the new one */
	JOURNAL_LINK,	  /* name, data = the new one */
	JOURNAL_UNLINK,	  /* name */
	JOURNAL_MKDIR,	  /* name */
};

void shim_journal_open(const char *path);
/* Calls are made one at a time while they are written down, so that their order is the true one. */
void shim_journal_lock(void);
void shim_journal_unlock(void);
/* Within the lock. Does nothing where there is no journal. */
void shim_journal(enum journal_op op, uint32_t handle, uint64_t number, const char *name,
		  const void *data, size_t size);

/* -- shim_clock.c ----------------------------------------------------------------------------------- */

void shim_clock_begin(const char *jumps);

/* -- shim_disk.c ------------------------------------------------------------------------------------ */

void shim_disk_begin(const char *f_type);

#endif

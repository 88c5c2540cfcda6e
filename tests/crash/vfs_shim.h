/*
 * A VFS for SQLite in front of the one it has, made the default one, whose n-th call fails. Lower than this
 * there is only the kernel (shim.h); here each call is the one that SQLite means, by name.
 */
#ifndef LATENTD_TESTS_CRASH_VFS_SHIM_H
#define LATENTD_TESTS_CRASH_VFS_SHIM_H

#include <stdbool.h>

enum vfs_call {
	VFS_OPEN,
	VFS_READ,
	VFS_WRITE,
	VFS_TRUNCATE,
	VFS_SYNC,
	VFS_SIZE,
	VFS_LOCK,
	VFS_SHM_MAP,
	VFS_CALLS
};

enum vfs_fault {
	VFS_FAILS,	/* an I/O error; nothing is done */
	VFS_HALF,	/* of a write or read, and then an I/O error */
	VFS_FULL,	/* the disk is full */
	VFS_FAILS_EVER, /* an I/O error, and for every later call of the kind */
	VFS_FAULTS
};

extern const char *const vfs_call_names[VFS_CALLS];
extern const char *const vfs_fault_names[VFS_FAULTS];

/* Once, before any database is opened. */
void vfs_shim_register(void);
/* From now on the @n-th @call (from 1) has the fault. */
void vfs_shim_arm(enum vfs_call call, unsigned n, enum vfs_fault fault);
/* Ends that; true if the call came. */
bool vfs_shim_disarm(void);

#endif

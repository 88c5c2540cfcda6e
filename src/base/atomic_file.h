/*
 * A file that appears whole or not at all. The only caller of rename in the tree.
 *
 *	struct atomic_file f = ATOMIC_FILE_INIT;
 *	if (atomic_file_begin(&f, "OUT/.latentd/partial", err) < 0)      a temporary, not visible
 *		return -1;
 *	fd_write_all(f.fd, ...) ...                                      or pread to verify
 *	atomic_file_sync(&f, err);                                       optional: durable, not yet visible
 *	if (atomic_file_commit(&f, "OUT/train/512x512/000000.tar", ATOMIC_NO_REPLACE, err) < 0)
 *		atomic_file_abort(&f);                                   also fine after a commit: no-op
 *
 * commit = fsync of the file (unless sync was called and nothing was written since), rename, fsync of the
 * target's folder. The temporary's folder must be on the same file system as the target. Where the
 * file system cannot rename without replacing, link + unlink does it.
 *
 * After a failed fsync nothing about the file is known: abort, never try again on the same one.
 * A process that dies leaves `*.tmp` files behind; whoever owns the folder removes them on start
 * (atomic_file_sweep).
 */
#ifndef LATENTD_BASE_ATOMIC_FILE_H
#define LATENTD_BASE_ATOMIC_FILE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct atomic_file {
	int fd;	    /* open for reading and writing, -1 when there is none */
	char *path; /* of the temporary */
	bool synced;
};

#define ATOMIC_FILE_INIT                                                                           \
	{                                                                                          \
		-1, NULL, false                                                                    \
	}

enum atomic_mode {
	ATOMIC_REPLACE,
	ATOMIC_NO_REPLACE, /* a target that exists is left alone: commit returns ATOMIC_EXISTS */
};

/* Outcome of commit: the target exists. The temporary is kept; commit again or abort. */
#define ATOMIC_EXISTS 1

/* A new `*.tmp` in folder @dir, which must exist. */
int atomic_file_begin(struct atomic_file *f, const char *dir, struct error *err);
int atomic_file_sync(struct atomic_file *f, struct error *err);
int atomic_file_commit(struct atomic_file *f, const char *target, enum atomic_mode mode,
		       struct error *err);
/* The rename alone, replacing, of what is synced: the caller syncs the folder. */
int atomic_file_appear(struct atomic_file *f, const char *target, struct error *err);
/* Removes the temporary, if there is one. Safe on ATOMIC_FILE_INIT and after commit. */
void atomic_file_abort(struct atomic_file *f);

/* Writes @data to @target in one call, with its temporary beside it. */
int atomic_file_write(const char *target, const void *data, size_t size, struct error *err);

/*
 * Moves a finished file without replacing, both folders fsynced: for what the quarantine takes.
 * ATOMIC_EXISTS if @to exists.
 */
int atomic_file_move(const char *from, const char *to, struct error *err);

/* Removes the `*.tmp` files in @dir that dead writers left. A missing folder is fine. */
int atomic_file_sweep(const char *dir, struct error *err);
/*
 * Likewise where others are writing, too: only those that nobody changed for ATOMIC_FILE_OLD_S, by the clock of the
 * file system.
 */
int atomic_file_sweep_old(const char *dir, struct error *err);
#define ATOMIC_FILE_OLD_S (24 * 60 * 60)

#endif

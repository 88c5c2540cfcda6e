/*
 * Small file operations that loop over EINTR and short counts and report in one line.
 * Paths are bytes; messages quote them with control bytes made visible (text_quote).
 */
#ifndef LATENTD_BASE_FILES_H
#define LATENTD_BASE_FILES_H

#include "base/buffer.h"

#include <stdbool.h>
#include <sys/types.h>

/* open(2) with O_CLOEXEC. The descriptor, or -1 with *err. */
int file_open(const char *path, int flags, mode_t mode, struct error *err);

/* Appends a whole file. More than @limit bytes: ERR_DATA `too_large`. */
int file_read_all(const char *path, size_t limit, struct buffer *out, struct error *err);
/* The same, but what is no regular file (a FIFO, a device) is ERR_DATA `not_regular`, and never waited for. */
int file_read_regular(const char *path, size_t limit, struct buffer *out, struct error *err);
/* The same from an open descriptor, from its current position to its end. */
int fd_read_all(int fd, size_t limit, struct buffer *out, struct error *err);

/* Somebody else has the lock. */
#define FILE_LOCKED 1

/*
 * Locks the whole of @path, which is made with @mode, for writing: an open-file-description lock, which ends with *fd,
 * with the process and what that has forked. *fd is the caller's, also where it is FILE_LOCKED.
 */
int file_lock(const char *path, mode_t mode, int *fd, struct error *err);

int fd_write_all(int fd, const void *data, size_t size, struct error *err);
/* Exactly @size bytes at @offset; fewer there: ERR_DATA `truncated`. */
int fd_pread_all(int fd, void *data, size_t size, off_t offset, struct error *err);
int fd_size(int fd, size_t *size, struct error *err);

/* The folder that @path is in; "." for a bare name. To be freed. */
char *dir_of(const char *path);
/* fsync of the folder, which makes names in it durable. */
int dir_sync(const char *path, struct error *err);
/* mkdir -p, mode 0777 less umask, and durable: every folder made is fsynced into its parent. */
int dir_make(const char *path, struct error *err);
/*
 * The same for relative @path below folder @root, an open descriptor: whatever happens to the names above it meanwhile,
 * nothing is made anywhere else.
 */
int dir_make_at(int root, const char *path, struct error *err);
/* The same below a folder that must be there. */
int dir_make_below(const char *root, const char *path, struct error *err);
/*
 * false: there is nothing of that name. What cannot be looked at (EIO, EACCES) counts as there: whatever is done with it next
 * then says why, and nothing is taken for lost because a disk stumbled.
 */
bool file_exists(const char *path);
/* Whether relative @path leads below the folder that it is put behind: no part is empty, "." or "..". */
bool path_stays_below(const char *path);

#endif

/*
 * Cleanup attributes for locals.
 *
 *	cleanup_free char *path = NULL;      freed when it leaves scope
 *	cleanup_close int fd = -1;           closed when it leaves scope
 *	*out = TAKE(path);                   ownership leaves: path is NULL afterwards
 *
 * In one function use either these or one `out:` label, never both. Every local is initialised where
 * it is declared, so that an early return finds it safe to destroy. Modules that own a type offer
 * `cleanup_TYPE` beside its `TYPE_release` or `TYPE_free`.
 */
#ifndef LATENTD_BASE_CLEANUP_H
#define LATENTD_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define cleanup_with(fn) __attribute__((cleanup(fn)))

static inline void cleanup_free_p(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close_p(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define cleanup_free  cleanup_with(cleanup_free_p)
#define cleanup_close cleanup_with(cleanup_close_p)

/* The value of pointer @p, which becomes NULL. */
#define TAKE(p)                                                                                    \
	(__extension__({                                                                           \
		__typeof__(p) take_value_ = (p);                                                   \
		(p) = NULL;                                                                        \
		take_value_;                                                                       \
	}))

/* The value of descriptor @fd, which becomes -1. */
#define TAKE_FD(fd)                                                                                \
	(__extension__({                                                                           \
		int take_fd_ = (fd);                                                               \
		(fd) = -1;                                                                         \
		take_fd_;                                                                          \
	}))

#endif

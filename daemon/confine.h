/*
 * Shuts this process in for good: it may use the memory and the descriptors it has, receive and send messages
 * on one socket, and end. Whatever a hostile file makes of a decoder can then do no more than that.
 *
 *	confine(&options, &got)        single-threaded, before the first hostile byte; cannot be undone
 *
 * The layers do not rely on each other, and each is used where the kernel has it:
 *	rlimits     address space, descriptors, no core dump, no processes; without seccomp no file grows
 *	Landlock    no path, no TCP port, no abstract socket, no signal to others (as far as its version goes)
 *	seccomp     the system calls of an allow-list (confine.c); any other ends the process with SIGSYS.
 *	            Messages to stderr go nowhere. Looking for a file to read is answered with EACCES, because
 *	            libraries look at
 *	            /proc/cpuinfo and the like and go on without
 *
 * In builds with a sanitizer the other calls fail with EPERM instead, some more are allowed, there is no Landlock,
 * and memory is not limited: reports must get out, leaks are searched for in /proc, and shadow memory is huge.
 */
#ifndef LATENTD_DAEMON_CONFINE_H
#define LATENTD_DAEMON_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CONFINE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CONFINE_SANITIZED 1
#endif
#endif
#ifndef CONFINE_SANITIZED
#define CONFINE_SANITIZED 0
#endif

struct confine_options {
	int socket;		    /* the only one that messages may go over */
	size_t address_space_bytes; /* SIZE_MAX: no limit */
};

/* What was achieved. */
struct confinement {
	bool seccomp;
	bool rlimits;
	unsigned landlock; /* version of the kernel's interface; 0: none */
};

void confine(const struct confine_options *options, struct confinement *got);

/* The version of Landlock's interface that this kernel has, and lets this process use; 0: none. */
unsigned confine_landlock(void);

#endif

/*
 * A Unix socket that clients find at a path, and who may use it: whoever may write to the file.
 *
 * PATH.lock is locked by the process that serves PATH, for as long as it does; so what lies at PATH is either served
 * or was left by a process that died, and two daemons that start at once cannot take it from each other.
 */
#ifndef LATENTD_DAEMON_API_SOCKET_H
#define LATENTD_DAEMON_API_SOCKET_H

#include "base/error.h"

#include <stdbool.h>

struct api_socket {
	int fd; /* listening, not blocking */
	int lock_fd;
	char *path;
	bool handed_over; /* another made it, and keeps it */
};

#define API_SOCKET_INIT                                                                            \
	{                                                                                          \
		-1, -1, NULL, false                                                                \
	}

/*
 * Where the service manager handed over a socket that listens at @path (socket activation, sd_listen_fds(3)), that
 * one: its mode and group are the manager's, and it stays when the daemon ends. ERR_CONFIG: one was handed over, but
 * for another path.
 *
 * Else listens at @path, with @mode (0660) and, unless it is NULL, @group (a name or a number). The folder is made where
 * it can be. ERR_CONFIG: the path is longer than the system allows, a daemon answers there, something else than a
 * socket is there, no such group.
 */
int api_socket_open(const char *path, unsigned mode, const char *group, struct api_socket *out,
		    struct error *err);
/* Removes the path, unless it was handed over, and nothing else: for a process that ends without closing. */
void api_socket_unlink(const struct api_socket *s);
/* Removes the path, unless it was handed over. Safe on API_SOCKET_INIT and twice. */
void api_socket_close(struct api_socket *s);

#endif

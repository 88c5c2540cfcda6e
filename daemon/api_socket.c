#include "daemon/api_socket.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#define BACKLOG 128

static int address_of(const char *path, struct sockaddr_un *address, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	size_t n = strlen(path);

	if (n >= sizeof(address->sun_path))
		return error_set(
		    err, ERR_CONFIG,
		    "%s is too long for a socket: %zu bytes, where the system allows %zu",
		    text_quote(path, quoted), n, sizeof(address->sun_path) - 1);
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(address->sun_path, path, n + 1);
	return 0;
}

static int find_group(const char *name, gid_t *gid, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE], *end = NULL;
	cleanup_free char *room = xmalloc(1 << 16);
	struct group group, *found = NULL;
	unsigned long number = strtoul(name, &end, 10);

	if (getgrnam_r(name, &group, room, 1 << 16, &found) == 0 && found)
		*gid = group.gr_gid;
	else if (*name >= '0' && *name <= '9' && *end == '\0' && number < UINT_MAX)
		*gid = (gid_t)number;
	else
		return error_set(err, ERR_CONFIG, "there is no group %s on this system",
				 text_quote(name, quoted));
	return 0;
}

static int make_folder(const char *path, struct error *err)
{
	cleanup_free char *folder = xstrdup(path);
	char *slash = strrchr(folder, '/');

	if (!slash || slash == folder)
		return 0;
	*slash = '\0';
	return dir_make(folder, err);
}

static int take_lock(const char *path, struct error *err)
{
	cleanup_free char *name = xasprintf("%s.lock", path);
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_close int fd = -1;
	int r = file_lock(name, 0600, &fd, err);

	if (r == FILE_LOCKED)
		return error_set(err, ERR_CONFIG, "another daemon serves %s",
				 text_quote(path, quoted));
	return r < 0 ? -1 : TAKE_FD(fd);
}

/* Whether somebody who does not know the lock accepts connections there. */
static bool is_served(const struct sockaddr_un *address)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
			   errno == EAGAIN);
}

/* The lock is held: what is there was left behind, or is not ours. */
static int remove_stale(const char *path, const struct sockaddr_un *address, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : error_sys(err, "%s", text_quote(path, quoted));
	if (!S_ISSOCK(st.st_mode))
		return error_set(err, ERR_CONFIG,
				 "%s is there and is no socket: give another path for it",
				 text_quote(path, quoted));
	if (is_served(address))
		return error_set(err, ERR_CONFIG, "another program serves %s",
				 text_quote(path, quoted));
	if (unlink(path) < 0 && errno != ENOENT)
		return error_sys(err, "remove %s", text_quote(path, quoted));
	return 0;
}

/* Nobody can connect before listen(), and nobody but us may before chmod(). */
static int listen_at(const char *path, const struct sockaddr_un *address, unsigned mode, gid_t gid,
		     struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return error_sys(err, "socket");
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return error_sys(err, "bind %s", text_quote(path, quoted));
	if ((gid != (gid_t)-1 && chown(path, (uid_t)-1, gid) < 0) || chmod(path, mode) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		error_sys(err, "%s", text_quote(path, quoted));
		unlink(path);
		return -1;
	}
	return TAKE_FD(fd);
}

enum { NOT_HANDED_OVER = -2 };

static int socket_handed_over(const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	int n = sd_listen_fds(0);

	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
		if (sd_is_socket_unix(fd, SOCK_STREAM, 1, path, 0) > 0)
			return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? error_sys(err, "socket") : fd;
	}
	if (n <= 0)
		return NOT_HANDED_OVER;
	return error_set(err, ERR_CONFIG,
			 "the service manager handed over a socket, but none that listens at %s: "
			 "ListenStream= of the socket unit and api.socket have to be the same path",
			 text_quote(path, quoted));
}

int api_socket_open(const char *path, unsigned mode, const char *group, struct api_socket *out,
		    struct error *err)
{
	struct sockaddr_un address;
	struct api_socket s = API_SOCKET_INIT;
	gid_t gid = (gid_t)-1;

	if (address_of(path, &address, err) < 0 || (group && find_group(group, &gid, err) < 0) ||
	    make_folder(path, err) < 0)
		return -1;
	s.lock_fd = take_lock(path, err);
	if (s.lock_fd < 0)
		return -1;
	s.fd = socket_handed_over(path, err);
	s.handed_over = s.fd >= 0;
	if (s.fd == NOT_HANDED_OVER && remove_stale(path, &address, err) == 0)
		s.fd = listen_at(path, &address, mode, gid, err);
	if (s.fd < 0) {
		api_socket_close(&s);
		return -1;
	}
	s.path = xstrdup(path);
	*out = s;
	return 0;
}

void api_socket_unlink(const struct api_socket *s)
{
	if (s->path && !s->handed_over)
		unlink(s->path);
}

void api_socket_close(struct api_socket *s)
{
	api_socket_unlink(s);
	if (s->fd >= 0)
		close(s->fd);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->path);
	*s = (struct api_socket)API_SOCKET_INIT;
}

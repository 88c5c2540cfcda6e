/*
 * One file for each URL, in 256 folders, by the hash of the URL:
 *
 *	"LDUC" version  bytes of the URL  bytes of the file  hash of the file     40 bytes; then the URL, then the file
 *
 * It is written without a name and linked when it is whole, so that a kill leaves nothing behind. When it was used last is its mtime.
 */
#include "source/remote_cache.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	VERSION = 1,
	HEAD_BYTES = 40,
	URL_MAX = 8192,
	FOLDERS = 256,
	NAME_SIZE = 40,	 /* "ab/" and 32 digits */
	LOOK_SHARE = 20, /* it looks at all when it has added this part of the limit */
	ROOM_SHARE = 10, /* and makes room for this part */
	PIECE = 64 << 10,
};

struct remote_cache {
	int folder;
	uint64_t bytes_max;
	pthread_mutex_t lock;
	uint64_t added; /* since it looked at all; under the lock */
};

static void name_of(const char *url, char name[NAME_SIZE])
{
	struct hash128 hash = hash128_of(url, strlen(url));
	char hex[HASH128_HEX_SIZE];

	hash128_hex(&hash, hex);
	snprintf(name, NAME_SIZE, "%.2s/%s", hex, hex + 2);
}

/* -- room ------------------------------------------------------------------------------------------ */

struct kept {
	char name[NAME_SIZE];
	uint64_t bytes;
	int64_t used_ns;
};

struct kept_list {
	struct kept *items;
	size_t n, capacity;
	uint64_t bytes;
};

static void look_at_folder(const struct remote_cache *c, unsigned number, struct kept_list *l)
{
	char sub[4];
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int fd;

	snprintf(sub, sizeof(sub), "%02x", number);
	fd = openat(c->folder, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir && fd >= 0)
		close(fd);
	while (dir && (entry = readdir(dir))) {
		if (strlen(entry->d_name) != HASH128_HEX_SIZE - 3 ||
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		ARRAY_GROW(l->items, l->n, l->capacity);
		l->items[l->n].bytes = (uint64_t)st.st_size;
		l->items[l->n].used_ns =
		    (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
		snprintf(l->items[l->n].name, NAME_SIZE, "%s/%s", sub, entry->d_name);
		l->bytes += l->items[l->n++].bytes;
	}
	if (dir)
		closedir(dir);
}

static int by_use(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return (x->used_ns > y->used_ns) - (x->used_ns < y->used_ns);
}

/* Under the lock. */
static void make_room(struct remote_cache *c)
{
	struct kept_list all = {.n = 0};
	uint64_t wanted = c->bytes_max - c->bytes_max / ROOM_SHARE;

	for (unsigned i = 0; i < FOLDERS; i++)
		look_at_folder(c, i, &all);
	if (all.bytes > wanted && all.n > 0)
		qsort(all.items, all.n, sizeof(*all.items), by_use);
	for (size_t i = 0; i < all.n && all.bytes > wanted; i++) {
		unlinkat(c->folder, all.items[i].name, 0); /* or somebody else did */
		all.bytes -= all.items[i].bytes;
	}
	free(all.items);
	c->added = 0;
}

static void reckon(struct remote_cache *c, uint64_t bytes)
{
	pthread_mutex_lock(&c->lock);
	c->added += bytes;
	if (c->added > c->bytes_max / LOOK_SHARE)
		make_room(c);
	pthread_mutex_unlock(&c->lock);
}

/* -- open and close -------------------------------------------------------------------------------- */

/* A file without a name, in the folder of @name. */
static int begin_file(const struct remote_cache *c, const char *name)
{
	char sub[4];

	snprintf(sub, sizeof(sub), "%.2s", name);
	if (mkdirat(c->folder, sub, 0777) < 0 && errno != EEXIST)
		return -1;
	return openat(c->folder, sub, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
}

/* The folder, which can be written; -1 with *err. */
static int open_folder(struct remote_cache *c, const char *folder, struct error *err)
{
	int fd;

	if (dir_make(folder, err) < 0)
		return -1;
	c->folder = file_open(folder, O_RDONLY | O_DIRECTORY, 0, err);
	if (c->folder < 0)
		return -1;
	fd = begin_file(c, "00");
	if (fd < 0)
		return error_sys(err, "a file in %s", folder);
	close(fd);
	return 0;
}

int remote_cache_open(const char *folder, uint64_t bytes_max, struct remote_cache **out,
		      struct error *err)
{
	struct remote_cache *c = xcalloc(1, sizeof(*c));
	struct error why = ERROR_INIT;

	c->folder = -1;
	c->bytes_max = bytes_max;
	c->added = bytes_max; /* what is there is not known yet: the first that comes looks */
	pthread_mutex_init(&c->lock, NULL);
	if (open_folder(c, folder, &why) < 0) {
		remote_cache_close(c);
		return error_set(err, ERR_CONFIG, "cache folder: %s", why.message);
	}
	*out = c;
	return 0;
}

void remote_cache_close(struct remote_cache *c)
{
	if (!c)
		return;
	if (c->folder >= 0)
		close(c->folder);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* -- files ----------------------------------------------------------------------------------------- */

/* From where they are in @in to where @out is; the hash of them. ERR_IO, ERR_DATA `truncated`. */
static int copy(int in, off_t from, int out, uint64_t bytes, struct hash128 *hash,
		struct error *err)
{
	cleanup_hash128_stream struct hash128_stream *h = hash128_stream_new();
	cleanup_free uint8_t *piece = xmalloc(PIECE);

	while (bytes > 0) {
		size_t n = bytes < PIECE ? (size_t)bytes : PIECE;

		if (fd_pread_all(in, piece, n, from, err) < 0 ||
		    fd_write_all(out, piece, n, err) < 0)
			return -1;
		hash128_stream_update(h, piece, n);
		from += (off_t)n;
		bytes -= n;
	}
	*hash = hash128_stream_value(h);
	return 0;
}

/* False: it is of something else, or damaged. */
static bool check_head(int fd, const char *url, uint64_t *bytes, struct hash128 *hash)
{
	uint8_t head[HEAD_BYTES], name[URL_MAX];
	struct error ignored = ERROR_INIT;
	size_t size = 0, n = strlen(url);

	if (n > URL_MAX || fd_pread_all(fd, head, sizeof(head), 0, &ignored) < 0 ||
	    memcmp(head, "LDUC", 4) != 0 || get_u32le(head + 4) != VERSION ||
	    get_u64le(head + 8) != n || fd_size(fd, &size, &ignored) < 0 || size < HEAD_BYTES + n ||
	    get_u64le(head + 16) != size - HEAD_BYTES - n ||
	    fd_pread_all(fd, name, n, HEAD_BYTES, &ignored) < 0 || memcmp(name, url, n) != 0)
		return false;
	*bytes = get_u64le(head + 16);
	memcpy(hash->bytes, head + 24, sizeof(hash->bytes));
	return true;
}

/* A copy of the file in @fd; -1: it is damaged. */
static int read_kept(int fd, const char *url)
{
	cleanup_close int copy_fd = memfd_create("latentd-cached", MFD_CLOEXEC);
	struct hash128 wanted, found;
	struct error ignored = ERROR_INIT;
	uint64_t bytes = 0;

	if (copy_fd < 0 || !check_head(fd, url, &bytes, &wanted) ||
	    copy(fd, (off_t)(HEAD_BYTES + strlen(url)), copy_fd, bytes, &found, &ignored) < 0 ||
	    !hash128_equal(&wanted, &found) || lseek(copy_fd, 0, SEEK_SET) < 0)
		return -1;
	return TAKE_FD(copy_fd);
}

int remote_cache_get(struct remote_cache *c, const char *url)
{
	cleanup_close int fd = -1;
	char name[NAME_SIZE];
	int found;

	if (!c)
		return -1;
	name_of(url, name);
	fd = openat(c->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -1;
	found = read_kept(fd, url);
	if (found < 0)
		unlinkat(c->folder, name, 0);
	else
		futimens(fd, NULL); /* used now */
	return found;
}

static int write_file(int to, const char *url, int fd, uint64_t bytes, struct error *err)
{
	cleanup_buffer struct buffer head = BUFFER_INIT;
	size_t n = strlen(url);
	struct hash128 hash;

	buffer_append(&head, "LDUC", 4);
	buffer_put_u32(&head, VERSION);
	buffer_put_u64(&head, n);
	buffer_put_u64(&head, bytes);
	if (lseek(to, (off_t)(HEAD_BYTES + n), SEEK_SET) < 0 ||
	    copy(fd, 0, to, bytes, &hash, err) < 0 || lseek(to, 0, SEEK_SET) < 0)
		return -1;
	buffer_append(&head, hash.bytes, sizeof(hash.bytes));
	buffer_append(&head, url, n);
	return fd_write_all(to, head.data, head.size, err);
}

/* What has the name already is replaced. */
static bool link_file(const struct remote_cache *c, int fd, const char *name)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	for (int i = 0; i < 2; i++) {
		if (linkat(AT_FDCWD, self, c->folder, name, AT_SYMLINK_FOLLOW) == 0)
			return true;
		if (errno != EEXIST)
			return false;
		unlinkat(c->folder, name, 0);
	}
	return false;
}

void remote_cache_put(struct remote_cache *c, const char *url, int fd)
{
	struct error ignored = ERROR_INIT;
	cleanup_close int to = -1;
	char name[NAME_SIZE];
	size_t bytes = 0;

	if (!c || strlen(url) > URL_MAX || fd_size(fd, &bytes, &ignored) < 0 ||
	    bytes > c->bytes_max / LOOK_SHARE)
		return;
	name_of(url, name);
	to = begin_file(c, name);
	if (to >= 0 && write_file(to, url, fd, bytes, &ignored) == 0 && link_file(c, to, name))
		reckon(c, bytes + HEAD_BYTES + strlen(url));
}

void remote_cache_drop(struct remote_cache *c, const char *url)
{
	char name[NAME_SIZE];

	if (!c)
		return;
	name_of(url, name);
	unlinkat(c->folder, name, 0);
}

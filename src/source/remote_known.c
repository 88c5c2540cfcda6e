/*
 * Levels of groups of slots, each level twice as large as the one before: a URL's hash names one group in each, and it
 * takes the first slot that is free. So the table grows without ever being written anew.
 *
 *	slot    check  hash of the URL  version  checked_at  etag  modified     a text is its length and its bytes
 *
 * A slot never crosses a sector, is written by one call, and its check is a hash of the rest.
 */
#include "source/remote_known.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define NAME "fetched-1"

enum {
	SLOT_BYTES = 128,
	GROUP_SLOTS = 8,
	GROUP_BYTES = SLOT_BYTES * GROUP_SLOTS,
	FIRST_GROUPS = 64,
	LEVELS = 24,
	HEAD_BYTES = 40,
};

struct remote_known {
	int fd;
	pthread_mutex_t lock; /* among threads; the file's among those that opened it */
};

struct remote_known *remote_known_open(const char *folder)
{
	cleanup_free char *path = xasprintf("%s/" NAME, folder);
	struct error ignored = ERROR_INIT;
	struct remote_known *k;
	int fd;

	if (dir_make(folder, &ignored) < 0)
		return NULL;
	fd = file_open(path, O_RDWR | O_CREAT, 0666, &ignored);
	if (fd < 0)
		return NULL;
	k = xcalloc(1, sizeof(*k));
	k->fd = fd;
	pthread_mutex_init(&k->lock, NULL);
	return k;
}

void remote_known_close(struct remote_known *k)
{
	if (!k)
		return;
	close(k->fd);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static uint64_t check_of(const uint8_t *slot)
{
	return hash64_of(slot + 8, SLOT_BYTES - 8, 0);
}

/* Where the group of @url begins in a level. */
static off_t group_at(const struct hash128 *url, unsigned level)
{
	uint64_t groups = (uint64_t)FIRST_GROUPS << level;

	return (off_t)((groups - FIRST_GROUPS + get_u64le(url->bytes) % groups) * GROUP_BYTES);
}

/* What lies behind the end is empty. */
static void read_group(const struct remote_known *k, off_t at, uint8_t out[GROUP_BYTES])
{
	ssize_t n = pread(k->fd, out, GROUP_BYTES, at);

	n = n > 0 ? n : 0;
	memset(out + n, 0, (size_t)(GROUP_BYTES - n));
}

/* The slot of @url, read, and its place: true; or false and the place that it would have, -1: none. */
static bool find(const struct remote_known *k, const struct hash128 *url, uint8_t slot[SLOT_BYTES],
		 off_t *place)
{
	uint8_t group[GROUP_BYTES];

	*place = -1;
	for (unsigned level = 0; level < LEVELS && *place < 0; level++) {
		off_t at = group_at(url, level);

		read_group(k, at, group);
		for (unsigned i = 0; i < GROUP_SLOTS; i++) {
			const uint8_t *one = group + (size_t)i * SLOT_BYTES;
			bool whole = get_u64le(one) == check_of(one);

			if (whole && memcmp(one + 8, url->bytes, sizeof(url->bytes)) == 0) {
				memcpy(slot, one, SLOT_BYTES);
				*place = at + (off_t)i * SLOT_BYTES;
				return true;
			}
			if (!whole && *place < 0)
				*place = at + (off_t)i * SLOT_BYTES;
		}
	}
	return false;
}

/* A text at @at, which is behind it afterwards. */
static void read_text(const uint8_t *slot, size_t *at, char *out, size_t size)
{
	size_t n = *at < SLOT_BYTES ? slot[*at] : 0;

	*out = '\0';
	if (n < size && *at + 1 + n <= SLOT_BYTES) {
		memcpy(out, slot + *at + 1, n);
		out[n] = '\0';
	}
	*at += 1 + n;
}

bool remote_known_find(struct remote_known *k, const char *url, struct remote_fact *out)
{
	struct hash128 hash = hash128_of(url, strlen(url));
	uint8_t slot[SLOT_BYTES];
	size_t text = HEAD_BYTES;
	off_t place;

	if (!k || !find(k, &hash, slot, &place))
		return false;
	out->version = get_u64le(slot + 24);
	out->checked_at = (int64_t)get_u64le(slot + 32);
	read_text(slot, &text, out->etag, sizeof(out->etag));
	read_text(slot, &text, out->modified, sizeof(out->modified));
	return true;
}

static void put_text(struct buffer *slot, const char *text)
{
	buffer_put_u8(slot, (uint8_t)strlen(text));
	buffer_append_string(slot, text);
}

void remote_known_put(struct remote_known *k, const char *url, const struct remote_fact *fact)
{
	struct hash128 hash = hash128_of(url, strlen(url));
	cleanup_buffer struct buffer rest = BUFFER_INIT;
	uint8_t slot[SLOT_BYTES] = {0}, known[SLOT_BYTES];
	cleanup_buffer struct buffer check = BUFFER_INIT;
	off_t place;

	if (!k)
		return;
	buffer_append(&rest, hash.bytes, sizeof(hash.bytes));
	buffer_put_u64(&rest, fact->version);
	buffer_put_u64(&rest, (uint64_t)fact->checked_at);
	put_text(&rest, fact->etag);
	put_text(&rest, fact->modified);
	memcpy(slot + 8, rest.data, rest.size);
	buffer_put_u64(&check, check_of(slot));
	memcpy(slot, check.data, check.size);
	pthread_mutex_lock(&k->lock);
	while (flock(k->fd, LOCK_EX) < 0 && errno == EINTR)
		continue;
	find(k, &hash, known, &place);
	if (place >= 0 && pwrite(k->fd, slot, SLOT_BYTES, place) < 0)
		place = -1; /* not kept, then */
	flock(k->fd, LOCK_UN);
	pthread_mutex_unlock(&k->lock);
}

/*
 * Layout: "LDAL", u32 version, u64 size, inode and mtime of the archive; for each member u8 1, u8 flags, u64 size, place
 * and offset, u32 length of the name and the name with a NUL, and with a text u32 its length and the text; u8 0, u8
 * length of the damage's reason and that, u16 length of its message and that; XXH3-128 of all before. Numbers are
 * little-endian.
 *
 * The hash finds accidents; whoever may write to the state folder is trusted. It also lets a list be renamed into place
 * without waiting for the disk: after a crash one that did not reach it is damaged, and made again.
 */
#include "source/archive_list.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/hash.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

enum { VERSION = 1, HASH_BYTES = 16, IS_REGULAR = 1, IS_ENCRYPTED = 2, HAS_TEXT = 4, FLAGS = 7 };

#define LIST_MOST ((size_t)4 << 30)

/* -- the bytes of one ----------------------------------------------------------------------------- */

void archive_list_begin(struct buffer *out, const struct archive_stamp *stamp)
{
	buffer_append(out, "LDAL", 4);
	buffer_put_u32(out, VERSION);
	buffer_put_u64(out, stamp->size);
	buffer_put_u64(out, stamp->inode);
	buffer_put_u64(out, (uint64_t)stamp->mtime_ns);
}

void archive_list_put(struct buffer *out, const struct unpack_member *m)
{
	size_t name = strlen(m->name);

	buffer_put_u8(out, 1);
	buffer_put_u8(out, (uint8_t)((m->regular ? IS_REGULAR : 0) |
				     (m->encrypted ? IS_ENCRYPTED : 0) | (m->text ? HAS_TEXT : 0)));
	buffer_put_u64(out, m->size);
	buffer_put_u64(out, m->place);
	buffer_put_u64(out, m->offset);
	buffer_put_u32(out, (uint32_t)name);
	buffer_append(out, m->name, name + 1);
	if (!m->text)
		return;
	buffer_put_u32(out, (uint32_t)m->text_size);
	buffer_append(out, m->text, m->text_size);
}

void archive_list_end(struct buffer *out, const struct error *damage)
{
	size_t reason = strlen(damage->reason), message = strlen(damage->message);
	struct hash128 hash;

	buffer_put_u8(out, 0);
	buffer_put_u8(out, (uint8_t)reason);
	buffer_append(out, damage->reason, reason);
	buffer_put_u16(out, (uint16_t)message);
	buffer_append(out, damage->message, message);
	hash = hash128_of(out->data, out->size);
	buffer_append(out, hash.bytes, HASH_BYTES);
}

struct cursor {
	const uint8_t *at;
	size_t left;
	bool ok;
};

/* NULL: so many are not there. */
static const uint8_t *take(struct cursor *c, size_t n)
{
	const uint8_t *at = c->at;

	if (!c->ok || c->left < n) {
		c->ok = false;
		return NULL;
	}
	c->at += n;
	c->left -= n;
	return at;
}

static uint64_t number(struct cursor *c, size_t bytes)
{
	const uint8_t *at = take(c, bytes);
	uint64_t value = 0;

	for (size_t i = 0; at && i < bytes; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

static bool take_member(struct cursor *c, struct unpack_member *m)
{
	uint64_t flags = number(c, 1);
	size_t length;

	m->size = number(c, 8);
	m->place = number(c, 8);
	m->offset = number(c, 8);
	m->regular = flags & IS_REGULAR;
	m->encrypted = flags & IS_ENCRYPTED;
	length = number(c, 4);
	m->name = (const char *)take(c, length + 1);
	if (!c->ok || flags > FLAGS || strnlen(m->name, length + 1) != length)
		return false;
	m->text = NULL;
	m->text_size = flags & HAS_TEXT ? number(c, 4) : 0;
	if (flags & HAS_TEXT)
		m->text = take(c, m->text_size);
	return c->ok;
}

static bool take_string(struct cursor *c, size_t length, char *out, size_t size)
{
	const uint8_t *at = take(c, length);

	if (!at || length >= size)
		return false;
	memcpy(out, at, length);
	out[length] = '\0';
	return strlen(out) == length;
}

static bool take_damage(struct cursor *c, struct error *damage)
{
	if (!take_string(c, number(c, 1), damage->reason, sizeof(damage->reason)) ||
	    !take_string(c, number(c, 2), damage->message, sizeof(damage->message)))
		return false;
	damage->code = damage->reason[0] ? ERR_DATA : ERR_NONE;
	return true;
}

static bool is_whole(const uint8_t *bytes, size_t size)
{
	struct hash128 hash;

	if (size < HASH_BYTES)
		return false;
	hash = hash128_of(bytes, size - HASH_BYTES);
	return memcmp(hash.bytes, bytes + size - HASH_BYTES, HASH_BYTES) == 0;
}

/* Once to see whether it is one, once to tell: nothing is told of what is none. */
static bool read_members(struct cursor c,
			 void (*on_member)(void *arg, const struct unpack_member *m), void *arg,
			 struct error *damage)
{
	struct unpack_member m;
	uint64_t kind;

	while ((kind = number(&c, 1)) == 1) {
		if (!take_member(&c, &m))
			return false;
		if (on_member)
			on_member(arg, &m);
	}
	return c.ok && kind == 0 && take_damage(&c, damage) && c.left == 0;
}

bool archive_list_read(const uint8_t *bytes, size_t size, const struct archive_stamp *stamp,
		       void (*on_member)(void *arg, const struct unpack_member *m), void *arg,
		       struct error *damage)
{
	struct cursor c = {bytes, size - HASH_BYTES, true};
	struct error found = ERROR_INIT;
	const uint8_t *magic;

	if (!is_whole(bytes, size))
		return false;
	magic = take(&c, 4);
	if (!magic || memcmp(magic, "LDAL", 4) != 0 || number(&c, 4) != VERSION ||
	    number(&c, 8) != stamp->size || number(&c, 8) != stamp->inode ||
	    number(&c, 8) != (uint64_t)stamp->mtime_ns || !c.ok ||
	    !read_members(c, NULL, NULL, &found))
		return false;
	read_members(c, on_member, arg, damage);
	return true;
}

/* -- a folder of them ----------------------------------------------------------------------------- */

struct archive_lists {
	char *folder;
	struct hash128 *used; /* the names of those that are */
	size_t n_used, capacity;
};

struct archive_lists *archive_lists_open(const char *folder)
{
	struct archive_lists *l = xcalloc(1, sizeof(*l));

	l->folder = xstrdup(folder);
	return l;
}

void archive_lists_close(struct archive_lists *l)
{
	if (!l)
		return;
	free(l->used);
	free(l->folder);
	free(l);
}

/* The file of @path's list, to be freed. */
static char *file_of(struct archive_lists *l, const char *path)
{
	struct hash128 hash = hash128_of(path, strlen(path));
	char hex[HASH128_HEX_SIZE];

	ARRAY_GROW(l->used, l->n_used, l->capacity);
	l->used[l->n_used++] = hash;
	hash128_hex(&hash, hex);
	return xasprintf("%s/%s", l->folder, hex);
}

bool archive_lists_load(struct archive_lists *l, const char *path, struct buffer *out)
{
	cleanup_free char *file = file_of(l, path);
	struct error ignored = ERROR_INIT;

	return file_read_all(file, LIST_MOST, out, &ignored) == 0;
}

void archive_lists_save(struct archive_lists *l, const char *path, const struct buffer *list)
{
	cleanup_free char *file = file_of(l, path);
	struct atomic_file f = ATOMIC_FILE_INIT;
	struct error ignored = ERROR_INIT;

	if (dir_make(l->folder, &ignored) == 0 && atomic_file_begin(&f, l->folder, &ignored) == 0 &&
	    fd_write_all(f.fd, list->data, list->size, &ignored) == 0)
		atomic_file_appear(&f, file, &ignored);
	atomic_file_abort(&f);
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct hash128));
}

void archive_lists_sweep(struct archive_lists *l)
{
	DIR *dir = opendir(l->folder);
	struct error ignored = ERROR_INIT;
	struct dirent *entry;
	struct hash128 hash;

	if (!dir)
		return;
	atomic_file_sweep(l->folder, &ignored);
	if (l->n_used > 0)
		qsort(l->used, l->n_used, sizeof(*l->used), compare);
	while ((entry = readdir(dir))) {
		if (hash128_parse(entry->d_name, &hash) &&
		    (l->n_used == 0 ||
		     !bsearch(&hash, l->used, l->n_used, sizeof(*l->used), compare)))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
	l->n_used = 0;
}

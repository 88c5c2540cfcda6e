/*
 * Writing is a ZIP without compression: for each member a local header and its bytes, then a directory of all of them.
 * Times are 1980-01-01, the first that ZIP knows, as numpy has it. Reading is libarchive's, which checks the CRCs.
 */
#include "storage/npz.h"

#include "base/checked.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <libdeflate.h>
#include <string.h>

enum { ZIP_VERSION = 20, ZIP_FIRST_DAY = 0x21, NPZ_MAX_ARRAYS = 1024 };

#define NAME_BYTES "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."

/* What the local header and the directory have in common. */
static void put_common(struct buffer *out, uint32_t crc, size_t size, size_t name_size)
{
	buffer_put_u16(out, ZIP_VERSION); /* needed to open it */
	buffer_put_u16(out, 0);		  /* flags */
	buffer_put_u16(out, 0);		  /* stored */
	buffer_put_u16(out, 0);		  /* time */
	buffer_put_u16(out, ZIP_FIRST_DAY);
	buffer_put_u32(out, crc);
	buffer_put_u32(out, (uint32_t)size);
	buffer_put_u32(out, (uint32_t)size);
	buffer_put_u16(out, (uint16_t)name_size);
	buffer_put_u16(out, 0); /* extra fields */
}

void npz_put(struct npz_writer *w, const char *name, const struct ndarray *array)
{
	cleanup_free char *member = xasprintf("%s.npy", name);
	cleanup_buffer struct buffer npy = BUFFER_INIT;
	size_t at = w->files.size, length = strlen(member);
	uint32_t crc;

	assert(length <= UINT16_MAX);
	npy_write(&npy, array);
	crc = libdeflate_crc32(0, npy.data, npy.size);
	buffer_append_string(&w->files, "PK\3\4");
	put_common(&w->files, crc, npy.size, length);
	buffer_append_string(&w->files, member);
	buffer_append(&w->files, npy.data, npy.size);

	buffer_append_string(&w->directory, "PK\1\2");
	buffer_put_u16(&w->directory, 3 << 8 | ZIP_VERSION); /* made by: a Unix */
	put_common(&w->directory, crc, npy.size, length);
	buffer_put_u16(&w->directory, 0);	       /* comment */
	buffer_put_u16(&w->directory, 0);	       /* disk */
	buffer_put_u16(&w->directory, 0);	       /* internal attributes */
	buffer_put_u32(&w->directory, 0100644U << 16); /* its mode */
	buffer_put_u32(&w->directory, (uint32_t)at);
	buffer_append_string(&w->directory, member);
	w->n++;
}

int npz_end(struct npz_writer *w, struct buffer *out, struct error *err)
{
	size_t at = w->files.size, size = w->directory.size;

	if (at + size > UINT32_MAX || w->n > UINT16_MAX)
		return error_data(err, "too_large", "arrays of %zu bytes in one .npz", at);
	buffer_append(&w->files, w->directory.data, size);
	buffer_append_string(&w->files, "PK\5\6");
	buffer_put_u32(&w->files, 0); /* disks */
	buffer_put_u16(&w->files, (uint16_t)w->n);
	buffer_put_u16(&w->files, (uint16_t)w->n);
	buffer_put_u32(&w->files, (uint32_t)size);
	buffer_put_u32(&w->files, (uint32_t)at);
	buffer_put_u16(&w->files, 0); /* comment */
	buffer_release(out);
	*out = w->files;
	w->files = (struct buffer)BUFFER_INIT;
	npz_writer_release(w);
	return 0;
}

void npz_writer_release(struct npz_writer *w)
{
	buffer_release(&w->files);
	buffer_release(&w->directory);
	*w = (struct npz_writer)NPZ_WRITER_INIT;
}

/* -- and back ------------------------------------------------------------------------------------- */

static int bad(struct error *err, const char *what)
{
	return error_data(err, "npz", "not an .npz that can be read: %s", what);
}

static void free_archive(struct archive **a)
{
	archive_read_free(*a);
}

/* The name without .npy into *name, which is freed by the caller. */
static int member_name(struct archive_entry *entry, const struct npz *npz, char **name,
		       struct error *err)
{
	const char *path = archive_entry_pathname(entry);
	size_t length = path ? strlen(path) : 0;

	if (length < 5 || strcmp(path + length - 4, ".npy") != 0 ||
	    strspn(path, NAME_BYTES) != length)
		return bad(err, "it has members that are no .npy of a plain name");
	*name = xasprintf("%.*s", (int)(length - 4), path);
	if (npz_find(npz, *name))
		return bad(err, "a name is there twice");
	return 0;
}

/* At most *limit bytes, which become fewer. */
static int read_member(struct archive *a, size_t *limit, struct buffer *out, struct error *err)
{
	const void *block = NULL;
	size_t size = 0;
	la_int64_t offset = 0;
	int r = 0;

	while ((r = archive_read_data_block(a, &block, &size, &offset)) == ARCHIVE_OK) {
		if (size > *limit)
			return error_data(err, "too_large", "an .npz of more bytes than allowed");
		if ((la_int64_t)out->size != offset || buffer_reserve(out, size, err) < 0)
			return err->code ? -1 : bad(err, "it has holes");
		buffer_append(out, block, size);
		*limit -= size;
	}
	return r == ARCHIVE_EOF ? 0 : bad(err, "its contents are damaged");
}

static int read_array(struct archive *a, struct archive_entry *entry, size_t *limit,
		      struct npz *npz, struct error *err)
{
	cleanup_buffer struct buffer npy = BUFFER_INIT;
	cleanup_ndarray struct ndarray array = NDARRAY_INIT;
	cleanup_free char *name = NULL;

	if (npz->n == NPZ_MAX_ARRAYS)
		return error_data(err, "too_large", "an .npz of more than %d arrays",
				  NPZ_MAX_ARRAYS);
	if (member_name(entry, npz, &name, err) < 0 || read_member(a, limit, &npy, err) < 0 ||
	    npy_read(npy.data, npy.size, &array, err) < 0)
		return -1;
	ARRAY_GROW(npz->items, npz->n, npz->capacity);
	npz->items[npz->n++] = (struct npz_array){TAKE(name), array};
	array = (struct ndarray)NDARRAY_INIT;
	return 0;
}

int npz_read(const uint8_t *bytes, size_t size, size_t limit, struct npz *out, struct error *err)
{
	cleanup_with(free_archive) struct archive *a = archive_read_new();
	cleanup_npz struct npz npz = {.n = 0};
	struct archive_entry *entry = NULL;
	int r = 0;

	if (!a)
		memory_is_out();
	/* The one that goes by the directory at the end, as numpy does. */
	archive_read_support_format_zip_seekable(a);
	if (archive_read_open_memory(a, bytes, size) != ARCHIVE_OK)
		return bad(err, "not a ZIP");
	while ((r = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
		if (read_array(a, entry, &limit, &npz, err) < 0)
			return -1;
	}
	if (r != ARCHIVE_EOF || npz.n == 0)
		return bad(err,
			   r == ARCHIVE_EOF ? "it has no arrays" : "not a ZIP, or a damaged one");
	*out = npz;
	npz = (struct npz){.n = 0};
	return 0;
}

const struct ndarray *npz_find(const struct npz *npz, const char *name)
{
	for (size_t i = 0; i < npz->n; i++) {
		if (strcmp(npz->items[i].name, name) == 0)
			return &npz->items[i].array;
	}
	return NULL;
}

void npz_release(struct npz *npz)
{
	for (size_t i = 0; i < npz->n; i++) {
		free(npz->items[i].name);
		ndarray_release(&npz->items[i].array);
	}
	free(npz->items);
	*npz = (struct npz){.n = 0};
}

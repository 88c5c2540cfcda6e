/*
 * Tensors are laid out in the order given; the header is padded with spaces to a multiple of 8, as the
 * format asks.
 */
#include "vae/safetensors.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/files.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

static json_t *entry_json(const struct ndarray *a, size_t offset)
{
	static const char *const names[] = {
	    [DTYPE_F32] = "F32", [DTYPE_F16] = "F16", [DTYPE_BF16] = "BF16"};
	json_t *shape = json_array();

	assert(a->dtype <= DTYPE_BF16);
	for (size_t i = 0; i < a->ndim; i++)
		json_array_append_new(shape, json_integer((json_int_t)a->shape[i]));
	return json_pack("{s:s, s:o, s:[I, I]}", "dtype", names[a->dtype], "shape", shape,
			 "data_offsets", (json_int_t)offset, (json_int_t)(offset + a->bytes));
}

/* Length and header, ready to be written. */
static int header_bytes(const struct safetensors_entry *entries, size_t n, const json_t *metadata,
			struct buffer *out, struct error *err)
{
	json_t *header = json_object();
	size_t offset = 0, length;
	char *text = NULL;
	bool ok = true;

	if (metadata)
		json_object_set_new(header, "__metadata__", json_deep_copy(metadata));
	for (size_t i = 0; i < n; i++) {
		ok = ok && json_object_set_new(header, entries[i].name,
					       entry_json(entries[i].array, offset)) == 0;
		offset += entries[i].array->bytes;
	}
	if (ok)
		text = json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(header);
	if (!text)
		return error_set(err, ERR_BUG, "a tensor's name is not UTF-8");
	length = strlen(text);
	buffer_put_u64(out, (length + 7) / 8 * 8);
	buffer_append(out, text, length);
	for (; length % 8 != 0; length++)
		buffer_put_u8(out, ' ');
	free(text);
	return 0;
}

static int write_parts(int fd, const struct buffer *header, const struct safetensors_entry *entries,
		       size_t n, struct error *err)
{
	if (fd_write_all(fd, header->data, header->size, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (fd_write_all(fd, entries[i].array->data, entries[i].array->bytes, err) < 0)
			return -1;
	}
	return 0;
}

int safetensors_encode(const struct safetensors_entry *entries, size_t n,
		       const struct json_t *metadata, struct buffer *out, struct error *err)
{
	if (header_bytes(entries, n, metadata, out, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		buffer_append(out, entries[i].array->data, entries[i].array->bytes);
	return 0;
}

int safetensors_write(const char *path, const struct safetensors_entry *entries, size_t n,
		      struct error *err)
{
	cleanup_buffer struct buffer header = BUFFER_INIT;
	cleanup_free char *dir = xstrdup(path);
	struct atomic_file file = ATOMIC_FILE_INIT;
	char *slash = strrchr(dir, '/');
	int r;

	if (header_bytes(entries, n, NULL, &header, err) < 0)
		return -1;
	if (slash)
		slash[slash == dir] = '\0';
	if (atomic_file_begin(&file, slash ? dir : ".", err) < 0)
		return -1;
	r = write_parts(file.fd, &header, entries, n, err);
	if (r == 0)
		r = atomic_file_commit(&file, path, ATOMIC_REPLACE, err);
	atomic_file_abort(&file);
	return r;
}

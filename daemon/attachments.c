/*
 * Arrays are read when their sample is rewritten, one at a time: what is attached may be larger than memory.
 */
#include "daemon/attachments.h"

#include "source/source_path.h"
#include "vae/safetensors.h"

#include "base/checked.h"
#include "base/compress.h"
#include "base/file_tree.h"
#include "base/files.h"
#include "base/half.h"
#include "base/text.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ARRAY_FILE_MAX ((size_t)1 << 30)

struct attachments {
	const char *name;
	struct safetensors *tensors; /* NULL: files */
	json_t *keys;		     /* the tensor's name, or the file's path */
};

bool attachment_name_valid(const char *name)
{
	static const char *const own[] = {"json", "latent", "moments", "txt",	      "caption",
					  "key",  "meta",   "members", "target_size", "mask"};
	size_t n = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		if (strcmp(name, own[i]) == 0)
			return false;
	}
	return n > 0 && n <= ATTACHMENT_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

/* -- what there is -------------------------------------------------------------------------------- */

static int list_tensors(struct attachments *a, const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	a->tensors = safetensors_open(path, err);
	if (!a->tensors)
		return -1;
	for (size_t i = 0; i < safetensors_count(a->tensors); i++) {
		const struct safetensor *t = safetensors_at(a->tensors, i);

		if (t->dtype == ST_OTHER)
			return error_set(err, ERR_CONFIG,
					 "%s: tensor %s is not float32, float16 or bfloat16", path,
					 text_quote(t->name, quoted));
		json_object_set_new_nocheck(a->keys, t->name,
					    json_stringn_nocheck(t->name, strlen(t->name)));
	}
	return 0;
}

static int add_file(void *arg, const struct file_tree_entry *entry, struct error *err)
{
	struct attachments *a = arg;
	size_t n = strlen(entry->name);
	cleanup_free char *stem = NULL;
	char quoted[TEXT_QUOTE_SIZE];

	if (entry->kind == FILE_TREE_UNREADABLE) {
		errno = entry->why;
		return error_sys(err, "read %s", text_quote(entry->path, quoted));
	}
	if (entry->kind == FILE_TREE_FOLDER || n <= 4 || strcmp(entry->name + n - 4, ".npy") != 0)
		return 0;
	stem = xasprintf("%.*s", (int)source_path_stem(entry->below), entry->below);
	json_object_set_new_nocheck(a->keys, stem,
				    json_stringn_nocheck(entry->path, strlen(entry->path)));
	return 0;
}

int attachments_open(const char *name, const char *path, struct attachments **out,
		     struct error *err)
{
	struct attachments *a = xcalloc(1, sizeof(*a));
	struct stat st;
	int r;

	a->name = name;
	a->keys = json_object();
	if (stat(path, &st) < 0)
		r = error_sys(err, "%s", path);
	else
		r = S_ISDIR(st.st_mode) ? file_tree_walk(path, add_file, a, err)
					: list_tensors(a, path, err);
	if (r == 0 && json_object_size(a->keys) == 0)
		r = error_set(err, ERR_CONFIG, "%s has no %s", path,
			      S_ISDIR(st.st_mode) ? "KEY.npy, by the images' paths" : "tensors");
	if (r < 0) {
		attachments_close(a);
		return -1;
	}
	*out = a;
	return 0;
}

void attachments_close(struct attachments *a)
{
	if (!a)
		return;
	safetensors_close(a->tensors);
	json_decref(a->keys);
	free(a);
}

json_t *attachments_keys(struct attachments *a)
{
	return a->keys;
}

bool attachments_have(const struct attachments *a, const char *key)
{
	return json_object_get(a->keys, key) != NULL;
}

/* -- one array ------------------------------------------------------------------------------------ */

static int read_tensor(struct attachments *a, const char *where, struct ndarray *out,
		       struct error *err)
{
	cleanup_ndarray struct ndarray floats = NDARRAY_INIT, halves = NDARRAY_INIT;
	const struct safetensor *t = safetensors_find(a->tensors, where);

	if (ndarray_alloc(&floats, DTYPE_F32, t->ndim, t->shape, err) < 0 ||
	    safetensors_read_f32(a->tensors, t, floats.data, err) < 0)
		return -1;
	if (t->dtype == ST_F16) {
		if (ndarray_alloc(&halves, DTYPE_F16, t->ndim, t->shape, err) < 0)
			return -1;
		half_from_floats(halves.data, floats.data, t->count);
		*out = halves;
		halves = (struct ndarray)NDARRAY_INIT;
		return 0;
	}
	*out = floats;
	floats = (struct ndarray)NDARRAY_INIT;
	return 0;
}

static int read_file(const char *path, struct ndarray *out, struct error *err)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];

	if (file_read_regular(path, ARRAY_FILE_MAX, &bytes, err) < 0)
		return -1;
	if (npy_read(bytes.data, bytes.size, out, err) < 0)
		return error_wrap(err, "%s", text_quote(path, quoted));
	return 0;
}

/* What is wrong with an array is not the shard's damage. */
static int read_array(struct attachments *a, const char *key, struct ndarray *out,
		      struct error *err)
{
	const char *where = json_string_value(json_object_get(a->keys, key));
	struct error why = ERROR_INIT;
	int r = a->tensors ? read_tensor(a, where, out, &why) : read_file(where, out, &why);

	if (r < 0)
		return error_set(err, why.code == ERR_NOMEM ? ERR_NOMEM : ERR_CONFIG, "%s",
				 why.message);
	return 0;
}

static bool is_compressed(const struct record *record)
{
	return !record_member(record, "latent.npy") && !record_member(record, "moments.npy");
}

int attachments_put(struct attachments *a, const char *key, struct record *record,
		    struct error *err)
{
	cleanup_ndarray struct ndarray array = NDARRAY_INIT;
	cleanup_buffer struct buffer npy = BUFFER_INIT, frame = BUFFER_INIT;
	bool compressed = is_compressed(record);
	struct buffer *bytes = compressed ? &frame : &npy;
	const struct record_member *there;
	char suffix[RECORD_SUFFIX_SIZE];

	snprintf(suffix, sizeof(suffix), "%s.npy%s", a->name, compressed ? ".zst" : "");
	there = record_member(record, suffix);
	if (!there && record->n_members == RECORD_MAX_MEMBERS)
		return error_set(err, ERR_CONFIG, "%s has %d members, the most there can be",
				 record->key, RECORD_MAX_MEMBERS);
	if (read_array(a, key, &array, err) < 0)
		return -1;
	npy_write(&npy, &array);
	if (compressed &&
	    compress_frame(&frame, npy.data, npy.size, COMPRESS_LEVEL_FLOATS, err) < 0)
		return -1;
	if (there && there->data.size == bytes->size &&
	    memcmp(there->data.data, bytes->data, bytes->size) == 0)
		return 0;
	return record_put_buffer(record, suffix, bytes, err) < 0 ? -1 : ATTACHMENT_CHANGED;
}

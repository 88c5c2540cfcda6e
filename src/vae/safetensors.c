/*
 * The header is parsed once, at open; every tensor is checked there against the bytes that exist, so
 * that reading one later cannot leave the file. Tensors are kept sorted by name.
 */
#include "vae/safetensors.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/half.h"
#include "base/text.h"

#include <assert.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor data is read as it lies");

enum { ST_PREFIX = 8 };			    /* u64 length of the header */
#define ST_HEADER_LIMIT ((size_t)100 << 20) /* the limit of the reference implementation */
#define ST_CHUNK	((size_t)32768)	    /* values converted at a time */

struct safetensors {
	int fd;		      /* -1: in memory */
	const uint8_t *bytes; /* NULL: in a file */
	size_t size;
	char *name; /* of the file, quoted, for messages */
	struct safetensor *tensors;
	size_t count;
};

/* Element types of the format. */
static const struct {
	const char *name;
	enum safetensors_dtype dtype;
	size_t size;
} st_dtypes[] = {
    {"F32", ST_F32, 4},	      {"F16", ST_F16, 2},	{"BF16", ST_BF16, 2},
    {"F64", ST_OTHER, 8},     {"I64", ST_OTHER, 8},	{"U64", ST_OTHER, 8},
    {"I32", ST_OTHER, 4},     {"U32", ST_OTHER, 4},	{"I16", ST_OTHER, 2},
    {"U16", ST_OTHER, 2},     {"I8", ST_OTHER, 1},	{"U8", ST_OTHER, 1},
    {"BOOL", ST_OTHER, 1},    {"F8_E4M3", ST_OTHER, 1}, {"F8_E5M2", ST_OTHER, 1},
    {"F8_E8M0", ST_OTHER, 1},
};

/* -- bytes --------------------------------------------------------------------------------------- */

static int st_read(struct safetensors *file, void *out, size_t size, size_t offset,
		   struct error *err)
{
	if (file->fd >= 0)
		return fd_pread_all(file->fd, out, size, (off_t)offset, err);
	assert(offset <= file->size && file->size - offset >= size);
	memcpy(out, file->bytes + offset, size);
	return 0;
}

static int st_bad(const struct safetensors *file, struct error *err, const char *what)
{
	return error_data(err, "safetensors", "%s: %s", file->name, what);
}

/* An error about one tensor of the file. */
static int st_bad_tensor(const struct safetensors *file, const char *tensor, struct error *err,
			 const char *what)
{
	char quoted[TEXT_QUOTE_SIZE];

	return error_data(err, "safetensors", "%s: tensor %s: %s", file->name,
			  text_quote(tensor, quoted), what);
}

/* -- header -------------------------------------------------------------------------------------- */

static bool json_size(const json_t *value, size_t *out)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*out = (size_t)json_integer_value(value);
	return true;
}

static int st_parse_shape(const struct safetensors *file, struct safetensor *t, const json_t *shape,
			  struct error *err)
{
	if (!json_is_array(shape))
		return st_bad_tensor(file, t->name, err, "no shape");
	t->ndim = json_array_size(shape);
	if (t->ndim > NDARRAY_MAX_DIMS)
		return st_bad_tensor(file, t->name, err, "too many dimensions");
	t->count = 1;
	for (size_t i = 0; i < t->ndim; i++) {
		if (!json_size(json_array_get(shape, i), &t->shape[i]))
			return st_bad_tensor(file, t->name, err,
					     "a dimension is no number from 0 on");
		if (!size_mul(t->count, t->shape[i], &t->count))
			return st_bad_tensor(file, t->name, err, "the shape's product overflows");
	}
	return 0;
}

/* @data_start: where the data begins; offsets in the header count from there. */
static int st_parse_offsets(const struct safetensors *file, struct safetensor *t,
			    const json_t *offsets, size_t data_start, struct error *err)
{
	size_t begin, end;

	if (json_array_size(offsets) != 2 || !json_size(json_array_get(offsets, 0), &begin) ||
	    !json_size(json_array_get(offsets, 1), &end))
		return st_bad_tensor(file, t->name, err,
				     "data_offsets are no two numbers from 0 on");
	if (begin > end)
		return st_bad_tensor(file, t->name, err, "data_offsets run backwards");
	if (end > file->size - data_start)
		return st_bad_tensor(file, t->name, err,
				     "its data lies beyond the end of the file (truncated?)");
	t->offset = data_start + begin;
	t->bytes = end - begin;
	return 0;
}

static int st_parse_tensor(const struct safetensors *file, struct safetensor *t,
			   const json_t *entry, size_t data_start, struct error *err)
{
	const char *dtype = json_string_value(json_object_get(entry, "dtype"));
	size_t want, element = 0;

	if (!dtype)
		return st_bad_tensor(file, t->name, err, "no dtype");
	t->dtype = ST_OTHER;
	for (size_t i = 0; i < ARRAY_SIZE(st_dtypes); i++) {
		if (strcmp(dtype, st_dtypes[i].name) == 0) {
			t->dtype = st_dtypes[i].dtype;
			element = st_dtypes[i].size;
		}
	}
	if (st_parse_shape(file, t, json_object_get(entry, "shape"), err) < 0 ||
	    st_parse_offsets(file, t, json_object_get(entry, "data_offsets"), data_start, err) < 0)
		return -1;
	/* a dtype of the future has a size that nobody here knows: it is listed, never read */
	if (element == 0)
		return 0;
	if (!size_mul(t->count, element, &want))
		return st_bad_tensor(file, t->name, err, "its size overflows");
	if (want != t->bytes)
		return st_bad_tensor(file, t->name, err, "data_offsets do not match its shape");
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct safetensor *s = a, *t = b;

	return strcmp(s->name, t->name);
}

static int by_offset(const void *a, const void *b)
{
	const struct safetensor *s = *(struct safetensor *const *)a;
	const struct safetensor *t = *(struct safetensor *const *)b;

	if (s->offset != t->offset)
		return s->offset < t->offset ? -1 : 1;
	return (s->bytes > t->bytes) - (s->bytes < t->bytes);
}

static int st_check_overlap(const struct safetensors *file, struct error *err)
{
	cleanup_free const struct safetensor **order = xcalloc(file->count + 1, sizeof(*order));

	for (size_t i = 0; i < file->count; i++)
		order[i] = &file->tensors[i];
	qsort(order, file->count, sizeof(*order), by_offset);
	for (size_t i = 1; i < file->count; i++) {
		if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset)
			return st_bad_tensor(file, order[i]->name, err,
					     "its data overlaps another tensor's");
	}
	return 0;
}

static int st_parse_header(struct safetensors *file, const json_t *header, size_t data_start,
			   struct error *err)
{
	const char *name;
	json_t *entry;

	if (!json_is_object(header))
		return st_bad(file, err, "the header is no JSON object");
	file->tensors = xcalloc(json_object_size(header) + 1, sizeof(*file->tensors));
	json_object_foreach((json_t *)header, name, entry)
	{
		struct safetensor *t = &file->tensors[file->count];

		if (strcmp(name, "__metadata__") == 0)
			continue;
		t->name = xstrdup(name);
		file->count++;
		if (st_parse_tensor(file, t, entry, data_start, err) < 0)
			return -1;
	}
	qsort(file->tensors, file->count, sizeof(*file->tensors), by_name);
	return st_check_overlap(file, err);
}

static int st_read_header(struct safetensors *file, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	uint8_t prefix[ST_PREFIX];
	json_error_t why;
	json_t *header;
	uint64_t length;
	int r;

	if (file->size < ST_PREFIX)
		return st_bad(file, err, "too short for a .safetensors file");
	if (st_read(file, prefix, sizeof(prefix), 0, err) < 0)
		return error_wrap(err, "%s", file->name);
	length = get_u64le(prefix);
	if (length > ST_HEADER_LIMIT)
		return st_bad(file, err,
			      "not a .safetensors file (header length beyond any limit)");
	if (length > file->size - ST_PREFIX)
		return st_bad(file, err, "the header lies beyond the end of the file (truncated?)");
	if (buffer_reserve(&text, length, err) < 0)
		return -1;
	if (st_read(file, text.data, length, ST_PREFIX, err) < 0)
		return error_wrap(err, "%s", file->name);
	header = json_loadb((const char *)text.data, length, JSON_REJECT_DUPLICATES, &why);
	if (!header)
		return error_data(err, "safetensors", "%s: header: %s", file->name, why.text);
	r = st_parse_header(file, header, ST_PREFIX + (size_t)length, err);
	json_decref(header);
	return r;
}

/* -- interface ----------------------------------------------------------------------------------- */

static struct safetensors *st_new(int fd, const uint8_t *bytes, size_t size, const char *name,
				  struct error *err)
{
	struct safetensors *file = xcalloc(1, sizeof(*file));

	file->fd = fd;
	file->bytes = bytes;
	file->size = size;
	file->name = xstrdup(name);
	if (st_read_header(file, err) < 0) {
		safetensors_close(file);
		return NULL;
	}
	return file;
}

struct safetensors *safetensors_open(const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	struct stat st;
	/* O_NONBLOCK: a FIFO of that name must not hang the open */
	cleanup_close int fd = file_open(path, O_RDONLY | O_NONBLOCK, 0, err);

	if (fd < 0)
		return NULL;
	text_quote(path, quoted);
	if (fstat(fd, &st) < 0) {
		error_sys(err, "stat %s", quoted);
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		error_data(err, "safetensors", "%s: not a regular file", quoted);
		return NULL;
	}
	return st_new(TAKE_FD(fd), NULL, (size_t)st.st_size, quoted, err);
}

struct safetensors *safetensors_open_memory(const uint8_t *bytes, size_t size, struct error *err)
{
	return st_new(-1, bytes, size, "memory", err);
}

void safetensors_close(struct safetensors *file)
{
	if (!file)
		return;
	for (size_t i = 0; i < file->count; i++)
		free(file->tensors[i].name);
	free(file->tensors);
	free(file->name);
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

const char *safetensors_dtype_name(enum safetensors_dtype dtype)
{
	static const char *const names[] = {
	    [ST_F32] = "F32", [ST_F16] = "F16", [ST_BF16] = "BF16", [ST_OTHER] = "other"};

	return names[dtype];
}

size_t safetensors_count(const struct safetensors *file)
{
	return file->count;
}

const struct safetensor *safetensors_at(const struct safetensors *file, size_t index)
{
	return index < file->count ? &file->tensors[index] : NULL;
}

const struct safetensor *safetensors_find(const struct safetensors *file, const char *name)
{
	const struct safetensor key = {.name = (char *)name};

	return bsearch(&key, file->tensors, file->count, sizeof(key), by_name);
}

int safetensors_read_f32(struct safetensors *file, const struct safetensor *t, float *out,
			 struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];
	uint16_t halves[ST_CHUNK];

	if (t->dtype == ST_OTHER)
		return st_bad_tensor(file, t->name, err, "its dtype is not F32, F16 or BF16");
	if (t->dtype == ST_F32) {
		if (st_read(file, out, t->bytes, t->offset, err) < 0)
			return error_wrap(err, "%s: tensor %s", file->name,
					  text_quote(t->name, quoted));
		return 0;
	}
	for (size_t done = 0; done < t->count;) {
		size_t n = t->count - done < ST_CHUNK ? t->count - done : ST_CHUNK;

		if (st_read(file, halves, n * 2, t->offset + done * 2, err) < 0)
			return error_wrap(err, "%s: tensor %s", file->name,
					  text_quote(t->name, quoted));
		if (t->dtype == ST_F16)
			half_to_floats(out + done, halves, n);
		else
			bfloat16_to_floats(out + done, halves, n);
		done += n;
	}
	return 0;
}

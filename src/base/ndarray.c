#include "base/ndarray.h"

#include "base/checked.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	const char *npy; /* NULL: numpy has no such type */
	size_t size;
} dtypes[] = {
    [DTYPE_F32] = {"float32", "<f4", 4},  [DTYPE_F16] = {"float16", "<f2", 2},
    [DTYPE_BF16] = {"bfloat16", NULL, 2}, [DTYPE_U8] = {"uint8", "|u1", 1},
    [DTYPE_I64] = {"int64", "<i8", 8},	  [DTYPE_F64] = {"float64", "<f8", 8},
};

size_t dtype_size(enum dtype dtype)
{
	return dtypes[dtype].size;
}

const char *dtype_name(enum dtype dtype)
{
	return dtypes[dtype].name;
}

bool ndarray_bytes(enum dtype dtype, size_t ndim, const size_t *shape, size_t *bytes)
{
	size_t total = dtype_size(dtype);

	for (size_t i = 0; i < ndim; i++) {
		if (!size_mul(total, shape[i], &total))
			return false;
	}
	*bytes = total;
	return true;
}

int ndarray_alloc(struct ndarray *a, enum dtype dtype, size_t ndim, const size_t *shape,
		  struct error *err)
{
	struct ndarray fresh = NDARRAY_INIT;
	size_t padded;

	if (ndim > NDARRAY_MAX_DIMS)
		return error_data(err, "too_large", "an array of %zu dimensions", ndim);
	if (!ndarray_bytes(dtype, ndim, shape, &fresh.bytes) ||
	    !size_add(fresh.bytes, 127, &padded))
		return error_data(err, "too_large", "an array's size overflows");
	fresh.data = aligned_alloc(64, padded / 64 * 64);
	if (!fresh.data)
		return error_set(err, ERR_NOMEM, "no memory for %zu bytes", fresh.bytes);
	fresh.dtype = dtype;
	fresh.ndim = ndim;
	memcpy(fresh.shape, shape, ndim * sizeof(*shape));
	*a = fresh;
	return 0;
}

void ndarray_release(struct ndarray *a)
{
	free(a->data);
	*a = (struct ndarray)NDARRAY_INIT;
}

size_t ndarray_count(const struct ndarray *a)
{
	return a->bytes / dtype_size(a->dtype);
}

bool ndarray_same_shape(const struct ndarray *a, const struct ndarray *b)
{
	return a->ndim == b->ndim && memcmp(a->shape, b->shape, a->ndim * sizeof(*a->shape)) == 0;
}

void ndarray_shape_text(size_t ndim, const size_t *shape, char *out, size_t size)
{
	struct buffer text = BUFFER_INIT;

	buffer_append_string(&text, "[");
	for (size_t i = 0; i < ndim; i++)
		buffer_appendf(&text, "%s%zu", i ? ", " : "", shape[i]);
	buffer_append_string(&text, "]");
	snprintf(out, size, "%s", (const char *)text.data);
	buffer_release(&text);
}

/* -- .npy --------------------------------------------------------------------------------------- */

static const uint8_t npy_magic[8] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
enum { NPY_PREFIX = 10 }; /* magic, version, u16 header length */

void npy_write(struct buffer *out, const struct ndarray *a)
{
	cleanup_buffer struct buffer header = BUFFER_INIT;
	size_t pad;

	assert(dtypes[a->dtype].npy);
	buffer_appendf(&header, "{'descr': '%s', 'fortran_order': False, 'shape': (",
		       dtypes[a->dtype].npy);
	for (size_t i = 0; i < a->ndim; i++)
		buffer_appendf(&header, "%zu%s", a->shape[i],
			       a->ndim == 1	 ? ","
			       : i + 1 < a->ndim ? ", "
						 : "");
	buffer_append_string(&header, "), }");
	pad = 63 - (NPY_PREFIX + header.size) % 64;
	for (size_t i = 0; i < pad; i++)
		buffer_put_u8(&header, ' ');
	buffer_put_u8(&header, '\n');

	buffer_append(out, npy_magic, sizeof(npy_magic));
	buffer_put_u16(out, (uint16_t)header.size);
	buffer_append(out, header.data, header.size);
	buffer_append(out, a->data, a->bytes);
}

static int npy_bad(struct error *err, const char *what)
{
	return error_data(err, "npy", "not a .npy file that can be read: %s", what);
}

/* Moves *p behind @word and the spaces after it. */
static bool skip_word(const char **p, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(*p, word, n) != 0)
		return false;
	*p += n;
	while (**p == ' ')
		(*p)++;
	return true;
}

static bool npy_parse_dtype(const char **p, enum dtype *dtype)
{
	for (size_t i = 0; i < ARRAY_SIZE(dtypes); i++) {
		char quoted[8];

		if (!dtypes[i].npy)
			continue;
		snprintf(quoted, sizeof(quoted), "'%s'", dtypes[i].npy);
		if (skip_word(p, quoted)) {
			*dtype = (enum dtype)i;
			return true;
		}
	}
	return false;
}

static bool npy_parse_shape(const char **p, size_t *ndim, size_t *shape)
{
	size_t n = 0;

	if (!skip_word(p, "("))
		return false;
	while (**p >= '0' && **p <= '9') {
		size_t value = 0;

		if (n == NDARRAY_MAX_DIMS)
			return false;
		for (; **p >= '0' && **p <= '9'; (*p)++) {
			if (!size_mul(value, 10, &value) ||
			    !size_add(value, (size_t)(**p - '0'), &value))
				return false;
		}
		shape[n++] = value;
		skip_word(p, "");
		if (!skip_word(p, ","))
			break;
	}
	*ndim = n;
	return skip_word(p, ")");
}

int npy_read(const uint8_t *bytes, size_t size, struct ndarray *out, struct error *err)
{
	cleanup_free char *header = NULL;
	size_t length, want, ndim = 0, shape[NDARRAY_MAX_DIMS] = {0};
	enum dtype dtype = DTYPE_F32;
	struct ndarray a = NDARRAY_INIT;
	const char *p;

	if (size < NPY_PREFIX || memcmp(bytes, npy_magic, sizeof(npy_magic)) != 0)
		return npy_bad(err, "wrong magic");
	length = get_u16le(bytes + 8);
	if (size - NPY_PREFIX < length)
		return npy_bad(err, "header cut off");
	header = xmalloc(length + 1);
	memcpy(header, bytes + NPY_PREFIX, length);
	header[length] = '\0';
	p = header;
	if (!skip_word(&p, "{") || !skip_word(&p, "'descr':") || !npy_parse_dtype(&p, &dtype))
		return npy_bad(err, "unknown element type");
	if (!skip_word(&p, ",") || !skip_word(&p, "'fortran_order':") || !skip_word(&p, "False"))
		return npy_bad(err, "not in C order");
	if (!skip_word(&p, ",") || !skip_word(&p, "'shape':") || !npy_parse_shape(&p, &ndim, shape))
		return npy_bad(err, "unreadable shape");
	if (!skip_word(&p, ",") || !skip_word(&p, "}") || strcmp(p, "\n") != 0 ||
	    p + 1 != header + length)
		return npy_bad(err, "more than the three keys");
	if (!ndarray_bytes(dtype, ndim, shape, &want) || want != size - NPY_PREFIX - length)
		return npy_bad(err, "shape and size do not agree");
	if (ndarray_alloc(&a, dtype, ndim, shape, err) < 0)
		return -1;
	memcpy(a.data, bytes + NPY_PREFIX + length, want);
	*out = a;
	return 0;
}

/*
 * Keys are a table of functions that read one value into a query. What is read is checked here and nowhere else, so a
 * query that passed can be computed with.
 */
#include "net/vae_wire.h"

#include "base/checked.h"
#include "base/half.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Of one axis; far beyond any image, so that products are judged elsewhere without surprises. */
enum { AXIS_MAX = 1 << 24 };

static const char *const posteriors[] = {
    [VAE_WIRE_MEAN] = "mean",
    [VAE_WIRE_MOMENTS] = "moments",
    [VAE_WIRE_DRAW] = "draw",
};

const char *vae_wire_posterior_name(enum vae_wire_posterior posterior)
{
	return posteriors[posterior];
}

bool vae_wire_dtype_parse(const char *name, enum dtype *out)
{
	static const enum dtype travelling[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_U8};

	for (size_t i = 0; i < ARRAY_SIZE(travelling); i++) {
		if (strcmp(name, dtype_name(travelling[i])) == 0) {
			*out = travelling[i];
			return true;
		}
	}
	return false;
}

/* Mantissa digits and exponent of "d.ddde[+-]xx" as Python writes them: plain from 1e-4 up to 1e16. */
static void python_style(const char *scientific, char out[VAE_WIRE_FLOAT_SIZE])
{
	char digits[24] = "";
	size_t n = 0;
	const char *at = scientific, *sign = "";
	int exponent;

	if (*at == '-') {
		sign = "-";
		at++;
	}
	for (; *at != 'e'; at++) {
		if (*at >= '0' && *at <= '9')
			digits[n++] = *at;
	}
	exponent = atoi(at + 1);
	if (exponent < -4 || exponent >= 16)
		snprintf(out, VAE_WIRE_FLOAT_SIZE, "%s%c%s%se%c%02d", sign, digits[0],
			 n > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
	else if (exponent < 0)
		snprintf(out, VAE_WIRE_FLOAT_SIZE, "%s0.%.*s%s", sign, -exponent - 1, "000",
			 digits);
	else if (n <= (size_t)exponent + 1)
		snprintf(out, VAE_WIRE_FLOAT_SIZE, "%s%s%.*s.0", sign, digits,
			 (int)((size_t)exponent + 1 - n), "0000000000000000");
	else
		snprintf(out, VAE_WIRE_FLOAT_SIZE, "%s%.*s.%s", sign, exponent + 1, digits,
			 digits + exponent + 1);
}

const char *vae_wire_float(double value, char out[VAE_WIRE_FLOAT_SIZE])
{
	char text[32] = "";

	for (int precision = 0; precision < 17; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision, value);
		if (strtod(text, NULL) == value)
			break;
	}
	python_style(text, out);
	return out;
}

/* ---- formatting ------------------------------------------------------------------------------------------------- */

static void put_text(struct buffer *out, size_t start, const char *key, const char *value)
{
	buffer_appendf(out, "%s%s=", out->size > start ? "&" : "", key);
	for (; *value; value++) {
		if (*value == '+')
			buffer_append_string(out, "%2B");
		else
			buffer_append(out, value, 1);
	}
}

void vae_wire_query_format(const struct vae_wire_query *query, struct buffer *out)
{
	size_t start = out->size;
	char number[VAE_WIRE_FLOAT_SIZE];

	if (query->has_scaling_factor)
		put_text(out, start, "scaling_factor",
			 vae_wire_float(query->scaling_factor, number));
	if (query->has_shift_factor)
		put_text(out, start, "shift_factor", vae_wire_float(query->shift_factor, number));
	for (size_t i = 0; i < query->ndim; i++) {
		snprintf(number, sizeof(number), "%zu", query->shape[i]);
		put_text(out, start, "shape", number);
	}
	if (query->has_dtype)
		put_text(out, start, "dtype", dtype_name(query->dtype));
	if (query->posterior != VAE_WIRE_UNSAID)
		put_text(out, start, "posterior", posteriors[query->posterior]);
	if (query->has_seed) {
		snprintf(number, sizeof(number), "%llu", (unsigned long long)query->seed);
		put_text(out, start, "seed", number);
	}
	if (query->signed_range)
		put_text(out, start, "range", "signed");
	if (query->has_reply)
		put_text(out, start, "reply", dtype_name(query->reply));
}

void vae_wire_shape_format(size_t ndim, const size_t *shape, struct buffer *out)
{
	for (size_t i = 0; i < ndim; i++)
		buffer_appendf(out, "%s%zu", i == 0 ? "[" : ",", shape[i]);
	buffer_append_string(out, "]");
}

/* ---- parsing ---------------------------------------------------------------------------------------------------- */

static int bad_value(const char *key, const char *value, const char *wanted, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	return error_data(err, "query", "%s=%s: %s is expected", key, text_quote(value, quoted),
			  wanted);
}

/* Digits alone, at most @max. */
static bool parse_digits(const char *text, uint64_t max, uint64_t *out)
{
	unsigned long long value;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || value > max)
		return false;
	*out = value;
	return true;
}

/* A finite decimal number, nothing around it. */
static int parse_factor(const char *key, const char *value, double *out, struct error *err)
{
	char *end = NULL;
	double number = 0;

	if (*value && strspn(value, "0123456789+-.eE") == strlen(value))
		number = strtod(value, &end);
	if (!end || *end != '\0' || !isfinite(number))
		return bad_value(key, value, "a finite number", err);
	*out = number;
	return 0;
}

static int put_scaling_factor(struct vae_wire_query *q, const char *value, struct error *err)
{
	if (parse_factor("scaling_factor", value, &q->scaling_factor, err) < 0)
		return -1;
	if (q->scaling_factor == 0)
		return bad_value("scaling_factor", value, "a number other than 0", err);
	q->has_scaling_factor = true;
	return 0;
}

static int put_shift_factor(struct vae_wire_query *q, const char *value, struct error *err)
{
	q->has_shift_factor = true;
	return parse_factor("shift_factor", value, &q->shift_factor, err);
}

static int put_shape(struct vae_wire_query *q, const char *value, struct error *err)
{
	uint64_t axis = 0;

	if (!parse_digits(value, AXIS_MAX, &axis) || axis == 0)
		return bad_value("shape", value,
				 "a positive integer for each axis, as shape=1&shape=3&...", err);
	if (q->ndim == NDARRAY_MAX_DIMS)
		return error_data(err, "query", "shape has more than %d axes", NDARRAY_MAX_DIMS);
	q->shape[q->ndim++] = (size_t)axis;
	return 0;
}

static int put_dtype(struct vae_wire_query *q, const char *value, struct error *err)
{
	if (!vae_wire_dtype_parse(value, &q->dtype))
		return bad_value("dtype", value, "float16, bfloat16, float32 or uint8", err);
	q->has_dtype = true;
	return 0;
}

static int put_reply(struct vae_wire_query *q, const char *value, struct error *err)
{
	if (!vae_wire_dtype_parse(value, &q->reply) || q->reply == DTYPE_U8)
		return bad_value("reply", value, "float16, bfloat16 or float32", err);
	q->has_reply = true;
	return 0;
}

static int put_posterior(struct vae_wire_query *q, const char *value, struct error *err)
{
	for (size_t i = VAE_WIRE_MEAN; i < ARRAY_SIZE(posteriors); i++) {
		if (strcmp(value, posteriors[i]) == 0) {
			q->posterior = (enum vae_wire_posterior)i;
			return 0;
		}
	}
	return bad_value("posterior", value, "mean, moments or draw", err);
}

static int put_seed(struct vae_wire_query *q, const char *value, struct error *err)
{
	if (!parse_digits(value, UINT64_MAX, &q->seed))
		return bad_value("seed", value, "an integer of at most 64 bits", err);
	q->has_seed = true;
	return 0;
}

static int put_range(struct vae_wire_query *q, const char *value, struct error *err)
{
	if (strcmp(value, "signed") != 0)
		return bad_value("range", value, "signed", err);
	q->signed_range = true;
	return 0;
}

static const struct {
	const char *name;
	int (*put)(struct vae_wire_query *q, const char *value, struct error *err);
	bool repeats;
} keys[] = {
    {"scaling_factor", put_scaling_factor, false},
    {"shift_factor", put_shift_factor, false},
    {"shape", put_shape, true},
    {"dtype", put_dtype, false},
    {"reply", put_reply, false},
    {"posterior", put_posterior, false},
    {"seed", put_seed, false},
    {"range", put_range, false},
};

int vae_wire_query_put(struct vae_wire_query *query, const char *key, const char *value,
		       struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(key, keys[i].name) != 0)
			continue;
		if (!keys[i].repeats && (query->seen >> i & 1u))
			return error_data(err, "query", "%s stands there twice", key);
		query->seen |= 1u << i;
		return keys[i].put(query, value, err);
	}
	if (query->unknown[0] == '\0')
		snprintf(query->unknown, sizeof(query->unknown), "%s", *key ? key : "(empty)");
	return 0;
}

int vae_wire_query_check(const struct vae_wire_query *query, struct error *err)
{
	if (query->ndim > 0 && !query->has_dtype)
		return error_data(err, "query", "a tensor of this shape needs its dtype too");
	if (query->ndim > 0 && (query->ndim != 4 || query->shape[1] != 3))
		return error_data(err, "query", "the shape of a tensor is [N,3,height,width]");
	if (query->ndim == 0 && query->has_dtype && query->dtype == DTYPE_U8)
		return error_data(err, "query", "dtype=uint8 needs the shape of the tensor");
	if (query->signed_range && (query->ndim == 0 || query->dtype == DTYPE_U8))
		return error_data(err, "query", "range=signed is about tensors of floats");
	if (query->has_seed &&
	    (query->posterior == VAE_WIRE_MEAN || query->posterior == VAE_WIRE_MOMENTS))
		return error_data(err, "query", "a seed is for draws: posterior=%s has none",
				  posteriors[query->posterior]);
	return 0;
}

/* @size bytes of a query, decoded as forms are; false on a broken escape or a NUL. */
static bool decode(const char *text, size_t size, struct buffer *out)
{
	cleanup_free char *copy = xmalloc(size + 1);

	memcpy(copy, text, size);
	copy[size] = '\0';
	for (char *c = copy; *c; c++) {
		if (*c == '+')
			*c = ' ';
	}
	buffer_reset(out);
	buffer_append(out, "", 0);
	return percent_decode(out, copy) && (out->size == 0 || !memchr(out->data, 0, out->size));
}

/* Always a string, also where nothing was appended. */
static const char *text_of(const struct buffer *b)
{
	return b->size > 0 ? (const char *)b->data : "";
}

static int parse_pair(struct vae_wire_query *q, const char *text, size_t size, struct error *err)
{
	cleanup_buffer struct buffer key = BUFFER_INIT, value = BUFFER_INIT;
	const char *equals = memchr(text, '=', size);
	size_t length = equals ? (size_t)(equals - text) : size;
	const char *rest = equals ? equals + 1 : text + size;

	if (!decode(text, length, &key) || !decode(rest, (size_t)(text + size - rest), &value))
		return error_data(err, "query", "the query has a broken %% escape");
	return vae_wire_query_put(q, text_of(&key), text_of(&value), err);
}

int vae_wire_query_parse(const char *text, struct vae_wire_query *out, struct error *err)
{
	struct vae_wire_query query = VAE_WIRE_QUERY_INIT;

	while (*text) {
		size_t size = strcspn(text, "&");

		if (size > 0 && parse_pair(&query, text, size, err) < 0)
			return -1;
		text += size;
		text += *text == '&';
	}
	if (vae_wire_query_check(&query, err) < 0)
		return -1;
	*out = query;
	return 0;
}

enum dtype vae_wire_reply_dtype(const struct vae_wire_query *query, enum dtype otherwise)
{
	if (query->has_reply)
		return query->reply;
	return query->has_dtype && query->dtype != DTYPE_U8 ? query->dtype : otherwise;
}

static const char *skip_spaces(const char *at)
{
	return at + strspn(at, " \t");
}

int vae_wire_shape_parse(const char *text, size_t *ndim, size_t shape[NDARRAY_MAX_DIMS],
			 struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE], digits[16];
	size_t found[NDARRAY_MAX_DIMS] = {0}, n = 0, length;
	const char *at = skip_spaces(text);
	uint64_t axis = 0;

	do {
		if (*at != (n == 0 ? '[' : ','))
			goto bad;
		at = skip_spaces(at + 1);
		length = strspn(at, "0123456789");
		if (n == NDARRAY_MAX_DIMS || length == 0 || length >= sizeof(digits))
			goto bad;
		memcpy(digits, at, length);
		digits[length] = '\0';
		if (!parse_digits(digits, AXIS_MAX, &axis) || axis == 0)
			goto bad;
		found[n++] = (size_t)axis;
		at = skip_spaces(at + length);
	} while (*at != ']');
	if (*skip_spaces(at + 1) != '\0')
		goto bad;
	*ndim = n;
	memcpy(shape, found, sizeof(found));
	return 0;
bad:
	return error_data(err, "reply", "shape %s is no list of sizes", text_quote(text, quoted));
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

/* Converted so many at a time, in memory that is aligned. */
enum { CHUNK = 512 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "arrays travel as they lie in memory");

static size_t count_not_finite(const float *in, size_t n)
{
	size_t bad = 0;

	for (size_t i = 0; i < n; i++)
		bad += !isfinite(in[i]);
	return bad;
}

size_t vae_wire_write(enum dtype dtype, const float *in, size_t n, struct buffer *out)
{
	uint16_t halves[CHUNK];
	size_t not_finite = 0;

	assert(dtype != DTYPE_U8);
	if (dtype == DTYPE_F32) {
		buffer_append(out, in, n * sizeof(*in));
		return count_not_finite(in, n);
	}
	for (size_t part; n > 0; in += part, n -= part) {
		part = n < CHUNK ? n : CHUNK;
		not_finite += dtype == DTYPE_F16 ? half_from_floats(halves, in, part)
						 : bfloat16_from_floats(halves, in, part);
		buffer_append(out, halves, part * sizeof(*halves));
	}
	return not_finite;
}

static void read_halves(enum dtype dtype, const uint8_t *bytes, size_t n, float *out)
{
	uint16_t halves[CHUNK];

	for (size_t part; n > 0; bytes += part * sizeof(*halves), out += part, n -= part) {
		part = n < CHUNK ? n : CHUNK;
		memcpy(halves, bytes, part * sizeof(*halves));
		if (dtype == DTYPE_F16)
			half_to_floats(out, halves, part);
		else
			bfloat16_to_floats(out, halves, part);
	}
}

void vae_wire_read(enum dtype dtype, const uint8_t *bytes, size_t n, float *out)
{
	if (dtype == DTYPE_F32) {
		memcpy(out, bytes, n * sizeof(*out));
	} else if (dtype == DTYPE_U8) {
		for (size_t i = 0; i < n; i++)
			out[i] = bytes[i];
	} else {
		read_halves(dtype, bytes, n, out);
	}
}

/* Numbers as they travel: floats as Python writes them, shapes, and tensors' values. */
#include "net/vae_wire.h"

#include "base/half.h"
#include "base/text.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- shapes ----------------------------------------------------------------------------------------------------- */

void vae_wire_shape_format(size_t ndim, const size_t *shape, struct buffer *out)
{
	for (size_t i = 0; i < ndim; i++)
		buffer_appendf(out, "%s%zu", i == 0 ? "[" : ",", shape[i]);
	buffer_append_string(out, "]");
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
	unsigned long axis;

	do {
		if (*at != (n == 0 ? '[' : ','))
			goto bad;
		at = skip_spaces(at + 1);
		length = strspn(at, "0123456789");
		if (n == NDARRAY_MAX_DIMS || length == 0 || length >= sizeof(digits))
			goto bad;
		memcpy(digits, at, length);
		digits[length] = '\0';
		axis = strtoul(digits, NULL, 10);
		if (axis == 0 || axis > VAE_WIRE_AXIS_MAX)
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

/*
 * Keys are a table of functions that read one value into a query. What is read is checked here and nowhere else, so a
 * query that passed can be computed with.
 */
#include "net/vae_wire.h"

#include "base/checked.h"
#include "base/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const posteriors[] = {
    [VAE_WIRE_MEAN] = "mean",
    [VAE_WIRE_MOMENTS] = "moments",
    [VAE_WIRE_DRAW] = "draw",
};

static const char *const outputs[] = {[VAE_WIRE_PIL] = "pil", [VAE_WIRE_PT] = "pt"};
static const char *const formats[] = {[VAE_WIRE_JPG] = "jpg", [VAE_WIRE_PNG] = "png"};

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

static void put_factors(const struct vae_wire_query *query, size_t start, struct buffer *out)
{
	char number[VAE_WIRE_FLOAT_SIZE];

	if (query->has_scaling_factor)
		put_text(out, start, "scaling_factor",
			 vae_wire_float(query->scaling_factor, number));
	if (query->has_shift_factor)
		put_text(out, start, "shift_factor", vae_wire_float(query->shift_factor, number));
}

static void put_size(const char *key, size_t size, size_t start, struct buffer *out)
{
	char number[24];

	snprintf(number, sizeof(number), "%zu", size);
	put_text(out, start, key, number);
}

static void put_tensor(const struct vae_wire_query *query, size_t start, struct buffer *out)
{
	for (size_t i = 0; i < query->ndim; i++)
		put_size("shape", query->shape[i], start, out);
	if (query->has_dtype)
		put_text(out, start, "dtype", dtype_name(query->dtype));
}

/* In the order of diffusers' remote_decode. */
static void format_decode(const struct vae_wire_query *query, size_t start, struct buffer *out)
{
	const struct vae_wire_decode *d = &query->decode;

	if (d->format != VAE_WIRE_FORMAT_UNSAID)
		put_text(out, start, "image_format", formats[d->format]);
	if (d->output != VAE_WIRE_OUTPUT_UNSAID)
		put_text(out, start, "output_type", outputs[d->output]);
	put_text(out, start, "partial_postprocess", d->partial_postprocess ? "True" : "False");
	put_tensor(query, start, out);
	put_factors(query, start, out);
	if (d->has_do_scaling)
		put_text(out, start, "do_scaling", d->do_scaling ? "True" : "False");
	if (d->height > 0 && d->width > 0) {
		put_size("height", d->height, start, out);
		put_size("width", d->width, start, out);
	}
}

void vae_wire_query_format(const struct vae_wire_query *query, struct buffer *out)
{
	size_t start = out->size;
	char number[24];

	if (query->decode.asked) {
		format_decode(query, start, out);
	} else {
		put_factors(query, start, out);
		put_tensor(query, start, out);
	}
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

	if (!parse_digits(value, VAE_WIRE_AXIS_MAX, &axis) || axis == 0)
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

/* One of @names, which begin at 1. */
static int put_word(const char *key, const char *value, const char *const *names, size_t n,
		    unsigned *out, const char *wanted, struct error *err)
{
	for (unsigned i = 1; i < n; i++) {
		if (strcmp(value, names[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	return bad_value(key, value, wanted, err);
}

static int put_output_type(struct vae_wire_query *q, const char *value, struct error *err)
{
	unsigned output = 0;

	q->decode.asked = true;
	if (put_word("output_type", value, outputs, ARRAY_SIZE(outputs), &output,
		     "pil or pt (there is no video here)", err) < 0)
		return -1;
	q->decode.output = (enum vae_wire_output)output;
	return 0;
}

static int put_image_format(struct vae_wire_query *q, const char *value, struct error *err)
{
	unsigned format = 0;

	q->decode.asked = true;
	if (put_word("image_format", value, formats, ARRAY_SIZE(formats), &format, "jpg or png",
		     err) < 0)
		return -1;
	q->decode.format = (enum vae_wire_format)format;
	return 0;
}

/* As Python and as JSON write them. */
static int parse_bool(const char *key, const char *value, bool *out, struct error *err)
{
	if (strcasecmp(value, "true") != 0 && strcasecmp(value, "false") != 0)
		return bad_value(key, value, "True or False", err);
	*out = strcasecmp(value, "true") == 0;
	return 0;
}

static int put_partial_postprocess(struct vae_wire_query *q, const char *value, struct error *err)
{
	q->decode.asked = true;
	return parse_bool("partial_postprocess", value, &q->decode.partial_postprocess, err);
}

static int put_do_scaling(struct vae_wire_query *q, const char *value, struct error *err)
{
	q->decode.asked = true;
	q->decode.has_do_scaling = true;
	return parse_bool("do_scaling", value, &q->decode.do_scaling, err);
}

static int parse_side(const char *key, const char *value, size_t *out, struct error *err)
{
	uint64_t side = 0;

	if (!parse_digits(value, VAE_WIRE_AXIS_MAX, &side) || side == 0)
		return bad_value(key, value, "pixels, a positive integer", err);
	*out = (size_t)side;
	return 0;
}

static int put_height(struct vae_wire_query *q, const char *value, struct error *err)
{
	q->decode.asked = true;
	return parse_side("height", value, &q->decode.height, err);
}

static int put_width(struct vae_wire_query *q, const char *value, struct error *err)
{
	q->decode.asked = true;
	return parse_side("width", value, &q->decode.width, err);
}

static int put_tensor_type(struct vae_wire_query *q, const char *value, struct error *err)
{
	q->decode.asked = true;
	if (strcmp(value, "binary") != 0)
		return bad_value("input_tensor_type and output_tensor_type", value, "binary", err);
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
    {"output_type", put_output_type, false},
    {"image_format", put_image_format, false},
    {"partial_postprocess", put_partial_postprocess, false},
    {"do_scaling", put_do_scaling, false},
    {"height", put_height, false},
    {"width", put_width, false},
    {"input_tensor_type", put_tensor_type, false},
    {"output_tensor_type", put_tensor_type, false},
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

static int check_decode(const struct vae_wire_query *q, struct error *err)
{
	const struct vae_wire_decode *d = &q->decode;

	if (q->ndim == 0 || !q->has_dtype)
		return error_data(err, "query", "a latent to be decoded needs its shape and dtype");
	if (q->dtype == DTYPE_U8)
		return error_data(err, "query", "a latent is float16, bfloat16 or float32");
	if (q->ndim != 3 && q->ndim != 4)
		return error_data(err, "query",
				  "the shape of a latent is [N,C,h,w], or packed "
				  "[N,tokens,4C]");
	if (q->ndim == 3 && (d->height == 0 || d->width == 0))
		return error_data(err, "query", "a packed latent needs height and width");
	if (q->posterior != VAE_WIRE_UNSAID || q->has_seed || q->signed_range)
		return error_data(err, "query",
				  "posterior, seed and range are of encodes, this is "
				  "a decode");
	if (d->has_do_scaling && !d->do_scaling && (q->has_scaling_factor || q->has_shift_factor))
		return error_data(err, "query",
				  "do_scaling=False and a scaling_factor or "
				  "shift_factor contradict each other");
	return 0;
}

int vae_wire_query_check(const struct vae_wire_query *query, struct error *err)
{
	if (query->decode.asked)
		return check_decode(query, err);
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

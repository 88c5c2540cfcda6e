#include "vae/tiny_weights.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"
#include "vae/pickle.h"
#include "vae/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct tiny_tensor {
	char *name; /* canonical: diffusers' */
	size_t ndim, shape[NDARRAY_MAX_DIMS];
	const struct safetensor *source;
	float *copy; /* for the hash */
};

struct tiny_weights {
	char *name;
	struct safetensors *file;
	enum vae_part part;
	const char *prefix; /* "decoder.layers." */
	size_t minus;	    /* what is subtracted from the numbers there */
	struct tiny_tensor *read;
	size_t n, capacity;
};

/* -- names --------------------------------------------------------------------------------------- */

/* What names begin with, and a tensor that only AutoencoderTiny has there. */
static const struct tiny_naming {
	enum vae_part part;
	const char *prefix, *probe;
	size_t minus;
} namings[] = {
    {VAE_ENCODER, "encoder.layers.", "encoder.layers.8.conv.0.weight", 0},
    {VAE_ENCODER, "encoder.", "encoder.8.conv.0.weight", 0},
    {VAE_DECODER, "decoder.layers.", "decoder.layers.2.conv.0.weight", 1},
    {VAE_DECODER, "decoder.", "decoder.3.conv.0.weight", 0},
    /* files of one part: at 18 an encoder has nothing, and at 5 only a decoder has a block */
    {VAE_DECODER, "", "18.conv.0.weight", 0},
    {VAE_ENCODER, "", "8.conv.0.weight", 0},
};

static const struct tiny_naming *find_naming(const struct safetensors *file, enum vae_part part)
{
	for (size_t i = 0; i < ARRAY_SIZE(namings); i++) {
		if (!safetensors_find(file, namings[i].probe))
			continue;
		if (namings[i].part == part)
			return &namings[i];
		if (!*namings[i].prefix)
			return NULL;
	}
	return NULL;
}

/* "3.conv.0.weight" as the file has it. */
static void in_file(const struct tiny_weights *w, const char *name, char out[TINY_NAME_SIZE])
{
	char *rest = NULL;
	unsigned long number = strtoul(name, &rest, 10);

	snprintf(out, TINY_NAME_SIZE, "%s%zu%s", w->prefix, (size_t)number - w->minus, rest);
}

static const struct safetensor *find(const struct tiny_weights *w, const char *name)
{
	char full[TINY_NAME_SIZE];

	in_file(w, name, full);
	return safetensors_find(w->file, full);
}

/* -- open and close ------------------------------------------------------------------------------ */

/* @file may be NULL: then *err is set. What is wrong with a model's file is wrong with what the user asked for. */
static struct tiny_weights *weights_new(struct safetensors *file, const char *name,
					enum vae_part part, struct error *err)
{
	const struct tiny_naming *naming = file ? find_naming(file, part) : NULL;
	struct tiny_weights *w;

	if (file && !naming)
		error_set(err, ERR_CONFIG, "%s: there is no %s of an AutoencoderTiny (TAESD) in it",
			  name, vae_part_name(part));
	if (!naming) {
		safetensors_close(file);
		if (err->code == ERR_DATA) {
			err->code = ERR_CONFIG;
			err->reason[0] = '\0';
		}
		return NULL;
	}
	w = xcalloc(1, sizeof(*w));
	w->file = file;
	w->name = xstrdup(name);
	w->part = part;
	w->prefix = naming->prefix;
	w->minus = naming->minus;
	return w;
}

struct tiny_weights *tiny_weights_open(const char *path, enum vae_part part, struct error *err)
{
	cleanup_free char *inside = xasprintf("%s/diffusion_pytorch_model.safetensors", path);
	char quoted[TEXT_QUOTE_SIZE];
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		path = inside;
	if (pickle_check(path, err) < 0)
		return NULL;
	return weights_new(safetensors_open(path, err), text_quote(path, quoted), part, err);
}

struct tiny_weights *tiny_weights_open_memory(const uint8_t *bytes, size_t size, enum vae_part part,
					      struct error *err)
{
	return weights_new(safetensors_open_memory(bytes, size, err), "memory", part, err);
}

void tiny_weights_close(struct tiny_weights *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n; i++) {
		free(w->read[i].name);
		free(w->read[i].copy);
	}
	free(w->read);
	safetensors_close(w->file);
	free(w->name);
	free(w);
}

bool tiny_weights_exist(const char *path)
{
	for (int part = VAE_ENCODER; part <= VAE_DECODER; part++) {
		struct error ignored = ERROR_INIT;
		struct tiny_weights *w = tiny_weights_open(path, (enum vae_part)part, &ignored);

		tiny_weights_close(w);
		if (w)
			return true;
	}
	return false;
}

const char *tiny_weights_name(const struct tiny_weights *w)
{
	return w->name;
}

const char *tiny_weights_prefix(const struct tiny_weights *w)
{
	return w->prefix;
}

bool tiny_weights_diffusers(const struct tiny_weights *w)
{
	return strstr(w->prefix, "layers.") != NULL;
}

size_t tiny_weights_tensors(const struct tiny_weights *w)
{
	return w->n;
}

size_t tiny_weights_parameters(const struct tiny_weights *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += w->read[i].source->count;
	return n;
}

const char *tiny_weights_dtype(const struct tiny_weights *w)
{
	for (size_t i = 1; i < w->n; i++) {
		if (w->read[i].source->dtype != w->read[0].source->dtype)
			return "mixed";
	}
	return w->n > 0 ? safetensors_dtype_name(w->read[0].source->dtype) : "none";
}

/* -- tensors ------------------------------------------------------------------------------------- */

bool tiny_weights_has(const struct tiny_weights *w, const char *name)
{
	return find(w, name) != NULL;
}

size_t tiny_weights_side(const struct tiny_weights *w, const char *name, size_t axis)
{
	const struct safetensor *t = find(w, name);

	return t && t->ndim == 4 ? t->shape[axis] : 0;
}

static char *canonical(const struct tiny_weights *w, const char *name)
{
	char *rest = NULL;
	size_t number = strtoul(name, &rest, 10) - (w->part == VAE_DECODER);

	return xasprintf("%s.layers.%zu%s", vae_part_name(w->part), number, rest);
}

static bool was_read(const struct tiny_weights *w, const struct safetensor *t)
{
	for (size_t i = 0; i < w->n; i++) {
		if (w->read[i].source == t)
			return true;
	}
	return false;
}

int tiny_weights_read(struct tiny_weights *w, const char *name, size_t ndim, const size_t *shape,
		      float **out, struct error *err)
{
	const struct safetensor *t = find(w, name);
	cleanup_free float *values = NULL;
	char have[96], want[96], full[TINY_NAME_SIZE];
	struct tiny_tensor *kept;

	in_file(w, name, full);
	if (!t)
		return error_set(err, ERR_CONFIG, "%s: tensor \"%s\" is missing", w->name, full);
	ndarray_shape_text(t->ndim, t->shape, have, sizeof(have));
	ndarray_shape_text(ndim, shape, want, sizeof(want));
	if (t->ndim != ndim || memcmp(t->shape, shape, ndim * sizeof(*shape)) != 0)
		return error_set(err, ERR_CONFIG, "%s: tensor \"%s\" has shape %s, expected %s",
				 w->name, full, have, want);
	if (t->dtype == ST_OTHER) /* whose count nothing bounds */
		return error_set(err, ERR_CONFIG, "%s: tensor \"%s\" is not F32, F16 or BF16",
				 w->name, full);
	values = xcalloc(t->count, sizeof(*values));
	if (safetensors_read_f32(w->file, t, values, err) < 0) {
		err->code = ERR_CONFIG;
		err->reason[0] = '\0';
		return -1;
	}
	if (was_read(w, t)) {
		*out = TAKE(values);
		return 0;
	}
	ARRAY_GROW(w->read, w->n, w->capacity);
	kept = &w->read[w->n++];
	*kept = (struct tiny_tensor){.name = canonical(w, name), .ndim = ndim, .source = t};
	memcpy(kept->shape, shape, ndim * sizeof(*shape));
	kept->copy = xcalloc(t->count, sizeof(float));
	memcpy(kept->copy, values, t->count * sizeof(float));
	*out = TAKE(values);
	return 0;
}

int tiny_weights_check_rest(const struct tiny_weights *w, struct error *err)
{
	size_t n = strlen(w->prefix);

	for (size_t i = 0; i < safetensors_count(w->file); i++) {
		const struct safetensor *t = safetensors_at(w->file, i);

		if (strncmp(t->name, w->prefix, n) == 0 && !was_read(w, t))
			return error_set(err, ERR_CONFIG,
					 "%s: tensor \"%s\" has no place in an AutoencoderTiny",
					 w->name, t->name);
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct tiny_tensor *)a)->name, ((const struct tiny_tensor *)b)->name);
}

void tiny_weights_hash(struct tiny_weights *w, struct sha256 *out)
{
	cleanup_sha256_stream struct sha256_stream *hash = sha256_stream_new();

	if (w->n > 0)
		qsort(w->read, w->n, sizeof(*w->read), by_name);
	for (size_t i = 0; i < w->n; i++) {
		cleanup_buffer struct buffer head = BUFFER_INIT;
		const struct tiny_tensor *t = &w->read[i];

		buffer_append(&head, t->name, strlen(t->name) + 1);
		for (size_t d = 0; d < t->ndim; d++)
			buffer_put_u64(&head, t->shape[d]);
		sha256_stream_update(hash, head.data, head.size);
		sha256_stream_update(hash, t->copy, t->source->count * sizeof(float));
	}
	*out = sha256_stream_value(hash);
}

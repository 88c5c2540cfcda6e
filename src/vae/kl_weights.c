#include "vae/kl_weights.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "vae/pickle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_TENSOR "encoder.conv_in.weight"

/* A tensor that was read: canonical name and shape, and where it is. */
struct kl_tensor {
	char *name;
	size_t ndim;
	size_t shape[NDARRAY_MAX_DIMS];
	const struct safetensor *source;
};

struct kl_weights {
	char *name; /* of the file, quoted, for messages */
	char *prefix;
	struct safetensors *file;
	enum vae_naming naming;
	size_t up_blocks; /* of an LDM decoder; 0: there is none */
	struct kl_tensor *read;
	size_t n_read, capacity;
};

/* What is wrong with a model's file is wrong with what the user asked for. */
static void as_config(struct error *err)
{
	if (err->code == ERR_DATA) {
		err->code = ERR_CONFIG;
		err->reason[0] = '\0';
	}
}

/* -- the prefix ---------------------------------------------------------------------------------- */

/* Length of what stands before @last, a whole part of @name at its end; -1 where it does not end so. */
static long length_before(const char *name, const char *last)
{
	size_t length = strlen(name), n = strlen(last);

	if (length < n || strcmp(name + length - n, last) != 0 ||
	    (length > n && name[length - n - 1] != '.'))
		return -1;
	return (long)(length - n);
}

/* The best known first; ARRAY_SIZE for all others. */
static size_t prefix_rank(const char *name, size_t length)
{
	static const char *const known[] = {"vae.", "first_stage_model.", ""};
	size_t i = 0;

	while (i < ARRAY_SIZE(known) &&
	       (strlen(known[i]) != length || memcmp(known[i], name, length) != 0))
		i++;
	return i;
}

/* Other files that people have, by how a tensor's name ends. */
static const char *what_else(const struct safetensors *file)
{
	static const struct {
		const char *last, *what;
	} others[] = {
	    {"encoder.layers.0.weight", "an AutoencoderTiny (TAESD)"},
	    {"1.conv.0.weight", "an AutoencoderTiny (TAESD)"},
	    {"decoder.middle.0.residual.0.gamma",
	     "a Wan or Qwen-Image VAE, which is not supported"},
	    {"encoder.conv_in.conv.weight", "a video VAE, which is not supported"},
	    {"decoder.conv_in.weight", "only a VAE's decoder"},
	};

	for (size_t k = 0; k < ARRAY_SIZE(others); k++) {
		for (size_t i = 0; i < safetensors_count(file); i++) {
			if (length_before(safetensors_at(file, i)->name, others[k].last) >= 0)
				return others[k].what;
		}
	}
	return "no VAE";
}

static int find_prefix(struct kl_weights *weights, struct error *err)
{
	const char *best = NULL;
	size_t best_rank = SIZE_MAX, n_best = 0;

	for (size_t i = 0; i < safetensors_count(weights->file); i++) {
		const char *name = safetensors_at(weights->file, i)->name;
		long length = length_before(name, FIRST_TENSOR);
		size_t rank = length < 0 ? SIZE_MAX : prefix_rank(name, (size_t)length);

		if (rank < best_rank) {
			best = name;
			best_rank = rank;
			n_best = 0;
		}
		n_best += length >= 0 && rank == best_rank;
	}
	if (!best)
		return error_set(err, ERR_CONFIG,
				 "%s: this is %s: there is no tensor \"" FIRST_TENSOR "\"",
				 weights->name, what_else(weights->file));
	if (n_best > 1)
		return error_set(err, ERR_CONFIG, "%s: there are %zu encoders in this file",
				 weights->name, n_best);
	weights->prefix = xasprintf("%.*s", (int)length_before(best, FIRST_TENSOR), best);
	return 0;
}

/* How many blocks a decoder with LDM's names has. */
static size_t count_up_blocks(const struct kl_weights *weights)
{
	cleanup_free char *first = xasprintf("%sdecoder.up.", weights->prefix);
	size_t blocks = 0, n = strlen(first);

	for (size_t i = 0; i < safetensors_count(weights->file); i++) {
		const char *name = safetensors_at(weights->file, i)->name;
		size_t index = 0;

		if (strncmp(name, first, n) != 0 || strspn(name + n, "0123456789") != 1)
			continue;
		index = (size_t)(name[n] - '0');
		blocks = index + 1 > blocks ? index + 1 : blocks;
	}
	return blocks;
}

/* -- open and close ------------------------------------------------------------------------------ */

static struct kl_weights *weights_new(struct safetensors *file, const char *name, struct error *err)
{
	struct kl_weights *weights;

	if (!file) {
		as_config(err);
		return NULL;
	}
	weights = xcalloc(1, sizeof(*weights));
	weights->file = file;
	weights->name = xstrdup(name);
	if (find_prefix(weights, err) < 0) {
		kl_weights_close(weights);
		return NULL;
	}
	weights->up_blocks = count_up_blocks(weights);
	return weights;
}

struct kl_weights *kl_weights_open(const char *path, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (pickle_check(path, err) < 0)
		return NULL;
	return weights_new(safetensors_open(path, err), text_quote(path, quoted), err);
}

struct kl_weights *kl_weights_open_memory(const uint8_t *bytes, size_t size, struct error *err)
{
	return weights_new(safetensors_open_memory(bytes, size, err), "memory", err);
}

void kl_weights_close(struct kl_weights *weights)
{
	if (!weights)
		return;
	for (size_t i = 0; i < weights->n_read; i++)
		free(weights->read[i].name);
	free(weights->read);
	safetensors_close(weights->file);
	free(weights->prefix);
	free(weights->name);
	free(weights);
}

/* -- what is known of them ----------------------------------------------------------------------- */

const char *kl_weights_name(const struct kl_weights *weights)
{
	return weights->name;
}

const char *kl_weights_prefix(const struct kl_weights *weights)
{
	return weights->prefix;
}

enum vae_naming kl_weights_naming(const struct kl_weights *weights)
{
	return weights->naming;
}

size_t kl_weights_tensors(const struct kl_weights *weights)
{
	return weights->n_read;
}

size_t kl_weights_parameters(const struct kl_weights *weights)
{
	size_t n = 0;

	for (size_t i = 0; i < weights->n_read; i++)
		n += weights->read[i].source->count;
	return n;
}

const char *kl_weights_dtype(const struct kl_weights *weights)
{
	for (size_t i = 1; i < weights->n_read; i++) {
		if (weights->read[i].source->dtype != weights->read[0].source->dtype)
			return "mixed";
	}
	return weights->n_read > 0 ? safetensors_dtype_name(weights->read[0].source->dtype)
				   : "none";
}

/* -- tensors by name ----------------------------------------------------------------------------- */

static const struct safetensor *find_prefixed(const struct kl_weights *weights, const char *name)
{
	cleanup_free char *full = xasprintf("%s%s", weights->prefix, name);

	return safetensors_find(weights->file, full);
}

/* A tensor beside the encoder's: in checkpoints some have its prefix, some none. */
static const struct safetensor *find_beside(const struct kl_weights *weights, const char *name)
{
	const struct safetensor *t = find_prefixed(weights, name);

	return t ? t : safetensors_find(weights->file, name);
}

bool kl_weights_has(const struct kl_weights *weights, const char *name)
{
	return find_beside(weights, name) != NULL;
}

/* How many of its names the file has; *out is the last of them. */
static size_t find_named(struct kl_weights *weights, const char *canonical,
			 const struct safetensor **out)
{
	size_t n = 0;

	for (int i = 0; i < VAE_NAMINGS; i++) {
		const struct safetensor *t = NULL;
		char name[VAE_NAME_SIZE];

		if (i == VAE_NAMING_DIFFUSERS)
			t = find_prefixed(weights, canonical);
		else if (vae_name_in((enum vae_naming)i, canonical, weights->up_blocks, name))
			t = find_prefixed(weights, name);
		if (!t)
			continue;
		*out = t;
		if ((enum vae_naming)i > weights->naming)
			weights->naming = (enum vae_naming)i;
		n++;
	}
	return n;
}

const struct safetensor *kl_weights_find(struct kl_weights *weights, const char *name)
{
	const struct safetensor *t = NULL;

	find_named(weights, name, &t);
	return t;
}

static int find_one(struct kl_weights *weights, const char *name, const struct safetensor **out,
		    struct error *err)
{
	size_t n = find_named(weights, name, out);

	if (n == 0)
		return error_set(err, ERR_CONFIG, "%s: tensor \"%s%s\" is missing", weights->name,
				 weights->prefix, name);
	if (n > 1)
		return error_set(err, ERR_CONFIG, "%s: tensor \"%s%s\" is there under %zu names",
				 weights->name, weights->prefix, name, n);
	return 0;
}

static bool same_shape(const struct safetensor *t, size_t ndim, const size_t *shape)
{
	size_t have = t->ndim;

	while (have > ndim && t->shape[have - 1] == 1)
		have--;
	return have == ndim && memcmp(t->shape, shape, ndim * sizeof(*shape)) == 0;
}

static int check_shape(const struct kl_weights *weights, const struct safetensor *t, size_t ndim,
		       const size_t *shape, struct error *err)
{
	char have[96], want[96];

	if (same_shape(t, ndim, shape))
		return 0;
	ndarray_shape_text(t->ndim, t->shape, have, sizeof(have));
	ndarray_shape_text(ndim, shape, want, sizeof(want));
	return error_set(err, ERR_CONFIG, "%s: tensor \"%s\" has shape %s, the config gives %s",
			 weights->name, t->name, have, want);
}

/* The values of @t, to be freed; NULL on failure. */
static float *read_values(struct kl_weights *weights, const struct safetensor *t, struct error *err)
{
	cleanup_free float *values = malloc(t->count * sizeof(float) + 1);

	if (!values) {
		error_set(err, ERR_NOMEM, "%s: no memory for tensor \"%s\"", weights->name,
			  t->name);
		return NULL;
	}
	if (safetensors_read_f32(weights->file, t, values, err) < 0) {
		as_config(err);
		return NULL;
	}
	return TAKE(values);
}

int kl_weights_read(struct kl_weights *weights, const char *name, size_t ndim, const size_t *shape,
		    float **out, struct error *err)
{
	const struct safetensor *t = NULL;
	struct kl_tensor *kept;
	float *values;

	assert(ndim <= NDARRAY_MAX_DIMS);
	if (find_one(weights, name, &t, err) < 0 || check_shape(weights, t, ndim, shape, err) < 0)
		return -1;
	values = read_values(weights, t, err);
	if (!values)
		return -1;
	ARRAY_GROW(weights->read, weights->n_read, weights->capacity);
	kept = &weights->read[weights->n_read++];
	*kept = (struct kl_tensor){.name = xstrdup(name), .ndim = ndim, .source = t};
	memcpy(kept->shape, shape, ndim * sizeof(*shape));
	*out = values;
	return 0;
}

int kl_weights_read_vector(struct kl_weights *weights, const char *name, size_t n, double *out,
			   struct error *err)
{
	const struct safetensor *t = find_beside(weights, name);
	cleanup_free float *values = NULL;

	if (!t)
		return error_set(err, ERR_CONFIG, "%s: tensor \"%s\" is missing", weights->name,
				 name);
	if (t->count != n)
		return error_set(err, ERR_CONFIG, "%s: tensor \"%s\" has %zu values, expected %zu",
				 weights->name, t->name, t->count, n);
	values = read_values(weights, t, err);
	if (!values)
		return -1;
	for (size_t i = 0; i < n; i++)
		out[i] = (double)values[i];
	return 0;
}

/* -- the whole of them --------------------------------------------------------------------------- */

/* Whether @name, without prefix, is a tensor of @part, under whatever naming. */
static bool belongs(enum vae_part part, const char *name)
{
	static const char *const begins[][2] = {[VAE_ENCODER] = {"encoder.", "quant_conv."},
						[VAE_DECODER] = {"decoder.", "post_quant_conv."}};

	for (size_t i = 0; i < 2; i++) {
		if (strncmp(name, begins[part][i], strlen(begins[part][i])) == 0)
			return true;
	}
	return false;
}

static bool was_read(const struct kl_weights *weights, const struct safetensor *t)
{
	for (size_t i = 0; i < weights->n_read; i++) {
		if (weights->read[i].source == t)
			return true;
	}
	return false;
}

int kl_weights_check_rest(const struct kl_weights *weights, enum vae_part part, struct error *err)
{
	size_t n = strlen(weights->prefix);

	for (size_t i = 0; i < safetensors_count(weights->file); i++) {
		const struct safetensor *t = safetensors_at(weights->file, i);

		if (strncmp(t->name, weights->prefix, n) == 0 && belongs(part, t->name + n) &&
		    !was_read(weights, t))
			return error_set(err, ERR_CONFIG,
					 "%s: tensor \"%s\" has no place in the network that the "
					 "config describes",
					 weights->name, t->name);
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct kl_tensor *s = a, *t = b;

	return strcmp(s->name, t->name);
}

static int hash_tensor(struct kl_weights *weights, const struct kl_tensor *t,
		       struct sha256_stream *hash, struct error *err)
{
	cleanup_buffer struct buffer head = BUFFER_INIT;
	cleanup_free float *values = read_values(weights, t->source, err);

	if (!values)
		return -1;
	buffer_append(&head, t->name, strlen(t->name) + 1);
	for (size_t i = 0; i < t->ndim; i++)
		buffer_put_u64(&head, t->shape[i]);
	sha256_stream_update(hash, head.data, head.size);
	sha256_stream_update(hash, values, t->source->count * sizeof(float));
	return 0;
}

int kl_weights_hash(struct kl_weights *weights, enum vae_part part, struct sha256 *out,
		    struct error *err)
{
	cleanup_sha256_stream struct sha256_stream *hash = sha256_stream_new();

	qsort(weights->read, weights->n_read, sizeof(*weights->read), by_name);
	for (size_t i = 0; i < weights->n_read; i++) {
		if (belongs(part, weights->read[i].name) &&
		    hash_tensor(weights, &weights->read[i], hash, err) < 0)
			return -1;
	}
	*out = sha256_stream_value(hash);
	return 0;
}

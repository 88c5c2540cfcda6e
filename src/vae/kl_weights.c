#include "vae/kl_weights.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"
#include "vae/safetensors.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A tensor that was read: canonical name and shape, and where it is. */
struct kl_tensor {
	char *name;
	size_t ndim;
	size_t shape[NDARRAY_MAX_DIMS];
	const struct safetensor *source;
};

struct kl_weights {
	char *path; /* quoted, for messages */
	struct safetensors *file;
	struct kl_tensor *read;
	size_t n_read, capacity;
};

static const char *const file_names[] = {
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
};

/* diffusers before 0.17 named the attention layers so; sd-vae-ft-mse and SD 1.x files still do. */
static const struct {
	const char *canonical, *old;
} attention_names[] = {
    {".to_q.", ".query."},
    {".to_k.", ".key."},
    {".to_v.", ".value."},
    {".to_out.0.", ".proj_attn."},
};

/* What is wrong with a model's file is wrong with what the user asked for. */
static void as_config(struct error *err)
{
	if (err->code == ERR_DATA) {
		err->code = ERR_CONFIG;
		err->reason[0] = '\0';
	}
}

struct kl_weights *kl_weights_open(const char *folder, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(file_names); i++) {
		cleanup_free char *path = xasprintf("%s/%s", folder, file_names[i]);
		struct safetensors *file;
		struct kl_weights *weights;

		if (!file_exists(path))
			continue;
		file = safetensors_open(path, err);
		if (!file) {
			as_config(err);
			return NULL;
		}
		weights = xcalloc(1, sizeof(*weights));
		weights->file = file;
		weights->path = xstrdup(text_quote(path, quoted));
		return weights;
	}
	error_set(err, ERR_CONFIG, "%s: no %s in this folder", text_quote(folder, quoted),
		  file_names[0]);
	return NULL;
}

void kl_weights_close(struct kl_weights *weights)
{
	if (!weights)
		return;
	for (size_t i = 0; i < weights->n_read; i++)
		free(weights->read[i].name);
	free(weights->read);
	safetensors_close(weights->file);
	free(weights->path);
	free(weights);
}

static const struct safetensor *find_by_old_name(const struct kl_weights *weights, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(attention_names); i++) {
		const char *at = strstr(name, attention_names[i].canonical);
		cleanup_free char *old = NULL;

		if (!at)
			continue;
		old = xasprintf("%.*s%s%s", (int)(at - name), name, attention_names[i].old,
				at + strlen(attention_names[i].canonical));
		return safetensors_find(weights->file, old);
	}
	return NULL;
}

static bool same_shape(const struct safetensor *t, size_t ndim, const size_t *shape)
{
	size_t have = t->ndim;

	while (have > ndim && t->shape[have - 1] == 1)
		have--;
	return have == ndim && memcmp(t->shape, shape, ndim * sizeof(*shape)) == 0;
}

static int wrong_shape(const struct kl_weights *weights, const struct safetensor *t, size_t ndim,
		       const size_t *shape, struct error *err)
{
	char have[96], want[96];

	ndarray_shape_text(t->ndim, t->shape, have, sizeof(have));
	ndarray_shape_text(ndim, shape, want, sizeof(want));
	return error_set(err, ERR_CONFIG, "%s: tensor \"%s\" has shape %s, the config gives %s",
			 weights->path, t->name, have, want);
}

int kl_weights_read(struct kl_weights *weights, const char *name, size_t ndim, const size_t *shape,
		    float **out, struct error *err)
{
	const struct safetensor *t = safetensors_find(weights->file, name);
	cleanup_free float *values = NULL;
	struct kl_tensor *kept;

	assert(ndim <= NDARRAY_MAX_DIMS);
	if (!t)
		t = find_by_old_name(weights, name);
	if (!t)
		return error_set(err, ERR_CONFIG, "%s: tensor \"%s\" is missing", weights->path,
				 name);
	if (!same_shape(t, ndim, shape))
		return wrong_shape(weights, t, ndim, shape, err);
	values = malloc(t->count * sizeof(float) + 1);
	if (!values)
		return error_set(err, ERR_NOMEM, "%s: no memory for tensor \"%s\"", weights->path,
				 name);
	if (safetensors_read_f32(weights->file, t, values, err) < 0) {
		as_config(err);
		return -1;
	}
	ARRAY_GROW(weights->read, weights->n_read, weights->capacity);
	kept = &weights->read[weights->n_read++];
	*kept = (struct kl_tensor){.name = xstrdup(name), .ndim = ndim, .source = t};
	memcpy(kept->shape, shape, ndim * sizeof(*shape));
	*out = TAKE(values);
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
	size_t bytes = t->source->count * sizeof(float);
	cleanup_buffer struct buffer head = BUFFER_INIT;
	cleanup_free float *values = malloc(bytes + 1);

	if (!values)
		return error_set(err, ERR_NOMEM, "%s: no memory for tensor \"%s\"", weights->path,
				 t->name);
	if (safetensors_read_f32(weights->file, t->source, values, err) < 0) {
		as_config(err);
		return -1;
	}
	buffer_append(&head, t->name, strlen(t->name) + 1);
	for (size_t i = 0; i < t->ndim; i++)
		buffer_put_u64(&head, t->shape[i]);
	sha256_stream_update(hash, head.data, head.size);
	sha256_stream_update(hash, values, bytes);
	return 0;
}

int kl_weights_hash(struct kl_weights *weights, struct sha256 *out, struct error *err)
{
	cleanup_sha256_stream struct sha256_stream *hash = sha256_stream_new();

	qsort(weights->read, weights->n_read, sizeof(*weights->read), by_name);
	for (size_t i = 0; i < weights->n_read; i++) {
		if (hash_tensor(weights, &weights->read[i], hash, err) < 0)
			return -1;
	}
	*out = sha256_stream_value(hash);
	return 0;
}

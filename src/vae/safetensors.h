/*
 * Reads .safetensors files: u64 header length, JSON header, tensor data. Every offset, length, shape
 * and product is checked against the file's size when it is opened; nothing is mapped.
 *
 *	struct safetensors *file = safetensors_open("vae/diffusion_pytorch_model.safetensors", err);
 *	const struct safetensor *t = safetensors_find(file, "encoder.conv_in.weight");
 *	safetensors_read_f32(file, t, weights, err);
 *	safetensors_close(file);
 *
 * dtypes that can be read as float: F32, F16, BF16. Others (I64 counters and the like) are listed and
 * can be skipped. Errors are ERR_DATA `safetensors` with the file and the tensor's name in the message;
 * ERR_DATA `truncated` where a file became shorter after it was opened; ERR_IO where the system failed.
 */
#ifndef LATENTD_VAE_SAFETENSORS_H
#define LATENTD_VAE_SAFETENSORS_H

#include "base/ndarray.h"

enum safetensors_dtype { ST_F32, ST_F16, ST_BF16, ST_OTHER };

/* "F32"; of ST_OTHER "other". */
const char *safetensors_dtype_name(enum safetensors_dtype dtype);

struct safetensor {
	char *name;
	enum safetensors_dtype dtype;
	size_t ndim;
	size_t shape[NDARRAY_MAX_DIMS];
	size_t count;  /* product(shape) */
	size_t offset; /* of its first byte in the file */
	size_t bytes;
};

struct safetensors;

struct safetensors *safetensors_open(const char *path, struct error *err);
/* The same over bytes in memory, which must outlive it: for tests and fuzzing. */
struct safetensors *safetensors_open_memory(const uint8_t *bytes, size_t size, struct error *err);
void safetensors_close(struct safetensors *file);

size_t safetensors_count(const struct safetensors *file);
const struct safetensor *safetensors_at(const struct safetensors *file, size_t index);
/* NULL if there is none of that name. */
const struct safetensor *safetensors_find(const struct safetensors *file, const char *name);

/* Converts to float32 into @out, t->count values. */
int safetensors_read_f32(struct safetensors *file, const struct safetensor *t, float *out,
			 struct error *err);

struct json_t;

struct safetensors_entry {
	const char *name;
	const struct ndarray *array; /* F32, F16 or BF16 */
};
/* Appends a file's bytes. @metadata: an object of strings, or NULL. ERR_BUG: a name is not UTF-8. */
int safetensors_encode(const struct safetensors_entry *entries, size_t n,
		       const struct json_t *metadata, struct buffer *out, struct error *err);
/* Writes a file without metadata, atomically. */
int safetensors_write(const char *path, const struct safetensors_entry *entries, size_t n,
		      struct error *err);

#endif

/*
 * The tensors of one part of an AutoencoderTiny, by their numbers in the original networks ("3.conv.0.weight"), whatever
 * stands before them in the file.
 */
#ifndef LATENTD_VAE_TINY_WEIGHTS_H
#define LATENTD_VAE_TINY_WEIGHTS_H

#include "base/error.h"
#include "base/hash.h"
#include "vae/vae_config.h"

#include <stdint.h>

#define TINY_NAME_SIZE 96

struct tiny_weights;

/* Whether the file or folder has a part of one, by the names of its tensors; nothing is said where it has not. */
bool tiny_weights_exist(const char *path);

/* ERR_CONFIG: no such file, a pickle, not .safetensors, or without that part of an AutoencoderTiny. */
struct tiny_weights *tiny_weights_open(const char *path, enum vae_part part, struct error *err);
/* The same over bytes in memory, which must outlive it: for tests and fuzzing. */
struct tiny_weights *tiny_weights_open_memory(const uint8_t *bytes, size_t size, enum vae_part part,
					      struct error *err);
void tiny_weights_close(struct tiny_weights *weights);

/* The file's name, quoted, for messages. */
const char *tiny_weights_name(const struct tiny_weights *weights);
/* What its names have before a number: "encoder.layers."; and whether that is diffusers' way. */
const char *tiny_weights_prefix(const struct tiny_weights *weights);
bool tiny_weights_diffusers(const struct tiny_weights *weights);
/* Of what was read so far: tensors, parameters, and the dtype in the file ("F32", or "mixed"). */
size_t tiny_weights_tensors(const struct tiny_weights *weights);
size_t tiny_weights_parameters(const struct tiny_weights *weights);
const char *tiny_weights_dtype(const struct tiny_weights *weights);
bool tiny_weights_has(const struct tiny_weights *weights, const char *name);
/* Dimension @axis of a tensor, 0 where there is none. */
size_t tiny_weights_side(const struct tiny_weights *weights, const char *name, size_t axis);
/* Its values, to be freed. ERR_CONFIG: missing, or of another shape. */
int tiny_weights_read(struct tiny_weights *weights, const char *name, size_t ndim,
		      const size_t *shape, float **out, struct error *err);
/* ERR_CONFIG where the part has a tensor that was not read. */
int tiny_weights_check_rest(const struct tiny_weights *weights, struct error *err);
/* Over all that was read, as tiny_vae.h says. */
void tiny_weights_hash(struct tiny_weights *weights, struct sha256 *out);

#endif

/*
 * A VAE's tensors in a .safetensors file, by canonical name and expected shape, whatever they are called
 * there (vae_names.h) and whatever prefix they have ("first_stage_model.", "vae."). Only what is read is touched: a
 * checkpoint of many gigabytes costs its header. What was read is remembered, so that the hash of the weights
 * covers exactly what is computed with.
 *
 *	struct kl_weights *w = kl_weights_open(path, err);
 *	kl_weights_read(w, "encoder.conv_in.weight", 4, shape, &values, err) ...     every tensor, once
 *	kl_weights_check_rest(w, VAE_ENCODER, err);
 *	kl_weights_hash(w, VAE_ENCODER, &hash, err);
 *	kl_weights_close(w);
 */
#ifndef LATENTD_VAE_KL_WEIGHTS_H
#define LATENTD_VAE_KL_WEIGHTS_H

#include "base/error.h"
#include "base/hash.h"
#include "vae/safetensors.h"
#include "vae/vae_config.h"
#include "vae/vae_names.h"

struct kl_weights;

/*
 * ERR_CONFIG: not a .safetensors file (a pickle and its remedy are named), or without an encoder; of several
 * prefixes "vae." counts before "first_stage_model.", that before none, and others only where there is one.
 */
struct kl_weights *kl_weights_open(const char *path, struct error *err);
/* The same over bytes in memory, which must outlive it: for tests and fuzzing. */
struct kl_weights *kl_weights_open_memory(const uint8_t *bytes, size_t size, struct error *err);
void kl_weights_close(struct kl_weights *weights);

/* The file's name, quoted, for messages. */
const char *kl_weights_name(const struct kl_weights *weights);
/* "" where the names have none. */
const char *kl_weights_prefix(const struct kl_weights *weights);
/* The furthest from the canonical one that a tensor was found under so far. */
enum vae_naming kl_weights_naming(const struct kl_weights *weights);
/* Of what was read so far: tensors, parameters, and the dtype in the file ("F32", or "mixed"). */
size_t kl_weights_tensors(const struct kl_weights *weights);
size_t kl_weights_parameters(const struct kl_weights *weights);
const char *kl_weights_dtype(const struct kl_weights *weights);

/* A tensor of the file by its canonical name; NULL: there is none. */
const struct safetensor *kl_weights_find(struct kl_weights *weights, const char *name);
/* Whether the file has a tensor of exactly this name, with the encoder's prefix or without. */
bool kl_weights_has(const struct kl_weights *weights, const char *name);

/*
 * Values of the tensor @name, to be freed. Trailing dimensions of 1 beyond @ndim are understood. ERR_CONFIG:
 * missing, under two names at once, or of another shape.
 */
int kl_weights_read(struct kl_weights *weights, const char *name, size_t ndim, const size_t *shape,
		    float **out, struct error *err);
/*
 * The @n values of a tensor beside the encoder (statistics of latents), as kl_weights_has() finds it; it does not
 * count as one of its weights. ERR_CONFIG: missing, or another number of values.
 */
int kl_weights_read_vector(struct kl_weights *weights, const char *name, size_t n, double *out,
			   struct error *err);

/* ERR_CONFIG where @part has a tensor that was not read: then the config is not of these weights. */
int kl_weights_check_rest(const struct kl_weights *weights, enum vae_part part, struct error *err);

/* As kl_encoder_weights_hash() says, over what was read of @part so far; reads it again. */
int kl_weights_hash(struct kl_weights *weights, enum vae_part part, struct sha256 *out,
		    struct error *err);

#endif

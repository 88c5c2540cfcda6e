/*
 * What the tests of the VAE share: golden tensors, models that are broken on purpose, weights from a
 * formula.
 */
#ifndef LATENTD_TESTS_KL_TESTING_H
#define LATENTD_TESTS_KL_TESTING_H

#include "base/ndarray.h"
#include "tests/golden/vae_testing.h"
#include "vae/safetensors.h"

/* A tensor as float32; fails the test where there is none. */
struct ndarray kl_testing_tensor(struct safetensors *file, const char *name);
/* "FOLDER/expected.safetensors" and the like; fails the test. */
struct safetensors *kl_testing_open(const char *folder, const char *name);

/* Image @n of [N][c][h][w] as [h][w][c], to be freed. */
float *kl_testing_nhwc(const struct ndarray *images, size_t n);

/* Largest difference; infinite where a value is NaN. */
double kl_testing_max_abs(const float *a, const float *b, size_t n);

/* A copy of the golden model @name (config and weights) in a new temporary folder. */
char *kl_testing_copy_model(const char *name);
/* The same without the tensors that have @part in their name, and with the config of @config_of. */
char *kl_testing_copy_without(const char *name, const char *part, const char *config_of);
/* Replaces the first @from in FOLDER/FILE by @to, of the same length unless FILE is the config. */
void kl_testing_edit(const char *folder, const char *file, const char *from, const char *to);

/* Weights of the encoder of FOLDER/config.json by goldens/formula_weights.py, written to FOLDER. */
void kl_testing_formula_weights(const char *folder);
/* A temporary folder with the config of the folder @golden and such weights. */
char *kl_testing_formula_model(const char *golden);
/*
 * A temporary folder with the config of the golden @name, formula weights of its decoder under the names of @column,
 * and of the encoder the first layer, without which a file is no VAE.
 */
char *kl_testing_formula_decoder(const char *name, enum vae_testing_column column);

/* A temporary folder with formula weights of diffusers' AutoencoderTiny, as it is by default; no config. */
char *kl_testing_formula_tiny(void);

#endif

/*
 * Model files for tests: the golden weights under other names, and files of published shapes that are all hole.
 */
#ifndef LATENTD_TESTS_VAE_TESTING_H
#define LATENTD_TESTS_VAE_TESTING_H

#include "base/buffer.h"
#include "vae/vae_config.h"

#include <stdbool.h>

/* The columns of kl_names.tsv. */
enum vae_testing_column { NAMES_CANONICAL, NAMES_LDM, NAMES_OLD };

/* The name of @canonical in that column, to be freed; fails the test where it has no row. */
char *vae_testing_name(const char *canonical, enum vae_testing_column column);
/* Calls @fn with every row. */
void vae_testing_each_name(void (*fn)(const char *canonical, const char *ldm, const char *old));

/* The new name of a tensor, to be freed; NULL leaves it out. */
typedef char *(*vae_testing_rename_fn)(const char *name, const char *arg);
/* Writes the weights of the golden model @golden to @path, each tensor under its new name. */
void vae_testing_renamed(const char *golden, const char *path, vae_testing_rename_fn rename,
			 const char *arg);

/* A header under construction: tensors of F32, one behind the other. */
struct vae_testing_file {
	struct buffer header;
	uint64_t bytes;
};

#define VAE_TESTING_FILE_INIT                                                                      \
	{                                                                                          \
		BUFFER_INIT, 0                                                                     \
	}

void vae_testing_add(struct vae_testing_file *file, const char *name, size_t ndim,
		     const size_t *shape);
/* Every tensor of an encoder of that config, by canonical name behind @prefix. */
void vae_testing_add_encoder(struct vae_testing_file *file, const char *prefix,
			     const struct vae_config *c);
/* Writes it; its data is a hole of zeros. Releases @file. */
void vae_testing_write(struct vae_testing_file *file, const char *path);

/* The network of SD and all its kin with @latent_channels. */
struct vae_config vae_testing_standard(size_t latent_channels, bool quant_conv);

#endif

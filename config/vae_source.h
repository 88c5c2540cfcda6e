/*
 * Where the VAE of a recipe comes from, as its one text says: files of this machine (a path, a name, a hub id), the fake
 * one, or an endpoint.
 */
#ifndef LATENTD_CONFIG_VAE_SOURCE_H
#define LATENTD_CONFIG_VAE_SOURCE_H

enum vae_source {
	VAE_SOURCE_FILES,
	VAE_SOURCE_FAKE,     /* "fake": latents that are a function of the file's hash, for tests */
	VAE_SOURCE_DECLARED, /* "declared:sdxl": what somebody says that an endpoint computes */
	VAE_SOURCE_ENDPOINT, /* "endpoint:URL": what the latentd there says that it computes */
};

#define RECIPE_VAE_FAKE	    "fake"
#define RECIPE_VAE_DECLARED "declared:"
#define RECIPE_VAE_ENDPOINT "endpoint:"

/* *rest: behind the colon, or all of it; NULL is fine. */
enum vae_source vae_source_of(const char *vae, const char **rest);

#endif

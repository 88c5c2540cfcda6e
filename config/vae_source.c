#include "config/vae_source.h"

#include <stddef.h>
#include <string.h>

enum vae_source vae_source_of(const char *vae, const char **rest)
{
	static const struct {
		const char *prefix;
		enum vae_source source;
	} prefixes[] = {
	    {RECIPE_VAE_DECLARED, VAE_SOURCE_DECLARED},
	    {RECIPE_VAE_ENDPOINT, VAE_SOURCE_ENDPOINT},
	};

	if (rest)
		*rest = vae;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		size_t n = strlen(prefixes[i].prefix);

		if (strncmp(vae, prefixes[i].prefix, n) != 0)
			continue;
		if (rest)
			*rest = vae + n;
		return prefixes[i].source;
	}
	return strcmp(vae, RECIPE_VAE_FAKE) == 0 ? VAE_SOURCE_FAKE : VAE_SOURCE_FILES;
}

#include "daemon/commands.h"
#include "daemon/encode_run.h"

#include "config/settings_complete.h"

#include "base/checked.h"

#include <stdio.h>

static void print_help(void)
{
	printf("usage: latentctl encode SRC... --vae PATH --out DIR [options]\n"
	       "       latentctl encode SRC... --endpoint URL... --out DIR [options]\n\n"
	       "Encodes every image in SRC to VAE latents and leaves them in shards below DIR. "
	       "SRC: folders,\n"
	       "archives (.tar, .tar.gz, .tar.zst, .tar.xz, .zip, .7z; in folders too), manifests "
	       "(.jsonl,\n"
	       ".csv, .tsv, .json), lists of URLs (.urls), or - for an archive on standard input.\n"
	       "The same command goes on where an earlier one stopped.\n\n");
	settings_help(stdout, encode_settings, n_encode_settings);
}

static int usage(const char *what)
{
	fprintf(stderr, "latentctl encode: %s (latentctl encode --help)\n", what);
	return EXIT_USAGE;
}

int cmd_encode(int argc, char **argv, struct error *err)
{
	struct encode_options options = {.out = NULL};
	cleanup_free const char **sources = xcalloc((size_t)argc, sizeof(*sources));
	struct error wrong = ERROR_INIT;
	cleanup_free char *vae = NULL;
	size_t n = 0;

	if (settings_complete(stdout, encode_settings, n_encode_settings, true, argc, argv))
		return EXIT_OK;
	settings_defaults(encode_settings, n_encode_settings, &options);
	if (settings_parse(encode_settings, n_encode_settings, argc, argv, &options, sources, &n,
			   &wrong) < 0)
		return usage(wrong.message);
	if (options.help) {
		print_help();
		return EXIT_OK;
	}
	if (encode_options_check(&options, n, &wrong) < 0)
		return usage(wrong.message);
	if (!options.recipe.vae)
		options.recipe.vae = vae =
		    xasprintf("%s%s", RECIPE_VAE_ENDPOINT, options.endpoints.items[0]);
	return encode_run(&options, sources, n, err);
}

#include "daemon/export_python.h"

#include "daemon/decode_process.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SCRIPT "latentd_export.py"

static const struct export_python_format formats[] = {
    {"simpletuner", "SimpleTuner: .pt files and its JSON files (torch; --images, --id)"},
    {"onetrainer", "OneTrainer: a concept and its cache (torch)"},
    {"diffusers-sdxl", "diffusers' SDXL script: a dataset for load_from_disk (datasets)"},
    {"mds", "MosaicML Streaming: normalised latents, --raw for those of the VAE (xxhash)"},
};

const struct export_python_format *export_python_at(size_t i)
{
	return i < ARRAY_SIZE(formats) ? &formats[i] : NULL;
}

bool export_python_has(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (strcmp(formats[i].name, name) == 0)
			return true;
	}
	return false;
}

/* To be freed; NULL where it is not. */
static char *find_script(void)
{
	static const char *const places[] = {SCRIPT, "../share/latentd/" SCRIPT};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char *path = decode_process_program(places[i]);

		if (file_exists(path))
			return path;
		free(path);
	}
	return NULL;
}

struct arguments {
	char *items[16];
	size_t n;
};

/* Nothing where @value is NULL. */
static void add(struct arguments *a, const char *option, const char *value)
{
	if (value)
		a->items[a->n++] = xasprintf("%s%s", option, value);
}

int export_python_run(const char *folder, const struct export_python_words *words,
		      struct error *err)
{
	cleanup_free char *script = find_script();
	struct arguments a = {.n = 0};
	int problem;

	if (!script)
		return error_set(err, ERR_CONFIG,
				 "--to %s is written by " SCRIPT ", which is neither beside this "
				 "program nor in ../share/latentd",
				 words->to);
	add(&a, "", "python3");
	add(&a, "", "-B");
	add(&a, "", script);
	add(&a, "--to=", words->to);
	add(&a, "--into=", words->into);
	add(&a, "--dtype=", words->dtype);
	add(&a, "--split=", words->split);
	if (words->resolution > 0)
		a.items[a.n++] = xasprintf("--resolution=%zu", words->resolution);
	add(&a, "--images=", words->images);
	add(&a, "--id=", words->id);
	add(&a, "", words->raw ? "--raw" : NULL);
	add(&a, "", words->dry_run ? "--dry-run" : NULL);
	add(&a, "", "--");
	add(&a, "", folder);
	fflush(stdout);
	execvp(a.items[0], a.items);
	problem = errno;
	while (a.n > 0)
		free(a.items[--a.n]);
	return error_set(err, ERR_CONFIG, "--to %s is written by Python: python3: %s", words->to,
			 strerror(problem));
}

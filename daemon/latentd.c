/*
 * latentd: the daemon. Everything but the command line is in service.c.
 */
#include "daemon/config_check.h"
#include "daemon/program.h"
#include "daemon/serve_run.h"
#include "daemon/service.h"

#include "config/dataset_options.h"
#include "config/settings_complete.h"

#include "base/checked.h"
#include "base/files.h"
#include "source/source_path.h"

#include <stdio.h>
#include <string.h>

struct words {
	const char *config, *part;
	bool check, once, help, version;
};

#define FIELD(f) offsetof(struct words, f)

static const struct setting settings[] = {
    {"config", SETTING_PATH, FIELD(config), .fallback = DAEMON_CONFIG_DEFAULT, .value_name = "FILE",
     .help = "the configuration"},
    {"check-config", SETTING_FLAG, FIELD(check), .help = "check it and end"},
    {"once", SETTING_FLAG, FIELD(once), .help = "encode and seal what is there, then end"},
    {"part", SETTING_STRING, FIELD(part), .valid = dataset_part_valid,
     .expected = DATASET_PART_EXPECTED, .value_name = "I/N",
     .help = "only part I of N of every dataset"},
    {"version", SETTING_FLAG, FIELD(version), .help = "print the version"},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

static void print_help(FILE *out)
{
	fprintf(out,
		"usage: latentd [--config FILE] [--check-config | --once] [--part I/N]\n"
		"       latentd serve --vae VAE --listen HOST:PORT [options]\n\n"
		"Watches folders of images and keeps shards of their latents up to date. Steer it "
		"with latentctl.\n\n");
	settings_help(out, settings, ARRAY_SIZE(settings));
	fprintf(out,
		"\nexit status:\n"
		"  0 stopped in order                    3 --once: done, but some images failed\n"
		"  1 could not start or go on            5 another process uses state or output\n"
		"  2 wrong usage or configuration        130 --once: interrupted\n");
}

static int parse(int argc, char **argv, struct words *w, struct error *err)
{
	const char **rest = xcalloc((size_t)argc, sizeof(*rest));
	size_t n = 0;
	int r;

	settings_defaults(settings, ARRAY_SIZE(settings), w);
	r = settings_parse(settings, ARRAY_SIZE(settings), argc, argv, w, rest, &n, err);
	if (r == 0 && n > 0)
		r = error_set(err, ERR_CONFIG, "unexpected: %s", rest[0]);
	free(rest);
	return r;
}

static void print_checked(const struct daemon_config *c)
{
	printf("%s is good: %zu dataset%s, %zu encoder%s\n", c->file, c->n_datasets,
	       c->n_datasets == 1 ? "" : "s", c->n_encoders, c->n_encoders == 1 ? "" : "s");
	for (size_t i = 0; i < c->n_datasets; i++) {
		const struct dataset_config *d = &c->datasets[i];

		for (size_t k = 0; k < d->n_sources; k++) {
			if (!source_path_is_url(d->sources[k].path) &&
			    !file_exists(d->sources[k].path))
				printf("%s:%zu:%zu: the folder %s is not there: dataset %s would "
				       "wait for it\n",
				       c->file, d->sources[k].place.line,
				       d->sources[k].place.column, d->sources[k].path, d->name);
		}
	}
}

static int run(const struct words *w, struct error *err)
{
	const struct service_options options = {.once = w->once, .part = w->part};
	struct daemon_config *config = NULL;

	if (config_check(w->config, &config, err) < 0)
		return -1;
	if (!w->check)
		return service_run(config, &options, err);
	print_checked(config);
	daemon_config_free(config);
	return EXIT_OK;
}

/* What was asked for cannot be done, and trying again would not help (RestartPreventExitStatus= of the unit). */
static int ended(int code, const struct error *err)
{
	if (code >= 0)
		return code;
	fprintf(stderr, "latentd: %s\n", err->message);
	return err->code == ERR_CONFIG ? EXIT_USAGE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct words words = {.config = NULL};
	struct error err = ERROR_INIT;

	program_open_streams();
	program_set_allocators();
	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		return ended(serve_main(argc - 1, argv + 1, &err), &err);
	if (settings_complete(stdout, settings, ARRAY_SIZE(settings), false, argc, argv))
		return EXIT_OK;
	if (parse(argc, argv, &words, &err) < 0) {
		fprintf(stderr, "latentd: %s\n\n", err.message);
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (words.help || words.version) {
		if (words.help)
			print_help(stdout);
		else
			printf("latentd %s\n", LATENTD_VERSION);
		return EXIT_OK;
	}
	return ended(run(&words, &err), &err);
}

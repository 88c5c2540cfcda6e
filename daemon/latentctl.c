/*
 * latentctl: the command line. One table of commands; each lives in its own file.
 */
#include "daemon/commands.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv, struct error *err);
	const char *arguments;
	const char *help;
} commands[] = {
    {"encode", cmd_encode, "SRC... --vae PATH --out DIR", "encode folders of images into shards"},
    {"status", cmd_status, "--out DIR", "how far the datasets of an output are"},
    {"failed", cmd_failed, "--out DIR", "images that could not be encoded, with the reason"},
    {"retry", cmd_retry, "--out DIR [--reason R]", "give them another chance in the next encode"},
    {"verify", cmd_verify, "--out DIR", "read every shard again and check every hash"},
    {"inspect", cmd_inspect, "SHARD", "list what a shard holds"},
    {"extract", cmd_extract, "SHARD KEY", "write one sample's members as files"},
};

static void print_help(FILE *out)
{
	fprintf(out, "usage: latentctl COMMAND ...        latentctl COMMAND --help says more\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-8s %-30s %s\n", commands[i].name, commands[i].arguments,
			commands[i].help);
	fprintf(out, "  %-8s %-30s %s\n", "version", "", "of latentctl and what it stands on");
	fprintf(out, "\nexit status: 0 done, 1 could not go on, 2 wrong usage, 3 done but some "
		     "images failed,\n  4 damage found by verify, 5 output in use, 130 "
		     "interrupted\n");
}

static int print_version(void)
{
	printf("latentctl %s (SQLite %s)\n", LATENTD_VERSION, queue_sqlite_version());
	return EXIT_OK;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
		print_help(stdout);
		return EXIT_OK;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0)
		return print_version();
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		struct error err = ERROR_INIT;
		int code;

		if (strcmp(name, commands[i].name) != 0)
			continue;
		code = commands[i].run(argc - 1, argv + 1, &err);
		if (code >= 0)
			return code;
		fprintf(stderr, "latentctl %s: %s\n", name, err.message);
		return EXIT_FAILED;
	}
	if (*name)
		fprintf(stderr, "latentctl: unknown command %s\n\n", name);
	print_help(stderr);
	return EXIT_USAGE;
}

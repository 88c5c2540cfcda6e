/*
 * latentctl: the command line. One table of commands; each lives in its own file.
 */
#include "daemon/commands.h"
#include "daemon/program.h"
#include "queue/queue_open.h"

#include "base/checked.h"
#include "image/decode.h"
#include "image/resample.h"

#include <stdio.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv, struct error *err);
	const char *arguments;
	const char *help;
} commands[] = {
    {"encode", cmd_encode, "SRC... --vae VAE --out DIR", "encode folders of images into shards"},
    {"plan", cmd_plan, "SRC...", "what an encode of them would be"},
    {"status", cmd_status, "[--watch | --json]", "how far the datasets are"},
    {"failed", cmd_failed, "[--reason R]", "images that failed, with the reason"},
    {"top-errors", cmd_top_errors, "[--name NAME]", "what fails most, and what helps"},
    {"skipped", cmd_skipped, "[--reason R]", "images left out on purpose"},
    {"dupes", cmd_dupes, "[--name NAME]", "files with the same content"},
    {"retry", cmd_retry, "[--reason R]", "try them again"},
    {"cancel", cmd_cancel, "--name NAME", "give up images that nobody has begun"},
    {"scan", cmd_scan, "[--name NAME]", "look through the folders now"},
    {"pause", cmd_pause, "[--name NAME]", "begin nothing new"},
    {"resume", cmd_resume, "[--name NAME]", "go on"},
    {"drain", cmd_drain, "[--name NAME]", "finish and seal what is queued"},
    {"seal", cmd_seal, "[--name NAME]", "seal what is encoded"},
    {"priority", cmd_priority, "NAME N", "larger goes first"},
    {"deletions", cmd_deletions, "[--accept]", "samples whose files are gone"},
    {"log", cmd_log, "[--follow]", "what the daemon said last"},
    {"nodes", cmd_nodes, "[--drain NODE]", "machines that share the queue"},
    {"reload", cmd_reload, "", "read the configuration again"},
    {"verify", cmd_verify, "--out DIR [--deep]", "read every shard and check every hash"},
    {"gc", cmd_gc, "--out DIR [--dry-run]", "remove what was replaced"},
    {"compact", cmd_compact, "--out DIR [--dry-run]", "merge small shards"},
    {"captions", cmd_captions, "set FILE|DIR --out DIR", "captions from elsewhere"},
    {"attach", cmd_attach, "NAME FILE|DIR --out DIR", "other arrays beside the latents"},
    {"repack", cmd_repack, "--out DIR [--format F] ...", "another form, without encoding"},
    {"reindex", cmd_reindex, "--out DIR", "write the indexes of the shards again"},
    {"rebuild", cmd_rebuild, "OUT [SRC...]", "make a lost queue from the shards"},
    {"merge", cmd_merge, "OUT PART...", "join the outputs of encode --part"},
    {"export", cmd_export, "OUT --to FORM --into DIR", "files that a trainer reads by itself"},
    {"import", cmd_import, "SRC --from kohya --out DIR", "a dataset from a trainer's cache"},
    {"model", cmd_model, "info VAE | list", "what a VAE is; the known families"},
    {"inspect", cmd_inspect, "SHARD", "list what a shard holds"},
    {"extract", cmd_extract, "SHARD KEY", "write one sample's members as files"},
    {"decode", cmd_decode, "SHARD KEY --vae VAE -o PNG", "one latent of a shard as a picture"},
    {"preview", cmd_preview, "WHAT -o PNG [--vae VAE]", "a sheet of sources and latents"},
    {"encode-image", cmd_encode_image, "IN OUT --vae VAE", "one image to a latent"},
    {"decode-latent", cmd_decode_latent, "IN --vae VAE -o PNG", "and back"},
    {"doctor", cmd_doctor, "[--config FILE]", "what usually goes wrong, and remedies"},
    {"bench", cmd_bench, "encode --vae PATH", "how fast this machine encodes"},
};

static void print_help(FILE *out)
{
	fprintf(out, "usage: latentctl COMMAND ...        latentctl COMMAND --help says more\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-13s %-26s %s\n", commands[i].name, commands[i].arguments,
			commands[i].help);
	fprintf(out, "  %-13s %-26s %s\n", "version", "", "of latentctl and what it stands on");
	fprintf(out, "\nexit status:\n"
		     "  0 done                                3 done, but some images failed\n"
		     "  1 could not go on                     4 a shard is damaged\n"
		     "  2 wrong usage                         5 another process uses the output\n"
		     "  6 no daemon answers                   130 interrupted\n");
}

static int print_version(void)
{
	printf("latentctl %s (SQLite %s; reads", LATENTD_VERSION, queue_sqlite_version());
	for (int format = 0; format < IMAGE_FORMATS; format++) {
		if (image_format_built((enum image_format)format))
			printf("%s %s", format > 0 ? "," : "",
			       image_format_name((enum image_format)format));
	}
	printf("; resamples with %s)\n", resample_isa());
	return EXIT_OK;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* For shells: what may stand for the last word of `latentctl complete WORD...` (config/settings_complete.h). */
static int complete(int argc, char **argv)
{
	const struct command *command = argc > 3 ? find_command(argv[2]) : NULL;
	struct error ignored = ERROR_INIT;

	for (size_t i = 0; argc == 3 && i < ARRAY_SIZE(commands); i++) {
		if (strncmp(commands[i].name, argv[2], strlen(argv[2])) == 0)
			printf("%s\t%s\n", commands[i].name, commands[i].help);
	}
	if (command) {
		char option[] = "--complete";
		char *asked[] = {argv[2], option, argv[argc - 2], argv[argc - 1], NULL};

		command->run(4, asked, &ignored);
	}
	return EXIT_OK;
}

static int run_command(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	const struct command *command = find_command(name);

	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		print_help(stdout);
		return EXIT_OK;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0)
		return print_version();
	if (strcmp(name, "complete") == 0)
		return complete(argc, argv);
	if (command) {
		struct error err = ERROR_INIT;
		int code = command->run(argc - 1, argv + 1, &err);

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

int main(int argc, char **argv)
{
	int code;

	program_open_streams();
	program_set_allocators();
	code = run_command(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr,
			"latentctl: what should go to the standard output could not be written\n");
		return EXIT_FAILED;
	}
	return code;
}

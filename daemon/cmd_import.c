/*
 * latentctl import: what a trainer cached becomes a dataset.
 */
#include "daemon/command_line.h"
#include "daemon/commands.h"
#include "daemon/import.h"
#include "queue/queue_open.h"

#include "config/dataset_options.h"

#include "base/checked.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

struct import_words {
	const char *from, *out, *name, *arch, *dtype, *metadata, *state;
	size_t shard_samples, shard_size;
	bool dry_run, help;
};

#define FIELD(f) offsetof(struct import_words, f)

static const char *const trainers[] = {"kohya", NULL};
static const char *const dtypes[] = {"float16", "float32", NULL};

static const struct setting settings[] = {
    {"from", SETTING_CHOICE, FIELD(from), .choices = trainers, .value_name = "TRAINER",
     .help = "whose files SRC has"},
    {"out", SETTING_PATH, FIELD(out), .value_name = "DIR", .help = "output folder"},
    {"name", SETTING_STRING, FIELD(name), .not_empty = true, .value_name = "NAME",
     .help = "of the dataset (kohya-ARCH)"},
    {"arch", SETTING_STRING, FIELD(arch), .not_empty = true, .value_name = "NAME",
     .help = "only latents of this model, where SRC has several"},
    {"metadata", SETTING_PATH, FIELD(metadata), .value_name = "FILE",
     .help = "metadata_file with the images' names and captions"},
    {"dtype", SETTING_CHOICE, FIELD(dtype), .fallback = "float16", .choices = dtypes,
     .value_name = "TYPE", .help = "that is stored (float16); float32 loses nothing"},
    {"shard-samples", SETTING_COUNT, FIELD(shard_samples), .fallback = "1000", .min = 1,
     .max = 100000, .value_name = "N", .help = "samples in a full shard"},
    {"shard-size", SETTING_BYTES, FIELD(shard_size), .fallback = "256MiB", .min = 1024,
     .max = (uint64_t)64 << 30, .value_name = "SIZE", .help = "bytes in a full shard"},
    {"state", SETTING_PATH, FIELD(state), .value_name = "DIR",
     .help = "where the queue of the output goes, on a local disk (below XDG_STATE_HOME)"},
    {"dry-run", SETTING_FLAG, FIELD(dry_run), .help = "write nothing; say what would be done"},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

static void print_help(void)
{
	printf(
	    "usage: latentctl import SRC --from kohya --out DIR [--dry-run]\n\n"
	    "Makes a dataset of the files STEM_WxH_ARCH.npz below SRC, which stay as they are. An "
	    "import\n"
	    "that was stopped goes on with the same command; a later one takes what is new.\n\n");
	settings_help(stdout, settings, ARRAY_SIZE(settings));
}

static void on_note(const char *line)
{
	fprintf(stderr, "latentctl import: left out: %s\n", line);
}

static void on_settled(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "latentctl import: %s\n", line);
}

static void print_plan(const struct import_options *o, const struct import_plan *plan)
{
	printf("%s: %zu latent%s of %s, as %s\n", o->folder, plan->n, plural(plan->n),
	       plan->arch->name, dtype_name(o->dtype));
	printf(
	    "  they are taken for draws of an unknown engine, cut at the centre of their images\n");
	if (plan->flipped + plan->masks + plan->others > 0)
		printf("  not carried: %zu flipped latent%s, %zu alpha mask%s, %zu other array%s\n",
		       plan->flipped, plural(plan->flipped), plan->masks, plural(plan->masks),
		       plan->others, plural(plan->others));
	if (plan->foreign > 0)
		printf("  passed over: %zu other .npz file%s\n", plan->foreign,
		       plural(plan->foreign));
	fflush(stdout);
}

static int run_in(const struct import_options *o, struct import_plan *plan,
		  const struct output *output, struct error *err)
{
	cleanup_free char *path = xasprintf("%s/queue.db", output->state);
	cleanup_queue struct queue *queue = NULL;

	if (queue_sqlite_open(path, &queue, err) < 0 || import_run(o, plan, output, queue, err) < 0)
		return -1;
	printf("%s/%s: %zu sample%s in %zu new shard%s, %zu there already\n", output->root, o->name,
	       plan->done, plural(plan->done), plan->shards, plural(plan->shards), plan->known);
	return plan->bad > 0 ? EXIT_QUARANTINED : EXIT_OK;
}

static int import_into(const struct import_words *words, const struct import_options *o,
		       struct import_plan *plan, struct error *err)
{
	struct output output = OUTPUT_INIT;
	int r = output_open(words->out, words->state, &output, err);

	if (r == OUTPUT_BUSY) {
		fprintf(stderr, "latentctl import: %s\n", output.owner);
		r = EXIT_BUSY;
	} else if (r == 0) {
		r = output_claim(&output, false, err);
		if (r == 0)
			r = run_in(o, plan, &output, err);
	}
	output_close(&output);
	return r;
}

static int run(const struct import_words *words, const char *src, struct error *err)
{
	cleanup_free char *folder = realpath(src, NULL), *name = NULL;
	struct import_options o = {.folder = folder,
				   .arch = words->arch,
				   .metadata = words->metadata,
				   .shard_samples = words->shard_samples,
				   .shard_bytes = words->shard_size,
				   .note = on_note,
				   .settled = on_settled};
	struct import_plan plan = {.n = 0};
	int r;

	if (!folder)
		return error_sys(err, "%s", src);
	o.dtype = strcmp(words->dtype, "float32") == 0 ? DTYPE_F32 : DTYPE_F16;
	r = import_scan(&o, &plan, err);
	if (r == 0) {
		name = words->name ? xstrdup(words->name) : xasprintf("kohya-%s", plan.arch->name);
		o.name = name;
		print_plan(&o, &plan);
		if (!words->dry_run)
			r = import_into(words, &o, &plan, err);
		else if (plan.bad > 0)
			r = EXIT_QUARANTINED;
	}
	import_plan_release(&plan);
	return r;
}

/* What the table cannot tell. */
static void check(const void *options, size_t n, struct error *err)
{
	const struct import_words *o = options;

	if (n != 1)
		error_set(err, ERR_CONFIG, "one SRC is needed");
	else if (!o->from || !o->out)
		error_set(err, ERR_CONFIG, "--from and --out are needed");
	else if (o->name && !dataset_name_valid(o->name))
		error_set(err, ERR_CONFIG, "--name %s: not a name for a dataset", o->name);
}

int cmd_import(int argc, char **argv, struct error *err)
{
	static const struct command_line line = {"import", settings, ARRAY_SIZE(settings), check,
						 print_help};
	cleanup_free const char **words = xcalloc((size_t)argc, sizeof(*words));
	struct import_words options = {.from = NULL};
	size_t n = 0;
	int code;

	if (!command_line_read(&line, argc, argv, &options, &options.help, words, &n, &code))
		return code;
	return run(&options, words[0], err);
}

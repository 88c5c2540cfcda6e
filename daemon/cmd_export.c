/*
 * latentctl export: a dataset in the layout of a trainer.
 */
#include "daemon/command_line.h"
#include "daemon/commands.h"
#include "daemon/dataset_folders.h"
#include "daemon/export.h"
#include "daemon/export_python.h"
#include "daemon/export_target.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct export_words {
	const char *to, *into, *name, *arch, *dtype, *columns, *images, *id, *split;
	size_t resolution;
	bool beside, normalised, raw, dry_run, help;
};

#define FIELD(f) offsetof(struct export_words, f)

static const char *const format_names[] = {
    "kohya", "musubi",	    "ai-toolkit", "simpletuner", "onetrainer", "diffusers-sdxl",
    "npz",   "safetensors", "wds",	  "mds",	 NULL};
static const char *const split_names[] = {"train", "val", NULL};
static const char *const dtype_names[] = {"float32", "float16", "bfloat16", NULL};

static const struct setting settings[] = {
    {"to", SETTING_CHOICE, FIELD(to), .choices = format_names, .value_name = "FORMAT",
     .help = "layout: see below"},
    {"into", SETTING_PATH, FIELD(into), .value_name = "DIR",
     .help = "folder that is new, empty, or holds the same export"},
    {"beside", SETTING_FLAG, FIELD(beside),
     .help = "DIR may have other files, as the images; none is replaced"},
    {"name", SETTING_STRING, FIELD(name), .not_empty = true, .value_name = "NAME",
     .help = "this dataset, where OUT has several"},
    {"arch", SETTING_STRING, FIELD(arch), .not_empty = true, .value_name = "NAME",
     .help = "the model, as the trainer calls it (the one that fits)"},
    {"dtype", SETTING_CHOICE, FIELD(dtype), .choices = dtype_names, .value_name = "TYPE",
     .help = "of the latents (what the trainer keeps, or as stored)"},
    {"normalised", SETTING_FLAG, FIELD(normalised),
     .help = "npz, safetensors, wds: latents as a model is trained on them, not as stored"},
    {"columns", SETTING_STRING, FIELD(columns), .not_empty = true, .value_name = "LIST",
     .help = "wds: what a sample has (json,latent,txt)"},
    {"images", SETTING_PATH, FIELD(images), .value_name = "DIR",
     .help = "simpletuner: its instance_data_dir"},
    {"id", SETTING_STRING, FIELD(id), .not_empty = true, .value_name = "ID",
     .help = "simpletuner: the id of its data backend"},
    {"raw", SETTING_FLAG, FIELD(raw), .help = "mds: latents as the VAE gives them"},
    {"split", SETTING_CHOICE, FIELD(split), .choices = split_names, .value_name = "SPLIT",
     .help = "simpletuner, onetrainer, diffusers-sdxl, mds: which part (train)"},
    {"resolution", SETTING_COUNT, FIELD(resolution), .min = 1, .max = 8192, .value_name = "N",
     .help = "of a dataset that has several: the latents of this one"},
    {"dry-run", SETTING_FLAG, FIELD(dry_run), .help = "write nothing; say what would be done"},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

static void print_help(void)
{
	printf("usage: latentctl export OUT --to FORMAT --into DIR [--dry-run]\n\n"
	       "Writes a dataset as files that a trainer reads by itself. OUT is an output, or one "
	       "dataset\n"
	       "in it. An export that was stopped goes on with the same command.\n\n");
	settings_help(stdout, settings, ARRAY_SIZE(settings));
	printf("\n");
	for (size_t i = 0; export_format_at(i); i++)
		printf("  %-14s %s\n", export_format_at(i)->name, export_format_at(i)->help);
	printf("\nwritten by Python 3 with numpy, zstandard and what stands in brackets:\n");
	for (size_t i = 0; export_python_at(i); i++)
		printf("  %-14s %s\n", export_python_at(i)->name, export_python_at(i)->help);
}

/* OUT itself, or the one dataset in it; to be freed. */
static int find_folder(const char *out, const char *name, char **folder, struct error *err)
{
	cleanup_dataset_folders struct dataset_folders found = {.n = 0};
	cleanup_free char *train = xasprintf("%s/train", out);
	const struct dataset_folder *one = NULL;
	size_t n = 0;

	if (!name && file_exists(train)) {
		*folder = xstrdup(out);
		return 0;
	}
	if (dataset_folders_find(out, &found, err) < 0)
		return -1;
	for (size_t i = 0; i < found.n; i++) {
		if (!name || strcmp(found.items[i].name, name) == 0) {
			one = &found.items[i];
			n++;
		}
	}
	if (n == 0)
		return error_set(err, ERR_CONFIG, "%s has no dataset%s%s", out, name ? " " : "",
				 name ? name : "");
	if (n > 1)
		return error_set(err, ERR_CONFIG, "%s has %zu datasets: say which with --name", out,
				 n);
	*folder = xstrdup(one->folder);
	return 0;
}

/* The rule of buckets in dataset.json; NULL where it does not say. To be freed. */
static char *bucket_rule(const char *folder)
{
	cleanup_free char *path = xasprintf("%s/.latentd/dataset.json", folder);
	json_t *root = json_load_file(path, 0, NULL);
	const char *rule = json_string_value(
	    json_object_get(json_object_get(json_object_get(root, "recipe"), "buckets"), "rule"));
	char *copy = rule ? xstrdup(rule) : NULL;

	json_decref(root);
	return copy;
}

static void print_lost(const struct export_job *job)
{
	if (job->format->lost)
		printf("  not carried: %s\n", job->format->lost);
	if (!(job->columns & EXPORT_COLUMN_JSON))
		printf("  not carried: records (no json)\n");
	if (!(job->columns & EXPORT_COLUMN_LATENT))
		printf("  not carried: latents\n");
	if (!(job->columns & EXPORT_COLUMN_CAPTION))
		printf("  not carried: captions as .txt\n");
}

static void print_left_out(const struct export_plan *plan)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (plan->variants > 0)
		printf("  left out: %zu variant%s of images, for which it has no place\n",
		       plan->variants, plural(plan->variants));
	if (plan->clashes > 0)
		printf("  left out: %zu sample%s whose file would have the name of another's\n",
		       plan->clashes, plural(plan->clashes));
	if (plan->too_long > 0)
		printf("  left out: %zu sample%s whose file would have too long a name: %s\n",
		       plan->too_long, plural(plan->too_long),
		       text_quote(plan->too_long_example, quoted));
	if (plan->unfit > 0)
		printf("  left out: %zu sample%s: %s\n", plan->unfit, plural(plan->unfit),
		       plan->unfit_example);
}

static void print_plan(const char *folder, const struct export_options *options,
		       const struct export_plan *plan)
{
	const struct export_format *format = options->format;
	cleanup_free char *rule = bucket_rule(folder);
	char size[24], quoted[TEXT_QUOTE_SIZE];

	printf("%s: %zu sample%s to %s%s%s, %s, %s, as %s ...\n", folder, plan->samples,
	       plural(plan->samples), format->name, plan->job.arch ? " " : "",
	       plan->job.arch ? plan->job.arch->name : "", dtype_name(plan->job.dtype),
	       text_bytes(plan->bytes, size), text_quote(plan->example, quoted));
	print_lost(&plan->job);
	if (plan->masks > 0)
		printf("  not carried: masks of %zu of them\n", plan->masks);
	if (plan->attached > 0)
		printf("  not carried: arrays attached to %zu sample%s\n", plan->attached,
		       plural(plan->attached));
	if ((plan->job.arch || plan->job.normalised) && plan->job.space->moments)
		printf("  of the moments it has the mean\n");
	if (plan->job.arch && plan->job.space->scaled && !plan->job.arch->normalised)
		printf("  the latents were stored scaled and are scaled back, with a rounding\n");
	print_left_out(plan);
	if (format->upright && plan->turned > 0)
		printf("  %zu image%s turned by EXIF, which %s ignores: beside the images it does "
		       "not find "
		       "%s\n",
		       plan->turned, plan->turned == 1 ? " is" : "s are", format->name,
		       plan->turned == 1 ? "its latent" : "their latents");
	if (format->bucket_rule && rule && strcmp(rule, format->bucket_rule) != 0)
		printf("  the buckets are those of rule %s: %s finds its own, which `encode "
		       "--bucketing "
		       "%s` makes\n",
		       rule, format->name, format->bucket_rule);
}

static int export_folder(const char *folder, struct export_options *options, bool dry_run,
			 struct error *err)
{
	struct export_source *source = NULL;
	struct export_plan plan = {.samples = 0};
	int r = export_source_open(folder, &source, err);

	if (r == 0)
		r = export_plan(options, source, &plan, err);
	if (r == 0) {
		print_plan(folder, options, &plan);
		fflush(stdout);
	}
	if (r == 0 && !dry_run) {
		options->progress = progress_new(plan.samples, false);
		r = export_run(options, source, &plan, err);
		progress_free(options->progress);
		if (r == EXPORT_TARGET_BUSY)
			fprintf(stderr, "latentctl export: another process exports into %s\n",
				options->into);
		else if (r == 0)
			printf("%s: %zu file%s written, %zu there already\n", options->into,
			       plan.written, plural(plan.written), plan.kept);
	}
	export_plan_release(&plan);
	export_source_close(source);
	return r;
}

static int count(void *arg, const struct export_sample *sample, struct error *err)
{
	(void)sample;
	(void)err;
	++*(size_t *)arg;
	return 0;
}

/* Everything is found whole first, as for the others; then Python goes on in the place of this process. */
static int export_by_python(const char *folder, const struct export_words *o, struct error *err)
{
	struct export_python_words words = {.to = o->to,
					    .into = o->into,
					    .dtype = o->dtype,
					    .split = o->split,
					    .images = o->images,
					    .id = o->id,
					    .resolution = o->resolution,
					    .raw = o->raw,
					    .dry_run = o->dry_run};
	struct export_source *source = NULL;
	int r = export_source_open(folder, &source, err);
	size_t n = 0;

	if (r == 0) {
		export_source_resolution(source, o->resolution);
		r = export_source_each(source, count, &n, err);
	}
	if (r == 0 && n == 0)
		r = export_source_refuse_empty(source, err);
	export_source_close(source);
	return r < 0 ? r : export_python_run(folder, &words, err);
}

static int run(const struct export_words *words, const char *out, struct error *err)
{
	struct export_options options = {.format = export_format_find(words->to),
					 .arch = words->arch,
					 .dtype = words->dtype,
					 .normalised = words->normalised,
					 .columns = words->columns,
					 .resolution = words->resolution,
					 .into = words->into,
					 .beside = words->beside};
	cleanup_free char *folder = NULL;
	int r;

	if (find_folder(out, words->name, &folder, err) < 0)
		return -1;
	r = options.format ? export_folder(folder, &options, words->dry_run, err)
			   : export_by_python(folder, words, err);
	if (r >= 0)
		return r == EXPORT_TARGET_BUSY ? EXIT_BUSY : EXIT_OK;
	if (err->code != ERR_DATA || strcmp(err->reason, "missing") == 0)
		return -1;
	printf("%s: nothing is exported while it is damaged (latentctl verify)\n", err->message);
	return EXIT_DAMAGED;
}

/* What only some formats have; python: all of those. */
static bool has(const struct export_words *o, const char *option)
{
	static const struct {
		const char *option, *format;
	} own[] = {{"images", "simpletuner"}, {"id", "simpletuner"}, {"raw", "mds"}};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		if (strcmp(own[i].option, option) == 0)
			return strcmp(own[i].format, o->to) == 0;
	}
	return export_python_has(o->to) == (strcmp(option, "split") == 0);
}

/* What the table cannot tell. */
static void check(const void *options, size_t n, struct error *err)
{
	const struct export_words *o = options;
	const struct {
		const char *option;
		bool said;
	} some[] = {{"images", o->images},   {"id", o->id},
		    {"raw", o->raw},	     {"split", o->split},
		    {"beside", o->beside},   {"arch", o->arch},
		    {"columns", o->columns}, {"normalised", o->normalised}};

	if (n != 1)
		error_set(err, ERR_CONFIG, "one OUT is needed");
	else if (!o->to || !o->into)
		error_set(err, ERR_CONFIG, "--to and --into are needed");
	else if (strcmp(o->to, "simpletuner") == 0 && (!o->images || !o->id))
		error_set(err, ERR_CONFIG, "simpletuner needs --images and --id");
	for (size_t i = 0; err->code == ERR_NONE && i < ARRAY_SIZE(some); i++) {
		if (some[i].said && !has(o, some[i].option))
			error_set(err, ERR_CONFIG, "%s has no --%s", o->to, some[i].option);
	}
}

int cmd_export(int argc, char **argv, struct error *err)
{
	static const struct command_line line = {"export", settings, ARRAY_SIZE(settings), check,
						 print_help};
	cleanup_free const char **words = xcalloc((size_t)argc, sizeof(*words));
	struct export_words options = {.to = NULL};
	size_t n = 0;
	int code;

	if (!command_line_read(&line, argc, argv, &options, &options.help, words, &n, &code))
		return code;
	return run(&options, words[0], err);
}

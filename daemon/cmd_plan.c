#include "daemon/commands.h"

#include "daemon/pixel_setup.h"
#include "daemon/plan_json.h"
#include "daemon/plan_known.h"
#include "daemon/plan_sizes.h"
#include "daemon/plan_svg.h"
#include "daemon/plan_table.h"
#include "daemon/progress.h"
#include "daemon/run_sources.h"
#include "daemon/sources.h"
#include "daemon/vae_choice.h"

#include "base/atomic_file.h"
#include "base/checked.h"
#include "base/text.h"
#include "config/plan_options.h"
#include "config/recipe_options.h"
#include "config/settings_complete.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

enum { FAILURES_SHOWN = 10, COLUMNS = 80, LATENT_CHANNELS = 4, LATENT_DOWNSCALE = 8 };

/* -- help and usage ------------------------------------------------------------------------------- */

static void print_help(void)
{
	printf(
	    "usage: latentctl plan SRC... [options]\n"
	    "       latentctl plan --sizes FILE [--bucketing RULE ...]\n\n"
	    "Says what an encode of the folders SRC would be: which buckets the images fall "
	    "into, what\n"
	    "is skipped, what cannot be read. Reads headers only (with --hash or --out every byte) "
	    "and\n"
	    "writes nothing but the picture that --svg names. Files that break off in their middle "
	    "are\n"
	    "found by an encode only.\n\n"
	    "Bytes of latents follow from the sizes; the shards are smaller, by how much "
	    "depends on the\n"
	    "pictures. How long an encode takes depends on machine, model and size: give the "
	    "--rate that\n"
	    "an encode of a part has shown.\n\n"
	    "With --out it says which images a dataset there has, by their bytes, and which must "
	    "be encoded;\n"
	    "where options given here are not those of its recipe, all, and what differs.\n\n"
	    "In the table: crop %%, mean part of the resized picture that is cut away; scale, "
	    "mean of\n"
	    "resized / original, over 1 enlarges; most, the largest; left over, images that "
	    "fill no batch.\n"
	    "--sizes reads lines `W H` and prints `W H bucket_w bucket_h resized_w resized_h "
	    "crop_x crop_y`,\n"
	    "or `W H skipped REASON`: for its size only where a limit is given.\n\n");
	settings_help(stdout, plan_settings, n_plan_settings);
	printf("\nexit status: 0 done, 3 done but some files cannot be read, 1 could not, 2 wrong "
	       "usage\n");
}

static int usage(const char *what)
{
	fprintf(stderr, "latentctl plan: %s (latentctl plan --help)\n", what);
	return EXIT_USAGE;
}

/* -- sizes ---------------------------------------------------------------------------------------- */

static int run_sizes(const struct plan_options *o, const struct bucket_table *table,
		     struct error *err)
{
	bool is_stdin = strcmp(o->sizes, "-") == 0;
	FILE *in = is_stdin ? stdin : fopen(o->sizes, "re");
	char quoted[TEXT_QUOTE_SIZE];
	int r;

	if (!in)
		return error_sys(err, "open %s", text_quote(o->sizes, quoted));
	r = plan_sizes(in, stdout, table, err);
	if (!is_stdin)
		fclose(in);
	if (r < 0 && err->code == ERR_DATA)
		return usage(err->message);
	return r < 0 ? -1 : EXIT_OK;
}

/* -- folders -------------------------------------------------------------------------------------- */

struct planning {
	struct plan plan;
	struct run_sources sources;
	struct progress *progress;
	struct plan_known *known; /* NULL: not asked for */
	struct error failed;	  /* to look there */
};

static void on_note(void *arg, const char *line)
{
	progress_message(((struct planning *)arg)->progress, "latentctl: %s", line);
}

static void on_file(void *arg, const struct survey_file *file)
{
	struct planning *p = arg;
	uint64_t images = p->plan.images;

	plan_add(&p->plan, file);
	if (p->known && p->plan.images > images && p->failed.code == ERR_NONE)
		plan_known_look(p->known, file->content, &p->failed);
	if (file->header)
		progress_done(p->progress);
	else
		progress_failed(p->progress);
	progress_tick(p->progress);
}

/* What a latent is: of the model, or what most models have. */
static int describe_latent(const struct plan_options *o, const struct vae_choice *vae,
			   struct plan *plan, struct error *err)
{
	size_t multiple = bucket_table_multiple(plan->resolutions.tables[0]);
	size_t wanted = vae->model ? vae_choice_multiple(vae) : LATENT_DOWNSCALE;

	plan->latent_known = o->vae;
	plan->more = (1 + o->crops) * (o->flip ? 2 : 1) - 1;
	plan->channels = vae->model ? vae->model->config.latent_channels : LATENT_CHANNELS;
	plan->downscale = vae->model ? vae_config_downscale(&vae->model->config) : LATENT_DOWNSCALE;
	if (multiple % wanted == 0)
		return 0;
	if (o->vae)
		return error_set(err, ERR_CONFIG,
				 "sides in multiples of %zu do not fit a VAE that works on "
				 "multiples of %zu",
				 multiple, wanted);
	plan->downscale = 0;
	return 0;
}

/* Before all the work: the folder of the picture must take a file. */
static int check_svg(const char *path, struct error *err)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	cleanup_free char *folder =
	    slash ? strndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
	char quoted[TEXT_QUOTE_SIZE];

	if (path && access(folder, W_OK | X_OK) < 0)
		return error_sys(err, "--svg %s", text_quote(path, quoted));
	return 0;
}

/* The dataset that the plan is compared with, where there is one. */
static int open_known(struct planning *p, const struct plan_options *o, struct error *err)
{
	const struct recipe_options recipe = {.vae = o->vae, .vae_options = o->vae_options};
	struct encode_model model = {.fake = o->vae && strcmp(o->vae, RECIPE_VAE_FAKE) == 0};
	const struct plan_asked asked = {.resolutions = &p->plan.resolutions,
					 .apply_exif = p->plan.apply_exif,
					 .flip = o->flip,
					 .crops = (unsigned)o->crops,
					 .model = o->vae ? &model : NULL};

	if (!o->out)
		return 0;
	if (o->vae && !model.fake && encode_model_of_files(&recipe, &model, err) < 0)
		return -1;
	if (plan_known_open(o->out, o->name, &asked, &p->known, err) < 0)
		return -1;
	p->plan.known = plan_known_counts(p->known);
	return 0;
}

static int look_at_files(struct planning *p, const struct plan_options *o, struct error *err)
{
	const size_t *elsewhere = &p->plan.elsewhere;
	struct survey_options survey = {.hash = o->hash || o->out,
					.captions = !o->no_captions,
					.jobs = o->jobs,
					.on_file = on_file,
					.on_note = on_note,
					.elsewhere = &p->plan.elsewhere,
					.arg = p};
	cleanup_free struct source **sources = xcalloc(p->sources.n, sizeof(*sources));

	for (size_t i = 0; i < p->sources.n; i++)
		sources[i] = p->sources.roots[i].source;
	if (survey_run(sources, p->sources.n, &survey, err) < 0)
		return -1;
	if (p->failed.code != ERR_NONE) {
		*err = p->failed;
		return -1;
	}
	if (*elsewhere > 0)
		progress_message(
		    p->progress,
		    "latentctl: %zu image%s elsewhere: counted, a plan fetches nothing", *elsewhere,
		    *elsewhere == 1 ? " is" : "s are");
	if (p->plan.files == 0 && *elsewhere == 0)
		return error_set(err, ERR_CONFIG, "no images below %s%s", p->sources.paths[0],
				 p->sources.n > 1 ? " and the other folders" : "");
	plan_finish(&p->plan);
	return 0;
}

static size_t terminal_columns(void)
{
	struct winsize w;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : COLUMNS;
}

static int show(const struct plan *plan, const struct plan_options *o, struct error *err)
{
	cleanup_buffer struct buffer picture = BUFFER_INIT;

	if (o->json) {
		cleanup_free char *text = plan_json(plan);

		puts(text);
	} else {
		plan_table(stdout, plan, terminal_columns(), o->list);
	}
	if (!o->svg)
		return 0;
	plan_svg(plan, &picture);
	return atomic_file_write(o->svg, picture.data, picture.size, err);
}

static int run_folders(const struct plan_options *o, const struct vae_choice *vae,
		       const struct resolutions *resolutions, const char *const *paths, size_t n,
		       struct error *err)
{
	struct planning p = {
	    .plan = {.resolutions = *resolutions,
		     .apply_exif = strcmp(o->pixels.exif, "apply") == 0,
		     .captions = !o->no_captions,
		     .hash = o->hash,
		     .batch = o->batch,
		     .rate = o->rate,
		     .max_failures = o->list || o->json ? SIZE_MAX : FAILURES_SHOWN,
		     .sources = paths,
		     .n_sources = n}};
	int r = check_svg(o->svg, err);

	p.sources.choice = sources_choice(&o->source);
	p.sources.masks = masks_where(o->masks);
	p.sources.manifest = sources_manifest(&o->source);

	p.progress = progress_new(0, o->quiet);
	if (r == 0)
		r = describe_latent(o, vae, &p.plan, err);
	if (r == 0)
		r = open_known(&p, o, err);
	if (r == 0)
		r = run_sources_open(&p.sources, paths, n, false, on_note, &p, err);
	if (r == 0)
		r = look_at_files(&p, o, err);
	progress_free(p.progress);
	if (r == 0)
		r = show(&p.plan, o, err);
	if (r == 0)
		r = p.plan.unreadable.files > 0 ? EXIT_QUARANTINED : EXIT_OK;
	run_sources_close(&p.sources);
	plan_known_close(p.known);
	plan_release(&p.plan);
	return r;
}

/* @vae: opened where one is given, and may say the resolution. */
static int run_placed(const struct plan_options *o, const struct vae_choice *vae,
		      const char *const *paths, size_t n, struct error *err)
{
	struct pixel_options pixels = o->pixels;
	struct error wrong = ERROR_INIT;
	cleanup_resolutions struct resolutions resolutions = RESOLUTIONS_INIT;

	if (vae->model && vae_choice_resolution(vae, &pixels, &wrong) < 0)
		return usage(wrong.message);
	if (pixel_setup_resolutions(&pixels, &resolutions, &wrong) < 0)
		return usage(wrong.message);
	return o->sizes ? run_sizes(o, resolutions.tables[0], err)
			: run_folders(o, vae, &resolutions, paths, n, err);
}

static int run(const struct plan_options *o, const char *const *paths, size_t n, struct error *err)
{
	struct vae_choice vae = VAE_CHOICE_INIT;
	int r;

	if (o->vae && strcmp(o->vae, RECIPE_VAE_FAKE) != 0 &&
	    vae_choice_open(o->vae, &o->vae_options, &vae, err) < 0)
		return -1;
	r = run_placed(o, &vae, paths, n, err);
	vae_choice_close(&vae);
	return r;
}

/* --sizes compares rules: it has the limits that are asked for, and no other. */
static int parse(int argc, char **argv, struct plan_options *o, const char **sources, size_t *n,
		 struct error *err)
{
	const double not_given = -1;
	double usual;

	settings_defaults(plan_settings, n_plan_settings, o);
	usual = o->pixels.max_upscale;
	o->pixels.max_upscale = not_given;
	if (settings_parse(plan_settings, n_plan_settings, argc, argv, o, sources, n, err) < 0)
		return -1;
	if (o->pixels.max_upscale == not_given)
		o->pixels.max_upscale = o->sizes ? 0 : usual;
	return o->help ? 0 : plan_options_check(o, *n, err);
}

int cmd_plan(int argc, char **argv, struct error *err)
{
	struct plan_options options = {.vae = NULL};
	cleanup_free const char **sources = xcalloc((size_t)argc, sizeof(*sources));
	struct error wrong = ERROR_INIT;
	size_t n = 0;

	if (settings_complete(stdout, plan_settings, n_plan_settings, true, argc, argv))
		return EXIT_OK;
	if (parse(argc, argv, &options, sources, &n, &wrong) < 0)
		return usage(wrong.message);
	if (options.help) {
		print_help();
		return EXIT_OK;
	}
	return run(&options, sources, n, err);
}

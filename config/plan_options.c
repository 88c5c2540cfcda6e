#include "config/plan_options.h"

#include "base/checked.h"

#define FIELD(f) offsetof(struct plan_options, f)

const struct setting plan_settings[] = {
    {.type = SETTING_GROUP, .offset = FIELD(pixels), .group = &placement_settings},
    {.type = SETTING_GROUP, .offset = FIELD(source), .group = &source_options_settings},
    {"flip", SETTING_FLAG, FIELD(flip), .help = "as for encode: two latents of each image"},
    {"crops", SETTING_COUNT, FIELD(crops), .fallback = "0", .max = 8, .value_name = "N",
     .help = "as for encode: N more latents of each image"},
    {"batch", SETTING_COUNT, FIELD(batch), .min = 1, .max = 1u << 30, .value_name = "N",
     .help = "what is lost when only full batches of N are used"},
    {"hash", SETTING_FLAG, FIELD(hash), .help = "find equal files: reads every byte"},
    {"out", SETTING_PATH, FIELD(out), .value_name = "DIR",
     .help = "what a dataset there has already, and why not; reads every byte"},
    {"name", SETTING_STRING, FIELD(name), .value_name = "NAME",
     .help = "of that dataset (the only one)"},
    {"vae", SETTING_PATH, FIELD(vae), .value_name = "VAE",
     .help = "as for encode: resolution, size of latents (512; 4 channels, 1/8)"},
    {.type = SETTING_GROUP, .offset = FIELD(vae_options), .group = &vae_settings},
    {"rate", SETTING_NUMBER, FIELD(rate), .max = 1u << 30, .value_name = "X",
     .help = "images a second that an encode showed you: gives the time"},
    {"no-captions", SETTING_FLAG, FIELD(no_captions),
     .help = "do not look for captions (.txt, .caption, .json beside the image)"},
    {"masks", SETTING_PATH, FIELD(masks), .fallback = "none", .is_word = masks_word,
     .value_name = "WHERE", .help = "as for encode: masks are no images of their own"},
    {"list", SETTING_FLAG, FIELD(list), .help = "every unreadable and every equal file"},
    {"json", SETTING_FLAG, FIELD(json), .help = "one JSON object, with everything --list has"},
    {"svg", SETTING_PATH, FIELD(svg), .value_name = "FILE", .help = "a picture of the buckets"},
    {"sizes", SETTING_PATH, FIELD(sizes), .value_name = "FILE",
     .help = "place the sizes in FILE (- is stdin) instead of folders"},
    {"jobs", SETTING_COUNT, FIELD(jobs), .fallback = "0", .max = 256, .value_name = "N",
     .help = "decode processes; 0: two for each core"},
    {"quiet", SETTING_FLAG, FIELD(quiet), .help = "no progress, only the result"},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

const size_t n_plan_settings = ARRAY_SIZE(plan_settings);

int plan_options_check(const struct plan_options *o, size_t n_sources, struct error *err)
{
	if (o->sizes && n_sources > 0)
		return error_set(err, ERR_CONFIG, "SRC or --sizes, not both");
	if (!o->sizes && n_sources == 0)
		return error_set(err, ERR_CONFIG, "which folder? SRC is missing");
	if (o->sizes &&
	    (o->svg || o->out || o->vae || o->flip || o->crops > 0 || o->batch > 0 || o->rate > 0 ||
	     o->hash || o->list || o->json || o->pixels.resolutions.n > 0))
		return error_set(err, ERR_CONFIG,
				 "--sizes only places: --resolutions, --flip, --crops, --batch, "
				 "--hash, --out, --vae, --rate, --list, "
				 "--json and --svg are for folders");
	if (o->name && !o->out)
		return error_set(err, ERR_CONFIG, "--name is of a dataset in --out");
	return pixel_options_check(&o->pixels, err);
}
